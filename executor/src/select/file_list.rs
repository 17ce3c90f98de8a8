//! The files of a selection in a form that is kept: of each its path, kind, permission bits, owner, and the beginning of a
//! digest of its content. Two lists show which file made a step run again, whether or not the older files are still there.

use super::{
    Body, Selection,
    tree::{Dir, Entry, Kind, Meta, Tree},
};
use crate::{rooted::shown, xattrs};
use rbuild_oci::{Digest, Hasher};
use std::{cmp::Ordering, ops::Range};

/// The first bytes of an encoded list.
const MAGIC: &[u8] = b"rbuild-files 2\n";
/// Bytes of a content's digest that are kept: enough to see a change.
const CONTENT: usize = 8;

/// What paths of files in the Dockerfile begin with.
const INLINE: &[u8] = b"<<";

/// The kind of a listed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a FIFO or a socket.
    Special,
}

/// What is known of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its kind.
    pub kind: ListedKind,
    /// Its permission bits.
    pub mode: u32,
    /// Its user and its group.
    pub owner: (u32, u32),
    /// The beginning of a digest: of bytes and attributes, of a link's target, of a device's number.
    pub content: [u8; CONTENT],
}

/// A file that two lists do not have in common; `None` where there is no such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListDifference {
    /// Its path in the source, with a slash at its beginning.
    pub path: String,
    /// What it was.
    pub before: Option<ListedFile>,
    /// What it is.
    pub now: Option<ListedFile>,
}

/// The files of a selection, by path. There may be very many: their paths lie in one buffer.
#[derive(Clone, Debug, Default)]
pub struct FileList {
    paths: Vec<u8>,
    /// Where their paths are, sorted by these, each once.
    files: Vec<(Range<usize>, ListedFile)>,
}

impl FileList {
    /// The list of what `selection` holds.
    #[must_use]
    pub fn of(selection: &Selection) -> Self {
        let mut list = Self::default();
        for root in &selection.roots {
            for (place, meta, attributes) in &root.parents {
                list.add(&[place], directory(meta, attributes));
            }
            match &root.body {
                Body::Single(dir) => list.add_entry(dir, &dir.entries[0]),
                Body::Tree(tree) => list.add_tree(tree),
                // what is remote is explained by its identity
                Body::Fetched(_) => {}
                Body::Inline(bytes) => {
                    let content = beginning(Digest::of(bytes));
                    let file = ListedFile { kind: ListedKind::File, mode: 0, owner: (0, 0), content };
                    list.add(&[INLINE, &root.place], file);
                }
            }
        }
        list.sorted()
    }

