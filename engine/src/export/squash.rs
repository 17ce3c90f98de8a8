//! `--squash`: the layers of a build's image as one.

use super::{own_steps, store::Part};
use crate::{
    Error, Squash,
    images::squash::{Squasher, Unsquashed},
};
use rbuild_oci::Timestamp;
use rbuild_planner::{Filesystem, Plan, PlannedTarget};

/// Replaces the layers of the images of `targets` by fewer; `created` is the time
/// of the new ones, if it is given. An image without layers that could become one stays as it is.
/// May block.
///
/// # Errors
/// When a layer cannot be read or fetched, or the store cannot be written.
pub(crate) fn squash(
    squasher: &Squasher<'_>,
    (plan, targets): (&Plan, &[PlannedTarget]),
    parts: Vec<Part>,
    layers: Squash,
    created: Option<Timestamp>,
) -> Result<Vec<Part>, Error> {
    let squashed = targets.iter().zip(parts).map(|(target, Part { config, stack })| {
        let kept = match layers {
            Squash::Nothing => stack.len(),
            Squash::OwnLayers => stack.len().saturating_sub(own_steps(plan, target).len()),
            Squash::Everything => 0,
        };
        if kept == stack.len() {
            return Ok(Part { config, stack });
        }
        let (config, stack) =
            squasher.squash(Unsquashed { config, stack, kept, base: base(plan, target) }, created)?;
        Ok(Part { config, stack })
    });
    squashed.collect()
}

/// The id of the image that `target` is built on.
fn base(plan: &Plan, target: &PlannedTarget) -> Option<String> {
    let lowest = own_steps(plan, target).first().copied();
    let base = match lowest {
        Some(step) => &plan.steps[step.0].parent,
        None => &plan.stages[target.stage.0].result,
    };
    match base {
        Filesystem::Image(image) => Some(plan.images[image.0].id.to_string()),
        Filesystem::Scratch | Filesystem::Step(_) | Filesystem::Context | Filesystem::NamedContext(_) => None,
    }
}
