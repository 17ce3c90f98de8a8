//! A stack of layers as one read-only directory tree, mounted without being attached anywhere: the mount lives as long
//! as its descriptor. Every lookup stays inside it.

use crate::{ExecutorError, rooted::Rooted};
use rbuild_cache::{LayerId, Store, Writer};
use rbuild_oci::ImagePath;
use rbuild_sys::overlay::{OverlaySpec, XattrNamespace, mount_overlay};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use std::{
    collections::HashSet,
    fs::File,
    io::Read,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

/// The merged, read-only files of a stack of layers.
#[derive(Clone, Debug)]
pub struct RootView {
    root: Rooted,
    layers: usize,
    marks: XattrNamespace,
}

impl RootView {
    /// Mounts `layers`, lowest first; no layers are an empty directory.
    ///
    /// # Errors
    /// [`ExecutorError::View`] when the kernel refuses the mount.
    pub fn open(store: &Store, layers: &[LayerId]) -> Result<Self, ExecutorError> {
        let fd = if layers.is_empty() { open_directory(store)? } else { mount(store, layers)? };
        Ok(Self { root: Rooted::new(fd), layers: layers.len(), marks: marks(store) })
    }

    /// A view through a mount that exists, of so many layers of `store`.
    pub(crate) fn of_mount(store: &Store, root: Rooted, layers: usize) -> Self {
        Self { root, layers, marks: marks(store) }
    }

    /// Where the layers have overlayfs' marks.
    pub(crate) fn marks(&self) -> XattrNamespace {
        self.marks
    }

    /// The root directory.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.root.fd()
    }

    /// The content of the regular file at `path`, links followed inside the root; `None` when there is none or it is
    /// longer than `limit` bytes.
    ///
    /// # Errors
    /// [`ExecutorError::System`] when it cannot be read.
    pub fn read_file(&self, path: &ImagePath, limit: u64) -> Result<Option<Vec<u8>>, ExecutorError> {
        let name = path.as_str().as_bytes();
        let Some(fd) = self.root.open_following(name)? else { return Ok(None) };
        let stat = fstat(&fd).map_err(|errno| ExecutorError::system("stat", name, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size as u64 > limit {
            return Ok(None);
        }
        let mut content = Vec::with_capacity(stat.st_size as usize + 1);
        File::from(fd)
            .take(limit)
            .read_to_end(&mut content)
            .map_err(|error| ExecutorError::system("read", name, error))?;
        Ok(Some(content))
    }

    /// Whether there are no layers.
    pub(crate) fn is_empty(&self) -> bool {
        self.layers == 0
    }

    pub(crate) fn rooted(&self) -> &Rooted {
        &self.root
    }
}

impl AsFd for RootView {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.fd()
    }
}

fn open_directory(store: &Store) -> Result<OwnedFd, ExecutorError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, store.empty_dir(), flags, Mode::empty()).map_err(|errno| {
        ExecutorError::system("open", store.empty_dir().as_os_str().as_encoded_bytes(), errno)
    })
}

/// The directories of `layers`, lowest first, each once: overlayfs refuses one that is there twice, and the upper one
/// hides all of the lower one.
pub(crate) fn directories(store: &Store, layers: &[LayerId]) -> Vec<PathBuf> {
    let mut seen = HashSet::with_capacity(layers.len());
    let mut kept: Vec<&LayerId> = layers.iter().rev().filter(|layer| seen.insert(**layer)).collect();
    kept.reverse();
    kept.into_iter().map(|layer| store.layer_fs(layer)).collect()
}

fn mount(store: &Store, layers: &[LayerId]) -> Result<OwnedFd, ExecutorError> {
    let paths = directories(store, layers);
    let lowers: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let spec = OverlaySpec { lowers: &lowers, upper: None, empty: store.empty_dir(), xattr: marks(store) };
    mount_overlay(&spec).map_err(|source| ExecutorError::View { layers: layers.len(), source })
}

/// Where overlayfs keeps its marks in the layers of `store`.
pub(crate) fn marks(store: &Store) -> XattrNamespace {
    match store.writer() {
        Writer::Root => XattrNamespace::Trusted,
        Writer::User { .. } => XattrNamespace::User,
    }
}
