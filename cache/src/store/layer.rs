//! Layers: committed changes of a root filesystem, as directories overlayfs can stack. A layer is made in temporary
//! space and committed by one rename, together with its `meta.json`; after that its files never change. Only a layer
//! whose files are elsewhere gets them later (see `remote_layer.rs`).

use crate::{
    LayerId, Lease, ScratchDir, Store, StoreError,
    disk::{
        FileStat, create_private_file, make_dirs, make_dirs_with_mode, random_id, remove_tree, tree_own_size,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::{Descriptor, DiffId, Digest, Reference, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A layer's description: everything that is known about it besides its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerMeta {
    /// When it was committed.
    pub created: Timestamp,
    /// Sum of its regular files' lengths, when counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Number of files that are not directories, when counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Digest of its tar, once an image needed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<DiffId>,
    /// Length of its tar in bytes, known with the DiffId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tar_size: Option<u64>,
    /// Bytes of the disk that it took when it was committed, in whole blocks, without files that it shares with other
    /// layers; the store fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Where its tar comes from.
    pub source: LayerSource,
}

/// The identity of a layer's tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerDiff {
    /// Its SHA-256.
    pub diff_id: DiffId,
    /// Its length in bytes; unknown of a layer that is elsewhere.
    pub tar_size: Option<u64>,
}

/// The same, with what stat(2) said of the description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DescribedDiff {
    pub(crate) diff: LayerDiff,
    pub(crate) description: FileStat,
}

impl LayerMeta {
    /// The identity of the layer's tar, if it has been computed; of a layer that is elsewhere, the one its image names.
    #[must_use]
    pub fn diff(&self) -> Option<LayerDiff> {
        match &self.source {
            LayerSource::Elsewhere(remote) => Some(LayerDiff { diff_id: remote.diff_id, tar_size: None }),
            LayerSource::Own | LayerSource::Recipe(_) | LayerSource::Blob(_) => {
                let known = self.diff_id.zip(self.tar_size);
                known.map(|(diff_id, size)| LayerDiff { diff_id, tar_size: Some(size) })
            }
        }
    }

    /// The description of a layer at its commit, when nothing is counted or hashed yet.
    #[must_use]
    pub fn new(created: Timestamp, source: LayerSource) -> Self {
        Self {
            created,
            size_bytes: None,
            files: None,
            diff_id: None,
            tar_size: None,
            disk_bytes: None,
            source,
        }
    }

    /// The description of a layer whose files are elsewhere.
    pub(super) fn elsewhere(created: Timestamp, remote: RemoteLayer) -> Self {
        let diff_id = Some(remote.diff_id);
        Self { diff_id, ..Self::new(created, LayerSource::Elsewhere(remote)) }
    }
}

/// Where a layer's tar comes from when it leaves the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerSource {
    /// It is written from the layer's directory.
    Own,
    /// It is written from the directory by a recipe (a blob) that says what the directory alone does not.
    Recipe(Digest),
    /// It was pulled: this compressed blob is kept and is the layer.
    Blob(Descriptor),
    /// Neither the tar nor the files are here: a registry has them.
    Elsewhere(RemoteLayer),
}

/// The place from which the files of a layer can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteLayer {
    /// The compressed tar, as the registry has it.
    pub blob: Descriptor,
    /// Digest of the tar, as the image's config says; what is fetched must have it.
    pub diff_id: DiffId,
    /// What has the blob.
    pub origin: LayerOrigin,
    /// What named the layer.
    #[serde(default, skip_serializing_if = "FoundIn::is_image")]
    pub found_in: FoundIn,
}

/// What named a layer that is elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundIn {
    /// An image: nothing else has the layer.
    #[default]
    Image,
    /// A cache of another machine: the step that made the layer can be carried out here.
    Cache,
}

impl FoundIn {
    fn is_image(&self) -> bool {
        *self == Self::Image
    }
}

/// A place that has blobs of layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LayerOrigin {
    /// The repository of this image in its registry.
    Registry(Reference),
    /// An OCI layout directory of this machine, such as a build cache of `type=local`.
    Layout {
        /// Its path.
        layout: String,
    },
    /// A bucket that has a build cache.
    Bucket {
        /// The place of its blobs, without a login.
        bucket: String,
    },
}

impl LayerOrigin {
    /// The image, if it is one of a registry.
    #[must_use]
    pub fn registry(&self) -> Option<&Reference> {
        match self {
            Self::Registry(reference) => Some(reference),
            Self::Layout { .. } | Self::Bucket { .. } => None,
        }
    }

    /// Its shortest name.
    #[must_use]
    pub fn familiar(&self) -> String {
        match self {
            Self::Registry(reference) => reference.familiar(),
            Self::Layout { layout } => layout.clone(),
            Self::Bucket { bucket } => bucket.clone(),
        }
    }

    /// True if both are one place: the tag of an image does not matter, its blobs are those of the repository.
    #[must_use]
    pub fn is_place_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Registry(one), Self::Registry(other)) => one.has_repository_of(other),
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for LayerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout { layout } => layout.fmt(f),
            Self::Bucket { bucket } => bucket.fmt(f),
        }
    }
}

