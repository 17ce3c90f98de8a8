//! The files of a stack of layers, without their contents: what each layer adds, changes and removes, and how two stacks
//! differ.
//!
//! It is made of the layers' tars, so it needs no mount and is the same for every user. Names that lead out of the root
//! end at the root, as when a layer is unpacked.

use crate::{ImageError, layer::whiteout};
use rbuild_archive::{Entry, EntryKind, Limits, TarReader, Time};
use rbuild_oci::{Digest, Hasher};
use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
};

/// Bytes of a tar that are read at once.
const BUFFER: usize = 256 << 10;
/// Bytes of a path. Commands make deeper trees than the kernel takes paths (4095), by going into one directory after the other.
const LONGEST_PATH: usize = 1 << 20;
/// The largest files of a layer that are named.
const LARGEST: usize = 3;

/// The files of a stack of layers, by path without a slash at its beginning.
#[derive(Clone, Debug, Default)]
pub struct FileTree {
    files: BTreeMap<Vec<u8>, File>,
    /// What is gone, and the layer that removed it.
    removed: BTreeMap<Vec<u8>, usize>,
}

/// All about a file but its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    kind: EntryKind,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    /// Of a symbolic link.
    target: Vec<u8>,
    device: (u32, u32),
    attributes: Vec<(String, Vec<u8>)>,
    modified: Time,
    content: Digest,
    /// The layer that it comes from.
    layer: usize,
}

/// What a layer does to the files below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerEffect {
    /// The number of files and directories that were not there.
    pub added: usize,
    /// The number of those that were.
    pub changed: usize,
    /// The number of those that are gone.
    pub removed: usize,
    /// Its largest files, with their lengths in bytes.
    pub largest: Vec<(Vec<u8>, u64)>,
}

/// One file that two trees do not have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Its path, without a slash at its beginning.
    pub path: Vec<u8>,
    /// What is different.
    pub change: Change,
    /// The layer of the newer tree that did it, if one of them did.
    pub layer: Option<usize>,
}

/// How a file differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the newer tree has it, with so many bytes.
    Added(u64),
    /// Both have it.
    Changed(Vec<Difference>),
    /// Only the older tree has it.
    Removed,
}

/// What is different about a file, older value first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is another kind of file.
    Kind(EntryKind, EntryKind),
    /// Its bytes, of which there were and are so many.
    Content(u64, u64),
    /// Its permission bits.
    Mode(u32, u32),
    /// User and group.
    Owner((u32, u32), (u32, u32)),
    /// Where a symbolic link leads.
    Target(Vec<u8>, Vec<u8>),
    /// The numbers of a device.
    Device,
    /// Its extended attributes.
    Attributes,
    /// When it was last modified.
    Time,
}

impl FileTree {
    /// Puts the files of `tar`, which is layer number `layer`, over what is there.
    ///
    /// # Errors
    /// [`ImageError::Archive`] when it cannot be read.
    pub fn add(&mut self, tar: impl Read, layer: usize) -> Result<LayerEffect, ImageError> {
        let tar = TarReader::new(BufReader::with_capacity(BUFFER, tar));
        let mut tar = tar.within(Limits { path: LONGEST_PATH, ..Limits::STANDARD });
        let mut effect = LayerEffect::default();
        while let Some(entry) = tar.next_entry()? {
            let mut hasher = Hasher::new();
            let hashed = tar.content(|piece| {
                hasher.update(piece);
                Ok::<(), ImageError>(())
            });
            hashed??;
            self.entry(&entry, hasher.finish(), layer, &mut effect);
        }
        effect.largest.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        effect.largest.truncate(LARGEST);
        Ok(effect)
    }