    /// The list as it is kept. A path is written without what it has in common with the one before it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + 32 * self.files.len());
        out.extend_from_slice(MAGIC);
        let mut last: &[u8] = &[];
        for (path, file) in self.iter() {
            let common = last.iter().zip(path).take_while(|(one, other)| one == other).count();
            number(common as u32, &mut out);
            number((path.len() - common) as u32, &mut out);
            out.extend_from_slice(&path[common..]);
            out.push(file.kind as u8);
            number(file.mode, &mut out);
            number(file.owner.0, &mut out);
            number(file.owner.1, &mut out);
            out.extend_from_slice(&file.content);
            last = path;
        }
        out
    }

    /// Reads a list; `None` when it is damaged or of another version.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let (mut list, mut last) = (Self::default(), 0..0);
        while !rest.is_empty() {
            let common = take_number(&mut rest)? as usize;
            let length = take_number(&mut rest)? as usize;
            let (end, after) = rest.split_at_checked(length)?;
            let start = list.paths.len();
            list.paths.extend_from_within(last.start..last.end.min(last.start + common));
            list.paths.extend_from_slice(end);
            last = start..list.paths.len();
            let (&kind, after) = after.split_first()?;
            rest = after;
            let kind = match kind {
                0 => ListedKind::File,
                1 => ListedKind::Directory,
                2 => ListedKind::Symlink,
                3 => ListedKind::Special,
                _ => return None,
            };
            let mode = take_number(&mut rest)?;
            let owner = (take_number(&mut rest)?, take_number(&mut rest)?);
            let (content, after) = rest.split_first_chunk::<CONTENT>()?;
            rest = after;
            list.files.push((last.clone(), ListedFile { kind, mode, owner, content: *content }));
        }
        Some(list.sorted())
    }

    /// What is different in `newer`, in the order of paths.
    #[must_use]
    pub fn changes_to(&self, newer: &Self) -> Vec<ListDifference> {
        let (mut before, mut now) = (self.iter().peekable(), newer.iter().peekable());
        let mut changes = Vec::new();
        loop {
            let first = match (before.peek(), now.peek()) {
                (None, None) => return changes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let old = if first == Ordering::Greater { None } else { before.next() };
            let new = if first == Ordering::Less { None } else { now.next() };
            let Some((path, _)) = old.or(new) else { return changes };
            let (before, now) = (old.map(|(_, file)| *file), new.map(|(_, file)| *file));
            if before != now {
                let is_inline = path.starts_with(INLINE);
                let path = if is_inline { String::from_utf8_lossy(path).into_owned() } else { shown(path) };
                changes.push(ListDifference { path, before, now });
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &ListedFile)> {
        self.files.iter().map(|(path, file)| (&self.paths[path.clone()], file))
    }

    /// Adds a file; its path is in `pieces`.
    fn add(&mut self, pieces: &[&[u8]], file: ListedFile) {
        let start = self.paths.len();
        pieces.iter().for_each(|piece| self.paths.extend_from_slice(piece));
        self.files.push((start..self.paths.len(), file));
    }

    fn add_tree(&mut self, tree: &Tree) {
        // nearly sorted by that
        for id in tree.in_order() {
            let dir = &tree.dirs[id as usize];
            self.add(&[&dir.path], directory(&dir.meta, &dir.xattrs));
            let others = dir.entries.iter().filter(|entry| !matches!(entry.kind, Kind::Dir(_)));
            others.for_each(|entry| self.add_entry(dir, entry));
        }
    }

    fn add_entry(&mut self, dir: &Dir, entry: &Entry) {
        let slash: &[u8] = if dir.path.is_empty() { b"" } else { b"/" };
        self.add(&[&dir.path, slash, dir.text(entry.name)], file(dir, entry));
    }

    /// With each path once: the last file that was added counts.
    fn sorted(mut self) -> Self {
        let Self { paths, files } = &mut self;
        files.sort_by(|(one, _), (other, _)| paths[one.clone()].cmp(&paths[other.clone()]));
        files.dedup_by(|later, kept| {
            let is_same = paths[later.0.clone()] == paths[kept.0.clone()];
            if is_same {
                kept.1 = later.1;
            }
            is_same
        });
        self
    }
}

fn directory(meta: &Meta, attributes: &xattrs::Xattrs) -> ListedFile {
    let mut hasher = Hasher::new();
    for (name, value) in attributes.iter().filter(|(name, _)| xattrs::is_content(name)) {
        hasher.field(name);
        hasher.field(value);
    }
    let (kind, owner) = (ListedKind::Directory, (meta.uid, meta.gid));
    ListedFile { kind, mode: meta.mode, owner, content: beginning(hasher.finish()) }
}

fn file(dir: &Dir, entry: &Entry) -> ListedFile {
    let (kind, content) = match entry.kind {
        Kind::File | Kind::Dir(_) => (ListedKind::File, entry.content.unwrap_or_else(|| Digest::of(b""))),
        Kind::Symlink => (ListedKind::Symlink, Digest::of(dir.text(entry.target))),
        Kind::Device(_, number) => (ListedKind::Special, Digest::of(&number.to_be_bytes())),
        Kind::Socket => (ListedKind::Special, Digest::of(b"socket")),
    };
    let owner = (entry.meta.uid, entry.meta.gid);
    ListedFile { kind, mode: entry.meta.mode, owner, content: beginning(content) }
}

fn beginning(digest: Digest) -> [u8; CONTENT] {
    let mut bytes = [0; CONTENT];
    bytes.copy_from_slice(&digest.as_bytes()[..CONTENT]);
    bytes
}

/// Seven bits a byte, the lowest first; all but the last byte have their highest bit set.
fn number(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(mode: u32, content: u8) -> ListedFile {
        ListedFile { kind: ListedKind::File, mode, owner: (0, 1 << 31), content: [content; CONTENT] }
    }

    fn list(files: &[(&str, ListedFile)]) -> FileList {
        let mut list = FileList::default();
        files.iter().for_each(|(path, file)| list.add(&[path.as_bytes()], *file));
        list.sorted()
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let files = [("", 0o755), ("a", 0), ("a/bc", 0o7777), ("a/bd", 0o644), ("\u{fc}", 1)];
        let list = list(&files.map(|(path, mode)| (path, listed(mode, 7))));
        let bytes = list.to_bytes();
        assert!(FileList::parse(&bytes).unwrap().iter().eq(list.iter()));
        for end in MAGIC.len() + 1..bytes.len() {
            // what is cut between two files is a shorter list; nothing else is one
            let part = FileList::parse(&bytes[..end]);
            assert!(part.is_none_or(|part| part.files.len() < files.len()), "{end}");
        }
        assert!(FileList::parse(b"rbuild-files 1\n").is_none());
        assert!(FileList::parse(&[MAGIC, &[0xff; 8]].concat()).is_none(), "a number without an end");
    }

    #[test]
    fn differences_come_in_the_order_of_paths() {
        let before = list(&[("a", listed(1, 1)), ("c", listed(1, 1)), ("d", listed(1, 1))]);
        // the last of two with one name is what is copied
        let now = [("d", 1), ("b", 1), ("a", 9), ("a", 2)].map(|(path, mode)| (path, listed(mode, 1)));
        let now = list(&now);
        let changes: Vec<_> = before
            .changes_to(&now)
            .into_iter()
            .map(|change| (change.path, change.before.map(|f| f.mode), change.now.map(|f| f.mode)))
            .collect();
        let expected = [("/a", Some(1), Some(2)), ("/b", None, Some(1)), ("/c", Some(1), None)];
        assert_eq!(changes, expected.map(|(path, before, now)| (path.to_owned(), before, now)));
    }
}