/// A layer being made: a directory for its content, and one for overlayfs' own use. Dropping it removes both.
#[derive(Debug)]
pub struct LayerDraft {
    directory: PathBuf,
    fs: PathBuf,
    work: Option<ScratchDir>,
    /// What the files take, when those who made them have counted it.
    counted: Option<u64>,
    /// Bytes that notes take.
    noted: u64,
    store: Store,
}

impl Store {
    /// An empty layer to fill, in temporary space; `fs` has mode 0755.
    ///
    /// # Errors
    /// An I/O error when its directories cannot be made.
    pub fn new_layer(&self) -> Result<LayerDraft, StoreError> {
        self.expect_writes()?;
        let directory = self.space().path("layer")?;
        let (fs, work) = (directory.join("fs"), Some(self.scratch_dir()?));
        let draft = LayerDraft { directory, fs, work, counted: None, noted: 0, store: self.clone() };
        make_dirs(&draft.directory)?;
        // the image's `/`, which every user in it may search
        make_dirs_with_mode(&draft.fs, 0o755).map_err(StoreError::on("create", &draft.fs))?;
        Ok(draft)
    }

    /// The layer's directory, for overlayfs or reading. A layer that is elsewhere has none.
    #[must_use]
    pub fn layer_fs(&self, layer: &LayerId) -> PathBuf {
        self.layer_directory(layer).join("fs")
    }

    /// The layer's description.
    ///
    /// # Errors
    /// [`StoreError::LayerMissing`] when it is not there, [`StoreError::Document`] when its file is damaged.
    pub fn layer_meta(&self, layer: &LayerId) -> Result<LayerMeta, StoreError> {
        let path = self.layer_directory(layer).join("meta.json");
        let bytes =
            whole_file::read(&path)?.ok_or_else(|| StoreError::LayerMissing { layer: layer.to_string() })?;
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Document { path, source })
    }

    /// True if the layer is there with a description that is not empty. A power cut may have emptied the description,
    /// and then nothing can be done with the layer.
    #[must_use]
    pub fn has_layer(&self, layer: &LayerId) -> bool {
        self.description_of(layer).is_some()
    }

    /// What stat(2) says of the description of a layer that is there.
    pub(crate) fn description_of(&self, layer: &LayerId) -> Option<FileStat> {
        let description = self.layer_directory(layer).join("meta.json");
        // through the link of a layer of a lower store, which may not be there any more
        FileStat::behind(&description).ok().filter(|file| file.size > 0)
    }

    /// What the layer's description says of its tar; `None` when it says nothing, or cannot be read.
    pub(crate) fn described_diff(&self, layer: &LayerId) -> Option<DescribedDiff> {
        let path = self.layer_directory(layer).join("meta.json");
        // a description is never written to, so that of one inode stays what it is
        let description = FileStat::behind(&path).ok()?;
        let diff = self.layer_meta(layer).ok()?.diff()?;
        (FileStat::behind(&path).ok()? == description).then_some(DescribedDiff { diff, description })
    }

    /// True if a layer that is here is not a link to one of a store that is only read.
    #[must_use]
    pub fn owns_layer(&self, layer: &LayerId) -> bool {
        self.layer_directory(layer).symlink_metadata().is_ok_and(|directory| directory.is_dir())
    }

    /// Replaces the description of a committed layer, for example to add its DiffId once that is computed.
    ///
    /// # Errors
    /// [`StoreError::LayerMissing`] when it is not there, or an I/O error.
    pub fn update_layer_meta(&self, layer: &LayerId, meta: &LayerMeta) -> Result<(), StoreError> {
        if !self.has_layer(layer) {
            return Err(StoreError::LayerMissing { layer: layer.to_string() });
        }
        let path = self.layer_directory(layer).join("meta.json");
        // what a lower store says of its layer stays as it is
        if path.is_symlink() {
            return Ok(());
        }
        // no directory is made for a layer that is being collected
        whole_file::replace(self.space(), &path, &to_json(meta), Durability::DiskLater)
    }

    /// What was noted of the layer in the file `name`; `None` when nothing was, or it cannot be read.
    #[must_use]
    pub fn layer_note(&self, layer: &LayerId, name: &str) -> Option<Vec<u8>> {
        whole_file::read(&self.note_path(layer, name)).ok().flatten()
    }

    /// Notes something of the layer, for [`Store::layer_note`]. It is advice, and goes with the layer.
    ///
    /// # Errors
    /// An I/O error, also when the layer is not there any more.
    pub fn note_on_layer(&self, layer: &LayerId, name: &str, note: &[u8]) -> Result<(), StoreError> {
        whole_file::replace(self.space(), &self.note_path(layer, name), note, Durability::DiskLater)
    }

    fn note_path(&self, layer: &LayerId, name: &str) -> PathBuf {
        self.layer_directory(layer).join(name)
    }

    /// Describes the layer that is in the temporary `directory` and gives it a name. `lease` holds it.
    pub(super) fn name_layer(
        &self,
        directory: &Path,
        lease: &Lease,
        meta: &LayerMeta,
    ) -> Result<LayerId, StoreError> {
        let bytes = meta.disk_bytes.unwrap_or(0);
        let meta_path = directory.join("meta.json");
        create_private_file(&meta_path)
            .and_then(|mut file| file.write_all(&to_json(meta)))
            .map_err(StoreError::on("write", &meta_path))?;
        loop {
            let id = LayerId::from_str(&random_id()).expect("a random id is 16 hexadecimal digits");
            let target = self.layer_directory(&id);
            // before the rename: a collection lists layers first and reads leases second
            lease.announce(&id)?;
            match whole_file::rename(directory, &target) {
                Err(StoreError::Io { source, .. })
                    if matches!(
                        source.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                    ) => {}
                renamed => {
                    renamed?;
                    self.count_layer(bytes);
                    return Ok(id);
                }
            }
        }
    }

    /// Adds a layer that is in its place to the count of the store's bytes, if there is one.
    pub(super) fn count_layer(&self, bytes: u64) {
        if let Some(mut count) = self.usage_count() {
            count.add(bytes as i64, 0);
        }
    }

    /// Removes a layer that was just made and that nothing mentions.
    ///
    /// # Errors
    /// An I/O error when it cannot be removed; a collection takes it then.
    pub fn discard_layer(&self, layer: &LayerId) -> Result<(), StoreError> {
        let bytes = self.layer_meta(layer)?.disk_bytes.unwrap_or(0);
        let (directory, gone) = (self.layer_directory(layer), self.space().path("gone")?);
        fs::rename(&directory, &gone).map_err(StoreError::on("remove", &directory))?;
        if let Some(mut count) = self.usage_count() {
            count.add(-(bytes as i64), 0);
        }
        remove_tree(&gone)
    }

    pub(crate) fn layer_directory(&self, layer: &LayerId) -> PathBuf {
        self.at(&format!("layers/{layer}"))
    }
}

