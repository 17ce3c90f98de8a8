//! Extended attributes of a name in a directory, symbolic links not followed (xattr(7)).
//!
//! The `*xattrat` calls came with Linux 6.13; before that the way to a name below a descriptor is through
//! `/proc/self/fd`, whose link leads to the directory itself wherever it is mounted, if anywhere.

use crate::mount::done;
use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// The value of attribute `name` of `path` below `directory`; `None` if it has none. An empty path is the
/// directory itself.
///
/// # Errors
/// The kernel's.
pub fn get_xattr(directory: BorrowedFd<'_>, path: &Path, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let full = full_path(directory, path)?;
    let answer = grow(|value: &mut [u8]| {
        // SAFETY: both strings are NUL-terminated; the kernel writes at most the length given to the buffer.
        unsafe { libc::lgetxattr(full.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) }
    });
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of all attributes of `path` below `directory`, each ended by NUL, in the kernel's order; empty
/// where the file system has none.
///
/// # Errors
/// The kernel's.
pub fn list_xattrs(directory: BorrowedFd<'_>, path: &Path) -> io::Result<Vec<u8>> {
    let full = full_path(directory, path)?;
    let answer = grow(|names: &mut [u8]| {
        // SAFETY: the path is NUL-terminated; the kernel writes at most the length given to the buffer.
        unsafe { libc::llistxattr(full.as_ptr(), names.as_mut_ptr().cast(), names.len()) }
    });
    match answer {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        answer => answer,
    }
}

/// Sets attribute `name` of `path` below `directory`, whether it exists or not.
///
/// # Errors
/// The kernel's.
pub fn set_xattr(directory: BorrowedFd<'_>, path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let full = full_path(directory, path)?;
    let (bytes, length) = (value.as_ptr().cast(), value.len());
    // SAFETY: both strings are NUL-terminated and the value has the length given; the call only reads them.
    done(unsafe { libc::lsetxattr(full.as_ptr(), name.as_ptr(), bytes, length, 0) }.into())
}

/// Removes attribute `name` of `path` below `directory`.
///
/// # Errors
/// The kernel's; `ENODATA` if there is none.
pub fn remove_xattr(directory: BorrowedFd<'_>, path: &Path, name: &CStr) -> io::Result<()> {
    let full = full_path(directory, path)?;
    // SAFETY: both strings are NUL-terminated; the call only reads them.
    done(unsafe { libc::lremovexattr(full.as_ptr(), name.as_ptr()) }.into())
}

fn full_path(directory: BorrowedFd<'_>, path: &Path) -> io::Result<CString> {
    let mut full = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    full.extend_from_slice(if path.as_os_str().is_empty() { b"." } else { path.as_os_str().as_bytes() });
    CString::new(full).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Calls with a buffer that suffices for most, and again with one of the size the kernel names.
fn grow(mut call: impl FnMut(&mut [u8]) -> isize) -> io::Result<Vec<u8>> {
    let mut small = [0; 256];
    if let Ok(length) = usize::try_from(call(&mut small)) {
        return Ok(small[..length].to_vec());
    }
    let mut error = io::Error::last_os_error();
    while error.raw_os_error() == Some(libc::ERANGE) {
        let Ok(size) = usize::try_from(call(&mut [])) else { return Err(io::Error::last_os_error()) };
        let mut buffer = vec![0; size];
        if let Ok(length) = usize::try_from(call(&mut buffer)) {
            buffer.truncate(length);
            return Ok(buffer);
        }
        error = io::Error::last_os_error();
    }
    Err(error)
}
