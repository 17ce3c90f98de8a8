//! The tar of a layer as a pure function of its directory, an overlayfs upper directory.
//!
//! Every entry is written, in byte order of names, parents before children, the root not at all. Whiteouts become
//! `.wh.NAME`; an opaque directory has `.wh..wh..opq` as its first entry; both with mode 0, of 1970. Times are whole
//! seconds, owners are numbers, hard links within the layer stay links, sockets are left out, and of the extended
//! attributes only `security.capability` is kept, as Docker keeps it. Equal directories give equal bytes.

use super::{
    look_ahead::{self, AHEAD, End, Failure, Helpers, Looked, Small, open},
    scout::{Scout, Way},
    whiteout::{self, Marks},
};
use crate::ImageError;
use rbuild_archive::{BLOCK, ChunkWriter, EntryKind, ReaderGone, TarHeader, padding};
use rustix::{
    fs::{FileType, Mode, OFlags, Stat, readlinkat},
    io::Errno,
};
use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    ffi::CStr,
    io,
    ops::Range,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

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
        first_links: BTreeMap::new(),
        linked: Vec::new(),
        marks,
        times,
        content: 0,
    };
    writer.tree(&Arc::new(directory))?;
    Ok(writer.content)
}

struct Writer<'a> {
    root: &'a Path,
    out: &'a mut ChunkWriter<ImageError>,
    /// Name of the entry at hand, relative, without a slash at the end.
    path: Vec<u8>,
    header: Vec<u8>,
    /// The first path of every inode with several links, which is each file of a layer that shares its files with another: where it is
    /// in `linked`.
    first_links: BTreeMap<u64, Range<usize>>,
    linked: Vec<u8>,
    marks: Option<Marks>,
    times: EntryTimes,
    /// Bytes of regular files so far.
    content: u64,
}

