//! Finds what a command has changed in a copy of layers, by comparing it with how it was before.
//!
//! A file counts as changed when its inode or its change time is another one: the kernel sets that time at every write,
//! at every change of mode, owner, attributes and links, and no program can set it. So a file that was only touched, or
//! got the mode that it had, is in the layer, as overlayfs would have it there. What cannot be seen is a file that was
//! opened for writing and left as it was, and a directory that was made, renamed and made to replace nothing, which
//! overlayfs marks as opaque: both layers show the same files.

use super::{
    before::{Before, Directory, Entry, Stamp},
    clone::{Cloner, Marks, copy_metadata, make_opaque, make_whiteout},
    copies::Links,
    held::{Source, on},
    marks,
};
use crate::ExecutorError;
use rbuild_cache::Store;
use rbuild_sys::overlay::XattrNamespace;
use std::{collections::HashMap, ffi::OsString, fs, path::Path};

/// Puts into the empty directory `upper` what is another at `root` than `before`, in overlay form. Returns whether files
/// with several names were made.
pub(super) fn collect(
    before: &Before,
    root: &Path,
    upper: &Path,
    store: &Store,
) -> Result<Links, ExecutorError> {
    let root = Source::at(root)?;
    let mut changes = Changes { cloner: Cloner::new(Marks::Dropped), marks: marks(store) };
    changes.directory(&root, &before.0, upper)?;
    copy_metadata(&root, upper, Marks::Dropped)?;
    Ok(if changes.cloner.has_links() { Links::Some } else { Links::None })
}

struct Changes {
    cloner: Cloner,
    marks: XattrNamespace,
}

impl Changes {
    /// Collects what has changed in a directory that was there before.
    fn directory(&mut self, now: &Source, before: &Directory, upper: &Path) -> Result<(), ExecutorError> {
        let mut gone: HashMap<&OsString, &Entry> = before.0.iter().collect();
        for name in now.names()? {
            let (Some(source), target) = (now.entry(&name)?, upper.join(&name)) else { continue };
            if source.is_whiteout_device() {
                // nothing can be made that overlayfs takes for its own: there, too, mknod(2) is refused
                continue;
            }
            let (stamp, old) = (Stamp::of(source.metadata()), gone.remove(&name));
            if !source.metadata().is_dir() {
                if old.is_none_or(|old| old.stamp != stamp) {
                    make_directories(upper)?;
                    self.cloner.entry(&source, &target)?;
                }
                continue;
            }
            match old {
                Some(Entry { stamp: was, directory: Some(directory) }) if was.is_same(&stamp) => {
                    if *was != stamp {
                        make_directories(&target)?;
                    }
                    self.directory(&source, directory, &target)?;
                    if target.exists() {
                        copy_metadata(&source, &target, Marks::Dropped)?;
                    }
                }
                old => {
                    make_directories(&target)?;
                    self.cloner.directory(&source, &target)?;
                    if old.is_some() {
                        make_opaque(&target, self.marks)?;
                    }
                    copy_metadata(&source, &target, Marks::Dropped)?;
                }
            }
        }
        for name in gone.into_keys() {
            make_directories(upper)?;
            make_whiteout(upper, name, self.marks)?;
        }
        Ok(())
    }
}

/// Their metadata follows when all is in them.
fn make_directories(path: &Path) -> Result<(), ExecutorError> {
    fs::create_dir_all(path).map_err(on("mkdir", path))
}
