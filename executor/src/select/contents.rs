//! Content digests of regular files: from the context's stat index when nothing about the file changed, else by
//! reading it, on all processors. What a small file's reading brought up is kept for the copy that is likely to follow.
//!
//! The bytes of files are hashed with BLAKE3, which is faster than they can be read; everything around them is hashed with SHA-256.

use super::tree::{Dir, Entry, Kind};
use crate::{
    ExecutorError, SourceRoot,
    context::{ContextRoot, FileSeen},
    rooted::{Rooted, open_unnoticed},
    workers::Queue,
    xattrs::{self, Xattrs},
};
use rbuild_cache::{Cancel, FileStat};
use rbuild_oci::{Digest, Hasher};
use rustix::io::{Errno, read};
use std::{
    os::fd::OwnedFd,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Files up to this length are kept in memory once read.
const KEPT_FILE: u64 = 32 << 10;
/// All kept files together.
const KEPT_TOTAL: usize = 48 << 20;
/// Entries of one directory judged by one thread at a time.
const CHUNK: usize = 512;
/// A file from this length on is a task of its own.
const LONG_FILE: u64 = 4 << 20;
const BUFFER: usize = 256 << 10;

/// Files of one directory.
struct Task<'a> {
    path: &'a [u8],
    names: &'a [u8],
    entries: &'a mut [Entry],
}

impl Task<'_> {
    /// Room for all its files.
    fn room(&self) -> FileSeen {
        let files = self.entries.iter().filter(|entry| entry.kind == Kind::File);
        let lengths = files.map(|entry| self.path.len() + 1 + entry.name.of(self.names).len());
        let (files, bytes) = lengths.fold((0, 0), |(files, bytes), length| (files + 1, bytes + length));
        FileSeen::with_room(files, bytes)
    }
}

struct Reading<'a> {
    root: &'a Rooted,
    context: Option<&'a ContextRoot>,
    kept: AtomicUsize,
    cancel: &'a Cancel,
}

/// Fills in [`Entry::content`] of all regular files in `dirs`.
pub(crate) fn fill<'a>(
    source: &SourceRoot,
    dirs: impl Iterator<Item = &'a mut Dir>,
    cancel: &Cancel,
) -> Result<(), ExecutorError> {
    let (mut tasks, mut has_long) = (Vec::new(), false);
    for dir in dirs {
        let (path, names) = (dir.path.as_slice(), dir.names.as_slice());
        let long = |entry: &Entry| entry.kind == Kind::File && entry.size >= LONG_FILE;
        has_long |= dir.entries.iter().any(long);
        let pieces = dir.entries.chunk_by_mut(|one, next| !long(one) && !long(next));
        let pieces = pieces.flat_map(|entries| entries.chunks_mut(CHUNK));
        tasks.extend(pieces.map(|entries| Task { path, names, entries }));
    }
    let root = source.rooted();
    let context = source.context().filter(|context| context.has_index());
    let reading = Reading { root, context, kept: AtomicUsize::new(0), cancel };
    let queue = if has_long { Queue::of_long(tasks) } else { Queue::new(tasks) };
    queue.drain(|| vec![0; BUFFER], |mut task, buffer, _| reading.fill(&mut task, buffer))
}

impl Reading<'_> {
    fn fill(&self, task: &mut Task<'_>, buffer: &mut [u8]) -> Result<(), ExecutorError> {
        let mut dir: Option<OwnedFd> = None;
        let mut path = Vec::new();
        let mut seen = if self.context.is_some() { task.room() } else { FileSeen::default() };
        for entry in task.entries.iter_mut().filter(|entry| entry.kind == Kind::File) {
            let name = entry.name.of(task.names);
            path.clear();
            path.extend_from_slice(task.path);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let digest = match self.context.and_then(|context| context.known(&path, &stat_of(entry))) {
                Some(digest) => digest,
                None => {
                    let dir = match &mut dir {
                        Some(dir) => dir,
                        none => none.insert(self.root.open_dir(task.path)?),
                    };
                    seen.count_read();
                    self.cancel.check()?;
                    self.hash(dir, name, entry, buffer).map_err(|errno| match errno {
                        Errno::CANCELED => ExecutorError::Canceled,
                        errno => ExecutorError::system("read", &path, errno),
                    })?
                }
            };
            entry.content = Some(digest);
            if self.context.is_some() {
                seen.push(&path, stat_of(entry), digest);
            }
        }
        if let Some(context) = self.context {
            context.note(seen);
        }
        Ok(())
    }

    fn hash(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        entry: &mut Entry,
        buffer: &mut [u8],
    ) -> Result<Digest, Errno> {
        let fd = open_unnoticed(dir, name)?;
        let xattrs = xattrs::read(&fd);
        let first = read(&fd, &mut *buffer)?;
        let small = entry.size <= KEPT_FILE && first as u64 == entry.size;
        let content = if small {
            // what has attributes is opened again for them
            if xattrs.is_empty() && self.kept.fetch_add(first, Ordering::Relaxed) + first <= KEPT_TOTAL {
                entry.bytes = Some(buffer[..first].into());
            }
            content_digest(blake3::hash(&buffer[..first]))
        } else {
            self.hash_rest(&fd, first, buffer)?
        };
        Ok(with_xattrs(content, &xattrs))
    }

    /// `ECANCELED` when the build was canceled.
    fn hash_rest(&self, fd: &OwnedFd, first: usize, buffer: &mut [u8]) -> Result<Digest, Errno> {
        let mut hasher = blake3::Hasher::new();
        let mut length = first;
        while length > 0 {
            if self.cancel.is_canceled() {
                return Err(Errno::CANCELED);
            }
            hasher.update(&buffer[..length]);
            length = read(fd, &mut *buffer)?;
        }
        Ok(content_digest(hasher.finalize()))
    }
}

/// What names the bytes of a file in keys and in the index. No blob has such a name.
fn content_digest(hash: blake3::Hash) -> Digest {
    Digest::from_bytes(*hash.as_bytes())
}

/// A file's content digest: that of its bytes alone unless it has attributes that count.
pub(crate) fn with_xattrs(bytes: Digest, xattrs: &Xattrs) -> Digest {
    let mut counted = xattrs.iter().filter(|(name, _)| xattrs::is_content(name)).peekable();
    if counted.peek().is_none() {
        return bytes;
    }
    let mut hasher = Hasher::new();
    hasher.field(b"file with attributes");
    hasher.field(bytes.as_bytes());
    for (name, value) in counted {
        hasher.field(name);
        hasher.field(value);
    }
    hasher.finish()
}

/// The facts that the index compares.
fn stat_of(entry: &Entry) -> FileStat {
    FileStat {
        device: entry.identity.dev,
        inode: entry.identity.ino,
        size: entry.size,
        modified: entry.meta.mtime.total(),
        changed: entry.identity.ctime.total(),
        mode: entry.meta.mode,
    }
}
