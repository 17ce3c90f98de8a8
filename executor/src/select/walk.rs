//! The walk over a source directory: each directory is opened and read once, each entry looked at once, on all
//! processors. What rules leave out is not even looked at.

use super::tree::{Dir, Entry, Kind, Meta, Owner, Presence, Tree};
use crate::{
    ExecutorError,
    ignore::{IgnoreRules, Inherited, Verdict},
    rooted::{FileType, Rooted, join},
    workers::Queue,
    xattrs,
};
use rbuild_cache::Cancel;
use rustix::{
    fs::{AtFlags, RawDir, fstat, readlinkat, statat},
    io::Errno,
};
use std::{
    os::fd::OwnedFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// Size of the buffer directories are read into.
const LISTING: usize = 64 << 10;

/// The exclusions of a walk, and the owner of the files that it finds.
pub(crate) struct Rules<'a> {
    /// Judges paths relative to the source root.
    pub(crate) ignore: &'a IgnoreRules,
    /// Judges paths relative to the operand's directory.
    pub(crate) exclude: &'a IgnoreRules,
    /// Put before paths judged by `exclude` (`--parents`).
    pub(crate) exclude_prefix: Vec<u8>,
    pub(crate) owner: Owner,
    pub(crate) cancel: &'a Cancel,
}

struct Task {
    id: u32,
    path: Vec<u8>,
    /// What was seen of it from above.
    meta: Option<Meta>,
    ignored: Inherited,
    excluded: Inherited,
}

/// A name of a directory before it was looked at.
struct Name {
    start: usize,
    end: usize,
    presence: Presence,
}

struct Walk<'a> {
    root: &'a Rooted,
    rules: &'a Rules<'a>,
    /// Length of the top directory's path and the slash after it.
    base: usize,
    next: AtomicU32,
    done: Mutex<Vec<(u32, Dir)>>,
}

struct Scratch {
    listing: Vec<u8>,
    names: Vec<u8>,
    found: Vec<Name>,
    path: Vec<u8>,
}

/// Walks the directory at canonical `path`.
pub(crate) fn walk(root: &Rooted, path: &[u8], rules: &Rules<'_>) -> Result<Tree, ExecutorError> {
    let base = if path.is_empty() { 0 } else { path.len() + 1 };
    let walk = Walk { root, rules, base, next: AtomicU32::new(1), done: Mutex::default() };
    let (_, ignored) = rules.ignore.descend(path);
    let (_, excluded) = rules.exclude.descend(&rules.exclude_prefix);
    let top = Task { id: 0, path: path.to_vec(), meta: None, ignored, excluded };
    Queue::new(vec![top]).drain(Scratch::new, |task, scratch, queue| walk.read(&task, scratch, queue))?;
    let mut dirs = walk.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    dirs.sort_unstable_by_key(|(id, _)| *id);
    let mut tree = Tree { dirs: dirs.into_iter().map(|(_, dir)| dir).collect() };
    if rules.ignore.has_exceptions() || rules.exclude.has_exceptions() {
        prune(&mut tree);
    }
    Ok(tree)
}

impl Scratch {
    fn new() -> Self {
        Self { listing: Vec::with_capacity(LISTING), names: Vec::new(), found: Vec::new(), path: Vec::new() }
    }
}

