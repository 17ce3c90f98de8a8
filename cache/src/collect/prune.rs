//! Garbage collection. Names go first, in one short moment under the index lock and the gate (see `lease`); the bytes
//! behind them are removed afterwards, from temporary space, where a killed collection leaves them to be swept.
//!
//! Never taken: what an image, a container or a live lease needs, and blobs and images written since the oldest live
//! lease began.

use super::inventory::{Inventory, freshness};
use crate::{
    CacheKey, CacheRecord, ImageRecord, Index, LayerId, Store, StoreError,
    disk::{Afterwards, FileLock, Hold, list, remove_files, remove_tree, tree_size, whole_file},
};
use rbuild_oci::{ImageId, Reference, Timestamp};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How long an evicted record is kept to explain misses.
const EVICTED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What to collect. The default takes nothing but garbage: leftovers and what nothing refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Which cache records go.
    pub records: RecordPrune,
    /// Which images go.
    pub images: ImagePrune,
    /// Whether cache mounts go.
    pub mounts: MountPrune,
    /// Take only what was last of use before this time.
    pub older_than: Option<Timestamp>,
    /// Of the records that may go, take the longest unused ones until layers only the cache needs are at most this big.
    pub keep_bytes: Option<u64>,
}

/// Which cache records may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordPrune {
    /// Only those that are of no use any more.
    #[default]
    Useless,
    /// Those whose layer no image or container has.
    Unused,
    /// All but those a running build holds.
    All,
}

/// Which images go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImagePrune {
    /// None.
    #[default]
    Keep,
    /// Those without a name and a container.
    Dangling,
    /// Those without a container, with their names.
    Unused,
}

/// What becomes of `RUN --mount=type=cache` directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountPrune {
    /// They stay.
    #[default]
    Keep,
    /// Those no build is using go.
    Unused,
}

/// What was collected.
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
    /// How much was freed, in bytes.
    pub freed_bytes: u64,
}

impl Store {
    /// Collects what `options` says and what nothing needs. One collection runs at a time.
    ///
    /// # Errors
    /// An I/O error when the store cannot be read or written; what was removed until then stays removed.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport, StoreError> {
        let _one = FileLock::wait(&self.at("locks/prune"), Hold::Exclusive, Afterwards::Keep)?;
        let swept = self.sweep()?;
        let mut collection =
            Collection { store: self, options, gone: Vec::new(), report: PruneReport::default() };
        collection.report.freed_bytes = swept;
        let decided = self.index(|index| collection.decide(index));
        collection.mounts()?;
        for (path, bytes) in &collection.gone {
            remove_tree(path)?;
            collection.report.freed_bytes += bytes;
        }
        decided?;
        self.remove_dead_step_locks()?;
        if options.records == RecordPrune::All {
            remove_files(&self.at("contexts"))?;
        }
        Ok(collection.report)
    }

    /// A lock file whose owner was killed stays behind; taking and dropping its lock removes it.
    fn remove_dead_step_locks(&self) -> Result<(), StoreError> {
        for directory in ["locks/steps", "locks/owners"] {
            for name in list(&self.at(directory))? {
                drop(FileLock::attempt(&self.at(directory).join(name), Afterwards::Remove)?);
            }
        }
        Ok(())
    }
}

struct Collection<'a> {
    store: &'a Store,
    options: &'a PruneOptions,
    /// Renamed trees and files with their sizes, yet to be removed.
    gone: Vec<(PathBuf, u64)>,
    report: PruneReport,
}

