//! Directories of a tree, opened beneath its root and never through a symbolic link (openat2(2), RESOLVE_BENEATH and
//! RESOLVE_NO_SYMLINKS), and kept open for the entries that follow.

use super::{entry_failure::failed, entry_path::EntryPath};
use crate::ImageError;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2, readlinkat},
    io::Errno,
};
use std::{collections::HashMap, os::fd::OwnedFd, path::Path, rc::Rc};

/// Directories held open at most.
const OPEN_LIMIT: usize = 128;

/// A tree to work in.
#[derive(Debug)]
pub(crate) struct Beneath {
    root: Rc<OwnedFd>,
    open: HashMap<EntryPath, Rc<OwnedFd>>,
    /// Entries come directory by directory, so the last one is mostly the one asked for.
    last: Option<(EntryPath, Rc<OwnedFd>)>,
}

impl Beneath {
    pub(crate) fn open(root: &Path) -> Result<Self, ImageError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty()).map_err(|errno| ImageError::LayerFile {
            action: "open",
            path: root.to_owned(),
            source: errno.into(),
        })?;
        Ok(Self { root: Rc::new(root), open: HashMap::new(), last: None })
    }

    /// The directory `path`, for `*at` calls; `None` when it is not there or is a device or file.
    pub(crate) fn directory(&mut self, path: &EntryPath) -> Result<Option<Rc<OwnedFd>>, ImageError> {
        if path.is_root() {
            return Ok(Some(Rc::clone(&self.root)));
        }
        if let Some((last, directory)) = &self.last
            && last == path
        {
            return Ok(Some(Rc::clone(directory)));
        }
        let directory = match self.open.get(path) {
            Some(directory) => Rc::clone(directory),
            None => match self.open_now(path, OFlags::PATH) {
                Ok(directory) => {
                    if self.open.len() == OPEN_LIMIT {
                        self.open.clear();
                    }
                    let directory = Rc::new(directory);
                    self.open.insert(path.clone(), Rc::clone(&directory));
                    directory
                }
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                Err(errno) => return Err(failed(path, "open", errno)),
            },
        };
        self.last = Some((path.clone(), Rc::clone(&directory)));
        Ok(Some(directory))
    }

    /// Where the symbolic link called `name` in the directory `parent` points; `None` when there is none.
    pub(crate) fn link(&mut self, parent: &EntryPath, name: &[u8]) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(directory) = self.directory(parent)? else { return Ok(None) };
        match readlinkat(&*directory, name, Vec::new()) {
            Ok(target) => Ok(Some(target.into_bytes())),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(failed(&parent.join(name), "read the link", errno)),
        }
    }

    /// Opens a directory afresh: with `OFlags::RDONLY` for calls on the descriptor itself.
    pub(crate) fn open_now(&self, path: &EntryPath, access: OFlags) -> Result<OwnedFd, Errno> {
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(&*self.root, name, flags, Mode::empty(), resolve)
    }

    /// Forgets what is open: a directory has gone.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
        self.last = None;
    }
}
