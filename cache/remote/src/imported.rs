//! A cache that was read, by its keys.

use crate::{SharedCache, SharedLayer, SharedMount, SharedRecord};
use rbuild_cache::{CacheKey, FoundIn, LayerOrigin, RemoteLayer, StepHash};
use std::collections::HashMap;

/// A cache that was read.
#[derive(Debug)]
pub struct ImportedCache {
    origin: LayerOrigin,
    cache: SharedCache,
    by_key: HashMap<CacheKey, usize>,
    by_step: HashMap<StepHash, Vec<usize>>,
}

impl ImportedCache {
    /// The cache `cache`, whose layers `origin` has. Each index in it must lead to a layer.
    #[must_use]
    pub fn new(origin: LayerOrigin, cache: SharedCache) -> Self {
        let (mut by_key, mut by_step) = (HashMap::new(), HashMap::<StepHash, Vec<usize>>::new());
        for (at, record) in cache.records.iter().enumerate() {
            for key in [Some(record.key), record.by_content].into_iter().flatten() {
                by_key.entry(key).or_insert(at);
            }
            for step in [Some(record.step), record.content_step].into_iter().flatten() {
                by_step.entry(step).or_default().push(at);
            }
        }
        Self { origin, cache, by_key, by_step }
    }

    /// The number of records.
    #[must_use]
    pub fn records(&self) -> usize {
        self.cache.records.len()
    }

    /// What cache mounts have.
    #[must_use]
    pub fn mounts(&self) -> &[SharedMount] {
        &self.cache.mounts
    }

    /// The record of a key.
    #[must_use]
    pub fn record(&self, key: &CacheKey) -> Option<&SharedRecord> {
        self.by_key.get(key).map(|at| &self.cache.records[*at])
    }

    /// The records of a step by either hash, on whatever parents.
    pub fn records_of_step(&self, step: &StepHash) -> impl Iterator<Item = &SharedRecord> {
        self.by_step.get(step).into_iter().flatten().map(|at| &self.cache.records[*at])
    }

    /// The layer with this index, which a record of this cache names.
    #[must_use]
    pub fn layer(&self, index: usize) -> &SharedLayer {
        &self.cache.layers[index]
    }

    /// The layer that `record` made, and where it is; `None` when the cache was made without it.
    #[must_use]
    pub fn result(&self, record: &SharedRecord) -> Option<RemoteLayer> {
        let layer = self.layer(record.layer);
        let (diff_id, origin) = (layer.diff_id, self.origin.clone());
        layer.blob.clone().map(|blob| RemoteLayer { blob, diff_id, origin, found_in: FoundIn::Cache })
    }
}
