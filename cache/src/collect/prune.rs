//! Garbage collection. Names go first, in one short moment under the index lock and the gate (see `store/lease.rs`);
//! the bytes behind them are removed afterwards, with no lock held, from temporary space, where a killed collection
//! leaves them to be swept.
//!
//! Never taken: what an image, a container or a live lease needs, and blobs and images written since the oldest live
//! lease began.

use super::{
    inventory::Inventory,
    layer_facts::{LayerBlobs, LayerSizes, layer_ids},
    policy::{self, MountPrune, PruneOptions, RecordPrune},
};
use crate::{
    CacheKey, CacheRecord, ImageRecord, Index, LayerId, Store, StoreError,
    disk::{FileLock, LockMode, OnUnlock, list, remove_files, remove_tree, tree_size, whole_file},
};
use rbuild_oci::{Digest, ImageId, Reference, Timestamp};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// The things that a collection removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Cache records that can no longer be hit.
    pub records: Vec<(CacheKey, CacheRecord)>,
    /// Images removed.
    pub images: Vec<ImageId>,
    /// Names removed.
    pub references: Vec<Reference>,
    /// Layers removed.
    pub layers: Vec<LayerId>,
    /// Number of blobs removed.
    pub blobs: usize,
    /// Ids of cache mounts removed.
    pub mounts: Vec<String>,
    /// Bytes freed on the disk.
    pub freed_bytes: u64,
}

impl Store {
    /// Removes what `options` names and what nothing needs. Only one collection at a time decides what to remove.
    ///
    /// # Errors
    /// An I/O error when the store cannot be read or written; what was removed until then stays removed.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport, StoreError> {
        let swept = self.sweep()?;
        self.remove_dead_containers()?;
        let layers = layer_ids(self)?;
        let sizes = match options.keep_bytes {
            Some(_) => LayerSizes::measure(self, &layers),
            None => LayerSizes::default(),
        };
        let mut collection = Collection::new(self, LayerBlobs::read(self, &layers));
        let decided = {
            let _one = FileLock::wait(&self.at("locks/prune"), LockMode::Exclusive, OnUnlock::Keep)?;
            let decided = self.index(|index| collection.everything(options, &sizes, index));
            collection.mounts(options)?;
            decided
        };
        let mut report = collection.remove()?;
        decided?;
        report.freed_bytes += swept;
        self.remove_dead_locks()?;
        if options.records == RecordPrune::All && options.older_than.is_none() && options.keep_bytes.is_none()
        {
            report.freed_bytes += self.remove_logs()?;
        }
        if options.records == RecordPrune::All {
            remove_files(&self.at("contexts"))?;
        }
        Ok(report)
    }

    /// Removes the layers and blobs of an image that has just been removed, and these manifests, as far as nothing else
    /// needs them. Other garbage is left to [`Store::prune`].
    ///
    /// # Errors
    /// An I/O error when the store cannot be read or written; what was removed until then stays removed.
    pub fn remove_parts(&self, image: &ImageRecord, manifests: &[Digest]) -> Result<PruneReport, StoreError> {
        let layers: HashSet<LayerId> = image.layers.iter().map(|layer| layer.layer).collect();
        let layer_blobs = LayerBlobs::read(self, &layer_ids(self)?);
        let mut blobs: HashSet<Digest> = manifests.iter().copied().chain(image.manifest).collect();
        blobs.insert(*image.id.as_digest());
        blobs.extend(image.platforms.iter().map(|one| *one.image.as_digest()));
        blobs.extend(image.layers.iter().filter_map(|layer| Some(layer.blob.as_ref()?.digest)));
        blobs.extend(layers.iter().filter_map(|layer| layer_blobs.of(self, layer)));
        let mut collection = Collection::new(self, layer_blobs);
        let decided = {
            let _one = FileLock::wait(&self.at("locks/prune"), LockMode::Exclusive, OnUnlock::Keep)?;
            self.index(|index| collection.parts(&layers, &blobs, index))
        };
        let report = collection.remove()?;
        decided.map(|()| report)
    }

    /// A lock file whose owner was killed stays behind; taking and dropping its lock removes it.
    fn remove_dead_locks(&self) -> Result<(), StoreError> {
        for directory in ["locks/steps", "locks/layers", "locks/owners", "locks/pauses"] {
            for name in list(&self.at(directory))? {
                drop(FileLock::attempt(&self.at(directory).join(name), OnUnlock::Remove)?);
            }
        }
        Ok(())
    }
}

struct Collection<'a> {
    store: &'a Store,
    layer_blobs: LayerBlobs,
    /// Renamed trees and files, yet to be removed.
    aside: Vec<PathBuf>,
    report: PruneReport,
}

impl<'a> Collection<'a> {
    fn new(store: &'a Store, layer_blobs: LayerBlobs) -> Self {
        Self { store, layer_blobs, aside: Vec::new(), report: PruneReport::default() }
    }

