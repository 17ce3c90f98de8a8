//! Stacks of layers as overlay mounts, attached nowhere: a mount lives as long as its descriptor.

use crate::ExecutorError;
use rbuild_cache::{LayerId, Store, Writer};
use rbuild_sys::overlay::{OverlaySpec, Syncing, Upper, XattrNamespace, mount_overlay};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::{
    collections::HashSet,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use super::Overlays;

/// Mounts `layers`, lowest first, and `top` over them: read-only, or with changes going to an upper directory.
pub(super) fn mount(
    store: &Store,
    layers: &[LayerId],
    top: Option<&Path>,
    upper: Option<Upper<'_>>,
) -> Result<OwnedFd, ExecutorError> {
    let paths = directories(store, layers);
    let lowers: Vec<&Path> = paths.iter().map(PathBuf::as_path).chain(top).collect();
    mount_overlay(&OverlaySpec { lowers: &lowers, upper, empty: store.empty_dir(), xattr: marks(store) })
        .map_err(|source| ExecutorError::View { layers: layers.len(), source })
}

/// Finds out what overlayfs does with directories of `store`. When none can be made, the next step reports that.
pub(super) fn probe(store: &Store) -> Overlays {
    let Ok(space) = store.scratch_dir() else { return Overlays::Writable };
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| space.path().join(name));
    if [&lower, &upper, &work].into_iter().any(|directory| fs::create_dir(directory).is_err()) {
        return Overlays::Writable;
    }
    let works = |upper| {
        let (lowers, empty, xattr) = (&[&*lower], store.empty_dir(), marks(store));
        mount_overlay(&OverlaySpec { lowers, upper, empty, xattr }).is_ok()
    };
    if works(Some(Upper { directory: &upper, work: &work, syncing: Syncing::Skipped })) {
        Overlays::Writable
    } else if works(None) {
        Overlays::ReadOnly
    } else {
        Overlays::Refused
    }
}

/// The store's empty directory.
pub(super) fn open_empty(store: &Store) -> Result<OwnedFd, ExecutorError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, store.empty_dir(), flags, Mode::empty()).map_err(|errno| {
        ExecutorError::system("open", store.empty_dir().as_os_str().as_encoded_bytes(), errno)
    })
}

/// The directories of `layers`, lowest first, each once: overlayfs refuses one that is there twice, and the upper one
/// hides all of the lower one.
pub(super) fn directories(store: &Store, layers: &[LayerId]) -> Vec<PathBuf> {
    let mut seen = HashSet::with_capacity(layers.len());
    let mut kept: Vec<&LayerId> = layers.iter().rev().filter(|layer| seen.insert(**layer)).collect();
    kept.reverse();
    kept.into_iter().map(|layer| store.layer_fs(layer)).collect()
}

/// Where overlayfs keeps its marks in the layers of `store`.
pub(super) fn marks(store: &Store) -> XattrNamespace {
    match store.writer() {
        Writer::Root => XattrNamespace::Trusted,
        Writer::User { .. } => XattrNamespace::User,
    }
}
