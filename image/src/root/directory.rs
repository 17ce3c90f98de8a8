//! Copying a root filesystem into a directory of the host.
//!
//! Everything is made beneath the directory's descriptor and never through a symbolic link, whatever the image or the
//! directory has: a link that stands where a directory belongs is replaced. A file has its name only when it is whole. All
//! files belong to the user who exports them, as with docker.

use super::{
    descent::{Descent, open_beneath},
    remove::{kind, names, remove_all},
};
use crate::{ImageError, layer::EntryTimes};
use rbuild_cache::Cancel;
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fchmod, linkat, mkdirat, mknodat,
        openat, readlinkat, renameat, statat, symlinkat, utimensat,
    },
    io::Errno,
    process::{Pid, test_kill_process},
};
use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, CString, OsStr},
    fs::{DirBuilder, File},
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::DirBuilderExt},
    },
    path::{Path, PathBuf},
};

/// Bytes copied between two looks at the flag that stops the work.
const PIECE: u64 = 16 << 20;

/// How a root filesystem is written into a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryOptions {
    /// The treatment of files that the image does not have.
    pub stale: StaleFiles,
    /// The times of the files.
    pub times: EntryTimes,
}

/// The treatment of what the directory had before and the image has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleFiles {
    /// It stays.
    #[default]
    Kept,
    /// It is removed.
    Removed,
}

/// Copies the files below `root` into `destination`, which is made with mode 0700 when it is not there.
///
/// # Errors
/// [`ImageError::OutputFile`] for a file that cannot be written, [`ImageError::LayerFile`] for one that cannot be read,
/// [`ImageError::Canceled`] when `cancel` was called.
pub fn export_root_directory(
    root: BorrowedFd<'_>,
    destination: &Path,
    options: &DirectoryOptions,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(destination);
    let failed = |action, source| ImageError::OutputFile { action, path: destination.to_owned(), source };
    made.map_err(|source| failed("make", source))?;
    let to = File::open(destination).map_err(|source| failed("open", source))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = openat(root, c".", flags, Mode::empty());
    let from = from.map_err(|errno| ImageError::LayerFile {
        action: "open",
        path: "/".into(),
        source: errno.into(),
    })?;
    let to = OwnedFd::from(to);
    let copying = Copying {
        destination,
        top: to.try_clone().map_err(|source| failed("open", source))?,
        options: *options,
        cancel,
        path: Vec::new(),
        links: HashMap::new(),
        draft: c_name(format!("{DRAFT}{}", std::process::id()).into_bytes()),
    };
    copying.run(from, to)
}

struct Copying<'a> {
    destination: &'a Path,
    /// The destination.
    top: OwnedFd,
    options: DirectoryOptions,
    cancel: &'a Cancel,
    /// The relative path of what is at hand.
    path: Vec<u8>,
    /// The first path of every file with several links.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The name that a file has until it is whole.
    draft: CString,
}

/// A directory that is being copied.
struct Level {
    /// Its name and what its copy gets at the end; `None` for the top.
    entered: Option<(CString, Stat)>,
    /// What is in it, and how many of these have been looked at.
    wanted: Vec<CString>,
    next: usize,
    /// Bytes of its path.
    length: usize,
}

