//! Copying a directory's content, all processors at once. One task is one directory, or a piece of a long one: it
//! makes the subdirectories (whose tasks follow) and files of it, and the thread that finishes a directory's last piece
//! gives the directory its metadata, because its times stay only then.
//!
//! In a directory the parent image does not have, nothing has to be looked up: names are simply created, and only if
//! one is taken already (by an earlier source) is it looked at.

use super::earlier::{Earlier, EarlierDir};
use crate::{
    ExecutorError,
    draft::{
        BUFFER, Below, Birth, Created, Made, Place, Policy, Taken, Ways, failure,
        file::{self, Original},
        stamps,
    },
    rooted::{Rooted, Space as _, is_dir, join, shown},
    select::{Dir, Entry, Kind, Tree},
    workers::Queue,
    xattrs,
};
use rustix::{
    fs::{AtFlags, Mode, fstat, futimens, mkdirat, statat, unlinkat},
    io::Errno,
};
use std::{
    collections::HashSet,
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Entries one task takes.
const CHUNK: usize = 256;

/// A tree to be copied into an existing directory.
pub(crate) struct Subtree<'a> {
    pub(crate) source: &'a Rooted,
    pub(crate) upper: &'a Rooted,
    pub(crate) view: &'a Rooted,
    pub(crate) policy: &'a Policy,
    pub(crate) tree: &'a Tree,
    pub(crate) ways: &'a Ways,
    pub(crate) taken: &'a Taken,
    pub(crate) earlier: Option<&'a Earlier>,
}

/// Who gives the top directory its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Top {
    /// The caller: it is the destination itself.
    Callers,
    /// It is copied like any other directory and was just made, or was there.
    Copied(Made),
}

enum Task<'a> {
    /// A directory that has not been opened yet.
    Open(Unit),
    /// A piece of its entries.
    Piece(Arc<Opened<'a>>, usize),
}

struct Unit {
    id: u32,
    path: Vec<u8>,
    below: Below,
    top: Top,
    /// The owner and mode that the kernel gave to the directory.
    birth: Option<Birth>,
}

/// A directory that is being filled.
struct Opened<'a> {
    unit: Unit,
    to: OwnedFd,
    /// Where it is copied from, once something has to be read.
    from: OnceLock<OwnedFd>,
    earlier: Option<EarlierDir<'a>>,
    birth: Birth,
    left: AtomicUsize,
}

impl<'a> Subtree<'a> {
    /// Copies into the upper's directory `path`.
    pub(crate) fn copy(&self, path: &[u8], below: Below, top: Top) -> Result<(), ExecutorError> {
        let groups = self.tree.hard_links();
        let later: HashSet<(u32, u32)> = groups.iter().flat_map(|group| &group[1..]).copied().collect();
        let first = Unit { id: 0, path: path.to_vec(), below, top, birth: None };
        Queue::new(vec![Task::Open(first)]).drain(
            || vec![0; BUFFER],
            |task, buffer, queue| match task {
                Task::Open(unit) => self.open(unit, &later, buffer, queue),
                Task::Piece(opened, start) => self.piece(&opened, start, &later, buffer),
            },
        )?;
        self.link(path, &groups)
    }

    fn open(
        &self,
        unit: Unit,
        later: &HashSet<(u32, u32)>,
        buffer: &mut [u8],
        queue: &Queue<Task<'a>, ExecutorError>,
    ) -> Result<(), ExecutorError> {
        let dir = &self.tree.dirs[unit.id as usize];
        let to = self.upper.open_dir(&unit.path)?;
        let birth = match (unit.top, unit.birth) {
            // it was made in a directory of this kind, and has taken after it
            (Top::Copied(Made::New), Some(birth)) => birth,
            (Top::Callers | Top::Copied(_), _) => {
                let stat = fstat(&to).map_err(|errno| ExecutorError::system("stat", &unit.path, errno))?;
                self.policy.birth_in(stat.st_mode, stat.st_gid)
            }
        };
        let mut below = Vec::new();
        for entry in &dir.entries {
            if let Kind::Dir(id) = entry.kind {
                below.push(Task::Open(self.make_dir(&unit, &to, birth, (id, dir.text(entry.name)))?));
            }
        }
        let earlier = self.earlier.and_then(|earlier| earlier.dir(&unit.path));
        let pieces = dir.entries.len().div_ceil(CHUNK).max(1);
        let opened = Arc::new(Opened {
            unit,
            to,
            from: OnceLock::new(),
            earlier,
            birth,
            left: AtomicUsize::new(pieces),
        });
        below.extend((1..pieces).map(|piece| Task::Piece(Arc::clone(&opened), piece * CHUNK)));
        if !below.is_empty() {
            queue.push(below);
        }
        self.piece(&opened, 0, later, buffer)
    }

