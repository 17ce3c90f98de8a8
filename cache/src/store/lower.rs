//! Stores below this one: looked into after it and never written, such as one on a volume that machines share. It may be
//! mounted read-only.
//!
//! What is used of a lower store gets a name here that leads there by links: a layer is a directory of its own with links to
//! the description and the files, so that overlayfs stacks them where they are, and a blob is a link. Links of a lower store
//! that is not mounted lead nowhere, and then the layer or blob is missing like any other.

use super::{opening, reference_record::genuine};
use crate::{
    ImageRecord, Index, LayerId, LayerSource, RefRecord, Store, StoreError,
    disk::{make_dirs, remove_tree, whole_file},
};
use rbuild_oci::{Digest, ImageId, Reference};
use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

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

    /// Makes the layer of `lower` one of this store, used where it is; false when `lower` has it no more.
    ///
    /// # Errors
    /// An I/O error when it cannot be named here.
    pub fn borrow_layer(&self, lower: &LowerStore, layer: &LayerId) -> Result<bool, StoreError> {
        if self.has_layer(layer) {
            return Ok(true);
        }
        let Ok(meta) = lower.store.layer_meta(layer) else { return Ok(false) };
        match &meta.source {
            LayerSource::Own | LayerSource::Elsewhere(_) => {}
            LayerSource::Recipe(recipe) => self.borrow_blob(lower, recipe)?,
            LayerSource::Blob(blob) => self.borrow_blob(lower, &blob.digest)?,
        }
        let (there, draft) = (lower.store.layer_directory(layer), self.space().path("borrowed")?);
        make_dirs(&draft)?;
        for name in ["fs", "lost", "meta.json"] {
            if there.join(name).symlink_metadata().is_ok() {
                link(&there.join(name), &draft.join(name))?;
            }
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
    ) -> Result<Option<ImageRecord>, StoreError> {
        let Some(named) = lower.reference(reference)? else { return Ok(None) };
        let Some(image) = lower.image(&named.image)? else { return Ok(None) };
        for platform in &image.platforms {
            let Some(image) = lower.image(&platform.image)? else { return Ok(None) };
            if !self.borrow_parts(lower, &image)? {
                return Ok(None);
            }
        }
        if !self.borrow_parts(lower, &image)? {
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
    fn borrow_parts(&self, lower: &LowerStore, image: &ImageRecord) -> Result<bool, StoreError> {
        for layer in &image.layers {
            if !self.borrow_layer(lower, &layer.layer)? {
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
        if self.blob_size(digest).is_some() || lower.store.blob_size(digest).is_none() {
            return Ok(());
        }
        let draft = self.space().path("borrowed")?;
        link(&lower.store.blob_path(digest), &draft)?;
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
        copy_files(&from, &copy).map_err(StoreError::on("copy", &from))?;
        Ok(copy)
    }
}

impl LowerStore {
    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.store.root()
    }

    /// As [`Store::reference`]; what is damaged stays as it is.
    fn reference(&self, reference: &Reference) -> Result<Option<RefRecord>, StoreError> {
        let bytes = whole_file::read(&self.store.reference_path(reference))?;
        Ok(bytes.and_then(|bytes| genuine(reference, &bytes)))
    }

    /// As [`Store::image`]; what is damaged stays as it is.
    fn image(&self, id: &ImageId) -> Result<Option<ImageRecord>, StoreError> {
        let bytes = whole_file::read(&self.store.image_path(id))?;
        let image = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(image.filter(|image: &ImageRecord| image.id == *id))
    }
}

fn link(target: &Path, path: &Path) -> Result<(), StoreError> {
    symlink(target, path).map_err(StoreError::on("create", path))
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let path = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => {
                fs::create_dir(&path)?;
                copy_files(&entry.path(), &path)?;
            }
            kind if kind.is_file() => drop(fs::copy(entry.path(), path)?),
            _ => {}
        }
    }
    Ok(())
}