impl LayerDraft {
    /// Where the layer's content goes.
    #[must_use]
    pub fn fs(&self) -> &Path {
        &self.fs
    }

    /// An empty directory on the same file system, for overlayfs' `workdir`.
    ///
    /// # Panics
    /// After [`LayerDraft::give_work`].
    #[must_use]
    pub fn work(&self) -> &Path {
        self.work.as_ref().expect("it was not given away").path()
    }

    /// Gives that directory away, to be dropped when overlayfs does not use it any more.
    pub fn give_work(&mut self) -> Option<ScratchDir> {
        self.work.take()
    }

    /// The draft, whose files take `bytes` of the disk if that is known; then they are not walked at the commit. Files
    /// that other layers link to do not count.
    #[must_use]
    pub fn counted(mut self, bytes: Option<u64>) -> Self {
        self.counted = bytes;
        self
    }

    /// Puts a note beside the layer, for [`Store::layer_note`].
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn note(&mut self, name: &str, note: &[u8]) -> Result<(), StoreError> {
        let path = self.directory.join(name);
        let mut file = create_private_file(&path).map_err(StoreError::on("write", &path))?;
        file.write_all(note).map_err(StoreError::on("write", &path))?;
        self.noted += file.metadata().map_or(0, |file| file.blocks() * 512);
        Ok(())
    }

    /// Makes it a layer. Nothing may write to it any more. `lease` holds the new layer, so that a
    /// collection cannot take it before a record or image mentions it.
    ///
    /// # Errors
    /// An I/O error when it cannot be renamed; the draft is removed then.
    pub fn commit(self, lease: &Lease, meta: &LayerMeta) -> Result<LayerId, StoreError> {
        let measured = meta.disk_bytes.is_none().then(|| self.measured(meta.clone()));
        self.store.name_layer(&self.directory, lease, measured.as_ref().unwrap_or(meta))
    }

    /// The store that it is in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The description with the bytes that the layer will take, which the disk begins to write when they are many. Nothing may write to
    /// it any more.
    #[must_use]
    pub fn measured(&self, meta: LayerMeta) -> LayerMeta {
        // its directory and its description, which takes a block too
        let around = fs::symlink_metadata(&self.directory).map_or(0, |directory| 2 * directory.blksize());
        let walked = || {
            let bytes = ["fs", "lost"].map(|name| tree_own_size(&self.directory.join(name))).iter().sum();
            self.store.wrote(bytes);
            bytes
        };
        LayerMeta { disk_bytes: Some(around + self.noted + self.counted.unwrap_or_else(walked)), ..meta }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl LayerDraft {
    /// Removes it without anybody waiting for that, because the person who canceled it does not: a command may have made any number
    /// of files.
    pub fn remove_soon(self) {
        let work = self.work.as_ref().map(ScratchDir::path);
        for path in [Some(self.directory.as_path()), work].into_iter().flatten() {
            // what stays is removed here
            let _ = self.store.space().remove_soon(path);
        }
    }
}

impl Drop for LayerDraft {
    fn drop(&mut self) {
        // after a commit there is nothing under this name
        let _ = remove_tree(&self.directory);
    }
}

pub(super) fn to_json(meta: &LayerMeta) -> Vec<u8> {
    serde_json::to_vec(meta).expect("a layer's description is strings and numbers")
}
