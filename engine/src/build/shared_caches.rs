//! What a build does for the caches that machines share, beside its steps.

use super::Build;
use crate::{
    Causes, Engine, Error, Warning,
    build::{first_look::FirstLook, results::StepResult},
    layers::lost_layers::Lost,
    report::reporter::Reporter,
    shared_cache::{imports::Imports, shared_mounts::MountTransfer},
};
use rbuild_cache::{Cancel, LayerId, StoreError};
use rbuild_planner::{Plan, PlannedTarget, StepId};
use std::{collections::HashSet, sync::Arc};

impl Engine {
    /// Asks the caches of other machines for what this one has not. When it has everything, they are not even looked at.
    pub(super) async fn look_elsewhere(
        &self,
        first: FirstLook,
        (plan, cancel): (&Arc<Plan>, &Cancel),
        reporter: &Reporter,
    ) -> Result<FirstLook, Error> {
        if first.request.cache_from.is_empty() || !first.wants_more(plan) {
            return Ok(first);
        }
        let imports = Imports::load(&first.request.cache_from, &self.remote, reporter).await;
        if imports.is_empty() {
            return Ok(first);
        }
        let looking = {
            let (plan, reporter) = (plan.clone(), reporter.clone());
            tokio::task::spawn_blocking(move || first.look_into(imports, &plan, &reporter))
        };
        let first = looking.await.map_err(|panicked| Error::Worker(panicked.to_string()))??;
        if !first.mounts.is_empty() {
            let missing = first.results.missing();
            let transfer = MountTransfer::new(self, &first.request, cancel);
            transfer.bring(&first.mounts, (plan, &missing), reporter).await;
        }
        Ok(first)
    }
}

impl Build {
    /// Begins to send the layers of results that are there.
    pub(super) fn share_results(&mut self) {
        if self.sharing.is_none() && self.inline.is_none() {
            return;
        }
        for step in 0..self.plan.steps.len() {
            if let Some(result) = self.results.step(StepId(step)).cloned() {
                self.share(StepId(step), &result);
            }
        }
    }

    /// `step` has this result, which caches for other machines may get.
    pub(super) fn share(&mut self, step: StepId, result: &StepResult) {
        if let Some(sharing) = &mut self.sharing {
            sharing.add(&self.plan.steps[step.0], result);
        }
        if let Some(inline) = &mut self.inline {
            inline.add(step, result);
        }
    }

    /// If `error` says that a layer that came with a cache cannot be had, forgets the results that stand on it: their steps are
    /// carried out. False when it says something else.
    pub(super) fn lose_layers(&mut self, error: &Error) -> bool {
        let lost = Lost::of(error);
        if lost.is_none() && !is_missing(error) {
            return false;
        }
        let store = &self.executor.machine.store;
        let of_image = self.results.image_layers();
        if lost.is_none() && of_image.iter().any(|layer| !store.has_layer(layer)) {
            return false;
        }
        let is_lost = |layer: &LayerId| match (lost, store.remote_layer(layer)) {
            _ if of_image.contains(layer) => false,
            (Some(lost), Ok(Some(remote))) => lost.covers(&remote.blob.digest),
            (Some(_), Ok(None) | Err(_)) => false,
            (None, _) => !store.has_layer(layer),
        };
        let layers: Vec<LayerId> = self.results.layers().into_iter().filter(is_lost).collect();
        if layers.is_empty() {
            // another step has found the missing ones before
            return lost.is_none();
        }
        self.reporter.warn(Warning::CachedLayerLost { causes: Causes::of(error) });
        let unavailable = self.plan.steps.iter().filter_map(|step| {
            let layer = self.results.step(step.id)?.layer();
            let remote = layers.contains(&layer).then(|| store.remote_layer(&layer).ok().flatten())??;
            Some((self.executor.keys.step(step.id).key, remote.origin.familiar()))
        });
        self.cache.lose(&layers, lost, unavailable.collect());
        self.results.discard(&layers);
        self.diffing.retain(&self.results);
        true
    }

    /// Brings the layers of the targets that a cache in a directory has: such a directory is often gone after the build, and
    /// then the image could not be used.
    pub(super) async fn bring_from_directories(&self, targets: &[PlannedTarget]) -> Result<(), Error> {
        let machine = &self.executor.machine;
        // a cached build has read the descriptions of its layers already
        let known = self.to_hash.iter().filter(|step| self.diffing.is_here(**step));
        let here: HashSet<LayerId> =
            known.filter_map(|step| self.results.step(*step)).map(StepResult::layer).collect();
        let mut wanted = Vec::new();
        for stack in self.stacks(targets) {
            for (at, layer) in stack.iter().enumerate().filter(|(_, layer)| !here.contains(*layer)) {
                let remote = machine.store.remote_layer(layer)?;
                if remote.is_some_and(|remote| remote.origin.registry().is_none()) {
                    wanted.push(stack[..=at].to_vec());
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let files = machine.files.clone();
        let bringing =
            tokio::task::spawn_blocking(move || wanted.iter().try_for_each(|stack| files.need(stack)));
        bringing.await.map_err(|panicked| Error::Worker(panicked.to_string()))?
    }
}

/// True if a layer that was here is gone: that of a store which is only read, whose owner has removed it.
fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Store(StoreError::LayerMissing { .. }))
}
