//! `rewrite-timestamp`: the layers of a build with no file younger than SOURCE_DATE_EPOCH.

use super::own_steps;
use crate::{Error, layers::diffs::Diffs};
use rbuild_cache::{Cancel, LayerId, Lease, Store};
use rbuild_image::{clamped_layer, layer_diff};
use rbuild_planner::{Plan, PlannedTarget};

/// The layers of targets, and the DiffIds of those that their own steps made.
pub(crate) struct Layers {
    /// Lowest first, by target.
    pub(crate) stacks: Vec<Vec<LayerId>>,
    pub(crate) diffs: Diffs,
}

/// Replaces the layers that the targets' own steps made; those of base images stay. `lease` holds the new ones.
///
/// # Errors
/// When a layer cannot be read, or the store cannot be written.
pub(crate) fn clamp(
    (store, lease): (&Store, &Lease),
    (plan, targets): (&Plan, &[PlannedTarget]),
    layers: &Layers,
    (latest, cancel): (i64, &Cancel),
) -> Result<Layers, Error> {
    let mut clamped = Layers { stacks: Vec::with_capacity(layers.stacks.len()), diffs: Diffs::new() };
    for (target, stack) in targets.iter().zip(&layers.stacks) {
        let own = own_steps(plan, target);
        let (base, made) = stack.split_at(stack.len().saturating_sub(own.len()));
        let mut stack = base.to_vec();
        for (step, layer) in own.iter().zip(made) {
            let layer = clamped_layer(store, lease, (layer, &stack), (latest, cancel))?;
            clamped.diffs.insert(*step, layer_diff(store, &layer)?);
            stack.push(layer);
        }
        clamped.stacks.push(stack);
    }
    Ok(clamped)
}
