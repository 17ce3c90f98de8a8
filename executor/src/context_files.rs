//! What is in a build context: its files with their sizes, and how much of a selection lies where.

use crate::{
    ContextDirectory, ExecutorError, IgnoreRules, Selection,
    rooted::join,
    select::{Body, Dir, Kind, Owner, Tree, walk_all},
};
use rbuild_cache::Cancel;
use std::collections::BTreeMap;

/// One path of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextFile {
    /// Relative to the context.
    pub path: Vec<u8>,
    /// The kind of file.
    pub kind: ContextFileKind,
    /// Bytes of a file; 0 of anything else.
    pub size: u64,
}

/// The kind of what is at a path of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextFileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A device, a FIFO or a socket.
    Special,
}

/// How large a selection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectionSize {
    /// The bytes of its files.
    pub total: u64,
    /// The paths right below what was named that have the most of it, the largest first.
    pub largest: Vec<(String, u64)>,
}

/// Everything that `rules` leave in `directory`, sorted by path.
///
/// # Errors
/// When it cannot be read, or `cancel` was called.
pub fn context_files(
    directory: &ContextDirectory,
    rules: &IgnoreRules,
    cancel: &Cancel,
) -> Result<Vec<ContextFile>, ExecutorError> {
    let tree = walk_all(directory.root(), rules, Owner::Kept, cancel)?;
    let mut files = Vec::new();
    for dir in &tree.dirs {
        for entry in &dir.entries {
            let (kind, size) = match entry.kind {
                Kind::Dir(_) => (ContextFileKind::Directory, 0),
                Kind::File => (ContextFileKind::File, entry.size),
                Kind::Symlink => (ContextFileKind::Link, 0),
                Kind::Device(..) | Kind::Socket => (ContextFileKind::Special, 0),
            };
            files.push(ContextFile { path: join(&dir.path, dir.text(entry.name)), kind, size });
        }
    }
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

impl Selection {
    /// The bytes of its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.roots
            .iter()
            .map(|root| match &root.body {
                Body::Single(dir) => bytes_of(dir),
                Body::Tree(tree) => tree.dirs.iter().map(bytes_of).sum(),
                Body::Inline(_) | Body::Fetched(_) => 0,
            })
            .sum()
    }

    /// Where its bytes are: the `most` largest places.
    #[must_use]
    pub fn size(&self, most: usize) -> SelectionSize {
        let mut places: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for root in &self.roots {
            match &root.body {
                Body::Single(dir) => add(dir, &mut places),
                Body::Tree(tree) => places_of(tree, &mut places),
                Body::Inline(_) | Body::Fetched(_) => {}
            }
        }
        let total = places.values().sum();
        let mut largest: Vec<_> = places.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
        largest.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        largest.truncate(most);
        let named = |(path, bytes): (Vec<u8>, u64)| (String::from_utf8_lossy(&path).into_owned(), bytes);
        SelectionSize { total, largest: largest.into_iter().map(named).collect() }
    }
}

fn bytes_of(dir: &Dir) -> u64 {
    dir.entries.iter().filter(|entry| entry.kind == Kind::File).map(|entry| entry.size).sum()
}

/// Adds the bytes below each entry of the top directory.
fn places_of(tree: &Tree, places: &mut BTreeMap<Vec<u8>, u64>) {
    let Some(top) = tree.dirs.first() else { return };
    add(top, places);
    for dir in &tree.dirs[1..] {
        let start = if top.path.is_empty() { 0 } else { top.path.len() + 1 };
        let end =
            dir.path[start..].iter().position(|byte| *byte == b'/').map_or(dir.path.len(), |at| start + at);
        *places.entry(dir.path[..end].to_vec()).or_default() += bytes_of(dir);
    }
}

/// Adds the files of `dir` by their own paths.
fn add(dir: &Dir, places: &mut BTreeMap<Vec<u8>, u64>) {
    for entry in dir.entries.iter().filter(|entry| entry.kind == Kind::File) {
        *places.entry(join(&dir.path, dir.text(entry.name))).or_default() += entry.size;
    }
}
