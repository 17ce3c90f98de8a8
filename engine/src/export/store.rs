//! The target as an image of the store: put together, recorded, named.

use super::Target;
use crate::Error;
use rbuild_cache::{ImageRecord, RefRecord, Store};
use rbuild_oci::{DiffId, ImageConfig, ImageId, ImageName, Timestamp};
use rbuild_planner::StepId;
use std::time::SystemTime;

/// Makes an image of `target`.
///
/// # Errors
/// When the store cannot be written.
pub(crate) fn assemble(store: &Store, target: &Target<'_>) -> Result<ImageRecord, Error> {
    let times = |step: StepId| -> (DiffId, Timestamp) {
        let created = target.results.step(step).map(|result| result.created());
        let created = created.unwrap_or_else(|| Timestamp::from(SystemTime::UNIX_EPOCH));
        (target.diffs[&step].diff_id, created)
    };
    let config: ImageConfig = target.plan.image.finished_config(&times, target.plan.source_date_epoch);
    Ok(rbuild_image::assemble(store, target.lease, &config, &target.results.target())?)
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