    fn piece(
        &self,
        opened: &Opened<'_>,
        start: usize,
        later: &HashSet<(u32, u32)>,
        buffer: &mut [u8],
    ) -> Result<(), ExecutorError> {
        let id = opened.unit.id;
        let dir = &self.tree.dirs[id as usize];
        let end = dir.entries.len().min(start + CHUNK);
        for (index, entry) in dir.entries.iter().enumerate().take(end).skip(start) {
            let linked = entry.identity.links > 1 && later.contains(&(id, index as u32));
            if !matches!(entry.kind, Kind::Dir(_)) && !linked {
                self.make_file(opened, dir, entry, buffer)?;
            }
        }
        if opened.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finish(opened, dir)?;
        }
        Ok(())
    }

    /// Makes or finds a subdirectory.
    fn make_dir(
        &self,
        unit: &Unit,
        to: &OwnedFd,
        birth: Birth,
        (id, name): (u32, &[u8]),
    ) -> Result<Unit, ExecutorError> {
        let path = join(&unit.path, name);
        let meta = self.policy.apply(self.tree.dirs[id as usize].meta, Kind::Dir(id));
        let lower = if unit.below == Below::Merged { self.view.find(&path)? } else { None };
        let made = match mkdirat(to, name, Mode::from_raw_mode(meta.mode & 0o1777)) {
            Ok(()) => Made::New,
            Err(Errno::EXIST) => Made::Existing,
            Err(errno) => return Err(ExecutorError::system("mkdir", &path, errno)),
        };
        let mut below = Below::Nothing;
        let taken = || ExecutorError::NotADirectory { path: shown(&path) };
        if made == Made::Existing {
            let stat = statat(to, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| ExecutorError::system("stat", &path, errno))?;
            if !is_dir(&stat) {
                return Err(taken());
            }
            self.taken.give_up();
        }
        if let Some(stat) = lower {
            if !is_dir(&stat) {
                return if made == Made::New {
                    Err(taken())
                } else {
                    Ok(Unit::nested(id, path, below, made, birth))
                };
            }
            below = Below::Merged;
            if made == Made::New {
                // what the copy does not overwrite stays
                xattrs::write(self.upper.open_dir(&path)?, &xattrs::read(self.view.open_dir(&path)?));
            }
        }
        Ok(Unit::nested(id, path, below, made, birth))
    }

    fn make_file(
        &self,
        opened: &Opened<'_>,
        dir: &Dir,
        entry: &Entry,
        buffer: &mut [u8],
    ) -> Result<(), ExecutorError> {
        let name = dir.text(entry.name);
        let path = || join(&opened.unit.path, name);
        let is_directory = || ExecutorError::IsADirectory { path: shown(&path()) };
        if opened.unit.below == Below::Merged && self.view.find(&path())?.is_some_and(|stat| is_dir(&stat)) {
            return Err(is_directory());
        }
        if let Some(earlier) = &opened.earlier {
            let meta = self.policy.apply(entry.meta, entry.kind);
            self.ways.go_on().map_err(|errno| failure(&path(), errno))?;
            if entry.kind == Kind::File && earlier.link(name, (entry, &meta), &opened.to) {
                self.taken.add_link();
                return Ok(());
            }
        }
        let from = if Original::needs_directory(entry) { Some(self.from(opened, dir)?) } else { None };
        let original = Original { dir: from, names: dir, entry };
        let place = Place { dir: &opened.to, name, birth: opened.birth, taken: self.taken };
        let mut made = file::create(original, place, self.policy, self.ways, buffer);
        if matches!(made, Err(Errno::EXIST)) {
            self.taken.give_up();
            match unlinkat(&opened.to, name, AtFlags::empty()) {
                Ok(()) => made = file::create(original, place, self.policy, self.ways, buffer),
                Err(Errno::ISDIR) => return Err(is_directory()),
                Err(errno) => made = Err(errno),
            }
        }
        match made.map_err(|errno| failure(&path(), errno))? {
            Created::Whole => Ok(()),
            Created::Empty(content) => {
                self.ways.fill_later((content, path()), (self.policy, self.taken), buffer)
            }
        }
    }

    /// The directory in the source.
    fn from<'b>(&self, opened: &'b Opened<'_>, dir: &Dir) -> Result<&'b OwnedFd, ExecutorError> {
        if opened.from.get().is_none() {
            // another thread may open it too: the second one is closed
            let _ = opened.from.set(self.source.open_dir(&dir.path)?);
        }
        Ok(opened.from.get().expect("set just above"))
    }

    /// All entries of a directory are there: its own metadata.
    fn finish(&self, opened: &Opened<'_>, dir: &Dir) -> Result<(), ExecutorError> {
        let made = match opened.unit.top {
            Top::Callers => return Ok(()),
            Top::Copied(made) => made,
        };
        let meta = self.policy.apply(dir.meta, Kind::Dir(opened.unit.id));
        match (made, opened.unit.birth) {
            (Made::New, Some(birth)) => self.policy.finish_dir(&opened.to, &meta, birth),
            (Made::New | Made::Existing, _) => Policy::overwrite_dir(&opened.to, &meta),
        }
        .map_err(|errno| ExecutorError::system("chown", &opened.unit.path, errno))?;
        xattrs::write(&opened.to, &dir.xattrs);
        // the top is the caller's, which counts its own directories
        if opened.unit.id != 0 {
            let stat = fstat(&opened.to);
            self.taken
                .add_dir(&stat.map_err(|errno| ExecutorError::system("stat", &opened.unit.path, errno))?);
        }
        futimens(&opened.to, &stamps(&meta))
            .map_err(|errno| ExecutorError::system("utimensat", &opened.unit.path, errno))
    }

    /// Further names of files that were copied, and the times of the directories those are in.
    fn link(&self, top: &[u8], groups: &[Vec<(u32, u32)>]) -> Result<(), ExecutorError> {
        let base = self.tree.dirs[0].path.len();
        let upper_dir = |id: u32| {
            let below = &self.tree.dirs[id as usize].path[base..];
            join(top, below.strip_prefix(b"/").unwrap_or(below))
        };
        let mut changed = HashSet::new();
        for group in groups {
            let path = |(id, index): (u32, u32)| {
                let dir = &self.tree.dirs[id as usize];
                join(&upper_dir(id), dir.text(dir.entries[index as usize].name))
            };
            let first = path(group[0]);
            for other in &group[1..] {
                self.link_one(&first, &path(*other))?;
                changed.insert(other.0);
            }
        }
        for id in changed {
            let path = upper_dir(id);
            let fd = self.upper.open_dir(&path)?;
            futimens(&fd, &stamps(&self.tree.dirs[id as usize].meta))
                .map_err(|errno| ExecutorError::system("utimensat", &path, errno))?;
        }
        Ok(())
    }

    fn link_one(&self, first: &[u8], name: &[u8]) -> Result<(), ExecutorError> {
        let is_directory = || ExecutorError::IsADirectory { path: shown(name) };
        if self.view.find(name)?.is_some_and(|stat| is_dir(&stat)) {
            return Err(is_directory());
        }
        let link = || rustix::fs::linkat(self.upper.fd(), first, self.upper.fd(), name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                self.taken.give_up();
                match unlinkat(self.upper.fd(), name, AtFlags::empty()) {
                    Err(Errno::ISDIR) => return Err(is_directory()),
                    Err(errno) => Err(errno),
                    Ok(()) => link(),
                }
            }
            done => done,
        }
        .map_err(|errno| ExecutorError::system("link", name, errno))
    }
}

impl Unit {
    fn nested(id: u32, path: Vec<u8>, below: Below, made: Made, birth: Birth) -> Self {
        Self { id, path, below, top: Top::Copied(made), birth: Some(birth) }
    }
}
