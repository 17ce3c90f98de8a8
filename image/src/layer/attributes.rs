//! Extended attributes and times of what is unpacked.

use super::{
    entry_failure::{failed, shown},
    entry_path::EntryPath,
    note::Note,
};
use crate::{ImageError, error::EntryProblem};
use rbuild_archive::Time;
use rustix::{
    fs::{Timespec, Timestamps, XattrFlags, fsetxattr, setxattr},
    io::Errno,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Sets extended attributes on an open file or directory. overlayfs' own never come out of a tar.
pub(crate) fn set_attributes(
    file: BorrowedFd<'_>,
    path: &EntryPath,
    attributes: &[(String, Vec<u8>)],
    notes: &mut Vec<Note>,
) -> Result<(), ImageError> {
    for (name, value) in attributes {
        let set = fsetxattr(file, name.as_str(), value, XattrFlags::empty());
        attribute_set((set, file), path, name, notes)?;
    }
    Ok(())
}

/// The same for what can only be opened as a path.
pub(crate) fn set_attributes_of_path(
    node: &OwnedFd,
    path: &EntryPath,
    attributes: &[(String, Vec<u8>)],
    notes: &mut Vec<Note>,
) -> Result<(), ImageError> {
    let link = format!("/proc/self/fd/{}", node.as_raw_fd());
    for (name, value) in attributes {
        let set = setxattr(&*link, name.as_str(), value, XattrFlags::empty());
        attribute_set((set, node.as_fd()), path, name, notes)?;
    }
    Ok(())
}

fn attribute_set(
    (set, file): (Result<(), Errno>, BorrowedFd<'_>),
    path: &EntryPath,
    name: &str,
    notes: &mut Vec<Note>,
) -> Result<(), ImageError> {
    match set {
        Ok(()) => Ok(()),
        // what the file system or this user cannot keep is left out, as docker leaves it out
        Err(Errno::NOTSUP | Errno::PERM | Errno::INVAL | Errno::ACCESS) => {
            notes.push(Note::AttributeSkipped { entry: shown(path), attribute: name.to_owned() });
            Ok(())
        }
        // ext4 returns these errors as well when the file's other attributes leave too little room
        Err(Errno::NOSPC | Errno::TOOBIG) if has_space(file) => {
            Err(ImageError::entry(path.as_bytes(), EntryProblem::TooManyAttributes))
        }
        Err(errno) => Err(failed(path, "set the attributes of", errno)),
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
