//! Garbage collection. Names go first, in one short moment under the index lock and the gate (see `store/lease.rs`);
//! the bytes behind them are removed afterwards, with no lock held, from temporary space, where a killed collection
//! leaves them to be swept.
//!
//! Never taken: what an image, a container or a live lease needs, and blobs and images written since the oldest live
//! lease began.

use super::{
    inventory::{Inventory, lists},
    layer_facts::{LayerFacts, layer_ids},
    policy::{self, Effect, Facts, PruneOptions, RecordPrune},
};
use crate::{
    CacheKey, CacheRecord, EvictedBy, ImageRecord, Index, LayerId, MountUsage, Store, StoreError,
    disk::{
        FileLock, LockMode, OnUnlock, list, remove_files, remove_tree, tree_own_size, tree_size, whole_file,
    },
};
use rbuild_oci::{Digest, ImageId, Reference};
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
    /// Cache mounts removed.
    pub mounts: Vec<MountUsage>,
    /// What failed steps left that was removed, by its names.
    pub failed_steps: Vec<String>,
    /// Bytes freed on the disk; of a collection that only reports, those that would be.
    pub freed_bytes: u64,
}

impl Store {
    /// Removes what `options` names and what nothing needs. Only one collection at a time decides what to remove.
    ///
    /// # Errors
    /// An I/O error when the store cannot be read or written; what was removed until then stays removed.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport, StoreError> {
        let removes = options.effect == Effect::Remove;
        let mut swept = 0;
        if removes {
            swept = self.sweep()?;
            self.remove_dead_containers()?;
        }
        let layers = LayerFacts::gather(self, &layer_ids(self)?)?;
        let mounts = match options.by {
            EvictedBy::Prune => self.measured_mounts()?,
            EvictedBy::MaxUsedSpace | EvictedBy::MinFreeSpace | EvictedBy::Lost => self.mount_usage()?,
        };
        let recent = self.recent_uses();
        let failed_steps = match options.may_take_failed_steps() {
            true => self.failed_steps(options.older_than)?,
            false => Vec::new(),
        };
        let failed_bytes = match options.by {
            EvictedBy::Prune => failed_steps.iter().map(|(_, bytes)| bytes).sum(),
            // the budget of a store does not count them
            EvictedBy::MaxUsedSpace | EvictedBy::MinFreeSpace | EvictedBy::Lost => 0,
        };
        let facts = Facts { layers: &layers, mounts: &mounts, recent: &recent, failed_bytes };
        let mut collection = Collection::new(self, &layers, options.effect);
        let decided = {
            let _one = FileLock::wait(&self.at("locks/prune"), LockMode::Exclusive, OnUnlock::Keep)?;
            self.index(|index| collection.everything(options, &facts, index))
        };
        let is_over_limit = collection.is_over_limit;
        let mut report = collection.remove()?;
        decided?;
        let failed_steps = if is_over_limit { failed_steps } else { Vec::new() };
        report.freed_bytes += swept;
        let takes_all = options.takes_all_records() && options.older_than.is_none();
        if removes {
            self.remove_dead_locks()?;
        }
        self.what_explains(takes_all, &failed_steps, (options.effect, &mut report))?;
        if removes {
            if options.records == RecordPrune::All {
                remove_files(&self.at("contexts"))?;
            }
            if options.by == EvictedBy::Prune {
                self.recount_bytes()?;
            }
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
        let facts = LayerFacts::gather(self, &layer_ids(self)?)?;
        let mut blobs: HashSet<Digest> = manifests.iter().copied().chain(image.manifest).collect();
        blobs.insert(*image.id.as_digest());
        blobs.extend(image.platforms.iter().map(|one| *one.image.as_digest()));
        blobs.extend(image.layers.iter().filter_map(|layer| Some(layer.blob.as_ref()?.digest)));
        blobs.extend(layers.iter().filter_map(|layer| facts.blob(self, layer)));
        let mut collection = Collection::new(self, &facts, Effect::Remove);
        let decided = {
            let _one = FileLock::wait(&self.at("locks/prune"), LockMode::Exclusive, OnUnlock::Keep)?;
            self.index(|index| collection.parts(&layers, &blobs, index))
        };
        let report = collection.remove()?;
        decided.map(|()| report)
    }