impl Walk<'_> {
    fn read(
        &self,
        task: &Task,
        scratch: &mut Scratch,
        queue: &Queue<Task, ExecutorError>,
    ) -> Result<(), ExecutorError> {
        self.rules.cancel.check()?;
        let fd = self.root.open_dir(&task.path)?;
        let meta = match task.meta {
            Some(meta) => meta,
            None => {
                let stat = fstat(&fd).map_err(|errno| ExecutorError::system("stat", &task.path, errno))?;
                Meta::of(&stat, self.rules.owner)
            }
        };
        self.list(&fd, task, scratch)?;
        let mut dir = Dir {
            path: task.path.clone(),
            meta,
            xattrs: xattrs::read(&fd),
            entries: Vec::with_capacity(scratch.found.len()),
            names: Vec::with_capacity(scratch.names.len()),
        };
        let mut below = Vec::new();
        for name in &scratch.found {
            let text = &scratch.names[name.start..name.end];
            let Some(mut entry) = self.look(&fd, text, &mut dir)? else { continue };
            entry.presence = name.presence;
            if let Kind::Dir(id) = &mut entry.kind {
                *id = self.next.fetch_add(1, Ordering::Relaxed);
                below.push(self.descend(task, text, (*id, entry.meta)));
            }
            dir.entries.push(entry);
        }
        if !below.is_empty() {
            queue.push(below);
        }
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push((task.id, dir));
        Ok(())
    }

    /// The names that rules keep, sorted.
    fn list(&self, fd: &OwnedFd, task: &Task, scratch: &mut Scratch) -> Result<(), ExecutorError> {
        let Scratch { listing, names, found, path } = scratch;
        names.clear();
        found.clear();
        let judged = !self.rules.ignore.is_empty() || !self.rules.exclude.is_empty();
        let mut listing = RawDir::new(fd, listing.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(|errno| ExecutorError::system("getdents", &task.path, errno))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let mut presence = Presence::Wanted;
            if judged {
                path.clear();
                path.extend_from_slice(&join(&task.path, name));
                match self.judge(path, task, || is_directory(fd, name, entry.file_type())) {
                    Some(judgement) => presence = judgement,
                    None => continue,
                }
            }
            let start = names.len();
            names.extend_from_slice(name);
            found.push(Name { start, end: names.len(), presence });
        }
        found.sort_unstable_by(|a, b| names[a.start..a.end].cmp(&names[b.start..b.end]));
        Ok(())
    }

    fn judge(&self, path: &[u8], task: &Task, is_dir: impl Fn() -> bool) -> Option<Presence> {
        let ignored = self.rules.ignore.judge(path, &task.ignored) == Verdict::Excluded;
        let relative = self.excludable(path);
        let excluded = self.rules.exclude.judge(&relative, &task.excluded) == Verdict::Excluded;
        if !ignored && !excluded {
            return Some(Presence::Wanted);
        }
        let open = (!ignored || self.rules.ignore.may_keep_below(path))
            && (!excluded || self.rules.exclude.may_keep_below(&relative));
        (open && is_dir()).then_some(Presence::ForChildren)
    }

    /// The path `--exclude` sees.
    fn excludable(&self, path: &[u8]) -> Vec<u8> {
        if self.rules.exclude.is_empty() {
            return Vec::new();
        }
        join(&self.rules.exclude_prefix, &path[self.base..])
    }

    fn look(&self, fd: &OwnedFd, name: &[u8], dir: &mut Dir) -> Result<Option<Entry>, ExecutorError> {
        let stat = match statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // removed since the directory was read
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(ExecutorError::system("stat", &join(&dir.path, name), errno)),
        };
        let mut entry = Entry::of(&stat, self.rules.owner);
        entry.name = dir.keep(name);
        if entry.kind == Kind::Symlink {
            let target = readlinkat(fd, name, Vec::new())
                .map_err(|errno| ExecutorError::system("readlink", &join(&dir.path, name), errno))?;
            entry.target = dir.keep(target.as_bytes());
        }
        Ok(Some(entry))
    }

    fn descend(&self, task: &Task, name: &[u8], (id, meta): (u32, Meta)) -> Task {
        let path = join(&task.path, name);
        let ignored = self.rules.ignore.enter(&path, &task.ignored).1;
        let excluded = self.rules.exclude.enter(&self.excludable(&path), &task.excluded).1;
        Task { id, path, meta: Some(meta), ignored, excluded }
    }
}

fn is_directory(fd: &OwnedFd, name: &[u8], listed: FileType) -> bool {
    match listed {
        FileType::Directory => true,
        FileType::Unknown => statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        _ => false,
    }
}

/// Drops excluded directories in which nothing was kept. Children have larger indexes than their parents.
fn prune(tree: &mut Tree) {
    let mut empty = vec![false; tree.dirs.len()];
    for id in (0..tree.dirs.len()).rev() {
        let entries = &mut tree.dirs[id].entries;
        entries.retain(|entry| match entry.kind {
            Kind::Dir(child) => entry.presence == Presence::Wanted || !empty[child as usize],
            Kind::File | Kind::Symlink | Kind::Device(..) | Kind::Socket => true,
        });
        empty[id] = entries.is_empty();
    }
}
