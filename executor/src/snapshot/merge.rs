//! Several layers made one, as if their changes had been made at once.
//!
//! Layers never change, so a file of the new layer is the very file of the old one, under one name more: merging costs
//! directories, not contents. A whiteout or an opaque mark stays only where the layers below have something that it hides.

use super::{
    clone::{Cloner, Marks, Source, copy_metadata, make_opaque, make_whiteout, on},
    overlay::{directories, marks},
};
use crate::ExecutorError;
use rbuild_cache::{Cancel, LayerId, Store};
use rbuild_sys::overlay::XattrNamespace;
use rustix::io::Errno;
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
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
    let need_below = Some(need_below);
    let mut merger = Merger { below, marks: marks(store), path: Vec::new(), hidden: 0, cancel, need_below };
    let (mut sources, mut hides) = (Vec::new(), false);
    for path in directories(store, layers.merged).iter().rev() {
        let source = Source::at(path)?;
        hides = source.is_opaque(merger.marks)?;
        sources.push(source);
        if hides {
            break;
        }
    }
    merger.directory(&sources, hides, to)
}

struct Merger<'a, F> {
    /// The directories of the layers below, topmost first.
    below: Vec<PathBuf>,
    marks: XattrNamespace,
    /// The names that lead to the directory at hand.
    path: Vec<OsString>,
    /// How many directories around what is at hand hide everything below.
    hidden: usize,
    cancel: &'a Cancel,
    /// `None` once it was called.
    need_below: Option<F>,
}

/// What the merged layers have under one name.
struct Found {
    /// The directory that has the entry which is seen, by its place.
    parent: usize,
    top: Source,
    /// The directories that are seen through one that is seen, topmost first.
    rest: Vec<Source>,
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
    /// Makes `to` what the directories `sources` are together, topmost first, of which there is one at least. `hides` says
    /// that nothing is seen through them.
    fn directory(&mut self, sources: &[Source], hides: bool, to: &Path) -> Result<(), E> {
        let is_opaque = hides && self.below()? == Below::Directory;
        self.hidden += usize::from(hides);
        let mut names = BTreeSet::new();
        for source in sources {
            names.extend(source.names()?);
        }
        for name in names {
            self.cancel.check().map_err(|_| ExecutorError::Canceled)?;
            if let Some(found) = self.find(sources, &name)? {
                let target = to.join(&name);
                self.path.push(name);
                self.entry(sources, found, &target)?;
                self.path.pop();
            }
        }
        self.hidden -= usize::from(hides);
        let top = sources.first().expect("a directory is made of one at least");
        copy_metadata(top, to, Marks::Dropped)?;
        if is_opaque {
            make_opaque(to, self.marks)?;
        }
        Ok(())
    }

    fn find(&self, sources: &[Source], name: &OsStr) -> Result<Option<Found>, ExecutorError> {
        let mut found: Option<Found> = None;
        for (parent, directory) in sources.iter().enumerate() {
            let Some(entry) = directory.entry(name)? else { continue };
            let is_directory = entry.metadata().is_dir();
            let hides = !is_directory || entry.is_opaque(self.marks)?;
            match &mut found {
                None => found = Some(Found { parent, top: entry, rest: Vec::new(), hides }),
                Some(found) => {
                    found.hides = hides;
                    if is_directory {
                        found.rest.push(entry);
                    }
                }
            }
            if hides {
                break;
            }
        }
        Ok(found)
    }

    fn entry(&mut self, sources: &[Source], found: Found, to: &Path) -> Result<(), E> {
        let Found { parent, top, rest, hides } = found;
        if top.metadata().is_dir() {
            fs::create_dir(to).map_err(on("mkdir", to))?;
            let directories: Vec<Source> = std::iter::once(top).chain(rest).collect();
            return self.directory(&directories, hides, to);
        }
        let (directory, name) = (to.parent().unwrap_or(to), to.file_name().unwrap_or_default());
        if !top.is_whiteout(self.marks)? {
            return Ok(link(&sources[parent], (name, &top), to)?);
        }
        if self.below()? != Below::Nothing {
            make_whiteout(directory, name, self.marks)?;
        }
        Ok(())
    }

    /// What the layers below have where the merger is.
    fn below(&mut self) -> Result<Below, E> {
        if self.hidden > 0 || self.below.is_empty() {
            return Ok(Below::Nothing);
        }
        if let Some(mut need_below) = self.need_below.take() {
            need_below()?;
        }
        for layer in &self.below {
            if let Some(found) = self.in_layer(layer)? {
                return Ok(found);
            }
        }
        Ok(Below::Nothing)
    }

    /// The same of one layer; `None` when the layers below it decide.
    fn in_layer(&self, layer: &Path) -> Result<Option<Below>, ExecutorError> {
        let mut at = Source::at(layer)?;
        let mut hides = at.is_opaque(self.marks)?;
        for name in &self.path {
            let Some(next) = at.entry(name)? else { return Ok(hides.then_some(Below::Nothing)) };
            if !next.metadata().is_dir() {
                let is_last = self.path.last().is_some_and(|last| std::ptr::eq(last, name));
                let is_seen = is_last && !next.is_whiteout(self.marks)?;
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
