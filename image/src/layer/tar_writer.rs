//! The tar of a layer as a pure function of its directory, an overlayfs upper directory.
//!
//! Every entry is written, in byte order of names, parents before children, the root not at all. Whiteouts become
//! `.wh.NAME`; an opaque directory has `.wh..wh..opq` as its first entry; both with mode 0, of 1970. Times are whole
//! seconds, owners are numbers, hard links within the layer stay links, sockets are left out, and of the extended
//! attributes only `security.capability` is kept, as Docker keeps it. Equal directories give equal bytes.

use super::whiteout::{self, Marks};
use crate::ImageError;
use rbuild_archive::{BLOCK, ChunkWriter, EntryKind, ReaderGone, TarHeader, padding};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, fgetxattr, openat, readlinkat, statat},
    io::Errno,
};
use std::{
    collections::HashMap,
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Bytes of directory entries asked for in one call; most directories need one.
const DIRECTORY_BUFFER: usize = 64 << 10;

/// Why the writing of a tar ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The reader has been dropped.
    Gone,
    /// The layer cannot be read.
    Failed(ImageError),
}

impl From<ReaderGone> for Stop {
    fn from(ReaderGone: ReaderGone) -> Self {
        Self::Gone
    }
}

/// The times that entries are written with, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryTimes {
    /// Those of the files.
    AsTheyAre,
    /// Those of the files; in the place of later ones this one.
    AtMost(i64),
    /// This one.
    All(i64),
}

impl EntryTimes {
    /// The time of an entry whose file has the time `seconds`.
    pub(crate) fn of(self, seconds: i64) -> i64 {
        match self {
            Self::AsTheyAre => seconds,
            Self::AtMost(latest) => seconds.min(latest),
            Self::All(time) => time,
        }
    }
}

/// Writes the tar of the directory `root` to `out`, without its end, each name below `prefix`: of a layer with `marks`, of
/// a whole root filesystem, which has none, without. Returns how many bytes its regular files have.
pub(crate) fn write_tar(
    (root, prefix): (&Path, Vec<u8>),
    marks: Option<Marks>,
    times: EntryTimes,
    out: &mut ChunkWriter<ImageError>,
) -> Result<u64, Stop> {
    let directory =
        rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed("open", root.to_owned(), errno))?;
    let mut writer = Writer {
        root,
        out,
        path: prefix,
        header: Vec::new(),
        entries: Box::new_uninit_slice(DIRECTORY_BUFFER),
        first_links: HashMap::new(),
        marks,
        times,
        content: 0,
    };
    writer.directory(&directory)?;
    Ok(writer.content)
}

struct Writer<'a> {
    root: &'a Path,
    out: &'a mut ChunkWriter<ImageError>,
    /// Name of the entry at hand, relative, without a slash at the end.
    path: Vec<u8>,
    header: Vec<u8>,
    entries: Box<[MaybeUninit<u8>]>,
    /// The first path of every inode with several links.
    first_links: HashMap<u64, Vec<u8>>,
    marks: Option<Marks>,
    times: EntryTimes,
    /// Bytes of regular files so far.
    content: u64,
}

/// The names in one directory: NUL-terminated in one buffer, and where each begins, sorted.
struct Names {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Names {
    fn get(&self, start: u32) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes[start as usize..]).expect("every name ends in a NUL")
    }
}