    fn entry(&mut self, entry: &Entry, content: Digest, layer: usize, effect: &mut LayerEffect) {
        let path = cleaned(&entry.name);
        let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&[][..], path.as_slice()),
        };
        if name == whiteout::OPAQUE_NAME {
            effect.removed += self.remove_below(directory, layer);
            return;
        }
        if name.starts_with(whiteout::MARK_PREFIX) {
            return;
        }
        if let Some(gone) = name.strip_prefix(whiteout::WHITEOUT_PREFIX) {
            let gone = joined(directory, gone);
            effect.removed += self.remove_below(&gone, layer) + self.remove(&gone, layer);
            return;
        }
        if path.is_empty() {
            return;
        }
        let file = match entry.kind {
            EntryKind::HardLink => {
                self.files.get(&cleaned(&entry.link)).cloned().map(|file| File { layer, ..file })
            }
            EntryKind::Unknown(_) => None,
            kind => Some(File {
                kind,
                mode: entry.mode,
                owner: (entry.uid, entry.gid),
                size: entry.size(),
                target: if kind == EntryKind::Symlink { entry.link.clone() } else { Vec::new() },
                device: entry.device,
                attributes: entry.attributes.clone(),
                modified: entry.mtime,
                content,
                layer,
            }),
        };
        let Some(file) = file else { return };
        if file.kind != EntryKind::Directory {
            effect.removed += self.remove_below(&path, layer);
        }
        if file.kind == EntryKind::File {
            effect.largest.push((path.clone(), file.size));
        }
        self.removed.remove(&path);
        match self.files.insert(path, file) {
            Some(_) => effect.changed += 1,
            None => effect.added += 1,
        }
    }

    /// Removes what lower layers have below `directory`; returns how much that was.
    fn remove_below(&mut self, directory: &[u8], layer: usize) -> usize {
        let prefix = if directory.is_empty() { Vec::new() } else { joined(directory, b"") };
        let below = self.files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let gone: Vec<Vec<u8>> = below.map(|(path, _)| path.clone()).collect();
        gone.iter().map(|path| self.remove(path, layer)).sum()
    }

    /// Removes one file of a lower layer; returns 1 if it was there.
    fn remove(&mut self, path: &[u8], layer: usize) -> usize {
        if self.files.get(path).is_none_or(|file| file.layer >= layer) {
            return 0;
        }
        self.files.remove(path);
        self.removed.insert(path.to_vec(), layer);
        1
    }

    /// What is different in `newer`, in the order of paths.
    #[must_use]
    pub fn changes_to(&self, newer: &Self) -> Vec<FileChange> {
        let mut changes = Vec::new();
        for (path, old) in &self.files {
            match newer.files.get(path) {
                None => {
                    let layer = newer.removed.get(path).copied();
                    changes.push(FileChange { path: path.clone(), change: Change::Removed, layer });
                }
                Some(new) => {
                    let differences = old.differences(new);
                    if !differences.is_empty() {
                        let change = Change::Changed(differences);
                        changes.push(FileChange { path: path.clone(), change, layer: Some(new.layer) });
                    }
                }
            }
        }
        for (path, new) in newer.files.iter().filter(|(path, _)| !self.files.contains_key(*path)) {
            let change = Change::Added(new.size);
            changes.push(FileChange { path: path.clone(), change, layer: Some(new.layer) });
        }
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        changes
    }
}

impl File {
    fn differences(&self, new: &Self) -> Vec<Difference> {
        if self.kind != new.kind {
            return vec![Difference::Kind(self.kind, new.kind)];
        }
        let mut found = Vec::new();
        if (self.size, self.content) != (new.size, new.content) {
            found.push(Difference::Content(self.size, new.size));
        }
        if self.mode != new.mode {
            found.push(Difference::Mode(self.mode, new.mode));
        }
        if self.owner != new.owner {
            found.push(Difference::Owner(self.owner, new.owner));
        }
        if self.target != new.target {
            found.push(Difference::Target(self.target.clone(), new.target.clone()));
        }
        if self.device != new.device {
            found.push(Difference::Device);
        }
        if self.attributes != new.attributes {
            found.push(Difference::Attributes);
        }
        // that of a directory says only that something in it has changed
        if self.modified.seconds != new.modified.seconds && self.kind != EntryKind::Directory {
            found.push(Difference::Time);
        }
        found
    }
}

/// A name as a path from the root: without `.`, `..`, and slashes at its ends.
fn cleaned(name: &[u8]) -> Vec<u8> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            component => components.push(component),
        }
    }
    components.join(&b'/')
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild_archive::{BLOCK, END, TarHeader, padding};

    /// A tar of names with contents; a name that ends in `/` is a directory.
    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, content) in files {
            let kind = if name.ends_with('/') { EntryKind::Directory } else { EntryKind::File };
            let header = TarHeader::new(kind, name.as_bytes(), 0o644, content.len() as u64);
            header.write(&mut tar);
            tar.extend_from_slice(content.as_bytes());
            tar.resize(tar.len() + padding(content.len() as u64), 0);
        }
        assert_eq!(tar.len() % BLOCK, 0);
        tar.extend_from_slice(&END);
        tar
    }

    #[test]
    fn layers_add_change_and_remove() {
        let mut lower = FileTree::default();
        let effect = lower
            .add(&*tar(&[("a", "1"), ("d/", ""), ("d/x", "12"), ("d/y", "1"), ("e/", ""), ("e/z", "1")]), 0);
        assert_eq!(effect.unwrap().added, 6);
        let mut upper = lower.clone();
        let changes =
            [("./.wh.a", ""), ("d/", ""), ("d/.wh..wh..opq", ""), ("d/y", "2"), ("e", "file"), ("/n", "new")];
        let effect = upper.add(&*tar(&changes), 1).unwrap();
        assert_eq!((effect.added, effect.removed), (2, 4), "{effect:?}");
        let words: Vec<String> = lower
            .changes_to(&upper)
            .into_iter()
            .map(|change| {
                format!("{} {:?} {:?}", String::from_utf8_lossy(&change.path), change.change, change.layer)
            })
            .collect();
        let expected = [
            "a Removed Some(1)",
            "d/x Removed Some(1)",
            "d/y Changed([Content(1, 1)]) Some(1)",
            "e Changed([Kind(Directory, File)]) Some(1)",
            "e/z Removed Some(1)",
            "n Added(3) Some(1)",
        ];
        assert_eq!(words, expected);
        assert_eq!(upper.changes_to(&upper), []);
    }

    #[test]
    fn names_stay_below_the_root() {
        for (name, expected) in
            [("./a/b/", "a/b"), ("/a", "a"), ("a/../../b", "b"), ("../x", "x"), ("./", "")]
        {
            assert_eq!(cleaned(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }
}
