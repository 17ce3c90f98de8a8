//! What goes to the disk, and when.

use nix::libc;
use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd},
};

/// Lets the kernel begin to write a part of a file to the disk, and does not wait for it: a later sync has less left to do. What
/// cannot be begun is left for then.
pub fn begin_to_write(file: &File, from: u64, length: u64) {
    let (Ok(from), Ok(length)) = (libc::off64_t::try_from(from), libc::off64_t::try_from(length)) else {
        return;
    };
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: sync_file_range(2) takes numbers alone, and the descriptor is open as long as `file` is borrowed.
    unsafe { libc::sync_file_range(fd, from, length, libc::SYNC_FILE_RANGE_WRITE) };
}
