//! Stores below this one: looked into after it and never written, such as one on a volume that machines share. It may be
//! mounted read-only.
//!
//! What is used of a lower store gets a name here that leads there by links: a layer is a directory of its own with links to
//! the description and the files, so that overlayfs stacks them where they are, and a blob is a link. Links of a lower store
//! that is not mounted lead nowhere, and then the layer or blob is missing like any other.

use super::{opening, reference_record::genuine};
use crate::{
    ImageRecord, Index, LayerId, LayerMeta, LayerSource, RefRecord, Store, StoreError,
    disk::{make_dirs, remove_tree, whole_file},
};
use rbuild_oci::{Digest, ImageId, Reference};
use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The most bytes of an index that are copied.
const LARGEST_INDEX: u64 = 8 << 30;

/// Tells whether a layer of a store has all that it should have.
pub type IsWhole<'a> = &'a dyn Fn(&Store, &LayerId) -> bool;

/// A store that is only read.
#[derive(Debug)]
pub struct LowerStore {
    store: Store,
    /// The copy of its index, once it was needed: the database cannot be opened where nothing may be written.
    index: Mutex<Option<PathBuf>>,
}

impl Store {
    /// The store at `root`, an absolute path, as one below this one.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`] when it is none or of an older format, [`StoreError::NewerStore`],
    /// [`StoreError::OtherWriter`] when its layers belong to another user than this one's.
    pub fn lower(&self, root: &Path) -> Result<LowerStore, StoreError> {
        opening::look_into(root, self.writer())?;
        Ok(LowerStore { store: self.handle_on(root), index: Mutex::new(None) })
    }

    /// Makes the layer of `lower` one of this store, used where it is; false when `lower` has it no more, or when it is not whole.
    ///
    /// # Errors
    /// An I/O error when it cannot be named here.
    pub fn borrow_layer(
        &self,
        lower: &LowerStore,
        layer: &LayerId,
        is_whole: IsWhole<'_>,
    ) -> Result<bool, StoreError> {
        if self.has_layer(layer) {
            return Ok(true);
        }
        let Some((meta, parts)) = lower.parts(layer) else { return Ok(false) };
        if !is_whole(&lower.store, layer) {
            return Ok(false);
        }
        match &meta.source {
            LayerSource::Own | LayerSource::Elsewhere(_) => {}
            LayerSource::Recipe(recipe) => self.borrow_blob(lower, recipe)?,
            LayerSource::Blob(blob) => self.borrow_blob(lower, &blob.digest)?,
        }
        let draft = self.space().path("borrowed")?;
        make_dirs(&draft)?;
        for (name, there) in parts {
            link(&there, &draft.join(name))?;
        }
        let path = self.layer_directory(layer);
        // what is there leads into a lower store that has it no more
        remove_tree(&path)?;
        match fs::rename(&draft, &path) {
            // another process was faster
            Err(e) if matches!(e.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                remove_tree(&draft)?;
            }
            renamed => renamed.map_err(StoreError::on("create", &path))?,
        }
        Ok(self.has_layer(layer))
    }

    /// Makes the image `reference` of `lower` one of this store, with that name if this store has none; returns it.
    ///
    /// # Errors
    /// As [`Store::borrow_layer`].
    pub fn borrow_image(
        &self,
        lower: &LowerStore,
        reference: &Reference,
        is_whole: IsWhole<'_>,
    ) -> Result<Option<ImageRecord>, StoreError> {
        let Some(named) = lower.reference(reference) else { return Ok(None) };
        let Some(image) = lower.image(&named.image) else { return Ok(None) };
        for platform in &image.platforms {
            let Some(image) = lower.image(&platform.image) else { return Ok(None) };
            if !self.borrow_parts(lower, &image, is_whole)? {
                return Ok(None);
            }
        }
        if !self.borrow_parts(lower, &image, is_whole)? {
            return Ok(None);
        }
        if let Some(manifest) = &named.manifest {
            self.borrow_blob(lower, manifest)?;
        }
        if self.reference(reference)?.is_none() {
            self.point(reference, &named)?;
        }
        Ok(Some(image))
    }

