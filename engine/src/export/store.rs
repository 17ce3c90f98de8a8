//! The targets as an image of the store: put together, recorded, named.

use super::Targets;
use crate::Error;
use rbuild_cache::{ImageRecord, RefRecord, Store};
use rbuild_oci::{DiffId, ImageId, ImageName, Timestamp};
use rbuild_planner::{PlannedTarget, StepId};
use std::time::SystemTime;

/// Makes an image of each of `targets`, and of several one image for all their platforms.
///
/// # Errors
/// When the store cannot be written.
pub(crate) fn assemble(store: &Store, targets: &Targets<'_>) -> Result<ImageRecord, Error> {
    let each = targets.plan.targets.iter().map(|target| assemble_target(store, targets, target));
    let mut images = each.collect::<Result<Vec<_>, _>>()?;
    match (images.len(), images.pop()) {
        (1, Some(only)) => Ok(only),
        (_, last) => {
            images.extend(last);
            Ok(rbuild_image::assemble_index(store, targets.lease, &images)?)
        }
    }
}

fn assemble_target(
    store: &Store,
    targets: &Targets<'_>,
    target: &PlannedTarget,
) -> Result<ImageRecord, Error> {
    let times = |step: StepId| -> (DiffId, Timestamp) {
        let created = targets.results.step(step).map(|result| result.created());
        let created = created.unwrap_or_else(|| Timestamp::from(SystemTime::UNIX_EPOCH));
        (targets.diffs[&step].diff_id, created)
    };
    let config = target.image.finished_config(&times, targets.plan.source_date_epoch);
    Ok(rbuild_image::assemble(store, targets.lease, &config, &targets.results.target(target))?)
}

/// Gives `image` these names.
///
/// # Errors
/// When the store cannot be written.
pub(super) fn name(store: &Store, image: ImageId, names: &[ImageName]) -> Result<(), Error> {
    let now = Timestamp::from(store.now());
    for name in names {
        store.set_name(name, &RefRecord { image, manifest: None, tagged_at: now })?;
    }
    Ok(())
}
