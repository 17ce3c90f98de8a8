//! What becomes of the finished targets: an output of the request at a time.

mod archive;
mod clamp;
mod daemon;
mod destination;
mod files;
mod registry;
mod squash;
mod store;

pub(crate) use clamp::{Layers, clamp};
pub(crate) use destination::Destination;
pub(crate) use squash::squash;
pub(crate) use store::{Made, Part, Presence, assemble, draft_names, parts};

use crate::{
    Activity, Error, Exported, Outcome, Output,
    layers::layer_files::LayerFiles,
    report::reporter::{Reporter, Running},
};
use rbuild_cache::{Cancel, LayerId, Store};
use rbuild_executor::Snapshots;
use rbuild_image::{ImageError, RemoteImages};
use rbuild_oci::Platform;
use rbuild_planner::{Filesystem, Plan, PlannedTarget, StepId};
use std::{collections::BTreeSet, io};

/// Finished targets that are to go to destinations.
pub(crate) struct Delivery<'a> {
    pub(crate) store: &'a Store,
    /// Brings files of base images.
    pub(crate) files: &'a LayerFiles,
    pub(crate) remote: &'a RemoteImages,
    pub(crate) snapshots: &'a Snapshots,
    pub(crate) cancel: &'a Cancel,
    pub(crate) reporter: &'a Reporter,
    /// The layers of each target, lowest first.
    pub(crate) roots: Vec<(Platform, Vec<LayerId>)>,
    /// `SOURCE_DATE_EPOCH`, seconds.
    pub(crate) epoch: Option<i64>,
    /// The image of them, if a destination needs one.
    pub(crate) image: Option<&'a Made>,
}

impl Delivery<'_> {
    /// Brings them to `destination`.
    ///
    /// # Errors
    /// When it cannot be written there.
    pub(crate) async fn to(&self, destination: &Destination) -> Result<Exported, Error> {
        match destination {
            Destination::Store { names } => {
                let made = self.image()?;
                store::name(self.store, made, names)?;
                let image = &made.whole;
                Ok(Exported::Store { image: image.id, platforms: image.platforms.clone() })
            }
            Destination::Pin { repository } => {
                let image = &self.image()?.whole;
                store::pin(self.store, image, repository)?;
                Ok(Exported::Store { image: image.id, platforms: image.platforms.clone() })
            }
            Destination::Registry(registry) => {
                let manifest = registry::push(self, registry).await?;
                Ok(Exported::Registry { image: self.image()?.whole.id, manifest })
            }
            Destination::Archive(archive) => {
                let manifest = archive::write(self, archive).await?;
                Ok(Exported::Archive { image: self.image()?.whole.id, manifest })
            }
            Destination::Files(files) => {
                files::write(self, files).await?;
                Ok(Exported::Files)
            }
            Destination::Daemon { daemon, names } => {
                let address = daemon.address().to_owned();
                let activity = self.reporter.begin(Activity::LoadIntoDaemon { daemon: address });
                let loaded = daemon::load(self, names, daemon, &activity).await;
                activity.end_with(loaded)?;
                Ok(Exported::Daemon { image: self.image()?.whole.id })
            }
        }
    }

    /// Ends `activity` with what came of it. A reader that wants no more has not made it fail.
    fn ended<T>(activity: Running, written: Result<T, Error>) -> Result<T, Error> {
        match written {
            Err(error) if error.is_closed_by_reader() => {
                activity.end(Outcome::Canceled);
                Err(error)
            }
            written => activity.end_with(written),
        }
    }

    fn image(&self) -> Result<&Made, Error> {
        self.image.ok_or_else(|| Error::Worker("an image was needed and not made".to_owned()))
    }

    /// Does `work`, which may wait, on another thread, once the files of all layers are here.
    async fn with_files<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (files, roots) = (self.files.clone(), self.roots.clone());
        let working = tokio::task::spawn_blocking(move || {
            roots.iter().try_for_each(|(_, stack)| files.need(stack))?;
            work()
        });
        working.await.map_err(|panicked| Error::Worker(panicked.to_string()))?
    }
}

impl Error {
    /// True if the reader of what was written has closed its end, which is no failure.
    #[must_use]
    pub fn is_closed_by_reader(&self) -> bool {
        matches!(self, Self::Image(ImageError::ArchiveWrite(source)) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The steps of `plan` whose layers have to be hashed for the outputs of its targets: nothing is hashed that no output needs.
pub(crate) fn to_hash<'a>(plan: &Plan, outputs: impl Iterator<Item = &'a [Output]>) -> BTreeSet<StepId> {
    let outputs: Vec<_> = outputs.collect();
    let targets = by_output(plan, outputs.len()).zip(outputs);
    let of_images = targets.filter(|(_, outputs)| outputs.iter().any(Output::is_image));
    of_images.flat_map(|(targets, _)| targets).flat_map(|target| own_steps(plan, target)).collect()
}

/// The steps whose layers are in the targets' images.
pub(crate) fn own_layers(plan: &Plan) -> BTreeSet<StepId> {
    plan.targets.iter().flat_map(|target| own_steps(plan, target)).collect()
}

/// The targets of `plan` that belong to each of `count` lists of outputs: one for each platform.
pub(crate) fn by_output(plan: &Plan, count: usize) -> impl Iterator<Item = &[PlannedTarget]> {
    plan.targets.chunks(plan.targets.len() / count.max(1))
}

/// The steps whose layers are in the image of `target`, lowest first.
pub(crate) fn own_steps(plan: &Plan, target: &PlannedTarget) -> Vec<StepId> {
    let mut steps = Vec::new();
    let mut top = &plan.stages[target.stage.0].result;
    while let Filesystem::Step(step) = top {
        steps.push(*step);
        top = &plan.steps[step.0].parent;
    }
    steps.reverse();
    steps
}
