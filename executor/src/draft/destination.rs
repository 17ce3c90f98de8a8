//! Where a copy goes: the draft's upper directory over the parent's files, seen as one tree.
//!
//! A copy only adds and replaces, so the upper directory gets no whiteouts: a file in it hides whatever is below, a
//! directory in it merges with a directory below. Directories that have to be in the upper only because something
//! below them is new are copied up with the metadata they have.

use super::{
    policy::{Policy, stamps},
    taken::Taken,
};
use crate::{
    ExecutorError, RootView,
    rooted::{FileType, Resolved, Rooted, Space, file_type, is_dir, parent, shown},
    select::{Meta, Owner, Time},
    xattrs::{self, Xattrs},
};
use rbuild_cache::LayerDraft;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, Stat, fstat, mkdirat, openat, statat, unlinkat, utimensat},
    io::Errno,
};
use std::{
    collections::{HashMap, HashSet},
    time::{SystemTime, UNIX_EPOCH},
};

/// The parent's part of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    /// The parent has no such directory.
    Nothing,
    /// The parent has it too.
    Merged,
}

/// How a directory came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    New,
    Existing,
}

/// The tree a copy changes.
#[derive(Debug)]
pub(crate) struct Destination<'a> {
    pub(crate) upper: Rooted,
    pub(crate) view: &'a RootView,
    pub(crate) now: Time,
    /// What everything in the upper takes; its directories, where they end, count at the end.
    pub(crate) taken: Taken,
    /// Directories known to be in the upper directory.
    dirs: HashMap<Vec<u8>, Record>,
    /// Bytes of their paths.
    remembered: u64,
    /// Directories of the upper that hide the parent's.
    opaque: HashSet<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    below: Below,
    /// Set at the end; `None` when the caller sets them.
    times: Option<(Time, Time)>,
}

/// Metadata of directories made on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewDir {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
}

