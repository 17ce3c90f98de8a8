//! The result of a step that was carried out on other layers with the same files.

use super::{Hit, Ready, StepCache};
use crate::{
    Error,
    build::results::{Origin, StepResult},
    layers::layer_content,
};
use rbuild_cache::{CacheRecord, LayerId};
use rbuild_image::ImageError;

impl StepCache {
    /// The result of the same step on a parent, and with sources, that contain the same files.
    pub(super) fn same_content(
        &self,
        ready: &Ready<'_>,
        earlier: &[CacheRecord],
    ) -> Result<Option<Hit>, Error> {
        let parent = &ready.inputs.parent;
        for earlier in earlier {
            if self.is_lost(earlier) {
                continue;
            }
            let Some((before, now)) = stacks_to_compare(ready, earlier) else { continue };
            let needed = [before.as_slice(), &[earlier.layer]].concat();
            if !self.lease.hold(&needed, &[])?.is_empty() {
                continue;
            }
            let same = layer_content::is_same((&self.store, &self.files), &self.records, &before, &now);
            let same = match same {
                Err(unknown @ Error::Image(ImageError::LayerElsewhere { .. })) => return Err(unknown),
                // a layer that cannot be compared counts as another one: the cache is advice
                same => same.unwrap_or(false),
            };
            if same {
                let record = CacheRecord {
                    step: ready.keyed.description.step,
                    parent: Some(ready.keyed.parent),
                    parent_layers: parent.to_vec(),
                    source_layers: ready.inputs.source_layers(),
                    by_content: ready.by_content,
                    content_step: ready.by_sources(),
                    evicted: None,
                    evicted_by: None,
                    stamp: None,
                    ..earlier.clone()
                };
                let result = StepResult::new(record, parent, Origin::Cache);
                return Ok(Some(Hit { result, keys: ready.keys() }));
            }
        }
        Ok(None)
    }
}

/// The layers of `earlier`, and those of the step now, of which each two must hold the same files; `None` when they cannot.
pub(super) fn stacks_to_compare(
    ready: &Ready<'_>,
    earlier: &CacheRecord,
) -> Option<(Vec<LayerId>, Vec<LayerId>)> {
    let sources = ready.inputs.source_layers();
    let (mut before, mut now) = (earlier.parent_layers.clone(), ready.inputs.parent.to_vec());
    let may_be_same = match ready.content_step {
        // the files of a COPY are in that hash, whatever layers they come from
        Some(step) if step == earlier.step => true,
        Some(_) => earlier.source_layers == sources,
        // a step hash says how many layers each source has
        None => earlier.source_layers.len() == sources.len(),
    };
    if !may_be_same || before.len() != now.len() {
        return None;
    }
    if ready.content_step.is_none() {
        before.extend(&earlier.source_layers);
        now.extend(sources);
    }
    Some((before, now))
}
