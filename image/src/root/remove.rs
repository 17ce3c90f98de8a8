//! Removing what stands in the way in a directory of the host, beneath its descriptor and through no link.

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat, unlinkat},
    io::Errno,
};
use std::{
    ffi::{CStr, CString},
    os::fd::OwnedFd,
};

/// Opens the directory `name` in `directory`, which may be no link.
pub(super) fn open_directory(directory: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// The names in `directory`, sorted.
pub(super) fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The kind of what is called `name` in `directory`; `None` when nothing is.
pub(super) fn kind(directory: &OwnedFd, name: &CStr) -> Result<Option<FileType>, Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Removes `name` from `directory` with all that is in it; nothing is wrong with what is not there.
pub(super) fn remove_all(directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    match kind(directory, name)? {
        None => Ok(()),
        Some(FileType::Directory) => {
            let inner = open_directory(directory, name)?;
            for name in names(&inner)? {
                remove_all(&inner, &name)?;
            }
            unlinkat(directory, name, AtFlags::REMOVEDIR)
        }
        Some(_) => unlinkat(directory, name, AtFlags::empty()),
    }
}
