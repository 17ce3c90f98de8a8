//! What becomes of a finished target: an output of the request at a time.

mod store;

use crate::{Error, Exported, Output, diffs::Diffs, results::Results};
use rbuild_cache::{Lease, Store};
use rbuild_planner::{Filesystem, Plan, StepId};
use std::collections::BTreeSet;

/// A target whose steps are done. Their layers are on the disk.
pub(crate) struct Target<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) results: &'a Results,
    /// Those of the layers that [`to_hash`] names.
    pub(crate) diffs: &'a Diffs,
    /// Holds the layers, and then the image.
    pub(crate) lease: &'a Lease,
}

impl Target<'_> {
    /// Makes `output` of the target.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn export(&self, store: &Store, output: &Output) -> Result<Exported, Error> {
        match output {
            Output::Store { names } => {
                store::export(store, self, names).map(|image| Exported::Store { image })
            }
        }
    }
}

/// The steps of `plan` whose layers have to be hashed for `outputs`: nothing is hashed that no output needs.
pub(crate) fn to_hash(plan: &Plan, outputs: &[Output]) -> BTreeSet<StepId> {
    let needs_image = outputs.iter().any(|output| match output {
        Output::Store { .. } => true,
    });
    if needs_image { own_layers(plan) } else { BTreeSet::new() }
}

/// The steps whose layers are in the target's image.
fn own_layers(plan: &Plan) -> BTreeSet<StepId> {
    let mut steps = BTreeSet::new();
    let mut top = &plan.stages[plan.target.0].result;
    while let Filesystem::Step(step) = top {
        steps.insert(*step);
        top = &plan.steps[step.0].parent;
    }
    steps
}