impl Writer<'_> {
    /// Everything below `root`. Other threads look ahead once there is more than a few directories of it.
    fn tree(&mut self, root: &Arc<OwnedFd>) -> Result<(), Stop> {
        let helpers = Helpers::new();
        std::thread::scope(|scope| {
            let _end = End(&helpers);
            let (mut scout, mut ahead, mut started) = (Scout::new(root), VecDeque::new(), false);
            let mut lengths = Vec::new();
            self.opaque_mark(root.as_fd())?;
            loop {
                while ahead.len() < AHEAD {
                    let Some(way) = scout.next() else { break };
                    match &way {
                        Way::Names(piece) => helpers.push(piece),
                        Way::Enter(..) | Way::Leave | Way::Unreadable(_) => {}
                    }
                    ahead.push_back(way);
                }
                if !started && ahead.len() == AHEAD {
                    started = true;
                    (0..Helpers::count()).for_each(|_| drop(scope.spawn(|| helpers.help())));
                }
                match ahead.pop_front() {
                    Some(way) => self.go(way, &helpers, &mut lengths)?,
                    None => return Ok(()),
                }
            }
        })
    }

    fn go(&mut self, way: Way, helpers: &Helpers, lengths: &mut Vec<usize>) -> Result<(), Stop> {
        match way {
            Way::Names(piece) => {
                let length = self.path.len();
                for (name, looked) in piece.names().iter().zip(helpers.looked(&piece)) {
                    self.push(name.text.to_bytes());
                    let looked = looked.as_ref().map_err(|failure| self.failure(*failure))?;
                    self.entry(piece.directory().as_fd(), &name.text, looked)?;
                    self.path.truncate(length);
                }
                Ok(())
            }
            Way::Enter(name, directory) => {
                lengths.push(self.path.len());
                self.push(name.to_bytes());
                let directory = directory.map_err(|failure| self.failure(failure))?;
                self.opaque_mark(directory.as_fd())
            }
            Way::Unreadable(failure) => Err(self.failure(failure)),
            Way::Leave => {
                // nothing is left after the root
                self.path.truncate(lengths.pop().unwrap_or(0));
                Ok(())
            }
        }
    }

    /// The first entry of a directory that hides the one below it.
    fn opaque_mark(&mut self, directory: BorrowedFd<'_>) -> Result<(), Stop> {
        let length = self.path.len();
        if let Some(marks) = self.marks
            && self.attribute(directory, marks.opaque)?.as_deref() == Some(b"y")
        {
            self.push(whiteout::OPAQUE_NAME);
            self.header(&TarHeader::new(EntryKind::File, &self.path.clone(), 0, 0))?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr, looked: &Looked) -> Result<(), Stop> {
        let (stat, path) = (&looked.stat, self.path.clone());
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let slashed = [&path, &b"/"[..]].concat();
                return self.header(&self.described(EntryKind::Directory, &slashed, stat));
            }
            FileType::CharacterDevice if stat.st_rdev == 0 => return self.whiteout(name),
            FileType::RegularFile => EntryKind::File,
            FileType::Symlink => EntryKind::Symlink,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket | FileType::Unknown => return Ok(()),
        };
        if stat.st_nlink > 1 {
            let start = self.linked.len();
            match self.first_links.entry(stat.st_ino) {
                Entry::Occupied(first) => {
                    let link = &self.linked[first.get().clone()].to_vec();
                    return self
                        .header(&TarHeader { link, ..self.described(EntryKind::HardLink, &path, stat) });
                }
                Entry::Vacant(vacant) => {
                    self.linked.extend_from_slice(&path);
                    vacant.insert(start..self.linked.len());
                }
            }
        }
        match kind {
            EntryKind::File => {
                self.content += stat.st_size as u64;
                match &looked.small {
                    Some(small) => self.small_file(small, stat),
                    None => self.file(parent, name, stat),
                }
            }
            EntryKind::Symlink => {
                let target = readlinkat(parent, name, Vec::with_capacity(stat.st_size as usize + 1));
                let target = target.map_err(|e| self.failed("read the link", e))?;
                self.header(&TarHeader { link: target.as_bytes(), ..self.described(kind, &path, stat) })
            }
            EntryKind::CharDevice
            | EntryKind::BlockDevice
            | EntryKind::Fifo
            | EntryKind::Directory
            | EntryKind::HardLink
            | EntryKind::Unknown(_) => self.header(&self.described(kind, &path, stat)),
        }
    }

    fn whiteout(&mut self, name: &CStr) -> Result<(), Stop> {
        let parent = &self.path[..self.path.len() - name.count_bytes()];
        let path = [parent, whiteout::WHITEOUT_PREFIX, name.to_bytes()].concat();
        self.header(&TarHeader::new(EntryKind::File, &path, 0, 0))
    }

    fn small_file(&mut self, small: &Small, stat: &Stat) -> Result<(), Stop> {
        if small.content.len() as u64 != stat.st_size as u64 {
            return Err(self.cut_short());
        }
        let path = self.path.clone();
        let header = self.described(EntryKind::File, &path, stat);
        self.header(&TarHeader { capability: small.capability.as_deref(), ..header })?;
        self.out.put(&small.content)?;
        self.out.put(&[0; BLOCK][..padding(stat.st_size as u64)])?;
        Ok(())
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
                Ok(0) => return Err(self.cut_short()),
                Ok(count) => count,
            };
            self.out.advance(count)?;
            left -= count as u64;
        }
        self.out.put(&[0; BLOCK][..padding(stat.st_size as u64)])?;
        Ok(())
    }

    fn attribute(&self, file: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>, Stop> {
        look_ahead::attribute(file, name).map_err(|failure| self.failure(failure))
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

    /// rbuild does not change a committed layer: another program has cut the file.
    fn cut_short(&self) -> Stop {
        self.failed_with("read", io::ErrorKind::UnexpectedEof.into())
    }

    fn failure(&self, (action, errno): Failure) -> Stop {
        self.failed(action, errno)
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

fn failed(action: &'static str, path: PathBuf, errno: Errno) -> Stop {
    Stop::Failed(ImageError::LayerFile { action, path, source: errno.into() })
}
