//! What a walk found: directories with their entries, each entry with everything a copy needs, so that nothing is
//! looked at twice. Compact: names lie in one buffer per directory.

use crate::{
    rooted::{FileType, file_type},
    xattrs::Xattrs,
};
use rbuild_oci::Digest;
use rustix::fs::Stat;

/// Whose files the source's are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// As on disk.
    Kept,
    /// 0:0 (build contexts).
    Root,
}

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i64,
}

/// Metadata that is copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    /// Permission bits, `0o7777`.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    pub(crate) atime: Time,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    /// Index in [`Tree::dirs`].
    Dir(u32),
    Symlink,
    /// Character device, block device or FIFO, with its number.
    Device(FileType, u64),
    /// Copied as an empty file.
    Socket,
}

/// One name in a directory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Span,
    pub(crate) kind: Kind,
    pub(crate) meta: Meta,
    pub(crate) size: u64,
    pub(crate) identity: Identity,
    /// The target of a link.
    pub(crate) target: Span,
    /// Of a regular file: what its bytes and extended attributes are.
    pub(crate) content: Option<Digest>,
    /// The bytes of a small file that had to be read for its digest.
    pub(crate) bytes: Option<Box<[u8]>>,
    /// Excluded; here only for what is below it.
    pub(crate) presence: Presence,
}

/// Why an entry is in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It was selected.
    Wanted,
    /// It holds something that was.
    ForChildren,
}

/// The inode of an entry, with the times that show a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) links: u32,
    pub(crate) ctime: Time,
}

/// A piece of [`Dir::names`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: u32,
    length: u32,
}

/// A directory that was read.
#[derive(Debug)]
pub(crate) struct Dir {
    /// Where it is in the source, canonical.
    pub(crate) path: Vec<u8>,
    pub(crate) meta: Meta,
    pub(crate) xattrs: Xattrs,
    /// Sorted by name.
    pub(crate) entries: Vec<Entry>,
    pub(crate) names: Vec<u8>,
}

/// A directory with all that was selected below it; the first is the top.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) dirs: Vec<Dir>,
}

impl Time {
    /// Nanoseconds since 1970.
    pub(crate) fn total(self) -> i64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(self.nanoseconds)
    }
}

impl Meta {
    /// The metadata in `stat`, owned as `owner` says.
    pub(crate) fn of(stat: &Stat, owner: Owner) -> Self {
        let mode = if file_type(stat) == FileType::Symlink { 0o777 } else { stat.st_mode & 0o7777 };
        let (uid, gid) = match owner {
            Owner::Kept => (stat.st_uid, stat.st_gid),
            Owner::Root => (0, 0),
        };
        Self {
            mode,
            uid,
            gid,
            mtime: Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as i64 },
            atime: Time { seconds: stat.st_atime, nanoseconds: stat.st_atime_nsec as i64 },
        }
    }
}

impl Entry {
    /// An entry for what `stat` describes; `kind` of directories is filled in by the walk.
    pub(crate) fn of(stat: &Stat, owner: Owner) -> Self {
        let kind = match file_type(stat) {
            FileType::Directory => Kind::Dir(u32::MAX),
            FileType::Symlink => Kind::Symlink,
            FileType::Socket => Kind::Socket,
            kind @ (FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice) => {
                Kind::Device(kind, stat.st_rdev)
            }
            FileType::RegularFile | FileType::Unknown => Kind::File,
        };
        Self {
            name: Span::default(),
            kind,
            meta: Meta::of(stat, owner),
            size: if kind == Kind::File { stat.st_size as u64 } else { 0 },
            identity: Identity {
                dev: stat.st_dev,
                ino: stat.st_ino,
                links: stat.st_nlink as u32,
                ctime: Time { seconds: stat.st_ctime, nanoseconds: stat.st_ctime_nsec as i64 },
            },
            target: Span::default(),
            content: None,
            bytes: None,
            presence: Presence::Wanted,
        }
    }
}

impl Span {
    /// This piece of `names`.
    pub(crate) fn of(self, names: &[u8]) -> &[u8] {
        &names[self.start as usize..][..self.length as usize]
    }
}

impl Dir {
    /// The text of `span`.
    pub(crate) fn text(&self, span: Span) -> &[u8] {
        span.of(&self.names)
    }

    /// Keeps `text`.
    pub(crate) fn keep(&mut self, text: &[u8]) -> Span {
        let span = Span { start: self.names.len() as u32, length: text.len() as u32 };
        self.names.extend_from_slice(text);
        span
    }
}

impl Tree {
    /// Directories in order of their paths, parents first.
    pub(crate) fn in_order(&self) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.dirs.len());
        let mut todo = vec![0];
        while let Some(id) = todo.pop() {
            order.push(id);
            let children = self.dirs[id as usize].entries.iter().rev().filter_map(|entry| match entry.kind {
                Kind::Dir(child) => Some(child),
                Kind::File | Kind::Symlink | Kind::Device(..) | Kind::Socket => None,
            });
            todo.extend(children);
        }
        order
    }

    /// Names of one file among the selected entries: (directory, entry) pairs in order, groups of two and more.
    pub(crate) fn hard_links(&self) -> Vec<Vec<(u32, u32)>> {
        let mut groups: Vec<Vec<(u32, u32)>> = Vec::new();
        let mut known = std::collections::HashMap::new();
        for id in self.in_order() {
            for (index, entry) in self.dirs[id as usize].entries.iter().enumerate() {
                if entry.identity.links < 2 || matches!(entry.kind, Kind::Dir(_)) {
                    continue;
                }
                let key = (entry.identity.dev, entry.identity.ino);
                let group = *known.entry(key).or_insert_with(|| {
                    groups.push(Vec::new());
                    groups.len() - 1
                });
                groups[group].push((id, index as u32));
            }
        }
        groups.retain(|group| group.len() > 1);
        groups
    }
}
