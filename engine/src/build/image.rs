//! A target of a build as an image.

use super::Build;
use crate::{
    Error, LayerTimes, Squash,
    build::results::Origin,
    export::{self, Layers, Made, Part, Presence},
    images::squash::Squasher,
};
use rbuild_oci::{ImageName, Timestamp};
use rbuild_planner::PlannedTarget;

impl Build {
    /// One target as an image, which is to get `names`.
    pub(super) async fn image(
        &mut self,
        targets: &[PlannedTarget],
        (presence, names): (Presence, &[ImageName]),
    ) -> Result<Made, Error> {
        // on the disk with the image, which syncs the store before it is recorded, or else at the end
        let executor = self.executor.clone();
        let saving = executor.machine.sources.has_unsaved_index().then(|| {
            // beside the digests, which take longer
            tokio::task::spawn_blocking(move || executor.machine.sources.save_indexes())
        });
        let diffs = self.diffing.finish().await?;
        if let Some(saving) = saving {
            saving.await.map_err(|panicked| Error::Worker(panicked.to_string()))?;
        }
        // in the same transaction as the records of the steps
        for (layer, diff) in self.diffing.take_computed() {
            self.cache.records().recorder()?.layer_fact(rbuild_image::fact_of_layer(diff.diff_id), layer);
        }
        self.cache.records().write();
        let mut layers = Layers { stacks: self.stacks(targets), diffs };
        if let (LayerTimes::Clamped, Some(latest)) = (self.layer_times, self.epoch) {
            let (store, cache) = (self.executor.machine.store.clone(), self.cache.clone());
            let (plan, targets) = (self.plan.clone(), targets.to_vec());
            let cancel = self.executor.machine.cancel.clone();
            let clamping = tokio::task::spawn_blocking(move || {
                export::clamp((&store, cache.lease()), (&plan, &targets), &layers, (latest, &cancel))
            });
            layers = clamping.await.map_err(|panicked| Error::Worker(panicked.to_string()))??;
        }
        let mut parts = export::parts(targets, &self.results, layers, self.epoch);
        if self.squash != Squash::Nothing {
            parts = self.squashed(targets, parts).await?;
        } else if let Some(inline) = &mut self.inline {
            let made = (&*self.plan, targets, &mut *parts);
            inline.put_into(made, (&self.executor.keys, &self.results), self.epoch).await?;
        }
        let store = &self.executor.machine.store;
        // an image that was there is not synced
        let drafted = match self.results.count(Origin::Executed) {
            0 => Vec::new(),
            _ => export::draft_names(store, &parts, names)?,
        };
        let mut made = export::assemble((store, self.cache.lease()), &parts, presence)?;
        made.drafted = drafted;
        if self.squash != Squash::Nothing {
            made.parts.iter().for_each(|image| rbuild_image::make_findable(store, image));
        }
        Ok(made)
    }

    async fn squashed(&self, targets: &[PlannedTarget], parts: Vec<Part>) -> Result<Vec<Part>, Error> {
        let machine = &self.executor.machine;
        let (store, files, cancel) = (machine.store.clone(), machine.files.clone(), machine.cancel.clone());
        let (plan, targets) = (self.plan.clone(), targets.to_vec());
        let (cache, layers) = (self.cache.clone(), self.squash);
        let created = self.epoch.and_then(Timestamp::from_seconds);
        let squashing = tokio::task::spawn_blocking(move || {
            let squasher = Squasher { store: &store, lease: cache.lease(), files: &files, cancel: &cancel };
            export::squash(&squasher, (&plan, &targets), parts, layers, created)
        });
        squashing.await.map_err(|panicked| Error::Worker(panicked.to_string()))?
    }
}
