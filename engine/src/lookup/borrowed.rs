//! What the look-up takes from stores that are only read.
//!
//! Layer ids are each store's own, so what a record of another store stood on is compared with what is here by DiffIds, and, once
//! a step is ready and those differ or are not known, by content. A record that is taken names the layers of this store.

use super::{Hit, Ready, StepCache, same_content::stacks_to_compare, usable_records};
use crate::{
    Error,
    build::results::{Origin, Results, StepResult},
    layers::layer_content,
    lookup::keys::{Definition, Keys},
};
use rbuild_cache::{CacheRecord, Index, LayerId, Lookup, LowerStore};
use rbuild_oci::DiffId;
use rbuild_planner::{CachePolicy, Plan, Step};

impl StepCache {
    /// Takes every result that definition keys find in lower stores.
    pub(super) fn borrow_all(&self, plan: &Plan, keys: &Keys, results: &mut Results) {
        let is_open = |step: &&Step| {
            step.cache == CachePolicy::Use
                && keys.step(step.id).definition == Definition::Trusted
                && results.step(step.id).is_none()
        };
        let open: Vec<&Step> = plan.steps.iter().filter(is_open).collect();
        let answers = self.lower.ask(|index| {
            let record = |step: &&Step| match index.lookup(&keys.step(step.id).key) {
                Lookup::Hit(record) => Some(*record),
                Lookup::Miss(_) => None,
            };
            open.iter().map(record).collect::<Vec<_>>()
        });
        for (at, step) in open.iter().enumerate() {
            // a step stands on a result, which an earlier one of the plan or an image has
            let Some(parent) = results.stack(&step.parent) else { continue };
            let sources = results.inputs(step).map(|inputs| inputs.source_layers());
            let found = answers.iter().find_map(|(lower, records)| {
                let record = records[at].as_ref()?;
                let same = |theirs: &[LayerId], own: &[LayerId]| self.have_same_tars(lower, theirs, own);
                let stands = same(&record.parent_layers, &parent)
                    && sources.as_ref().is_none_or(|own| same(&record.source_layers, own));
                (stands && self.lower.take(lower, &record.layer)).then(|| record.clone())
            });
            if let Some(record) = found {
                let source_layers = sources.unwrap_or_else(|| record.source_layers.clone());
                let record =
                    CacheRecord { parent_layers: parent.to_vec(), source_layers, stamp: None, ..record };
                self.borrowed().push((keys.step(step.id).key, record.clone()));
                results.insert(step.id, StepResult::new(record, &parent, Origin::Cache));
            }
        }
    }

    /// The result of a step whose inputs are done, from a lower store: of the same step, on a parent and with sources that contain
    /// the same files.
    pub(super) fn borrow(&self, ready: &Ready<'_>) -> Option<Hit> {
        for (lower, candidates) in self.lower.ask(|index| candidates(index, ready)) {
            for record in candidates {
                let Some((theirs, own)) = stacks_to_compare(ready, &record) else { continue };
                if !self.have_same_files(lower, &theirs, &own) || !self.lower.take(lower, &record.layer) {
                    continue;
                }
                let record = CacheRecord {
                    parent: Some(ready.keyed.parent),
                    parent_layers: ready.inputs.parent.to_vec(),
                    source_layers: ready.inputs.source_layers(),
                    stamp: None,
                    ..record
                };
                return Some(Hit::new(record, ready));
            }
        }
        None
    }

    /// True if the layers of a lower store are those of this one, as far as their tars are known.
    fn have_same_tars(&self, lower: &LowerStore, theirs: &[LayerId], own: &[LayerId]) -> bool {
        theirs.len() == own.len()
            && theirs.iter().zip(own).all(|(theirs, own)| self.has_same_tar(lower, theirs, own) == Some(true))
    }

    fn have_same_files(&self, lower: &LowerStore, theirs: &[LayerId], own: &[LayerId]) -> bool {
        theirs.len() == own.len()
            && theirs.iter().zip(own).all(|(theirs, own)| {
                self.has_same_tar(lower, theirs, own) == Some(true)
                    // a layer that cannot be compared counts as another one: the cache is advice
                    || self.has_same_files(lower, theirs, own).unwrap_or(false)
            })
    }

    /// `None` when the tar of one is not known.
    fn has_same_tar(&self, lower: &LowerStore, theirs: &LayerId, own: &LayerId) -> Option<bool> {
        if theirs == own {
            return Some(true);
        }
        let diff_id = |store, layer| -> Option<DiffId> {
            Some(rbuild_image::known_layer_diff(store, layer).ok()??.diff_id)
        };
        Some(diff_id(lower.store(), theirs)? == diff_id(&self.store, own)?)
    }

    fn has_same_files(&self, lower: &LowerStore, theirs: &LayerId, own: &LayerId) -> Result<bool, Error> {
        // one that is elsewhere is not fetched to find that out
        if self.store.remote_layer(own)?.is_some() || lower.store().remote_layer(theirs)?.is_some() {
            return Ok(false);
        }
        let own = layer_content::content(&self.store, &self.records, *own)?;
        Ok(rbuild_image::layer_content(lower.store(), theirs, self.records.cancel())? == Some(own))
    }
}

/// What an index has of a step: under its keys, and then with other parents and sources.
fn candidates(index: &Index<'_>, ready: &Ready<'_>) -> Vec<CacheRecord> {
    let trusted = ready.keyed.definition == Definition::Trusted;
    let keys = ready.keys();
    let by_key =
        keys.iter().filter(|(key, _)| trusted || *key != ready.keyed.key).filter_map(|(key, _)| match index
            .lookup(key)
        {
            Lookup::Hit(record) => Some(*record),
            Lookup::Miss(_) => None,
        });
    by_key.chain(keys.iter().flat_map(|(_, step)| usable_records(index, step))).collect()
}