impl<'a> Destination<'a> {
    /// The draft over `view`. The root directory becomes what it is in the view.
    pub(crate) fn new(
        draft: &LayerDraft,
        view: &'a RootView,
        now: SystemTime,
    ) -> Result<Self, ExecutorError> {
        let path = draft.fs();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| ExecutorError::system("open", path.as_os_str().as_encoded_bytes(), errno))?;
        let now = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => {
                Time { seconds: since.as_secs() as i64, nanoseconds: i64::from(since.subsec_nanos()) }
            }
            // only an epoch is as early as that, and has whole seconds
            Err(before) => Time { seconds: -(before.duration().as_secs() as i64), nanoseconds: 0 },
        };
        let taken = Taken::beneath(&fd, draft.store());
        let (dirs, opaque) = (HashMap::new(), HashSet::new());
        let mut this = Self { upper: Rooted::new(fd), view, now, taken, dirs, remembered: 0, opaque };
        this.adopt(b"")?;
        Ok(this)
    }

    /// Makes the directory at canonical `path` and what is missing above it.
    pub(crate) fn make_dirs(&mut self, path: &[u8], new: NewDir) -> Result<Below, ExecutorError> {
        let mut below = self.dirs[&b""[..]].below;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends = ends.chain((!path.is_empty()).then_some(path.len()));
        for end in ends.collect::<Vec<_>>() {
            let dir = &path[..end];
            below = self.make_dir_in(dir, below, new)?;
        }
        Ok(below)
    }

    /// Makes the directory at canonical `path`, whose parent is in the upper directory and has this `below`.
    pub(crate) fn make_dir_in(
        &mut self,
        path: &[u8],
        below: Below,
        new: NewDir,
    ) -> Result<Below, ExecutorError> {
        match self.dirs.get(path) {
            Some(record) => Ok(record.below),
            None => self.make_dir(path, below, new),
        }
    }

    /// As [`Self::make_dirs`], but leaves the upper directory alone when nothing is missing.
    pub(crate) fn make_dirs_if_missing(
        &mut self,
        target: &Resolved,
        new: NewDir,
    ) -> Result<(), ExecutorError> {
        match &target.found {
            Some(stat) if is_dir(stat) => Ok(()),
            Some(_) => Err(ExecutorError::ParentNotADirectory { path: shown(&target.path) }),
            None => self.make_dirs(&target.path, new).map(drop),
        }
    }

    /// Makes one directory with `meta` unless there is one; its parent must be in the upper directory.
    pub(crate) fn make_dir_like(
        &mut self,
        path: &[u8],
        meta: &Meta,
        xattrs: &Xattrs,
    ) -> Result<Made, ExecutorError> {
        match self.find(path)? {
            Some(stat) if is_dir(&stat) => {
                let new = NewDir { mode: 0o755, owner: (0, 0) };
                self.make_dirs(path, new).map(|_| Made::Existing)
            }
            Some(_) => Err(ExecutorError::NotADirectory { path: shown(path) }),
            None => {
                self.create(path, NewDir { mode: meta.mode, owner: (meta.uid, meta.gid) })?;
                xattrs::write(self.upper.open_dir(path)?, xattrs);
                Ok(Made::New)
            }
        }
    }

    /// Makes room at canonical `path` for something that is not a directory.
    pub(crate) fn make_room(&mut self, path: &[u8]) -> Result<(), ExecutorError> {
        match self.upper.find(path)? {
            Some(stat) if is_dir(&stat) => return Err(ExecutorError::IsADirectory { path: shown(path) }),
            Some(_) => {
                self.taken.give_up();
                unlinkat(self.upper.fd(), path, AtFlags::empty())
                    .map_err(|errno| ExecutorError::system("unlink", path, errno))?;
            }
            None => {
                if self.below(path)?.is_some_and(|stat| is_dir(&stat)) {
                    return Err(ExecutorError::IsADirectory { path: shown(path) });
                }
            }
        }
        self.touch(parent(path));
        Ok(())
    }

    /// A name was added to or removed from the directory `path` of the upper.
    pub(crate) fn touch(&mut self, path: &[u8]) {
        let now = self.now;
        match self.dirs.get_mut(path) {
            Some(record) => record.times = Some((record.times.map_or(now, |(atime, _)| atime), now)),
            None => {
                self.taken.found_dir();
                self.remember(path, Record { below: Below::Merged, times: Some((now, now)) });
            }
        }
    }

    /// The directory `path` of the upper ends with the times of `meta`.
    pub(crate) fn set_times(&mut self, path: &[u8], meta: &Meta) {
        let below = self.dirs.get(path).map_or(Below::Merged, |record| record.below);
        self.remember(path, Record { below, times: Some((meta.atime, meta.mtime)) });
    }

    /// Bytes of the paths of all directories that it has to know until it ends.
    pub(crate) fn remembered(&self) -> u64 {
        self.remembered
    }

    fn remember(&mut self, path: &[u8], record: Record) {
        if self.dirs.insert(path.to_vec(), record).is_none() {
            self.remembered += path.len() as u64;
        }
    }

    /// Whatever was at or below `path` in the upper is gone.
    pub(crate) fn forget(&mut self, path: &[u8]) {
        self.taken.give_up();
        let within =
            |dir: &Vec<u8>| dir.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        self.dirs.retain(|dir, _| !within(dir));
        self.opaque.retain(|dir| !within(dir));
    }

    /// The upper's directory `path` hides the parent's.
    pub(crate) fn set_opaque(&mut self, path: &[u8]) {
        self.opaque.insert(path.to_vec());
    }

    /// The parent's file at `path`, unless the upper directory hides it.
    pub(crate) fn below(&self, path: &[u8]) -> Result<Option<Stat>, ExecutorError> {
        let hidden =
            |dir: &[u8]| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/") || dir.is_empty());
        if !self.opaque.is_empty() && self.opaque.iter().any(|dir| hidden(dir) || dir == path) {
            return Ok(None);
        }
        self.view.rooted().find(path)
    }

    /// Sets the times of the directories that were made or copied up. Returns the bytes that the upper takes, if they are
    /// known.
    pub(crate) fn finish(self) -> Result<Option<u64>, ExecutorError> {
        for (path, record) in &self.dirs {
            let name = if path.is_empty() { b"." } else { path.as_slice() };
            if self.taken.bytes().is_some() && self.taken.add_at(self.upper.fd(), name).is_err() {
                self.taken.give_up();
            }
            let Some((atime, mtime)) = record.times else { continue };
            let meta = Meta { mode: 0, uid: 0, gid: 0, mtime, atime };
            utimensat(self.upper.fd(), name, &stamps(&meta), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| ExecutorError::system("utimensat", path, errno))?;
        }
        Ok(self.taken.bytes())
    }

    fn make_dir(&mut self, path: &[u8], above: Below, new: NewDir) -> Result<Below, ExecutorError> {
        let not_a_directory = || ExecutorError::ParentNotADirectory { path: shown(path) };
        if let Some(stat) = self.upper.find(path)? {
            if !is_dir(&stat) {
                return Err(not_a_directory());
            }
            self.taken.found_dir();
            let merged = above == Below::Merged && self.below(path)?.is_some_and(|stat| is_dir(&stat));
            let below = if merged { Below::Merged } else { Below::Nothing };
            self.remember(path, Record { below, times: None });
            return Ok(below);
        }
        let existing = if above == Below::Merged { self.below(path)? } else { None };
        match existing {
            Some(stat) if is_dir(&stat) => self.adopt(path).map(|()| Below::Merged),
            Some(_) => Err(not_a_directory()),
            None => self.create(path, new).map(|()| Below::Nothing),
        }
    }

    fn create(&mut self, path: &[u8], new: NewDir) -> Result<(), ExecutorError> {
        let fail = |call| move |errno: Errno| ExecutorError::system(call, path, errno);
        mkdirat(self.upper.fd(), path, Mode::from_raw_mode(0o700)).map_err(fail("mkdir"))?;
        let fd = self.upper.open_dir(path)?;
        let meta =
            Meta { mode: new.mode, uid: new.owner.0, gid: new.owner.1, mtime: self.now, atime: self.now };
        Policy::overwrite_dir(&fd, &meta).map_err(fail("chown"))?;
        self.touch(parent(path));
        self.remember(path, Record { below: Below::Nothing, times: Some((self.now, self.now)) });
        Ok(())
    }

    /// Copies the parent's directory `path` up, without its content.
    pub(crate) fn adopt(&mut self, path: &[u8]) -> Result<(), ExecutorError> {
        let fail = |call| move |errno: Errno| ExecutorError::system(call, path, errno);
        if !path.is_empty() {
            mkdirat(self.upper.fd(), path, Mode::from_raw_mode(0o700)).map_err(fail("mkdir"))?;
        }
        let (from, to) = (self.view.rooted().open_dir(path)?, self.upper.open_dir(path)?);
        let mut meta = Meta::of(&fstat(&from).map_err(fail("stat"))?, Owner::Kept);
        if path.is_empty() && self.view.is_empty() {
            meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: self.now, atime: self.now };
        }
        Policy::overwrite_dir(&to, &meta).map_err(fail("chown"))?;
        xattrs::write(&to, &xattrs::read(&from));
        let below = if path.is_empty() && self.view.is_empty() { Below::Nothing } else { Below::Merged };
        self.remember(path, Record { below, times: Some((meta.atime, meta.mtime)) });
        Ok(())
    }
}

impl Space for Destination<'_> {
    fn find(&self, path: &[u8]) -> Result<Option<Stat>, ExecutorError> {
        let name = if path.is_empty() { b"." } else { path };
        match statat(self.upper.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => self.below(path),
            // something in the upper hides the directory
            Err(Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(ExecutorError::system("stat", path, errno)),
        }
    }

    fn link_target(&self, path: &[u8]) -> Result<Vec<u8>, ExecutorError> {
        match self.upper.find(path)? {
            Some(stat) if file_type(&stat) == FileType::Symlink => self.upper.link_target(path),
            _ => self.view.rooted().link_target(path),
        }
    }
}
