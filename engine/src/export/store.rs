//! The target as an image of the store: put together, recorded, named.

use crate::{Error, diffs::Diffs, results::Results};
use rbuild_cache::{RefRecord, Store};
use rbuild_oci::{DiffId, ImageConfig, ImageId, ImageName, Timestamp};
use rbuild_planner::{Plan, StepId};
use std::time::SystemTime;

/// A target whose steps are done and whose layers are hashed.
pub(crate) struct Target<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) results: &'a Results,
    /// Those of all its own layers.
    pub(crate) diffs: &'a Diffs,
}

/// Makes an image of `target` and gives it `names`. The layers must be on the disk.
///
/// # Errors
/// When the store cannot be written.
pub(crate) fn to_store(store: &Store, target: &Target<'_>, names: &[ImageName]) -> Result<ImageId, Error> {
    let times = |step: StepId| -> (DiffId, Timestamp) {
        let created = target.results.step(step).map(|result| result.created());
        let created = created.unwrap_or_else(|| Timestamp::from(SystemTime::UNIX_EPOCH));
        (target.diffs[&step].diff_id, created)
    };
    let config: ImageConfig = target.plan.image.finished_config(&times, target.plan.source_date_epoch);
    let record = rbuild_image::assemble(store, &config, &target.results.target())?;
    let now = Timestamp::from(SystemTime::now());
    for name in names {
        store.set_name(name, &RefRecord { image: record.id, manifest: None, tagged_at: now })?;
    }
    Ok(record.id)
}
