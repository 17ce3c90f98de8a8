//! A file of a tree that is copied: opened once, by its name in a directory that is open and without following a link, so that
//! nothing which is put in the way meanwhile leads out.

use crate::ExecutorError;
use rbuild_sys::overlay::XattrNamespace;
use rustix::{
    fs::{AtFlags, CWD, OFlags, getxattr, linkat, listxattr, openat},
    io::Errno,
};
use std::{
    ffi::{CString, OsStr, OsString},
    fs::{self, File, Metadata},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

/// The longest list of attribute names, and the longest value, in bytes (xattr(7)).
pub(super) const ATTRIBUTES: usize = 64 << 10;

/// One file of whatever kind, held open by `O_PATH`.
pub(super) struct Source {
    file: File,
    metadata: Metadata,
    /// Leads to the open file, for calls that take paths.
    path: PathBuf,
    /// Where it was found, for messages.
    shown: PathBuf,
}

impl Source {
    /// Opens `name` in `directory`; messages call it `shown`. `None` when it is not there.
    fn open(directory: impl AsFd, name: &OsStr, shown: PathBuf) -> Result<Option<Self>, ExecutorError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(directory, name, flags, rustix::fs::Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(on("open", &shown)(errno.into())),
        };
        Self::opened(file, shown).map(Some)
    }

    /// A file that is open already.
    pub(super) fn opened(file: OwnedFd, shown: PathBuf) -> Result<Self, ExecutorError> {
        let file = File::from(file);
        let metadata = file.metadata().map_err(on("stat", &shown))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { file, metadata, path, shown })
    }

    /// Opens a directory of rbuild's own.
    pub(super) fn at(path: &Path) -> Result<Self, ExecutorError> {
        let found = Self::open(CWD, path.as_os_str(), path.to_owned())?;
        found.ok_or_else(|| on("open", path)(Errno::NOENT.into()))
    }

    /// Opens the entry `name` of this directory; `None` when it has gone.
    pub(super) fn entry(&self, name: &OsStr) -> Result<Option<Self>, ExecutorError> {
        Self::open(&self.file, name, self.shown.join(name))
    }

    /// Gives the entry `name` of this directory the name `to` as well.
    pub(super) fn link(&self, name: &OsStr, to: &Path) -> Result<(), Errno> {
        linkat(&self.file, name, CWD, to, AtFlags::empty())
    }

    /// The descriptor, for calls that take one.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A path that leads to the open file, for calls that take one.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it was found, for messages.
    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }

    /// Its metadata when it was opened.
    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The names in this directory; none when it has been removed.
    pub(super) fn names(&self) -> Result<Vec<OsString>, ExecutorError> {
        let read = || fs::read_dir(&self.path)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(on("read", &self.shown)),
        }
    }

    /// True if it is a device that overlayfs takes for a whiteout.
    pub(super) fn is_whiteout_device(&self) -> bool {
        self.metadata.file_type().is_char_device() && self.metadata.rdev() == 0
    }

    /// True if it says, in a layer, that its name is gone.
    pub(super) fn is_whiteout(&self, marks: XattrNamespace) -> Result<bool, ExecutorError> {
        let may_be_marked = self.metadata.is_file() && self.metadata.len() == 0;
        Ok(self.is_whiteout_device() || (may_be_marked && self.attribute(marks.whiteout())?.is_some()))
    }

    /// True if this directory of a layer hides the one below.
    pub(super) fn is_opaque(&self, marks: XattrNamespace) -> Result<bool, ExecutorError> {
        Ok(self.attribute(marks.opaque())?.as_deref() == Some(b"y"))
    }

    fn attribute(&self, name: &str) -> Result<Option<Vec<u8>>, ExecutorError> {
        let mut value = vec![0; 16];
        match getxattr(&self.path, name, &mut value) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            Err(errno) => Err(on("getxattr", &self.shown)(errno.into())),
        }
    }

    /// The names of its extended attributes.
    pub(super) fn attributes(&self) -> Result<Vec<CString>, ExecutorError> {
        // the path is a link to the open file, and that is not followed any further
        attributes(&self.path).map_err(|errno| on("listxattr", &self.shown)(errno.into()))
    }
}

/// The names of the extended attributes of what `path` leads to.
pub(super) fn attributes(path: &Path) -> Result<Vec<CString>, Errno> {
    // nearly no file has any: ask with a small buffer on the stack first
    let (mut small, mut large) = ([0_u8; 512], Vec::new());
    let names: &[u8] = match listxattr(path, &mut small) {
        Ok(length) => &small[..length],
        Err(Errno::NOTSUP) => &[],
        Err(Errno::RANGE) => {
            large.resize(ATTRIBUTES, 0);
            let length = listxattr(path, &mut large)?;
            &large[..length]
        }
        Err(errno) => return Err(errno),
    };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| CString::new(name).expect("it was split at NUL bytes")).collect())
}

/// Names the call and the path of a failure.
pub(super) fn on<'a>(call: &'static str, path: &'a Path) -> impl Fn(io::Error) -> ExecutorError + 'a {
    move |source| ExecutorError::system(call, path.as_os_str().as_encoded_bytes(), source)
}