    /// Takes away the names of everything that `options` selects, and of all garbage.
    fn everything(
        &mut self,
        options: &PruneOptions,
        sizes: &LayerSizes,
        index: &Index<'_>,
    ) -> Result<(), StoreError> {
        let _gate = self.gate()?;
        if options.records == RecordPrune::All && options.keep_bytes.is_none() {
            self.store.forget_web_sources(options.older_than)?;
        }
        let mut inventory = Inventory::take(self.store, index)?;
        self.images(policy::images(options, self.store, &inventory), &mut inventory)?;
        let now = self.store.now();
        let expired = policy::expired(&inventory, now);
        inventory.records.retain(|(key, _)| !expired.contains(key));
        let evicted = policy::records(options, &inventory, index, sizes);
        let goes = |(key, _): &(CacheKey, CacheRecord)| evicted.contains_key(key);
        (self.report.records, inventory.records) = inventory.records.into_iter().partition(goes);

        // the records first: killed in between, layers stay as garbage instead of records without layers
        if !self.report.records.is_empty() {
            self.store.forget_recent()?;
        }
        index.mark_evicted(&self.report.records, now.into(), |key| evicted[key])?;
        expired.iter().try_for_each(|key| index.remove_record(key))?;
        self.garbage(&inventory, |_| true, |_| true)
    }

    /// Takes the names of those of these layers and blobs that nothing needs.
    fn parts(
        &mut self,
        layers: &HashSet<LayerId>,
        blobs: &HashSet<Digest>,
        index: &Index<'_>,
    ) -> Result<(), StoreError> {
        let _gate = self.gate()?;
        let inventory = Inventory::take(self.store, index)?;
        self.garbage(&inventory, |layer| layers.contains(layer), |blob| blobs.contains(blob))
    }

    fn gate(&self) -> Result<FileLock, StoreError> {
        FileLock::wait(&self.store.at("locks/gate"), LockMode::Exclusive, OnUnlock::Keep)
    }

    /// Removes images and their names, from the store and the inventory.
    fn images(&mut self, gone: HashSet<ImageId>, inventory: &mut Inventory) -> Result<(), StoreError> {
        for (reference, record) in &inventory.references {
            if gone.contains(&record.image) {
                self.store.remove_reference(reference)?;
                self.report.references.push(reference.clone());
            }
        }
        for image in &gone {
            self.store.remove_image(image)?;
        }
        inventory.references.retain(|(_, record)| !gone.contains(&record.image));
        inventory.images.retain(|image| !gone.contains(&image.id));
        self.report.images = gone.into_iter().collect();
        self.report.images.sort();
        Ok(())
    }

    /// Takes the names of layers and blobs that nothing in the inventory needs, as far as they may be taken.
    fn garbage(
        &mut self,
        inventory: &Inventory,
        takes_layer: impl Fn(&LayerId) -> bool,
        takes_blob: impl Fn(&Digest) -> bool,
    ) -> Result<(), StoreError> {
        let live = inventory.live_layers();
        let live_blobs = inventory.live_blobs(self.store, &live, &self.layer_blobs);
        for layer in inventory.layers.iter().filter(|layer| takes_layer(layer) && !live.contains(layer)) {
            self.take(&self.store.layer_directory(layer))?;
            self.report.layers.push(*layer);
        }
        for digest in inventory.blobs.iter().filter(|blob| takes_blob(blob) && !live_blobs.contains(blob)) {
            let path = self.store.blob_path(digest);
            let written = fs::metadata(&path).and_then(|file| file.modified());
            // one that vanishes was damaged, and its reader has removed it
            let Ok(written) = written else { continue };
            if inventory.held.oldest.is_none_or(|oldest| written < oldest) {
                self.take(&path)?;
                self.report.blobs += 1;
            }
        }
        Ok(())
    }

    fn mounts(&mut self, options: &PruneOptions) -> Result<(), StoreError> {
        match options.mounts {
            MountPrune::Keep => return Ok(()),
            MountPrune::Unused => {}
        }
        let directory = self.store.mounts_dir();
        for id in list(&directory)? {
            let Some(_unused) = self.store.try_lock_mount(&id)? else { continue };
            let path = directory.join(&id);
            let written = fs::metadata(&path).and_then(|m| m.modified()).map(Timestamp::from);
            if options.older_than.is_none_or(|limit| written.is_ok_and(|written| written < limit)) {
                self.take(&path)?;
                self.report.mounts.push(id);
            }
        }
        Ok(())
    }

    /// Takes a name away.
    fn take(&mut self, path: &Path) -> Result<(), StoreError> {
        let aside = self.store.space().path("gone")?;
        whole_file::rename(path, &aside)?;
        self.aside.push(aside);
        Ok(())
    }

    /// Removes what has no name any more.
    fn remove(mut self) -> Result<PruneReport, StoreError> {
        for path in &self.aside {
            let bytes = tree_size(path);
            remove_tree(path)?;
            self.report.freed_bytes += bytes;
        }
        Ok(self.report)
    }
}
