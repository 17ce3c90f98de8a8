//! One entry of a tar, with the values of its headers.

use crate::sparse::SparseMap;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A hard link, which is another name of an earlier entry.
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
    /// Any other kind, which does not become a file, with its type flag.
    Unknown(u8),
}

/// One entry, whose content was not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The kind of file.
    pub kind: EntryKind,
    /// The name as written in the tar. It may be absolute or contain `..`.
    pub name: Vec<u8>,
    /// The target of a link as written in the tar; empty for other kinds.
    pub link: Vec<u8>,
    /// Permission bits, with the set-id and sticky bits.
    pub mode: u32,
    /// The numeric user ID of the owner.
    pub uid: u32,
    /// The numeric ID of the group.
    pub gid: u32,
    /// Time of the last modification.
    pub mtime: Time,
    /// Time of the last read access, if a PAX header has it.
    pub atime: Option<Time>,
    /// Number of bytes of content in the tar.
    pub stored: u64,
    /// The places of the content in a file with holes.
    pub sparse: Option<SparseMap>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Names and values of extended attributes, without those of overlayfs.
    pub attributes: Vec<(String, Vec<u8>)>,
}

/// A time with nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970, rounded down.
    pub seconds: i64,
    /// Nanoseconds to add, less than 1,000,000,000.
    pub nanoseconds: u32,
}

impl Entry {
    /// The length of the file that the entry becomes, holes included.
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

    /// The type flag in the header.
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
