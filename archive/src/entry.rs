//! One entry of a tar, as its headers describe it.

use crate::sparse::SparseMap;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// Another name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A FIFO.
    Fifo,
    /// None of those that become files; its type flag.
    Unknown(u8),
}

/// One entry, its content not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its name as it stands in the tar; it may be absolute or have `..` in it.
    pub name: Vec<u8>,
    /// The target of a link as it stands in the tar, else empty.
    pub link: Vec<u8>,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When it was last modified.
    pub mtime: Time,
    /// When it was last read, if a PAX header says so.
    pub atime: Option<Time>,
    /// Bytes of content in the tar.
    pub stored: u64,
    /// Where the content belongs, when the file has holes.
    pub sparse: Option<SparseMap>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Names and values of extended attributes, without overlayfs' own.
    pub attributes: Vec<(String, Vec<u8>)>,
}

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970, rounded down.
    pub seconds: i64,
    /// What comes on top, less than 1,000,000,000.
    pub nanoseconds: u32,
}

impl Entry {
    /// The length of the file it becomes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored, SparseMap::size)
    }
}

impl EntryKind {
    /// The kind of a header with the type flag `flag` and this name.
    pub(crate) fn of(flag: u8, name: &[u8]) -> Self {
        match flag {
            // before ustar a directory was a file whose name ends in a slash
            0 | b'0' if name.ends_with(b"/") => Self::Directory,
            0 | b'0' | b'7' | b'S' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            other => Self::Unknown(other),
        }
    }

    /// Its type flag.
    pub(crate) fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
            Self::Unknown(flag) => flag,
        }
    }
}
