//! A writable root: layers below, an upper directory that takes the changes, mounted and attached nowhere.

use crate::{
    ExecutorError, RootView,
    rooted::Rooted,
    view::{directories, marks},
};
use nix::{
    fcntl::{AT_FDCWD, AtFlags, OFlag},
    sys::stat::{Mode, mkdirat},
    unistd::{Gid, Uid, fchownat},
};
use rbuild_cache::{LayerId, Store};
use rbuild_oci::ImagePath;
use rbuild_sys::{
    fs::{open_in_root, set_mode},
    overlay::{OverlaySpec, Upper, mount_overlay},
};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

/// A mounted root. The mount ends with the value, unless a sandbox still uses it.
pub(crate) struct RootMount {
    mount: OwnedFd,
    view: RootView,
}

impl RootMount {
    /// Mounts `layers` (lowest first) with changes going to `upper`. Nothing is synced when it is unmounted: the
    /// engine syncs what it commits.
    pub(crate) fn writable(
        store: &Store,
        layers: &[LayerId],
        upper: &Path,
        work: &Path,
    ) -> Result<Self, ExecutorError> {
        Self::writable_over(store, layers, None, Upper { directory: upper, work })
    }

    /// The same, with the files in `top` over the layers.
    pub(crate) fn writable_over(
        store: &Store,
        layers: &[LayerId],
        top: Option<&Path>,
        upper: Upper<'_>,
    ) -> Result<Self, ExecutorError> {
        let paths = directories(store, layers);
        let lowers: Vec<&Path> = paths.iter().map(PathBuf::as_path).chain(top).collect();
        let spec = OverlaySpec {
            lowers: &lowers,
            upper: Some(upper),
            empty: store.empty_dir(),
            xattr: marks(store),
        };
        let mount =
            mount_overlay(&spec).map_err(|source| ExecutorError::View { layers: layers.len(), source })?;
        let own = mount.try_clone().map_err(|error| ExecutorError::system("dup", b"the root", error))?;
        Ok(Self { mount, view: RootView::of_mount(store, Rooted::new(own), layers.len()) })
    }

    /// For lookups.
    pub(crate) fn view(&self) -> &RootView {
        &self.view
    }

    /// Makes `path` and its parents where they are missing, mode 0755, owned by `owner`.
    pub(crate) fn create_directory(&self, path: &ImagePath, owner: (u32, u32)) -> Result<(), ExecutorError> {
        let open = |path: &ImagePath| {
            open_in_root(
                self.mount.as_fd(),
                path.relative(),
                OFlag::O_PATH | OFlag::O_DIRECTORY,
                Mode::empty(),
            )
        };
        if open(path).is_ok() {
            return Ok(());
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        self.create_directory(&parent, owner)?;
        let fail = |call, error| ExecutorError::system(call, path.as_str().as_bytes(), error);
        let parent = open(&parent).map_err(|error| fail("open", error))?;
        mkdirat(&parent, name, Mode::from_bits_truncate(0o755))
            .map_err(|errno| fail("mkdir", errno.into()))?;
        // the user's umask has taken bits away
        set_mode(parent.as_fd(), Path::new(name), 0o755).map_err(|error| fail("chmod", error))?;
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        fchownat(&parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|errno| fail("chown", errno.into()))
    }
}

impl AsFd for RootMount {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

/// The host's own file tree, as the directory that host paths are resolved from.
pub(crate) fn host() -> BorrowedFd<'static> {
    AT_FDCWD
}