    /// Runs one transaction on the index of `lower`, or on a copy of it. Nothing that it writes is kept.
    ///
    /// # Errors
    /// As [`Store::index`]; an I/O error when the index cannot be copied.
    pub fn lower_index<T>(
        &self,
        lower: &LowerStore,
        transaction: impl FnOnce(&Index<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut index = lower.index.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = match &mut *index {
            Some(copy) => copy,
            none => none.insert(self.copy_index(lower)?),
        };
        lower.store.index_at(copy, transaction)
    }

    /// The config, the layers and the record of an image; false when `lower` lacks one of them.
    fn borrow_parts(
        &self,
        lower: &LowerStore,
        image: &ImageRecord,
        is_whole: IsWhole<'_>,
    ) -> Result<bool, StoreError> {
        for layer in &image.layers {
            if !self.borrow_layer(lower, &layer.layer, is_whole)? {
                return Ok(false);
            }
            if let Some(blob) = &layer.blob {
                self.borrow_blob(lower, &blob.digest)?;
            }
        }
        self.borrow_blob(lower, image.id.as_digest())?;
        if let Some(manifest) = &image.manifest {
            self.borrow_blob(lower, manifest)?;
        }
        if self.blob_size(image.id.as_digest()).is_none() {
            return Ok(false);
        }
        self.put_image(image)?;
        Ok(true)
    }

    /// Makes a blob one of this store; one that `lower` lacks stays missing.
    fn borrow_blob(&self, lower: &LowerStore, digest: &Digest) -> Result<(), StoreError> {
        if self.blob_size(digest).is_some() {
            return Ok(());
        }
        let there = lower.store.blob_path(digest);
        let Some(there) = genuine_place(&there, 3, Metadata::is_file) else { return Ok(()) };
        let draft = self.space().path("borrowed")?;
        link(&there, &draft)?;
        let path = self.blob_path(digest);
        fs::rename(&draft, &path).map_err(StoreError::on("create", &path))
    }

    /// Copies the index of `lower` into temporary space, which goes with this process.
    fn copy_index(&self, lower: &LowerStore) -> Result<PathBuf, StoreError> {
        let (from, copy) = (lower.store.at("index"), self.space().path("lower-index")?);
        make_dirs(&copy)?;
        // a writer there waits meanwhile; where no lock can be had, there is no writer or the copy may be a damaged one
        let lock = File::open(lower.store.at("locks/index")).ok();
        let _held = lock.as_ref().map(File::lock_shared);
        let mut room = LARGEST_INDEX;
        copy_files((&from, &copy), &mut room).map_err(StoreError::on("copy", &from))?;
        Ok(copy)
    }
}

impl LowerStore {
    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.store.root()
    }

    /// It as a store, of which everything may be read and nothing be written.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The description of a layer and the places of its parts; `None` when it has no such layer, or when something there is not
    /// what it should be.
    fn parts(&self, layer: &LayerId) -> Option<(LayerMeta, Vec<(&'static str, PathBuf)>)> {
        let directory = self.store.layer_directory(layer);
        let mut parts = Vec::new();
        for (name, is_right) in PARTS {
            let path = directory.join(name);
            if path.symlink_metadata().is_ok() {
                parts.push((name, genuine_place(&path, 3, is_right)?));
            }
        }
        parts.iter().find(|(name, _)| *name == "meta.json")?;
        let meta = self.store.layer_meta(layer).ok()?;
        let is_here = parts.iter().any(|(name, _)| *name == "fs");
        (is_here || matches!(meta.source, LayerSource::Elsewhere(_))).then_some((meta, parts))
    }

    /// As [`Store::reference`]; what is damaged or cannot be read is not there.
    fn reference(&self, reference: &Reference) -> Option<RefRecord> {
        genuine(reference, &whole_file::read(&self.store.reference_path(reference)).ok()??)
    }

    /// As [`Store::image`]; what is damaged or cannot be read is not there.
    fn image(&self, id: &ImageId) -> Option<ImageRecord> {
        let bytes = whole_file::read(&self.store.image_path(id)).ok()??;
        serde_json::from_slice(&bytes).ok().filter(|image: &ImageRecord| image.id == *id)
    }
}

/// Tells whether a file is of the right kind.
type IsRight = fn(&Metadata) -> bool;

/// What a layer has, and what each of it must be.
const PARTS: [(&str, IsRight); 3] =
    [("fs", Metadata::is_dir), ("lost", Metadata::is_dir), ("meta.json", Metadata::is_file)];

/// Where `path` of a lower store is, if that is right: it may itself be a link, as those of a store that has borrowed it, to what has
/// the same last `names` in its path.
fn genuine_place(path: &Path, names: usize, is_right: IsRight) -> Option<PathBuf> {
    let real = path.canonicalize().ok()?;
    let last =
        |path: &Path| path.components().rev().take(names).map(|name| name.as_os_str().to_owned()).collect();
    let (one, other): (Vec<_>, Vec<_>) = (last(&real), last(path));
    let right = one == other && is_right(&real.symlink_metadata().ok()?);
    let is_link = path.symlink_metadata().ok()?.is_symlink();
    right.then(|| if is_link { real } else { path.to_owned() })
}

fn link(target: &Path, path: &Path) -> Result<(), StoreError> {
    symlink(target, path).map_err(StoreError::on("create", path))
}

/// Copies the files of a directory, of at most `room` bytes in all.
fn copy_files((from, to): (&Path, &Path), room: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let path = to.join(entry.file_name());
        match entry.metadata()? {
            file if file.is_dir() => {
                fs::create_dir(&path)?;
                copy_files((&entry.path(), &path), room)?;
            }
            file if file.is_file() => {
                *room = room.checked_sub(file.len()).ok_or(ErrorKind::FileTooLarge)?;
                fs::copy(entry.path(), path)?;
            }
            _ => {}
        }
    }
    Ok(())
}
