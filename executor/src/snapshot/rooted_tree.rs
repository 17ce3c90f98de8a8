//! A directory and what is below it, however long the paths are.

use super::held::{Source, on};
use crate::{ExecutorError, rooted::Rooted};
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};
use std::{
    ffi::OsStr,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

/// Bytes of a path in a layer from which on it is not given to the kernel at once: its names and the place of the store are to
/// have room in the 4095 that it takes (PATH_MAX).
const LONG_PATH: usize = 2048;

/// A directory of the store, and what is below it, however long the paths are.
pub(super) struct RootedTree {
    root: Rooted,
    /// Where it is.
    path: PathBuf,
}

impl RootedTree {
    /// The directory at `path`.
    pub(super) fn at(path: PathBuf) -> Result<Self, ExecutorError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = open(&path, flags, Mode::empty()).map_err(|errno| on("open", &path)(errno.into()))?;
        Ok(Self { root: Rooted::new(root), path })
    }

    /// A directory that is open already.
    pub(super) fn of(source: &Source) -> Result<Self, ExecutorError> {
        let own = source.fd().try_clone_to_owned().map_err(on("dup", source.shown()))?;
        Ok(Self { root: Rooted::new(own), path: source.shown().to_owned() })
    }

    /// The directory `path`; `None` when it has gone.
    pub(super) fn source_if_there(&self, path: &[u8]) -> Result<Option<Source>, ExecutorError> {
        let shown = || self.path.join(OsStr::from_bytes(path));
        match self.root.try_open_dir(path) {
            Ok(directory) => Source::opened(directory, shown()).map(Some),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(on("open", &shown())(errno.into())),
        }
    }

    /// The descriptor of the directory `path`.
    pub(super) fn open(&self, path: &[u8]) -> Result<OwnedFd, ExecutorError> {
        self.root.open_dir(path)
    }

    /// The directory `path` as something that is copied from.
    pub(super) fn source(&self, path: &[u8]) -> Result<Source, ExecutorError> {
        Source::opened(self.root.open_dir(path)?, self.path.join(OsStr::from_bytes(path)))
    }

    /// A path to the directory `path`, to which any name can be added: one that begins at its descriptor, which has to stay
    /// open, where its own is so long that the kernel could refuse longer ones.
    pub(super) fn directory(&self, path: &[u8]) -> Result<(Option<OwnedFd>, PathBuf), ExecutorError> {
        if path.len() < LONG_PATH {
            return Ok((None, self.path.join(OsStr::from_bytes(path))));
        }
        let opened = self.root.open_dir(path)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        Ok((Some(opened), path))
    }
}
