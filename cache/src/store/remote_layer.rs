//! Layers whose files are elsewhere: a registry has them. Such a layer is `meta.json` without `fs/`. It has an id like
//! every other layer, so that stacks, records and images can name it before a byte of it was fetched.
//!
//! It becomes an ordinary layer in two moves. [`LayerDraft::fill`] puts the files under its name, and
//! [`FilledLayer::finish`] replaces its description, which until then says that they are elsewhere. In between the
//! caller syncs the store, because images and records that name the layer may be durable already. Files of a fetch that
//! was killed in between count for nothing, and the next one removes them.

use super::layer::{LayerDraft, LayerMeta, LayerSource, RemoteLayer, to_json};
use crate::{
    LayerId, Lease, Store, StoreError,
    disk::{
        FileLock, OnUnlock, make_dirs, remove_tree,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::Timestamp;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The right to fill a layer or to say where it is. Ends when dropped, or with the process.
#[derive(Debug)]
pub struct LayerLock {
    layer: LayerId,
    _lock: FileLock,
}

/// A layer whose files are in their place, and whose description does not say so yet. Dropping it leaves the layer
/// elsewhere.
#[derive(Debug)]
pub struct FilledLayer {
    lock: LayerLock,
    description: PathBuf,
    store: Store,
}

impl Store {
    /// A new layer whose files are elsewhere; `lease` holds it.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn add_remote_layer(&self, lease: &Lease, remote: RemoteLayer) -> Result<LayerId, StoreError> {
        let created = Timestamp::from(self.now());
        let directory = self.space().path("layer")?;
        make_dirs(&directory)?;
        let named = self.name_layer(&directory, lease, &LayerMeta::elsewhere(created, remote));
        named.inspect_err(|_| {
            let _ = remove_tree(&directory);
        })
    }

    /// The place from which the files of a layer can be fetched; `None` when they are here.
    ///
    /// # Errors
    /// As [`Store::layer_meta`].
    pub fn remote_layer(&self, layer: &LayerId) -> Result<Option<RemoteLayer>, StoreError> {
        match self.layer_meta(layer)?.source {
            LayerSource::Elsewhere(remote) => Ok(Some(remote)),
            LayerSource::Own | LayerSource::Recipe(_) | LayerSource::Blob(_) => Ok(None),
        }
    }

    /// Takes the layer's lock, or returns `None` when another fetch holds it. Read the layer's description only after
    /// that. A caller that takes several locks must take them in the order of the stack, lowest first, so that no two
    /// callers can wait for each other.
    ///
    /// # Errors
    /// An I/O error when the lock file cannot be opened.
    pub fn try_lock_layer(&self, layer: &LayerId) -> Result<Option<LayerLock>, StoreError> {
        let lock = FileLock::attempt(&self.at(&format!("locks/layers/{layer}")), OnUnlock::Remove)?;
        Ok(lock.map(|lock| LayerLock { layer: *layer, _lock: lock }))
    }

    /// Notes that the files of the locked layer, which are elsewhere, can be fetched from `remote`.
    ///
    /// # Errors
    /// [`StoreError::LayerMissing`] when the layer is not there, or an I/O error.
    pub fn set_remote_layer(&self, lock: &LayerLock, remote: RemoteLayer) -> Result<(), StoreError> {
        let meta = self.layer_meta(&lock.layer)?;
        let path = self.layer_directory(&lock.layer).join("meta.json");
        let json = to_json(&LayerMeta::elsewhere(meta.created, remote));
        // the old description may be durable, so the new one must not be lost
        whole_file::replace(self.space(), &path, &json, Durability::DiskFirst)
    }
}

impl LayerLock {
    /// The layer that is locked.
    #[must_use]
    pub fn layer(&self) -> &LayerId {
        &self.layer
    }
}

impl LayerDraft {
    /// Makes the draft's files those of the locked layer, which is elsewhere and which `meta` describes from now on.
    /// Nothing may be mounted on the draft or write to it any more. Sync the store before the layer is
    /// [finished](FilledLayer::finish).
    ///
    /// # Errors
    /// An I/O error when the files cannot be renamed, such as one for a layer that has been collected.
    pub fn fill(self, lock: LayerLock, meta: &LayerMeta) -> Result<FilledLayer, StoreError> {
        let store = self.store().clone();
        let target = store.layer_directory(&lock.layer);
        let meta = self.measured(meta.clone());
        for name in ["lost", "fs"] {
            set_aside(&store, &target.join(name))?;
            move_if_there(&self.directory().join(name), &target.join(name))?;
        }
        store.count_layer(meta.disk_bytes.unwrap_or(0));
        let description = whole_file::draft(store.space(), &to_json(&meta), Durability::DiskLater)?;
        Ok(FilledLayer { lock, description, store })
    }
}

impl FilledLayer {
    /// Says that the files are here, and ends the lock. The store must have been synced since the layer was filled.
    ///
    /// # Errors
    /// An I/O error when the description cannot be replaced.
    pub fn finish(self) -> Result<LayerId, StoreError> {
        let path = self.store.layer_directory(&self.lock.layer).join("meta.json");
        fs::rename(&self.description, &path).map_err(StoreError::on("create", &path))?;
        Ok(self.lock.layer)
    }
}

impl Drop for FilledLayer {
    fn drop(&mut self) {
        // once it is finished there is nothing under this name
        let _ = fs::remove_file(&self.description);
    }
}

/// Removes what a killed fetch has left at `path`. It is renamed first, so that it is never there in part.
fn set_aside(store: &Store, path: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let aside = store.space().path("gone")?;
    move_if_there(path, &aside)?;
    remove_tree(&aside)
}

fn move_if_there(from: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(from).is_err() => {
            Ok(())
        }
        moved => moved.map_err(StoreError::on("create", to)),
    }
}
