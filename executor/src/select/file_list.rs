//! The files of a selection in a form that is kept: of each its path, kind, permission bits, owner, and the beginning of a
//! digest of its content. Two lists show which file made a step run again, whether or not the older files are still there.

use super::{
    Body, Selection,
    tree::{Dir, Entry, Kind, Meta, Tree},
};
use crate::{rooted::shown, xattrs};
use rbuild_oci::{Digest, Hasher};
use std::collections::BTreeMap;

/// The first bytes of an encoded list.
const MAGIC: &[u8] = b"rbuild-files 2\n";
/// Bytes of a content's digest that are kept: enough to see a change.
const CONTENT: usize = 8;

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

/// The files of a selection, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileList(BTreeMap<Vec<u8>, ListedFile>);

impl FileList {
    /// The list of what `selection` holds.
    #[must_use]
    pub fn of(selection: &Selection) -> Self {
        let mut files = Vec::new();
        for root in &selection.roots {
            for (place, meta, attributes) in &root.parents {
                files.push((place.clone(), directory(meta, attributes)));
            }
            match &root.body {
                Body::Single(dir) => files.push((path(dir, &dir.entries[0]), file(dir, &dir.entries[0]))),
                Body::Tree(tree) => add_tree(tree, &mut files),
                // what is remote is explained by its identity
                Body::Fetched(_) => {}
                Body::Inline(bytes) => {
                    let path = [b"<<", root.place.as_slice()].concat();
                    let content = beginning(Digest::of(bytes));
                    files
                        .push((path, ListedFile { kind: ListedKind::File, mode: 0, owner: (0, 0), content }));
                }
            }
        }
        Self(files.into_iter().collect())
    }

    /// The list as it is kept. A path is written without what it has in common with the one before it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + 32 * self.0.len());
        out.extend_from_slice(MAGIC);
        let mut last: &[u8] = &[];
        for (path, file) in &self.0 {
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
        let mut files = BTreeMap::new();
        let mut last: Vec<u8> = Vec::new();
        while !rest.is_empty() {
            let common = take_number(&mut rest)? as usize;
            let length = take_number(&mut rest)? as usize;
            let (end, after) = rest.split_at_checked(length)?;
            last.truncate(common);
            last.extend_from_slice(end);
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
            files.insert(last.clone(), ListedFile { kind, mode, owner, content: *content });
        }
        Some(Self(files))
    }

    /// What is different in `newer`, in the order of paths.
    #[must_use]
    pub fn changes_to(&self, newer: &Self) -> Vec<ListDifference> {
        let difference = |path: &Vec<u8>, before: Option<&ListedFile>, now: Option<&ListedFile>| {
            let path = if path.starts_with(b"<<") {
                String::from_utf8_lossy(path).into_owned()
            } else {
                shown(path)
            };
            ListDifference { path, before: before.copied(), now: now.copied() }
        };
        let gone = self.0.iter().filter(|(path, _)| !newer.0.contains_key(*path));
        let gone = gone.map(|(path, before)| (path, difference(path, Some(before), None)));
        let others = newer.0.iter().filter_map(|(path, now)| {
            let before = self.0.get(path);
            (before != Some(now)).then(|| (path, difference(path, before, Some(now))))
        });
        let by_path: BTreeMap<&Vec<u8>, ListDifference> = gone.chain(others).collect();
        by_path.into_values().collect()
    }
}

fn add_tree(tree: &Tree, files: &mut Vec<(Vec<u8>, ListedFile)>) {
    for dir in &tree.dirs {
        files.push((dir.path.clone(), directory(&dir.meta, &dir.xattrs)));
        let others = dir.entries.iter().filter(|entry| !matches!(entry.kind, Kind::Dir(_)));
        files.extend(others.map(|entry| (path(dir, entry), file(dir, entry))));
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

fn path(dir: &Dir, entry: &Entry) -> Vec<u8> {
    crate::rooted::join(&dir.path, dir.text(entry.name))
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

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let files = [("", 0o755), ("a", 0), ("a/bc", 0o7777), ("a/bd", 0o644), ("\u{fc}", 1)];
        let list =
            FileList(files.iter().map(|(path, mode)| (path.as_bytes().to_vec(), listed(*mode, 7))).collect());
        let bytes = list.to_bytes();
        assert_eq!(FileList::parse(&bytes), Some(list));
        for end in MAGIC.len() + 1..bytes.len() {
            // what is cut between two files is a shorter list; nothing else is one
            let part = FileList::parse(&bytes[..end]);
            assert!(part.is_none_or(|part| part.0.len() < files.len()), "{end}");
        }
        assert_eq!(FileList::parse(b"rbuild-files 1\n"), None);
        assert_eq!(FileList::parse(&[MAGIC, &[0xff; 8]].concat()), None, "a number without an end");
    }

    #[test]
    fn differences_come_in_the_order_of_paths() {
        let list = |files: &[(&str, u32, u8)]| {
            let listed =
                |(path, mode, content): &(&str, u32, u8)| (path.as_bytes().to_vec(), listed(*mode, *content));
            FileList(files.iter().map(listed).collect())
        };
        let before = list(&[("a", 1, 1), ("c", 1, 1), ("d", 1, 1)]);
        let now = list(&[("a", 2, 1), ("b", 1, 1), ("d", 1, 1)]);
        let changes: Vec<_> = before
            .changes_to(&now)
            .into_iter()
            .map(|change| (change.path, change.before.map(|f| f.mode), change.now.map(|f| f.mode)))
            .collect();
        let expected = [("/a", Some(1), Some(2)), ("/b", None, Some(1)), ("/c", Some(1), None)];
        assert_eq!(changes, expected.map(|(path, before, now)| (path.to_owned(), before, now)));
    }
}