impl Copying<'_> {
    fn run(mut self, from: OwnedFd, to: OwnedFd) -> Result<(), ImageError> {
        let mut from = Descent::of_image(from);
        let mut to = Descent::of_host(to).map_err(|errno| self.unwritten("stat", errno))?;
        let copied = self.tree(&mut from, &mut to);
        if copied.is_err() {
            // a link or device that did not get its name; a file is removed where it was made
            let _ = remove_all(to.here(), &self.draft);
        }
        copied
    }

    /// Copies everything. Nothing here grows with the depth of the tree but a list, because trees of strangers are deep.
    fn tree(&mut self, from: &mut Descent, to: &mut Descent) -> Result<(), ImageError> {
        let mut levels = vec![self.begin((from.here(), to.here()), None)?];
        while let Some(level) = levels.last_mut() {
            self.path.truncate(level.length);
            let Some(name) = level.wanted.get(level.next).cloned() else {
                self.end(level, from, to)?;
                levels.pop();
                continue;
            };
            level.next += 1;
            self.cancel.check().map_err(|_| ImageError::Canceled)?;
            if level.length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.to_bytes());
            let here = (from.here(), to.here());
            let stat = statat(here.0, &name, AtFlags::SYMLINK_NOFOLLOW);
            let stat = stat.map_err(|errno| self.unread("stat", errno))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                self.make_directory(here.1, &name)?;
                from.enter(&name).map_err(|errno| self.unread("open", errno))?;
                to.enter(&name).map_err(|errno| self.unwritten("open", errno))?;
                levels.push(self.begin((from.here(), to.here()), Some((name, stat)))?);
            } else {
                self.entry(here, &name, &stat)?;
            }
        }
        Ok(())
    }

    /// Looks at the directory that was entered.
    fn begin(
        &self,
        (from, to): (&OwnedFd, &OwnedFd),
        entered: Option<(CString, Stat)>,
    ) -> Result<Level, ImageError> {
        let wanted = names(from).map_err(|errno| self.unread("read", errno))?;
        let there = names(to).map_err(|errno| self.unwritten("read", errno))?;
        for name in there.iter().filter(|name| !wanted.contains(name) && is_left_behind(name)) {
            remove_all(to, name)
                .map_err(|errno| self.unwritten("remove what a killed build has left in", errno))?;
        }
        Ok(Level { entered, wanted, next: 0, length: self.path.len() })
    }

    /// Leaves the directory `level`, of which everything is there.
    fn end(&self, level: &Level, from: &mut Descent, to: &mut Descent) -> Result<(), ImageError> {
        if self.options.stale == StaleFiles::Removed {
            let wanted: HashSet<&CString> = level.wanted.iter().collect();
            let there = names(to.here()).map_err(|errno| self.unwritten("read", errno))?;
            for name in there.iter().filter(|name| !wanted.contains(name)) {
                remove_all(to.here(), name)
                    .map_err(|errno| self.unwritten("remove what is old in", errno))?;
            }
        }
        let Some((name, stat)) = &level.entered else { return Ok(()) };
        from.leave().map_err(|errno| self.unread("open the parent of", errno))?;
        let copy = to.leave().map_err(|errno| self.unwritten("open the parent of", errno))?;
        self.finish((to.here(), name), Some(copy.as_fd()), stat)
    }

    /// Copies what is no directory.
    fn entry(
        &mut self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &CStr,
        stat: &Stat,
    ) -> Result<(), ImageError> {
        if matches!(FileType::from_raw_mode(stat.st_mode), FileType::Socket | FileType::Unknown) {
            return Ok(());
        }
        let draft = self.draft.clone();
        // left by a process of this number that was killed
        remove_all(to, &draft).map_err(|errno| self.unwritten("make", errno))?;
        let inode = (stat.st_dev, stat.st_ino);
        let linked = stat.st_nlink > 1 && self.link(inode, (to, &draft))?;
        if !linked {
            self.make((from, to), (name, &draft), stat)?;
            if stat.st_nlink > 1 {
                self.links.insert(inode, self.path.clone());
            }
        }
        let placed = kind(to, name).and_then(|there| match there {
            // a rename replaces anything else
            Some(FileType::Directory) => remove_all(to, name),
            Some(_) | None => Ok(()),
        });
        placed.and_then(|()| renameat(to, &draft, to, name)).map_err(|errno| self.unwritten("make", errno))
    }

    fn make_directory(&self, to: &OwnedFd, name: &CStr) -> Result<(), ImageError> {
        let there = kind(to, name).map_err(|errno| self.unwritten("stat", errno))?;
        if there == Some(FileType::Directory) {
            return Ok(());
        }
        let made = remove_all(to, name).and_then(|()| mkdirat(to, name, Mode::RWXU));
        made.map_err(|errno| self.unwritten("make", errno))
    }

    /// Makes the draft a further link of a file that was written before; false when none was.
    fn link(&self, inode: (u64, u64), (to, draft): (&OwnedFd, &CStr)) -> Result<bool, ImageError> {
        let Some(first) = self.links.get(&inode) else { return Ok(false) };
        let slash = first.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = slash.map_or((&b"."[..], &first[..]), |at| (&first[..at], &first[at + 1..]));
        let linked = open_beneath(&self.top, parent)
            .and_then(|parent| linkat(parent, name, to, draft, AtFlags::empty()));
        linked.map_err(|errno| self.unwritten("link", errno))?;
        Ok(true)
    }

    /// Makes what is no directory, as the draft.
    fn make(
        &self,
        (from, to): (&OwnedFd, &OwnedFd),
        (name, draft): (&CStr, &CStr),
        stat: &Stat,
    ) -> Result<(), ImageError> {
        let file_type = FileType::from_raw_mode(stat.st_mode);
        match file_type {
            FileType::RegularFile => {
                let copied = self.file((from, to), (name, draft), stat);
                if copied.is_err() {
                    // why it could not be written is what people should hear of
                    let _ = remove_all(to, draft);
                }
                return copied;
            }
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new());
                let target = target.map_err(|errno| self.unread("read the link", errno))?;
                symlinkat(target, to, draft).map_err(|errno| self.unwritten("make", errno))?;
            }
            FileType::Fifo
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Directory
            | FileType::Socket
            | FileType::Unknown => {
                let made = mknodat(to, draft, file_type, Mode::RUSR | Mode::WUSR, stat.st_rdev);
                made.map_err(|errno| self.unwritten("make", errno))?;
            }
        }
        self.finish((to, draft), None, stat)
    }

    fn file(
        &self,
        (from, to): (&OwnedFd, &OwnedFd),
        (name, draft): (&CStr, &CStr),
        stat: &Stat,
    ) -> Result<(), ImageError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = openat(from, name, flags, Mode::empty());
        let mut source = File::from(source.map_err(|errno| self.unread("open", errno))?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = openat(to, draft, flags, Mode::RUSR | Mode::WUSR);
        let mut copy = File::from(copy.map_err(|errno| self.unwritten("make", errno))?);
        let failed = |source| ImageError::OutputFile { action: "write", path: self.shown(), source };
        while io::copy(&mut source.by_ref().take(PIECE), &mut copy).map_err(failed)? == PIECE {
            self.cancel.check().map_err(|_| ImageError::Canceled)?;
        }
        self.finish((to, draft), Some(copy.as_fd()), stat)
    }

    /// Gives `name` in `to`, which `open` is unless it cannot be opened, the mode and times of `stat`.
    fn finish(
        &self,
        (to, name): (&OwnedFd, &CStr),
        open: Option<BorrowedFd<'_>>,
        stat: &Stat,
    ) -> Result<(), ImageError> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let set = match open {
            Some(open) => fchmod(open, mode),
            None if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Ok(()),
            None => rustix::fs::chmodat(to, name, mode, AtFlags::empty()),
        };
        set.map_err(|errno| self.unwritten("set the mode of", errno))?;
        let seconds = self.options.times.of(stat.st_mtime);
        let nanoseconds = if seconds == stat.st_mtime { stat.st_mtime_nsec } else { 0 };
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(to, name, &times, nofollow).map_err(|errno| self.unwritten("set the times of", errno))
    }

    fn unread(&self, action: &'static str, errno: Errno) -> ImageError {
        let path = Path::new("/").join(OsStr::from_bytes(&self.path));
        ImageError::LayerFile { action, path, source: errno.into() }
    }

    fn unwritten(&self, action: &'static str, errno: Errno) -> ImageError {
        ImageError::OutputFile { action, path: self.shown(), source: errno.into() }
    }

    fn shown(&self) -> PathBuf {
        self.destination.join(OsStr::from_bytes(&self.path))
    }
}

/// The beginning of a draft's name; the number of the process follows.
const DRAFT: &str = ".rbuild-";

/// True if `name` is that of a draft whose process has ended.
fn is_left_behind(name: &CStr) -> bool {
    let number = name.to_str().ok().and_then(|name| name.strip_prefix(DRAFT)?.parse::<i32>().ok());
    let process = number.and_then(Pid::from_raw);
    process.is_some_and(|process| test_kill_process(process) == Err(Errno::SRCH))
}

fn c_name(name: Vec<u8>) -> CString {
    CString::new(name).expect("a name made of a word and a number has no NUL")
}