    /// Removes what only tells of builds, or reports it: all logs, and what failed steps left.
    fn what_explains(
        &self,
        takes_logs: bool,
        failed_steps: &[(String, u64)],
        (effect, report): (Effect, &mut PruneReport),
    ) -> Result<(), StoreError> {
        for (logs, bytes) in if takes_logs { self.ended_logs()? } else { Vec::new() } {
            if effect == Effect::Remove {
                remove_tree(&logs)?;
            }
            report.freed_bytes += bytes;
        }
        for (name, bytes) in failed_steps {
            let bytes = if effect == Effect::Remove { self.remove_failed_step(name)? } else { *bytes };
            report.failed_steps.push(name.clone());
            report.freed_bytes += bytes;
        }
        Ok(())
    }

    /// A lock file whose owner was killed stays behind; taking and dropping its lock removes it.
    fn remove_dead_locks(&self) -> Result<(), StoreError> {
        for directory in ["locks/steps", "locks/layers", "locks/owners", "locks/pauses", "locks/failed"] {
            for name in list(&self.at(directory))? {
                drop(FileLock::attempt(&self.at(directory).join(name), OnUnlock::Remove)?);
            }
        }
        Ok(())
    }
}

struct Collection<'a> {
    store: &'a Store,
    layers: &'a LayerFacts,
    effect: Effect,
    /// The build cache has to become smaller.
    is_over_limit: bool,
    /// Renamed trees and files, yet to be removed.
    aside: Vec<Aside>,
    report: PruneReport,
}

/// Something that has no name any more.
struct Aside {
    path: PathBuf,
    /// Bytes that it had in the count of the store's bytes.
    counted: u64,
}

impl<'a> Collection<'a> {
    fn new(store: &'a Store, layers: &'a LayerFacts, effect: Effect) -> Self {
        Self {
            store,
            layers,
            effect,
            is_over_limit: false,
            aside: Vec::new(),
            report: PruneReport::default(),
        }
    }

    /// Takes away the names of everything that `options` selects, and of all garbage.
    fn everything(
        &mut self,
        options: &PruneOptions,
        facts: &Facts<'_>,
        index: &Index<'_>,
    ) -> Result<(), StoreError> {
        let _gate = self.gate()?;
        let forgets_sources = options.takes_all_records() || options.by != EvictedBy::Prune;
        if forgets_sources {
            if self.effect == Effect::Remove {
                self.store.forget_web_sources(options.older_than)?;
                self.store.forget_known_contexts(options.older_than)?;
            }
            for (repository, _unused) in self.store.old_git_repositories(options.older_than)? {
                self.take(&repository, tree_size(&repository), 0)?;
            }
        }
        let mut inventory = Inventory::take_all(self.store, index)?;
        if forgets_sources {
            inventory.web_blobs = self.store.remembered_web_blobs(options.older_than)?;
        }
        self.images(policy::images(options, self.store, &inventory), &mut inventory)?;
        let now = self.store.now();
        let expired = policy::expired(&inventory, now);
        inventory.records.retain(|(key, _)| !expired.contains(key));
        let evicted = policy::evictions(options, (self.store, &inventory), index, facts);
        self.is_over_limit = evicted.is_over_limit;
        let goes = |(key, _): &(CacheKey, CacheRecord)| evicted.records.contains_key(key);
        (self.report.records, inventory.records) = inventory.records.into_iter().partition(goes);

        // the records first: killed in between, layers stay as garbage instead of records without layers
        if self.effect == Effect::Remove {
            if !self.report.records.is_empty() {
                self.store.forget_evicted(&evicted.records.keys().copied().collect())?;
            }
            index.mark_evicted(&self.report.records, now.into(), |key| evicted.records[key])?;
            expired.iter().try_for_each(|key| index.remove_record(key))?;
            index.shrink_soon();
        }
        if options.by != EvictedBy::Prune {
            // what only explains takes room too
            let present = inventory.records.iter().filter(|(_, record)| record.evicted.is_none());
            inventory.lists = present.flat_map(|(_, record)| lists(record)).collect();
        }
        self.garbage(&inventory, |_| true, |_| true)?;
        let mounts = facts.mounts.iter().filter(|mount| evicted.mounts.contains(&mount.directory));
        mounts.into_iter().try_for_each(|mount| self.mount(mount))
    }

