//! The target as an image of the store: put together, recorded, named.

use super::Target;
use crate::Error;
use rbuild_cache::{RefRecord, Store};
use rbuild_oci::{DiffId, ImageConfig, ImageId, ImageName, Timestamp};
use rbuild_planner::StepId;
use std::time::SystemTime;

/// Makes an image of `target` and gives it `names`.
///
/// # Errors
/// When the store cannot be written.
pub(super) fn export(store: &Store, target: &Target<'_>, names: &[ImageName]) -> Result<ImageId, Error> {
    let times = |step: StepId| -> (DiffId, Timestamp) {
        let created = target.results.step(step).map(|result| result.created());
        let created = created.unwrap_or_else(|| Timestamp::from(SystemTime::UNIX_EPOCH));
        (target.diffs[&step].diff_id, created)
    };
    let config: ImageConfig = target.plan.image.finished_config(&times, target.plan.source_date_epoch);
    let record = rbuild_image::assemble(store, target.lease, &config, &target.results.target())?;
    let now = Timestamp::from(store.now());
    for name in names {
        store.set_name(name, &RefRecord { image: record.id, manifest: None, tagged_at: now })?;
    }
    Ok(record.id)
}
