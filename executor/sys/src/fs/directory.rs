//! Reading directories in big pieces without an allocation per entry (getdents64(2)).

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// One call returns some 800 names of ordinary length; a larger buffer gained nothing on ext4 and tmpfs.
const BUFFER: usize = 32 * 1024;

/// Bytes of a record before its name: inode, offset, record length, type.
const NAME_OFFSET: usize = 19;

/// Type of a directory entry; `Unknown` where the file system does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileType {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Ask stat.
    Unknown,
}

/// One name in a directory, borrowed from the reader's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// The name; never `.` or `..`.
    pub name: &'a CStr,
    /// Inode number.
    pub inode: u64,
    /// What the name stands for.
    pub file_type: FileType,
}

/// A directory being read; the order is the file system's.
#[derive(Debug)]
pub struct DirectoryReader {
    directory: OwnedFd,
    buffer: Vec<u8>,
    position: usize,
    filled: usize,
}

impl DirectoryReader {
    /// Reads the directory behind `directory` (opened for reading, not `O_PATH`) from its current offset.
    #[must_use]
    pub fn new(directory: OwnedFd) -> Self {
        Self { directory, buffer: Vec::new(), position: 0, filled: 0 }
    }

    /// As [`DirectoryReader::new`], using the buffer of a finished reader.
    #[must_use]
    pub fn reuse(self, directory: OwnedFd) -> Self {
        Self { directory, buffer: self.buffer, position: 0, filled: 0 }
    }

    /// The next entry, or `None` at the end.
    ///
    /// # Errors
    /// The kernel's.
    #[expect(
        clippy::should_implement_trait,
        reason = "entries borrow from the reader, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> io::Result<Option<Entry<'_>>> {
        loop {
            if self.position == self.filled && !self.fill()? {
                return Ok(None);
            }
            let start = self.position;
            let record = &self.buffer[start..self.filled];
            let length = usize::from(u16::from_ne_bytes([record[16], record[17]]));
            self.position += length;
            if is_dot(&record[NAME_OFFSET..]) {
                continue;
            }
            // Borrowed again from the buffer: the borrow checker ties `record` to every turn of the loop.
            let record = &self.buffer[start..start + length];
            let inode = u64::from_ne_bytes(record[..8].try_into().expect("eight bytes make an inode number"));
            let name =
                CStr::from_bytes_until_nul(&record[NAME_OFFSET..]).expect("the kernel ends names with NUL");
            return Ok(Some(Entry { name, inode, file_type: file_type(record[18]) }));
        }
    }

    /// The directory, for calls relative to it.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.resize(BUFFER, 0);
        let (fd, target, length) = (self.directory.as_raw_fd(), self.buffer.as_mut_ptr(), self.buffer.len());
        // SAFETY: the kernel writes at most `length` bytes to the buffer, which is that long.
        let result = unsafe { libc::syscall(libc::SYS_getdents64, fd, target, length) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        (self.position, self.filled) = (0, result as usize);
        Ok(self.filled > 0)
    }
}

fn is_dot(name: &[u8]) -> bool {
    matches!(name, [b'.', 0, ..] | [b'.', b'.', 0, ..])
}

fn file_type(kind: u8) -> FileType {
    match kind {
        libc::DT_REG => FileType::Regular,
        libc::DT_DIR => FileType::Directory,
        libc::DT_LNK => FileType::Symlink,
        libc::DT_CHR => FileType::CharDevice,
        libc::DT_BLK => FileType::BlockDevice,
        libc::DT_FIFO => FileType::Fifo,
        libc::DT_SOCK => FileType::Socket,
        _ => FileType::Unknown,
    }
}
