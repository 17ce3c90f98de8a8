//! Several layers made one, as if their changes had been made at once.
//!
//! Layers never change, so a file of the new layer is the very file of the old one, under one name more: merging costs
//! directories, not contents. A whiteout or an opaque mark stays only where the layers below have something that it hides.

use super::{
    clone::{Cloner, Marks, copy_metadata, make_opaque, make_whiteout},
    held::{Source, on},
    overlay::{directories, marks},
    rooted_tree::RootedTree,
};
use crate::{ExecutorError, rooted::join};
use rbuild_cache::{Cancel, LayerId, Store};
use rbuild_sys::overlay::XattrNamespace;
use rustix::io::Errno;
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Layers to be merged, and those that they stand on, each lowest first.
#[derive(Clone, Copy, Debug)]
pub struct Merge<'a> {
    /// They stay as they are.
    pub below: &'a [LayerId],
    /// They become one. All are in the store.
    pub merged: &'a [LayerId],
}

/// Fills the empty directory `to` with the merged layer. `need_below` is called when something is hidden, and sees that the
/// files of the layers below are in the store.
///
/// # Errors
/// [`ExecutorError::System`] with the path that cannot be read or made; [`ExecutorError::Canceled`]; that of `need_below`.
pub fn merge_layers<E: From<ExecutorError>>(
    store: &Store,
    layers: Merge<'_>,
    to: &Path,
    (cancel, need_below): (&Cancel, impl FnMut() -> Result<(), E>),
) -> Result<(), E> {
    let mut below = directories(store, layers.below);
    below.reverse();
    let (marks, need_below) = (marks(store), Some(need_below));
    let (mut merged, mut hides) = (Vec::new(), false);
    for path in directories(store, layers.merged).into_iter().rev() {
        let source = Source::at(&path)?;
        hides = source.is_opaque(marks)?;
        merged.push(RootedTree::at(path)?);
        if hides {
            break;
        }
    }
    let root = Directory { path: Vec::new(), trees: (0..merged.len()).collect(), hides, hidden: false };
    let mut merger = Merger { merged, below, to: RootedTree::at(to.to_owned())?, marks, cancel, need_below };
    // a list in place of a recursion: trees may be deeper than the stack
    let mut left = vec![root];
    while let Some(directory) = left.pop() {
        merger.directory(&directory, &mut left)?;
    }
    Ok(())
}

struct Merger<'a, F> {
    /// The layers that become one, topmost first.
    merged: Vec<RootedTree>,
    /// The directories of the layers below, topmost first.
    below: Vec<PathBuf>,
    /// What they become.
    to: RootedTree,
    marks: XattrNamespace,
    cancel: &'a Cancel,
    /// `None` once it was called.
    need_below: Option<F>,
}

/// A directory that the merged layers have.
struct Directory {
    path: Vec<u8>,
    /// The merged layers whose directories are seen there, by their places, topmost first. There is one at least.
    trees: Vec<usize>,
    /// Nothing is seen through them.
    hides: bool,
    /// A directory above hides everything below.
    hidden: bool,
}

/// What the merged layers have under one name.
struct Found {
    /// The directory that has the entry which is seen, by its place.
    parent: usize,
    top: Source,
    /// The layers whose directories are seen under that name.
    trees: Vec<usize>,
    /// Nothing is seen through them.
    hides: bool,
}

/// What the layers below have under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Below {
    Nothing,
    Directory,
    Other,
}

impl<E: From<ExecutorError>, F: FnMut() -> Result<(), E>> Merger<'_, F> {
    /// Makes what the layers have in `directory`, and adds the directories in it to those that are `left`.
    fn directory(&mut self, directory: &Directory, left: &mut Vec<Directory>) -> Result<(), E> {
        let Directory { path, hides, .. } = directory;
        let is_opaque = *hides && !directory.hidden && self.below(path)? == Below::Directory;
        let hidden = directory.hidden || *hides;
        let (mut sources, mut names) = (Vec::new(), BTreeSet::new());
        for tree in &directory.trees {
            let source = self.merged[*tree].source(path)?;
            names.extend(source.names()?);
            sources.push((*tree, source));
        }
        let (_open, to) = self.to.directory(path)?;
        for name in names {
            self.cancel.check().map_err(|_| ExecutorError::Canceled)?;
            let Some(found) = self.find(&sources, &name)? else { continue };
            let (path, target) = (join(path, name.as_bytes()), to.join(&name));
            if found.top.metadata().is_dir() {
                fs::create_dir(&target).map_err(on("mkdir", &target))?;
                left.push(Directory { path, trees: found.trees, hides: found.hides, hidden });
            } else if !found.top.is_whiteout(self.marks)? {
                link(&sources[found.parent].1, (&name, &found.top), &target)?;
            } else if !hidden && self.below(&path)? != Below::Nothing {
                make_whiteout(&to, &name, self.marks)?;
            }
        }
        let (_, top) = sources.first().expect("a directory is made of one at least");
        copy_metadata(top, &to, Marks::Dropped)?;
        if is_opaque {
            make_opaque(&to, self.marks)?;
        }
        Ok(())
    }

    fn find(&self, sources: &[(usize, Source)], name: &OsStr) -> Result<Option<Found>, ExecutorError> {
        let mut found: Option<Found> = None;
        for (parent, (tree, directory)) in sources.iter().enumerate() {
            let Some(entry) = directory.entry(name)? else { continue };
            let is_directory = entry.metadata().is_dir();
            let hides = !is_directory || entry.is_opaque(self.marks)?;
            let found = found.get_or_insert_with(|| Found { parent, top: entry, trees: Vec::new(), hides });
            found.hides = hides;
            if is_directory {
                found.trees.push(*tree);
            }
            if hides {
                break;
            }
        }
        Ok(found)
    }

    /// What the layers below have at `path`, where nothing above hides it.
    fn below(&mut self, path: &[u8]) -> Result<Below, E> {
        if self.below.is_empty() {
            return Ok(Below::Nothing);
        }
        if let Some(mut need_below) = self.need_below.take() {
            need_below()?;
        }
        for layer in &self.below {
            if let Some(found) = self.in_layer(layer, path)? {
                return Ok(found);
            }
        }
        Ok(Below::Nothing)
    }

    /// The same of one layer; `None` when the layers below it decide.
    fn in_layer(&self, layer: &Path, path: &[u8]) -> Result<Option<Below>, ExecutorError> {
        let mut at = Source::at(layer)?;
        let mut hides = at.is_opaque(self.marks)?;
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        while let Some(name) = names.next() {
            let Some(next) = at.entry(OsStr::from_bytes(name))? else {
                return Ok(hides.then_some(Below::Nothing));
            };
            if !next.metadata().is_dir() {
                let is_seen = names.next().is_none() && !next.is_whiteout(self.marks)?;
                return Ok(Some(if is_seen { Below::Other } else { Below::Nothing }));
            }
            hides |= next.is_opaque(self.marks)?;
            at = next;
        }
        Ok(Some(Below::Directory))
    }
}

/// Gives the entry `name` of `directory` the name `to` as well, or copies it where the file system takes no more names.
fn link(directory: &Source, (name, entry): (&OsStr, &Source), to: &Path) -> Result<(), ExecutorError> {
    match directory.link(name, to) {
        Err(Errno::MLINK | Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP) => {
            Cloner::of_single_names(Marks::Kept).entry(entry, to)
        }
        linked => linked.map_err(|errno| on("link", to)(errno.into())),
    }
}
