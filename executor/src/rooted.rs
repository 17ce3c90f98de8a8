//! A directory descriptor nothing leads out of, and the walk through symbolic links that stays inside it.
//!
//! Paths are bytes, relative to the directory, without `.` and `..`; the empty path is the directory itself. A path is
//! *canonical* when no component but perhaps the last is a symbolic link. Opening refuses links altogether, so a path
//! that stopped being canonical is an error, never an escape.

use crate::ExecutorError;
use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat, statat},
    io::Errno,
};
use std::{
    collections::VecDeque,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// As the kernel's own limit (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// Bytes of a path that are given to the kernel at once, which takes 4095 (PATH_MAX).
const STRETCH: usize = 2048;

/// Somewhere paths can be looked up.
///
/// Law: `find` never follows a link in the last component, and answers `None` for whatever is not there, including
/// paths below something that is not a directory.
pub(crate) trait Space {
    /// The file at canonical `path`.
    fn find(&self, path: &[u8]) -> Result<Option<Stat>, ExecutorError>;
    /// The target of the link at canonical `path`.
    fn link_target(&self, path: &[u8]) -> Result<Vec<u8>, ExecutorError>;
}

/// Where a walk through links ended.
pub(crate) struct Resolved {
    /// Canonical.
    pub(crate) path: Vec<u8>,
    /// The file there.
    pub(crate) found: Option<Stat>,
    /// Links that were followed, at their canonical paths.
    pub(crate) links: Vec<Vec<u8>>,
}

/// Treatment of a link in the last component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// Follow it, as in all others.
    Follow,
    /// Stop at it.
    Keep,
}

/// Follows `path` in `space`; `..` stops at the root and absolute link targets start there.
pub(crate) fn resolve(space: &impl Space, path: &[u8], last: Last) -> Result<Resolved, ExecutorError> {
    let parts = |path: &[u8]| {
        path.split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let mut todo: VecDeque<Vec<u8>> = parts(path).into();
    let mut at = Resolved { path: Vec::new(), found: space.find(b"")?, links: Vec::new() };
    while let Some(part) = todo.pop_front() {
        if part == b".." {
            at.path.truncate(parent(&at.path).len());
            at.found = space.find(&at.path)?;
            continue;
        }
        let next = join(&at.path, &part);
        let found = space.find(&next)?;
        let is_link = found.as_ref().is_some_and(|stat| file_type(stat) == FileType::Symlink);
        if is_link && !(todo.is_empty() && last == Last::Keep) {
            if at.links.len() == MOST_LINKS {
                return Err(ExecutorError::TooManyLinks { path: String::from_utf8_lossy(path).into_owned() });
            }
            let target = space.link_target(&next)?;
            if target.starts_with(b"/") {
                at.path.clear();
                at.found = space.find(b"")?;
            }
            for part in parts(&target).into_iter().rev() {
                todo.push_front(part);
            }
            at.links.push(next);
        } else {
            (at.path, at.found) = (next, found);
        }
    }
    Ok(at)
}

pub(crate) use rustix::fs::FileType;

/// The kind of file `stat` describes.
pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// True if `stat` describes a directory.
pub(crate) fn is_dir(stat: &Stat) -> bool {
    file_type(stat) == FileType::Directory
}

/// `dir/name`.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + name.len() + 1);
    path.extend_from_slice(dir);
    if !dir.is_empty() && !name.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The directory part of a path; empty for a single name.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[..at])
}

/// The last component.
pub(crate) fn file_name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(path, |at| &path[at + 1..])
}

/// `path` as the image's users see it.
pub(crate) fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

/// Opens the file `name` of `directory` for reading, where that is allowed without a change of its time of access, which would
/// have to be written.
pub(crate) fn open_unnoticed(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(&directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        // it is another user's
        Err(Errno::PERM) => openat(&directory, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// A directory descriptor as the root of paths. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Rooted(Arc<OwnedFd>);

impl Rooted {
    /// Makes `directory` a root.
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self(Arc::new(directory))
    }

    /// The descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens canonical `path` for reading.
    pub(crate) fn open(&self, path: &[u8]) -> Result<OwnedFd, ExecutorError> {
        self.open_with(path, OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK, ResolveFlags::NO_SYMLINKS)
            .map_err(|errno| ExecutorError::system("open", path, errno))
    }

    /// Opens the directory at canonical `path`.
    pub(crate) fn open_dir(&self, path: &[u8]) -> Result<OwnedFd, ExecutorError> {
        self.try_open_dir(path).map_err(|errno| ExecutorError::system("open", path, errno))
    }

    /// As [`Self::open_dir`], with the bare error.
    pub(crate) fn try_open_dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.open_with(path, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS)
    }

    /// Opens `path` for reading, following links inside the root; `None` when it is not there.
    pub(crate) fn open_following(&self, path: &[u8]) -> Result<Option<OwnedFd>, ExecutorError> {
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK;
        match self.open_with(path, flags, ResolveFlags::IN_ROOT) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(ExecutorError::system("open", path, errno)),
        }
    }

    /// As [`Self::open_following`], for what must be a regular file or a directory: nothing else is opened, because
    /// opening a device has effects of its own.
    pub(crate) fn open_file_following(&self, path: &[u8]) -> Result<Option<OwnedFd>, ExecutorError> {
        let fail = |errno: Errno| ExecutorError::system("open", path, errno);
        let found = match self.open_with(path, OFlags::PATH, ResolveFlags::IN_ROOT) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(fail(errno)),
        };
        match file_type(&fstat(&found).map_err(fail)?) {
            FileType::RegularFile | FileType::Directory => {}
            _ => return Err(ExecutorError::NotAFile { path: shown(path) }),
        }
        // the name may be another file's by now: what was looked at is what is opened
        let same = format!("/proc/self/fd/{}", found.as_raw_fd());
        rustix::fs::open(same, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(Some).map_err(fail)
    }

    fn open_with(&self, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let within = if resolve == ResolveFlags::IN_ROOT { resolve } else { resolve | ResolveFlags::BENEATH };
        let open = |from: BorrowedFd<'_>, path: &[u8], flags| {
            openat2(from, path, flags | OFlags::CLOEXEC, Mode::empty(), within | ResolveFlags::NO_MAGICLINKS)
        };
        // without links a long path can be gone in pieces
        let (mut at, mut rest): (Option<OwnedFd>, _) = (None, path);
        while rest.len() > STRETCH && resolve == ResolveFlags::NO_SYMLINKS {
            let Some(slash) = rest[..STRETCH].iter().rposition(|byte| *byte == b'/') else { break };
            let from = at.as_ref().map_or(self.fd(), AsFd::as_fd);
            at = Some(open(from, &rest[..slash], OFlags::PATH | OFlags::DIRECTORY)?);
            rest = &rest[slash + 1..];
        }
        open(at.as_ref().map_or(self.fd(), AsFd::as_fd), rest, flags)
    }
}

impl Space for Rooted {
    fn find(&self, path: &[u8]) -> Result<Option<Stat>, ExecutorError> {
        let name = if path.is_empty() { b"." } else { path };
        match statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(ExecutorError::system("stat", path, errno)),
        }
    }

    fn link_target(&self, path: &[u8]) -> Result<Vec<u8>, ExecutorError> {
        readlinkat(self.fd(), path, Vec::new())
            .map(std::ffi::CString::into_bytes)
            .map_err(|errno| ExecutorError::system("readlink", path, errno))
    }
}