impl Writer<'_> {
    fn directory(&mut self, directory: &OwnedFd) -> Result<(), Stop> {
        let length = self.path.len();
        if let Some(marks) = self.marks
            && self.attribute(directory.as_fd(), marks.opaque)?.as_deref() == Some(b"y")
        {
            self.push(whiteout::OPAQUE_NAME);
            self.header(&TarHeader::new(EntryKind::File, &self.path.clone(), 0, 0))?;
            self.path.truncate(length);
        }
        let names = self.names(directory.as_fd())?;
        for start in &names.starts {
            let name = names.get(*start);
            self.push(name.to_bytes());
            self.entry(directory.as_fd(), name)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Stop> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| self.failed("stat", e))?;
        let path = self.path.clone();
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.subdirectory(parent, name, &stat),
            FileType::CharacterDevice if stat.st_rdev == 0 => return self.whiteout(name),
            FileType::RegularFile => EntryKind::File,
            FileType::Symlink => EntryKind::Symlink,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket | FileType::Unknown => return Ok(()),
        };
        if stat.st_nlink > 1 {
            if let Some(first) = self.first_links.get(&stat.st_ino).cloned() {
                return self.header(&TarHeader {
                    link: &first,
                    ..self.described(EntryKind::HardLink, &path, &stat)
                });
            }
            self.first_links.insert(stat.st_ino, path.clone());
        }
        match kind {
            EntryKind::File => {
                self.content += stat.st_size as u64;
                self.file(parent, name, &stat)
            }
            EntryKind::Symlink => {
                let target = readlinkat(parent, name, Vec::with_capacity(stat.st_size as usize + 1));
                let target = target.map_err(|e| self.failed("read the link", e))?;
                self.header(&TarHeader { link: target.as_bytes(), ..self.described(kind, &path, &stat) })
            }
            EntryKind::CharDevice
            | EntryKind::BlockDevice
            | EntryKind::Fifo
            | EntryKind::Directory
            | EntryKind::HardLink
            | EntryKind::Unknown(_) => self.header(&self.described(kind, &path, &stat)),
        }
    }

    fn subdirectory(&mut self, parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Stop> {
        let slashed = [&self.path, &b"/"[..]].concat();
        self.header(&self.described(EntryKind::Directory, &slashed, stat))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(parent, name, flags, Mode::empty()).map_err(|e| self.failed("open", e))?;
        self.directory(&directory)
    }

    fn whiteout(&mut self, name: &CStr) -> Result<(), Stop> {
        let parent = &self.path[..self.path.len() - name.count_bytes()];
        let path = [parent, whiteout::WHITEOUT_PREFIX, name.to_bytes()].concat();
        self.header(&TarHeader::new(EntryKind::File, &path, 0, 0))
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Stop> {
        let file = open(parent, name).map_err(|e| self.failed("open", e))?;
        if let Some(marks) = self.marks
            && stat.st_size == 0
            && self.attribute(file.as_fd(), marks.whiteout)?.is_some()
        {
            return self.whiteout(name);
        }
        let capability = self.attribute(file.as_fd(), "security.capability")?;
        let path = self.path.clone();
        let header = self.described(EntryKind::File, &path, stat);
        self.header(&TarHeader { capability: capability.as_deref(), ..header })?;
        let mut left = stat.st_size as u64;
        while left > 0 {
            let space = self.out.space();
            let want = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match rustix::io::read(&file, &mut space[..want]) {
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(self.failed("read", errno)),
                // rbuild does not change a committed layer: another program has cut the file
                Ok(0) => return Err(self.failed_with("read", io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
            };
            self.out.advance(count)?;
            left -= count as u64;
        }
        self.out.put(&[0; BLOCK][..padding(stat.st_size as u64)])?;
        Ok(())
    }

    fn names(&mut self, directory: BorrowedFd<'_>) -> Result<Names, Stop> {
        let mut names = Names { bytes: Vec::new(), starts: Vec::new() };
        let mut list = RawDir::new(directory, &mut self.entries);
        while let Some(entry) = list.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return Err(self.failed("read", errno)),
            };
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.starts.push(names.bytes.len() as u32);
                names.bytes.extend_from_slice(name.to_bytes_with_nul());
            }
        }
        let mut starts = std::mem::take(&mut names.starts);
        starts.sort_unstable_by(|a, b| names.get(*a).cmp(names.get(*b)));
        Ok(Names { starts, ..names })
    }

    fn attribute(&self, file: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>, Stop> {
        // security.capability is at most 24 bytes (linux/capability.h, struct vfs_ns_cap_data)
        let mut value = [0; 64];
        match fgetxattr(file, name, &mut value) {
            Ok(length) => Ok(Some(value[..length].to_vec())),
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            Err(errno) => Err(self.failed("read the attributes of", errno)),
        }
    }

    fn header(&mut self, header: &TarHeader<'_>) -> Result<(), Stop> {
        self.header.clear();
        header.write(&mut self.header);
        self.out.put(&self.header)?;
        Ok(())
    }

    fn described<'a>(&self, kind: EntryKind, name: &'a [u8], stat: &Stat) -> TarHeader<'a> {
        let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let device = if is_device { stat.st_rdev } else { 0 };
        TarHeader {
            kind,
            name,
            link: b"",
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: if kind == EntryKind::File { stat.st_size as u64 } else { 0 },
            mtime: self.times.of(stat.st_mtime),
            major: rustix::fs::major(device),
            minor: rustix::fs::minor(device),
            capability: None,
        }
    }

    fn push(&mut self, name: &[u8]) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
    }

    fn failed(&self, action: &'static str, errno: Errno) -> Stop {
        self.failed_with(action, errno.into())
    }

    fn failed_with(&self, action: &'static str, source: io::Error) -> Stop {
        use std::os::unix::ffi::OsStrExt;
        let path = self.root.join(std::ffi::OsStr::from_bytes(&self.path));
        Stop::Failed(ImageError::LayerFile { action, path, source })
    }
}

/// Opens a file for reading, where that is allowed without a change of its time of access, which would have to be written.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        // it is another user's, in the root of a running container
        Err(Errno::PERM) => openat(parent, name, flags, Mode::empty()),
        opened => opened,
    }
}

fn failed(action: &'static str, path: PathBuf, errno: Errno) -> Stop {
    Stop::Failed(ImageError::LayerFile { action, path, source: errno.into() })
}
