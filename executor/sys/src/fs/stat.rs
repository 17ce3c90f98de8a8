//! What the kernel knows about a file, in one call (statx(2)).

use crate::mount::{c_path, done};
use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

/// The basic fields of statx(2), and nothing that would make a network file system ask its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileStat {
    /// File type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Number of names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Device the file is on: major, minor.
    pub device: (u32, u32),
    /// Device the file stands for, if it is a node: major, minor.
    pub special: (u32, u32),
    /// Last change of content: seconds since 1970, nanoseconds.
    pub modified: (i64, u32),
    /// Last change of content or attributes: seconds since 1970, nanoseconds.
    pub changed: (i64, u32),
    /// Last read: seconds since 1970, nanoseconds.
    pub accessed: (i64, u32),
    /// Creation, where the file system records it: seconds since 1970, nanoseconds.
    pub born: Option<(i64, u32)>,
}

impl FileStat {
    /// Permission bits with set-user-id, set-group-id and sticky.
    #[must_use]
    pub const fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// True if this is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// True if this is a regular file.
    #[must_use]
    pub const fn is_regular(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// True if this is a symbolic link.
    #[must_use]
    pub const fn is_symlink(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }

    /// True if this is an overlay whiteout: a character device 0:0.
    #[must_use]
    pub const fn is_whiteout(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFCHR && self.special.0 == 0 && self.special.1 == 0
    }
}

/// Describes `path` below `directory`, not following a final symbolic link.
///
/// # Errors
/// The kernel's.
pub fn stat_at(directory: BorrowedFd<'_>, path: &Path) -> io::Result<FileStat> {
    statx(directory, &c_path(path)?, libc::AT_SYMLINK_NOFOLLOW)
}

/// Describes an open file.
///
/// # Errors
/// The kernel's.
pub fn stat_fd(file: BorrowedFd<'_>) -> io::Result<FileStat> {
    statx(file, c"", libc::AT_EMPTY_PATH)
}

pub(crate) fn statx(directory: BorrowedFd<'_>, path: &CStr, flags: i32) -> io::Result<FileStat> {
    let mut found = MaybeUninit::<libc::statx>::uninit();
    let flags = flags | libc::AT_NO_AUTOMOUNT;
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    // SAFETY: the path is NUL-terminated and the kernel writes one statx structure to the space given.
    let result =
        unsafe { libc::statx(directory.as_raw_fd(), path.as_ptr(), flags, mask, found.as_mut_ptr()) };
    done(result.into())?;
    // SAFETY: the call succeeded, so the kernel has written the whole structure.
    let found = unsafe { found.assume_init() };
    let time = |stamp: libc::statx_timestamp| (stamp.tv_sec, stamp.tv_nsec);
    Ok(FileStat {
        mode: found.stx_mode.into(),
        links: found.stx_nlink,
        uid: found.stx_uid,
        gid: found.stx_gid,
        inode: found.stx_ino,
        size: found.stx_size,
        blocks: found.stx_blocks,
        device: (found.stx_dev_major, found.stx_dev_minor),
        special: (found.stx_rdev_major, found.stx_rdev_minor),
        modified: time(found.stx_mtime),
        changed: time(found.stx_ctime),
        accessed: time(found.stx_atime),
        born: (found.stx_mask & libc::STATX_BTIME != 0).then(|| time(found.stx_btime)),
    })
}
