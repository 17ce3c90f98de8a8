//! A writable root, mounted and attached nowhere.

use super::{RootView, Snapshots, before::Before, changes::collect, copied_root, leaving::Left, tree::Tree};
use crate::{ExecutorError, rooted::Rooted};
use nix::{
    fcntl::{AtFlags, OFlag},
    sys::stat::{Mode, mkdirat},
    unistd::{Gid, Uid, fchownat},
};
use rbuild_cache::{ScratchDir, Store};
use rbuild_oci::ImagePath;
use rbuild_sys::{
    fs::{open_in_root, set_mode},
    sandbox::MountPoints,
};
use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

/// A mounted root. The mount ends with the value, unless a sandbox still uses it.
pub(crate) struct RootMount {
    mount: OwnedFd,
    view: RootView,
    copy: Option<CopiedRoot>,
}

/// A root that is a copy, and what its changes are compared with.
struct CopiedRoot {
    snapshots: Snapshots,
    tree: Tree,
    before: Before,
    upper: PathBuf,
}

impl RootMount {
    /// A root whose changes are in its upper directory at once.
    pub(super) fn of_overlay(store: &Store, mount: OwnedFd, layers: usize) -> Result<Self, ExecutorError> {
        let view = view(store, &mount, layers)?;
        Ok(Self { mount, view, copy: None })
    }

    /// A root that is a copy, whose changes are collected in `upper`.
    pub(super) fn of_tree(
        snapshots: &Snapshots,
        mount: OwnedFd,
        tree: Tree,
        upper: &Path,
    ) -> Result<Self, ExecutorError> {
        tree.renew_root()?;
        let view = view(snapshots.store(), &mount, tree.layers())?;
        let before = Before::of(&tree.root())?;
        let copy = CopiedRoot { snapshots: snapshots.clone(), tree, before, upper: upper.to_owned() };
        Ok(Self { mount, view, copy: Some(copy) })
    }

    /// Sees that all changes are in the upper directory. To be called when nothing runs in the root any more.
    pub(crate) fn collect(self) -> Result<(), ExecutorError> {
        let Some(CopiedRoot { snapshots, tree, before, upper }) = self.copy else { return Ok(()) };
        let links = collect(&before, &tree.root(), &upper, snapshots.store())?;
        snapshots.0.copies.give_back(tree, upper, links);
        Ok(())
    }

    /// The same, without `points` that nothing is mounted on any more. An overlay, whose changes are in `upper`, is unmounted while the
    /// caller goes on, with what is mounted in `namespace`, in which nothing runs any more; `work` is removed then.
    pub(crate) fn collect_and_leave(
        self,
        snapshots: &Snapshots,
        upper: &Path,
        points: MountPoints,
        (namespace, work): (Option<OwnedFd>, Option<ScratchDir>),
    ) -> Result<(), ExecutorError> {
        if self.copy.is_some() {
            drop(namespace);
            points.remove_unused()?;
            return self.collect();
        }
        // not in the root, where what is mounted on them still hides them
        let directory = File::open(upper);
        let directory = directory
            .map_err(|error| ExecutorError::system("open", upper.as_os_str().as_encoded_bytes(), error))?;
        points.in_root(directory.as_fd())?.remove_unused()?;
        snapshots.0.leaving.take(Left { root: (self.mount, self.view), namespace, work });
        Ok(())
    }

    /// If this root is a copy, writes to `note` what [`super::collect_running`] needs in another process.
    pub(crate) fn note_copy(&self, note: &Path) -> Result<(), ExecutorError> {
        self.copy.as_ref().map_or(Ok(()), |copy| copied_root::note(note, &copy.tree.root(), &copy.before))
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
        // the umask has taken bits away
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

fn view(store: &Store, mount: &OwnedFd, layers: usize) -> Result<RootView, ExecutorError> {
    let own = mount.try_clone().map_err(|error| ExecutorError::system("dup", b"the root", error))?;
    Ok(RootView::of_mount(store, Rooted::new(own), layers))
}
