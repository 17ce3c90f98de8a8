//! Permission bits without following a symbolic link (fchmodat2(2), Linux 6.6).

use crate::mount::{c_path, done};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

/// The same number on every architecture; libc does not name it on all.
const FCHMODAT2: libc::c_long = 452;

/// Sets the permission bits of `path` below `directory`, with set-user-id, set-group-id and sticky. A final
/// symbolic link is not followed; it has no bits of its own, so for one the answer is `EOPNOTSUPP`.
///
/// # Errors
/// The kernel's.
pub fn set_mode(directory: BorrowedFd<'_>, path: &Path, mode: u32) -> io::Result<()> {
    let name = c_path(path)?;
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the path is a NUL-terminated string the call only reads.
    done(unsafe { libc::syscall(FCHMODAT2, directory.as_raw_fd(), name.as_ptr(), mode, flags) })
}
