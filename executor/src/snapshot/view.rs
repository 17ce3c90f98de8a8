//! A stack of layers as one read-only directory tree. Every lookup stays inside it.

use super::{overlay::marks, tree::Tree};
use crate::{ExecutorError, rooted::Rooted};
use rbuild_cache::Store;
use rbuild_oci::ImagePath;
use rbuild_sys::overlay::XattrNamespace;
use rustix::fs::{FileType, fstat};
use std::{
    fs::File,
    io::Read,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

/// The merged, read-only files of a stack of layers.
#[derive(Clone, Debug)]
pub struct RootView {
    root: Rooted,
    layers: usize,
    marks: XattrNamespace,
    _tree: Option<Arc<Tree>>,
}

impl RootView {
    /// A view through a mount that exists, of so many layers of `store`.
    pub(super) fn of_mount(store: &Store, root: Rooted, layers: usize) -> Self {
        Self { root, layers, marks: marks(store), _tree: None }
    }

    /// A view of the root of a container that runs.
    pub(crate) fn of_container(store: &Store, root: Rooted) -> Self {
        Self::of_mount(store, root, 1)
    }

    /// A view of a copy, which stays as long as the view.
    pub(super) fn of_tree(store: &Store, root: Rooted, layers: usize, tree: Arc<Tree>) -> Self {
        Self { root, layers, marks: marks(store), _tree: Some(tree) }
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

    /// At most `most` bytes of the beginning of the file at `path`, links followed inside the root; `None` when it is not there.
    pub(crate) fn read_head(&self, path: &[u8], most: usize) -> Result<Option<Vec<u8>>, ExecutorError> {
        let Some(file) = self.root.open_file_following(path)? else { return Ok(None) };
        let mut head = Vec::with_capacity(most);
        let read = File::from(file).take(most as u64).read_to_end(&mut head);
        read.map_err(|error| ExecutorError::system("read", path, error))?;
        Ok(Some(head))
    }

    /// True if there are no layers.
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
