//! What stat(2) says of a file, by which a change of it is seen.

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags},
    sys::stat::{fstat, fstatat, stat},
};
use std::{io, os::fd::AsFd, path::Path};

const SECOND: i64 = 1_000_000_000;

/// The stat(2) values of a file. As long as they stay the same, the file counts as unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStat {
    /// st_dev.
    pub device: u64,
    /// st_ino.
    pub inode: u64,
    /// st_size in bytes.
    pub size: u64,
    /// st_mtim in nanoseconds since 1970.
    pub modified: i64,
    /// st_ctim in nanoseconds since 1970.
    pub changed: i64,
    /// st_mode.
    pub mode: u32,
}

impl FileStat {
    /// That of `path` below `directory`, a link being what it is itself; `None` when nothing is there.
    pub(crate) fn below(directory: impl AsFd, path: &Path) -> io::Result<Option<Self>> {
        match fstatat(directory, path, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(Self::from(found))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// That of `path`; `None` when nothing is there.
    pub(crate) fn at(path: &Path) -> io::Result<Option<Self>> {
        Self::below(AT_FDCWD, path)
    }

    /// That of what `path` leads to.
    pub(crate) fn behind(path: &Path) -> io::Result<Self> {
        Ok(Self::from(stat(path)?))
    }

    /// That of an open file.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::from(fstat(file)?))
    }

    /// The later one of both times.
    pub(crate) fn last_change(&self) -> i64 {
        self.changed.max(self.modified)
    }
}

impl From<nix::sys::stat::FileStat> for FileStat {
    fn from(stat: nix::sys::stat::FileStat) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(SECOND).saturating_add(rest);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            mode: stat.st_mode,
        }
    }
}
