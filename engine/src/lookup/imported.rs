//! What the look-up takes from the caches of other machines.

use super::{Hit, Ready, StepCache};
use crate::{
    Error,
    build::results::Results,
    layers::{layer_content, lost_layers::Lost},
    lookup::keys::Keys,
    shared_cache::imports::{ByContent, Imports},
};
use rbuild_cache::{CacheKey, CacheRecord, LayerId, MissReason};
use rbuild_oci::Digest;
use rbuild_planner::Plan;
use rbuild_remote_cache::SharedLayer;
use std::sync::PoisonError;

impl StepCache {
    /// Takes every result that caches of other machines have under the definition keys, and asks them for those of steps
    /// whose inputs are done from now on.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) fn import(
        &mut self,
        imports: Imports,
        (plan, keys): (&Plan, &Keys),
        results: &mut Results,
    ) -> Result<(), Error> {
        self.imports = imports;
        let taken = self.imports.take_all((&self.store, &self.lease), (plan, keys), results)?;
        for result in taken.iter().filter_map(|step| Some((keys.step(*step), results.step(*step)?))) {
            let (keyed, record) = (result.0, &result.1.record);
            self.records.recorder()?.record(keyed.key, CacheRecord::clone(record));
            if let Some(step) = record.content_step {
                let by_content = CacheRecord { step, ..CacheRecord::clone(record) };
                self.records.recorder()?.record(keyed.by_content(&step), by_content);
            }
        }
        self.hold(results)
    }

    /// What a layer that came with another machine's cache contains, as that cache says.
    pub(crate) fn imported_content(&self, layer: &LayerId) -> Option<Digest> {
        self.imports.content(layer)
    }

    /// Records that need one of `layers`, which cannot be had, count for nothing from now on; `lost` says what caches lack, and
    /// `unavailable` of which steps, and what caches those are.
    pub(crate) fn lose(&self, layers: &[LayerId], lost: Option<Lost>, unavailable: Vec<(CacheKey, String)>) {
        self.unavailable.lock().unwrap_or_else(PoisonError::into_inner).extend(unavailable);
        if let Some(lost) = lost {
            self.imports.lose(lost);
        }
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).extend(layers);
    }

    /// Why a step has no result whose layer turned out to be unavailable.
    pub(super) fn unavailable(&self, key: &CacheKey) -> Option<MissReason> {
        let unavailable = self.unavailable.lock().unwrap_or_else(PoisonError::into_inner);
        unavailable.get(key).map(|from| MissReason::Unavailable { from: from.clone() })
    }

    pub(super) fn is_lost(&self, record: &CacheRecord) -> bool {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        record.parent_layers.iter().chain([&record.layer]).any(|layer| lost.contains(layer))
    }

    /// The result that a cache of another machine has of the step, on inputs that contain the same files.
    pub(super) fn elsewhere(&self, ready: &Ready<'_>) -> Result<Option<Hit>, Error> {
        if self.imports.is_empty() {
            return Ok(None);
        }
        let is_same = |shared: &SharedLayer, layer: &LayerId| {
            let known = rbuild_image::known_layer_diff(&self.store, layer)?;
            if known.is_some_and(|known| known.diff_id == shared.diff_id) {
                return Ok(true);
            }
            // one that is elsewhere is not fetched to find that out
            let is_here = self.store.remote_layer(layer)?.is_none();
            let Some(content) = shared.content.filter(|_| is_here) else { return Ok(false) };
            // a layer that cannot be read counts as another one: the cache is advice
            Ok(layer_content::content(&self.store, &self.records, *layer).is_ok_and(|own| own == content))
        };
        let by_content = ByContent {
            key: ready.by_content,
            copied: ready.content_step,
            mounted: ready.keyed.beside_mounts(ready.inputs),
        };
        let step = (ready.step, ready.keyed, by_content);
        let found = self.imports.find((&self.store, &self.lease), step, ready.inputs, &is_same)?;
        Ok(found.filter(|record| !self.is_lost(record)).map(|record| Hit::new(record, ready)))
    }
}
