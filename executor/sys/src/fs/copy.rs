//! Copying a file's content with as little of it passing through this process as the file systems allow.

use nix::errno::Errno;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// Whether source and copy may share their blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Try a reflink first (btrfs, xfs, bcachefs): nothing is copied until one of them is written.
    Reflink,
    /// Copy: for file systems known not to share, where asking costs a call per file.
    Copy,
}

/// `FICLONE`, the same on every architecture rbuild runs on.
const FICLONE: libc::c_ulong = 0x4004_9409;

/// One piece of a copy by read and write.
const BUFFER: usize = 128 * 1024;

/// Copies up to `length` bytes (the source's size, for a whole file) from the start of `source` to the empty
/// file `destination`; returns the bytes copied, fewer only if the source is shorter. The descriptors'
/// offsets are moved.
///
/// # Errors
/// The kernel's.
pub fn copy_file(
    source: BorrowedFd<'_>,
    destination: BorrowedFd<'_>,
    length: u64,
    sharing: Sharing,
) -> io::Result<u64> {
    if length == 0 {
        return Ok(0);
    }
    if sharing == Sharing::Reflink && reflink(source, destination) {
        return Ok(length);
    }
    let mut copied = 0;
    while copied < length {
        let piece = usize::try_from(length - copied).unwrap_or(usize::MAX).min(1 << 30);
        match copy_in_kernel(source, destination, piece) {
            Ok(0) => break,
            Ok(count) => copied += count as u64,
            Err(Errno::EINTR) => {}
            Err(Errno::EXDEV | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM)
                if copied == 0 =>
            {
                return copy_through_memory(source, destination, length);
            }
            Err(error) => return Err(error.into()),
        }
    }
    // procfs and sysfs files claim a size and give nothing to copy_file_range.
    if copied == 0 { copy_through_memory(source, destination, length) } else { Ok(copied) }
}

fn reflink(source: BorrowedFd<'_>, destination: BorrowedFd<'_>) -> bool {
    // SAFETY: FICLONE takes a descriptor number and touches no memory of this process.
    unsafe { libc::ioctl(destination.as_raw_fd(), FICLONE, source.as_raw_fd()) == 0 }
}

/// copy_file_range(2) at the descriptors' own offsets.
fn copy_in_kernel(
    source: BorrowedFd<'_>,
    destination: BorrowedFd<'_>,
    length: usize,
) -> Result<usize, Errno> {
    let (from, to, here) = (source.as_raw_fd(), destination.as_raw_fd(), ptr::null_mut());
    // SAFETY: null offsets mean the descriptors' own; no memory of this process is touched.
    let result = unsafe { libc::copy_file_range(from, here, to, here, length, 0) };
    usize::try_from(result).map_err(|_| Errno::last())
}

fn copy_through_memory(source: BorrowedFd<'_>, destination: BorrowedFd<'_>, length: u64) -> io::Result<u64> {
    let reader = File::from(source.try_clone_to_owned()?);
    let mut writer = File::from(destination.try_clone_to_owned()?);
    let mut buffer = vec![0; BUFFER.min(usize::try_from(length).unwrap_or(BUFFER))];
    let mut rest = reader.take(length);
    let mut copied = 0;
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => {
                writer.write_all(&buffer[..count])?;
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
