//! Extended attributes of what is unpacked, and times of directories. overlayfs' own attributes never come out of a tar.

use super::{
    entry_failure::{failed, shown},
    entry_path::EntryPath,
    note::Note,
};
use crate::{ImageError, error::EntryProblem};
use rbuild_archive::Time;
use rustix::{
    fs::{Timespec, Timestamps, XattrFlags, fsetxattr},
    io::Errno,
};
use std::os::fd::BorrowedFd;

/// Sets extended attributes on an open directory.
pub(crate) fn set_attributes(
    directory: BorrowedFd<'_>,
    path: &EntryPath,
    attributes: &[(String, Vec<u8>)],
    notes: &mut Vec<Note>,
) -> Result<(), ImageError> {
    for (name, value) in attributes {
        if let Err(errno) = fsetxattr(directory, name.as_str(), value, XattrFlags::empty()) {
            attribute_missing((errno, directory), path, name, notes)?;
        }
    }
    Ok(())
}

/// Decides whether a layer can do without an attribute that could not be set.
pub(crate) fn attribute_missing(
    (errno, file): (Errno, BorrowedFd<'_>),
    path: &EntryPath,
    name: &str,
    notes: &mut Vec<Note>,
) -> Result<(), ImageError> {
    match errno {
        // what the file system or this user cannot keep is left out, as docker leaves it out
        Errno::NOTSUP | Errno::PERM | Errno::INVAL | Errno::ACCESS => {
            notes.push(Note::AttributeSkipped { entry: shown(path), attribute: name.to_owned() });
            Ok(())
        }
        // ext4 returns these errors as well when the file's other attributes leave too little room
        Errno::NOSPC | Errno::TOOBIG if has_space(file) => {
            Err(ImageError::entry(path.as_bytes(), EntryProblem::TooManyAttributes))
        }
        errno => Err(failed(path, "set the attributes of", errno)),
    }
}

/// True if the file system of `file` has free blocks.
fn has_space(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatvfs(file).is_ok_and(|found| found.f_bavail > 0)
}

pub(crate) fn times(mtime: Time) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
