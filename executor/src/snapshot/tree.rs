//! A copy of a stack of layers: their files as overlayfs would show them, as a plain directory tree.
//!
//! Each name is a file of its own, also where a layer has hard links: overlayfs, too, changes one name and leaves the
//! others as they were.

use super::{
    clone::{Cloner, Marks, copy_metadata, remove, remove_attributes},
    held::{Source, on},
    overlay::{directories, marks},
};
use crate::ExecutorError;
use rbuild_cache::{LayerId, ScratchDir, Store};
use rbuild_sys::overlay::XattrNamespace;
use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

/// The copy. It is removed with the value.
#[derive(Debug)]
pub(super) struct Tree {
    layers: Vec<LayerId>,
    /// Something that is not a layer lies over them.
    covered: bool,
    directory: ScratchDir,
}

impl Tree {
    /// A copy of no layers: an empty root, mode 0755.
    pub(super) fn new(store: &Store) -> Result<Self, ExecutorError> {
        let tree = Self { layers: Vec::new(), covered: false, directory: store.scratch_dir()? };
        let root = tree.root();
        rbuild_cache::make_dirs_with_mode(&root, 0o755).map_err(on("mkdir", &root))?;
        Ok(tree)
    }

    /// Its root directory.
    pub(super) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// How many layers it is of.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// True if it is a copy of `layers`.
    pub(super) fn is_of(&self, layers: &[LayerId]) -> bool {
        self.layers == layers
    }

    /// True if it becomes a copy of `layers` by adding some.
    pub(super) fn is_below(&self, layers: &[LayerId]) -> bool {
        layers.starts_with(&self.layers)
    }

    /// Says that it is a copy of one layer more.
    pub(super) fn has(&mut self, layer: LayerId) {
        self.layers.push(layer);
    }

    /// Makes it a copy of `layers`, whose lowest ones it has already.
    pub(super) fn add(&mut self, store: &Store, layers: &[LayerId]) -> Result<(), ExecutorError> {
        let (root, marks) = (self.root(), marks(store));
        for directory in directories(store, &layers[self.layers.len()..]) {
            put(&Source::at(&directory)?, &root, marks)?;
        }
        self.layers = layers.to_vec();
        Ok(())
    }

    /// Puts the directory `top`, which is in the form of a layer, over it.
    pub(super) fn cover(&mut self, store: &Store, top: &Path) -> Result<(), ExecutorError> {
        self.covered = true;
        put(&Source::at(top)?, &self.root(), marks(store))
    }

    /// True if it stands for more than its layers.
    pub(super) fn is_covered(&self) -> bool {
        self.covered
    }

    /// Makes its root what that of an overlay is: a new directory, whatever the layers say.
    pub(super) fn renew_root(&self) -> Result<(), ExecutorError> {
        let root = self.root();
        chown(&root, Some(0), Some(0)).map_err(on("chown", &root))?;
        fs::set_permissions(&root, Permissions::from_mode(0o755)).map_err(on("chmod", &root))?;
        remove_attributes(&root)
    }
}

/// Puts the directory `from` of a layer over the directory `to`.
fn put(from: &Source, to: &Path, marks: XattrNamespace) -> Result<(), ExecutorError> {
    if from.is_opaque(marks)? {
        for entry in fs::read_dir(to).map_err(on("read", to))? {
            remove(&entry.map_err(on("read", to))?.path())?;
        }
    }
    for name in from.names()? {
        let (Some(source), target) = (from.entry(&name)?, to.join(&name)) else { continue };
        let below = match fs::symlink_metadata(&target) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(on("stat", &target)(error)),
        };
        if source.metadata().is_dir() {
            if below.as_ref().is_some_and(|found| !found.is_dir()) {
                remove(&target)?;
            }
            match below {
                Some(found) if found.is_dir() => remove_attributes(&target)?,
                _ => fs::create_dir(&target).map_err(on("mkdir", &target))?,
            }
            put(&source, &target, marks)?;
            continue;
        }
        if below.is_some() {
            remove(&target)?;
        }
        if !source.is_whiteout(marks)? {
            Cloner::of_single_names(Marks::Dropped).entry(&source, &target)?;
        }
    }
    copy_metadata(from, to, Marks::Dropped)
}
