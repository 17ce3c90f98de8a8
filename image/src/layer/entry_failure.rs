//! Errors of single entries of a layer, by their names.

use super::entry_path::EntryPath;
use crate::ImageError;
use rbuild_archive::Entry;
use rustix::io::Errno;
use std::io;

/// The error for a system call that failed while `action` was done to the entry at `path`.
pub(crate) fn failed(path: &EntryPath, action: &'static str, errno: Errno) -> ImageError {
    ImageError::EntryIo { entry: shown(path), action, source: errno.into() }
}

/// The same for an owner that cannot be set, which ids that are not mapped here explain.
pub(crate) fn owner(path: &EntryPath, entry: &Entry, source: io::Error) -> ImageError {
    if matches!(Errno::from_io_error(&source), Some(Errno::INVAL | Errno::PERM)) {
        return ImageError::Owner { entry: shown(path), uid: entry.uid, gid: entry.gid, source };
    }
    ImageError::EntryIo { entry: shown(path), action: "set the owner of", source }
}

/// The path for people.
pub(crate) fn shown(path: &EntryPath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}
