//! The cache that travels in an image itself (`--cache-to type=inline`): the steps of its layers, in its config.
//!
//! The layers are looked at while the build goes on, as for other caches, and nothing is sent: they are where the image is.

use crate::{
    Error,
    build::results::{Results, StepResult},
    export::{self, Part},
    lookup::keys::Keys,
    shared_cache::{cache_export::Sending, shared_records},
};
use rbuild_cache::LayerId;
use rbuild_image::known_layer_diff;
use rbuild_oci::Timestamp;
use rbuild_planner::{Plan, PlannedTarget, StepId};
use rbuild_remote_cache::SharedLayer;
use std::collections::{BTreeSet, HashMap};
use tokio::task::JoinSet;

/// The caches of a build's images, while it runs.
pub(crate) struct InlineExport {
    sending: Sending,
    /// The steps of the images.
    steps: BTreeSet<StepId>,
    begun: BTreeSet<LayerId>,
    jobs: JoinSet<Result<(LayerId, SharedLayer), Error>>,
    looked: HashMap<LayerId, SharedLayer>,
}

impl InlineExport {
    /// Begins with the images of the targets of `plan`.
    pub(crate) fn begin(plan: &Plan, sending: Sending) -> Self {
        Self {
            sending,
            steps: export::own_layers(plan),
            begun: BTreeSet::new(),
            jobs: JoinSet::new(),
            looked: HashMap::new(),
        }
    }

    /// `step` has this result: if it is one of an image, its layer is looked at.
    pub(crate) fn add(&mut self, step: StepId, result: &StepResult) {
        if !self.steps.contains(&step) || !self.begun.insert(result.layer()) {
            return;
        }
        let (sending, result) = (self.sending.clone(), result.clone());
        self.jobs.spawn_blocking(move || Ok((result.layer(), sending.look(&result, false)?.0)));
    }

    /// Writes the caches of `targets` into their configs, which have the DiffIds that their layers leave with. With a given time
    /// (`epoch`) nothing of the machine or the hour is in them, so that equal builds give equal images.
    ///
    /// # Errors
    /// When a layer cannot be read.
    pub(crate) async fn put_into(
        &mut self,
        (plan, targets, parts): (&Plan, &[PlannedTarget], &mut [Part]),
        (keys, results): (&Keys, &Results),
        epoch: Option<i64>,
    ) -> Result<(), Error> {
        while let Some(looked) = self.jobs.join_next().await {
            let (layer, looked) = looked.map_err(|panicked| Error::Worker(panicked.to_string()))??;
            self.looked.insert(layer, looked);
        }
        let store = &self.sending.store;
        for (target, part) in targets.iter().zip(parts) {
            let (stack, diff_ids) = (results.target(target), &part.config.rootfs.diff_ids);
            let of_image: HashMap<_, _> = stack.iter().zip(diff_ids).collect();
            let described = |layer: &LayerId| {
                let known = match of_image.get(layer) {
                    Some(diff_id) => Some(**diff_id),
                    None => known_layer_diff(store, layer)?.map(|diff| diff.diff_id),
                };
                let content = self.looked.get(layer).and_then(|looked| looked.content);
                Ok(known.map(|diff_id| SharedLayer { diff_id, content, blob: None }))
            };
            let steps = export::own_steps(plan, target).into_iter().map(|step| &plan.steps[step.0]);
            let machine = store.machine().filter(|_| epoch.is_none());
            let mut shared = shared_records::describe(steps, (keys, results), machine, &described)?;
            if let Some(latest) = epoch.and_then(Timestamp::from_seconds) {
                shared.forget_origins(latest);
            }
            if !shared.records.is_empty() {
                part.config.buildkit_cache = Some(shared.inline_for_buildkit());
                part.config.build_cache = Some(shared.inline());
            }
        }
        Ok(())
    }
}
