//! What is copied, as a tar.

use super::{CopyError, CopyPath};
use crate::layer::{EntryTimes, plain_tar};
use rbuild_archive::{BLOCK, END, EntryKind, TarHeader, padding};
use rustix::{
    fs::{FileType, Mode, OFlags, Stat, fgetxattr, fstat, open, readlinkat},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

/// The longest value of `security.capability`.
const LONGEST_CAPABILITY: usize = 64;

/// A file or directory to copy.
#[derive(Debug)]
pub struct CopySource {
    node: OwnedFd,
    stat: Stat,
    path: CopyPath,
}

/// A tar being read.
pub struct CopyTar {
    reader: Box<dyn Read + Send>,
    /// Bytes so far.
    count: u64,
}

impl CopySource {
    pub(super) fn new(node: OwnedFd, stat: Stat, path: CopyPath) -> Self {
        Self { node, stat, path }
    }

    /// True if it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        is_directory(&self.stat)
    }

    /// The name that it has in a tar if nothing else is wanted.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        if self.path.is_content() { b"." } else { self.path.name() }
    }

    /// The tar of it, in which it is called `name`.
    ///
    /// # Errors
    /// [`CopyError::Io`], [`CopyError::Files`]; later failures are errors of the stream.
    pub fn tar(&self, name: &[u8]) -> Result<CopyTar, CopyError> {
        let mut header = Vec::new();
        let again = format!("/proc/self/fd/{}", self.node.as_raw_fd());
        let described = |kind, name| described(kind, name, &self.stat);
        let failed = |action| move |errno: Errno| CopyError::io(action, self.path.as_bytes(), errno);
        let kind = match FileType::from_raw_mode(self.stat.st_mode) {
            FileType::Directory => {
                described(EntryKind::Directory, &[name, b"/"].concat()).write(&mut header);
                let below = plain_tar(&PathBuf::from(again), name, None, EntryTimes::AsTheyAre)?;
                return Ok(CopyTar::new(io::Cursor::new(header).chain(below).chain(&END[..])));
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = open(again.as_str(), flags, Mode::empty()).map_err(failed("open"))?;
                let stat = fstat(&file).map_err(failed("stat"))?;
                let mut capability = [0; LONGEST_CAPABILITY];
                let length = fgetxattr(&file, c"security.capability", &mut capability);
                let capability = length.ok().map(|length| &capability[..length]);
                let size = stat.st_size.unsigned_abs();
                TarHeader { capability, size, ..described(EntryKind::File, name) }.write(&mut header);
                let content = Whole { file: File::from(file), left: size };
                let rest = vec![0; padding(size) % BLOCK];
                let rest = io::Cursor::new(rest).chain(&END[..]);
                return Ok(CopyTar::new(io::Cursor::new(header).chain(content).chain(rest)));
            }
            FileType::Symlink => {
                let target = readlinkat(&self.node, c"", Vec::new()).map_err(failed("readlink"))?;
                let link = target.to_bytes();
                TarHeader { link, ..described(EntryKind::Symlink, name) }.write(&mut header);
                return Ok(CopyTar::new(io::Cursor::new(header).chain(&END[..])));
            }
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket | FileType::Unknown => return Err(failed("copy the socket")(Errno::OPNOTSUPP)),
        };
        described(kind, name).write(&mut header);
        Ok(CopyTar::new(io::Cursor::new(header).chain(&END[..])))
    }
}

fn described<'a>(kind: EntryKind, name: &'a [u8], stat: &Stat) -> TarHeader<'a> {
    let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
    let device = if is_device { stat.st_rdev } else { 0 };
    TarHeader {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        major: rustix::fs::major(device),
        minor: rustix::fs::minor(device),
        ..TarHeader::new(kind, name, stat.st_mode & 0o7777, 0)
    }
}

impl CopyTar {
    fn new(reader: impl Read + Send + 'static) -> Self {
        Self { reader: Box::new(reader), count: 0 }
    }

    /// Bytes that were read.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Read for CopyTar {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(into)?;
        self.count += length as u64;
        Ok(length)
    }
}

/// So many bytes of a file: what is added meanwhile is left out, and one that is cut meanwhile is an error.
struct Whole {
    file: File,
    left: u64,
}

impl Read for Whole {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.file.by_ref().take(self.left).read(into)?;
        if length == 0 && self.left > 0 && !into.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut while it was copied"));
        }
        self.left -= length as u64;
        Ok(length)
    }
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
