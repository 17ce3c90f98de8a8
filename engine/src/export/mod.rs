//! What becomes of a finished target: an output of the request at a time.

mod daemon;
mod store;

pub(crate) use store::assemble;

use crate::{
    Activity, Error, Exported, Output, diffs::Diffs, layer_files::LayerFiles, reporter::Reporter,
    results::Results,
};
use rbuild_cache::{ImageRecord, Lease, Store};
use rbuild_daemon::Daemon;
use rbuild_oci::ImageName;
use rbuild_planner::{Filesystem, Plan, StepId};
use std::collections::BTreeSet;

/// An output whose destination was found to be there, before any step ran.
pub(crate) enum Destination {
    /// The store, with these names.
    Store { names: Vec<ImageName> },
    /// A running docker or podman, with these names.
    Daemon { daemon: Daemon, names: Vec<ImageName> },
}

impl Destination {
    /// Sees that what `output` goes to is there.
    ///
    /// # Errors
    /// [`Error::Daemon`] when no daemon answers.
    pub(crate) async fn open(output: &Output) -> Result<Self, Error> {
        match output {
            Output::Store { names } => Ok(Self::Store { names: names.clone() }),
            Output::Daemon { address, names } => {
                Ok(Self::Daemon { daemon: Daemon::connect(address).await?, names: names.clone() })
            }
        }
    }
}

/// The targets of a build, whose steps are done. Their layers are on the disk.
pub(crate) struct Targets<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) results: &'a Results,
    /// Those of the layers that [`to_hash`] names.
    pub(crate) diffs: &'a Diffs,
    /// Holds the layers, and then the image.
    pub(crate) lease: &'a Lease,
}

/// An image of the store that is to go to destinations.
pub(crate) struct Delivery<'a> {
    pub(crate) store: &'a Store,
    /// Brings files of base images.
    pub(crate) files: &'a LayerFiles,
    pub(crate) image: &'a ImageRecord,
    pub(crate) reporter: &'a Reporter,
}

impl Delivery<'_> {
    /// Brings the image to `destination`.
    ///
    /// # Errors
    /// When it cannot be written there.
    pub(crate) async fn to(&self, destination: &Destination) -> Result<Exported, Error> {
        let image = self.image.id;
        match destination {
            Destination::Store { names } => {
                store::name(self.store, image, names)?;
                Ok(Exported::Store { image, platforms: self.image.platforms.clone() })
            }
            Destination::Daemon { daemon, names } => {
                let address = daemon.address().to_owned();
                let activity = self.reporter.begin(Activity::LoadIntoDaemon { daemon: address });
                let loaded = daemon::load(self, names, daemon, &activity).await;
                activity.end_with(loaded)?;
                Ok(Exported::Daemon { image })
            }
        }
    }
}

/// The steps of `plan` whose layers have to be hashed for `outputs`: nothing is hashed that no output needs.
pub(crate) fn to_hash(plan: &Plan, outputs: &[Output]) -> BTreeSet<StepId> {
    let needs_image = outputs.iter().any(|output| match output {
        Output::Store { .. } | Output::Daemon { .. } => true,
    });
    if needs_image { own_layers(plan) } else { BTreeSet::new() }
}

/// The steps whose layers are in the targets' images.
fn own_layers(plan: &Plan) -> BTreeSet<StepId> {
    let mut steps = BTreeSet::new();
    for target in &plan.targets {
        let mut top = &plan.stages[target.stage.0].result;
        while let Filesystem::Step(step) = top {
            steps.insert(*step);
            top = &plan.steps[step.0].parent;
        }
    }
    steps
}