impl Collection<'_> {
    fn decide(&mut self, index: &Index<'_>) -> Result<(), StoreError> {
        let _gate = FileLock::wait(&self.store.at("locks/gate"), Hold::Exclusive, Afterwards::Keep)?;
        let mut inventory = Inventory::take(self.store, index)?;
        self.images(&mut inventory)?;
        let old = self.expired(&inventory);
        inventory.records.retain(|(key, _)| !old.contains(key));
        let victims = self.victims(&inventory, index);
        let (gone, kept) = inventory.records.into_iter().partition(|(key, _)| victims.contains(key));
        (self.report.records, inventory.records) = (gone, kept);

        let mut live = inventory.image_layers();
        live.extend(&inventory.held.layers);
        let kept = inventory.records.iter().filter(|(_, record)| record.evicted.is_none());
        live.extend(kept.flat_map(|(_, record)| record.stack()));
        let live_blobs = inventory.live_blobs(&live);

        // the records first: killed in between, layers stay as garbage instead of records without layers
        let keys: Vec<CacheKey> = self.report.records.iter().map(|(key, _)| *key).collect();
        if !keys.is_empty() {
            remove_files(&self.store.at("recent"))?;
        }
        index.mark_evicted(&keys, SystemTime::now().into())?;
        old.iter().try_for_each(|key| index.remove_record(key))?;
        for layer in inventory.layers.iter().filter(|layer| !live.contains(layer)) {
            let size = inventory.layer_size(layer);
            self.take(&self.store.layer_directory(layer), size)?;
            self.report.layers.push(*layer);
        }
        for (digest, blob) in &inventory.blobs {
            let recent = inventory.held.oldest.is_some_and(|oldest| blob.modified >= oldest);
            if !live_blobs.contains(digest) && !recent {
                whole_file::remove(&self.store.blob_path(digest))?;
                self.report.blobs += 1;
                self.report.freed_bytes += blob.size;
            }
        }
        Ok(())
    }

    /// Removes images and their names, from the store and the inventory.
    fn images(&mut self, inventory: &mut Inventory<'_>) -> Result<(), StoreError> {
        let (named, contained) = (inventory.named_images(), inventory.container_images());
        let goes = |image: &ImageRecord| {
            let wanted = match self.options.images {
                ImagePrune::Keep => false,
                ImagePrune::Dangling => !named.contains(&image.id) && !contained.contains(&image.id),
                ImagePrune::Unused => !contained.contains(&image.id),
            };
            let written = fs::metadata(self.store.image_path(&image.id)).and_then(|m| m.modified());
            let recent = inventory.held.oldest.is_some_and(|oldest| written.map_or(true, |w| w >= oldest));
            wanted && !recent && self.options.older_than.is_none_or(|limit| image.created < limit)
        };
        let victims: HashSet<ImageId> =
            inventory.images.iter().filter(|image| goes(image)).map(|image| image.id).collect();
        for (reference, record) in &inventory.references {
            if victims.contains(&record.image) {
                self.store.remove_reference(reference)?;
                self.report.references.push(reference.clone());
            }
        }
        for image in &victims {
            self.store.remove_image(image)?;
        }
        inventory.references.retain(|(_, record)| !victims.contains(&record.image));
        inventory.images.retain(|image| !victims.contains(&image.id));
        self.report.images = victims.into_iter().collect();
        self.report.images.sort();
        Ok(())
    }

    /// Evicted records that have explained long enough.
    fn expired(&self, inventory: &Inventory<'_>) -> HashSet<CacheKey> {
        let limit = SystemTime::now().checked_sub(EVICTED_FOR).map(Timestamp::from);
        let old = |record: &CacheRecord| record.evicted.zip(limit).is_some_and(|(when, limit)| when < limit);
        inventory.records.iter().filter(|(_, record)| old(record)).map(|(key, _)| *key).collect()
    }

    /// The records to evict: those of no use, and of those that may go as many as must.
    fn victims(&self, inventory: &Inventory<'_>, index: &Index<'_>) -> HashSet<CacheKey> {
        let fresh = freshness(&inventory.records);
        let image_layers = inventory.image_layers();
        let present = inventory.records.iter().filter(|(_, record)| record.evicted.is_none());
        let (usable, useless): (Vec<_>, Vec<_>) = present.partition(|(_, record)| {
            record.stamp.is_some_and(|stamp| index.survived(&stamp))
                && record.stack().all(|layer| inventory.layers.contains(layer))
        });
        let mut victims: HashSet<CacheKey> = useless.into_iter().map(|(key, _)| *key).collect();
        let last_use = |record: &CacheRecord| fresh.get(&record.layer).copied().unwrap_or(record.created);
        let may_go = |record: &CacheRecord| {
            let wanted = match self.options.records {
                RecordPrune::Useless => false,
                RecordPrune::Unused => !image_layers.contains(&record.layer),
                RecordPrune::All => true,
            };
            wanted
                && !inventory.held.layers.contains(&record.layer)
                && self.options.older_than.is_none_or(|limit| last_use(record) < limit)
        };
        let mut candidates: Vec<_> = usable.iter().filter(|(_, record)| may_go(record)).collect();
        // of one chain the upper end goes first, for what stands on a missing layer is useless
        candidates.sort_by_key(|(_, record)| (last_use(record), Reverse(record.parent_layers.len())));
        let mut users = HashMap::<LayerId, usize>::new();
        for (_, record) in &usable {
            record.stack().for_each(|layer| *users.entry(*layer).or_default() += 1);
        }
        users.retain(|layer, _| !image_layers.contains(layer));
        let mut bytes: u64 = users.keys().map(|layer| inventory.layer_size(layer)).sum();
        for (key, record) in candidates {
            if self.options.keep_bytes.is_some_and(|keep| bytes <= keep) {
                break;
            }
            victims.insert(*key);
            for layer in record.stack() {
                if let Some(count) = users.get_mut(layer) {
                    *count -= 1;
                    bytes -= if *count == 0 { inventory.layer_size(layer) } else { 0 };
                }
            }
        }
        victims
    }

    fn mounts(&mut self) -> Result<(), StoreError> {
        match self.options.mounts {
            MountPrune::Keep => return Ok(()),
            MountPrune::Unused => {}
        }
        let directory = self.store.mounts_dir();
        for id in list(&directory)? {
            let Some(_unused) = self.store.try_lock_mount(&id)? else { continue };
            let path = directory.join(&id);
            let written = fs::metadata(&path).and_then(|m| m.modified()).map(Timestamp::from);
            if self.options.older_than.is_none_or(|limit| written.is_ok_and(|written| written < limit)) {
                self.take(&path, tree_size(&path).bytes)?;
                self.report.mounts.push(id);
            }
        }
        Ok(())
    }

    /// Takes a tree's name away.
    fn take(&mut self, path: &Path, size: u64) -> Result<(), StoreError> {
        let aside = self.store.space().path("gone")?;
        whole_file::rename(path, &aside)?;
        self.gone.push((aside, size));
        Ok(())
    }
}