    /// Takes the names of those of these layers and blobs that nothing needs.
    fn parts(
        &mut self,
        layers: &HashSet<LayerId>,
        blobs: &HashSet<Digest>,
        index: &Index<'_>,
    ) -> Result<(), StoreError> {
        let _gate = self.gate()?;
        let inventory = Inventory::take_all(self.store, index)?;
        self.garbage(&inventory, |layer| layers.contains(layer), |blob| blobs.contains(blob))
    }

    fn gate(&self) -> Result<FileLock, StoreError> {
        FileLock::wait(&self.store.at("locks/gate"), LockMode::Exclusive, OnUnlock::Keep)
    }

    /// Removes images and their names, from the store and the inventory.
    fn images(&mut self, gone: HashSet<ImageId>, inventory: &mut Inventory) -> Result<(), StoreError> {
        let removes = self.effect == Effect::Remove;
        for (reference, record) in &inventory.references {
            if gone.contains(&record.image) {
                if removes {
                    self.store.remove_reference(reference)?;
                }
                self.report.references.push(reference.clone());
            }
        }
        if removes {
            gone.iter().try_for_each(|image| self.store.remove_image(image).map(drop))?;
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
        for layer in inventory.layers.iter().filter(|layer| takes_layer(layer) && !live.contains(layer)) {
            let bytes = self.layers.bytes(layer);
            self.take(&self.store.layer_directory(layer), bytes, bytes)?;
            self.report.layers.push(*layer);
        }
        let candidates = inventory.blobs.iter().filter(|blob| takes_blob(blob));
        let candidates: Vec<&Digest> = inventory.unreferred(candidates);
        if candidates.is_empty() {
            return Ok(());
        }
        let of_layers: HashSet<Digest> =
            live.iter().filter_map(|layer| self.layers.blob(self.store, layer)).collect();
        for digest in candidates.into_iter().filter(|blob| !of_layers.contains(blob)) {
            let path = self.store.blob_path(digest);
            let written = fs::metadata(&path).and_then(|file| file.modified());
            // one that vanishes was damaged, and its reader has removed it
            let Ok(written) = written else { continue };
            if inventory.held.oldest.is_none_or(|oldest| written < oldest) {
                let bytes = tree_size(&path);
                self.take(&path, bytes, bytes)?;
                self.report.blobs += 1;
            }
        }
        Ok(())
    }

    /// Takes the name of a cache mount, unless a step uses it.
    fn mount(&mut self, mount: &MountUsage) -> Result<(), StoreError> {
        let Some(_unused) = self.store.try_lock_mount(&mount.directory)? else { return Ok(()) };
        self.take(&self.store.mounts_dir().join(&mount.directory), mount.bytes, 0)?;
        self.report.mounts.push(mount.clone());
        Ok(())
    }

    /// Takes a name away from something that has so many bytes, of which so many are in the count.
    fn take(&mut self, path: &Path, bytes: u64, counted: u64) -> Result<(), StoreError> {
        if self.effect == Effect::Report {
            self.report.freed_bytes += bytes;
            return Ok(());
        }
        let aside = self.store.space().path("gone")?;
        whole_file::rename(path, &aside)?;
        self.aside.push(Aside { path: aside, counted });
        Ok(())
    }

    /// Removes what has no name any more.
    fn remove(mut self) -> Result<PruneReport, StoreError> {
        let counted: u64 = self.aside.iter().map(|aside| aside.counted).sum();
        if let Some(mut count) = self.store.usage_count() {
            count.add(-(counted as i64), 0);
        }
        for aside in &self.aside {
            let freed = tree_own_size(&aside.path);
            remove_tree(&aside.path)?;
            self.report.freed_bytes += freed;
            // what other layers link to stays
            let linked = aside.counted as i64 - freed as i64;
            if aside.counted > 0
                && linked != 0
                && let Some(mut count) = self.store.usage_count()
            {
                count.add(linked, linked);
            }
        }
        Ok(self.report)
    }
}
