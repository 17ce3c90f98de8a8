//! The targets as an image of the store: put together, recorded, named.

use super::Targets;
use crate::Error;
use rbuild_cache::{ImageRecord, LayerId, RefRecord, Store};
use rbuild_oci::{DiffId, ImageId, ImageName, Timestamp};
use rbuild_planner::{PlannedTarget, StepId};
use std::time::SystemTime;

/// The place of an image in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Lists show it.
    Listed,
    /// It is there for this build alone.
    Passing,
}

/// The image of the targets.
pub(crate) struct Made {
    /// The only image, or the one for all platforms.
    pub(crate) whole: ImageRecord,
    /// The image of each target, in their order.
    pub(crate) parts: Vec<ImageRecord>,
}

impl Made {
    /// The images for the platforms of one for several; none of an only image.
    pub(crate) fn platforms(&self) -> &[ImageRecord] {
        if self.parts.len() > 1 { &self.parts } else { &[] }
    }
}

/// Makes an image of each of `targets`, and of several one image for all their platforms.
///
/// # Errors
/// When the store cannot be written.
pub(crate) fn assemble(store: &Store, targets: &Targets<'_>, presence: Presence) -> Result<Made, Error> {
    let each = targets.plan.targets.iter().zip(&targets.layers.stacks);
    let each = each.map(|target| assemble_target(store, targets, target, presence));
    let parts = each.collect::<Result<Vec<_>, _>>()?;
    let whole = match (parts.as_slice(), presence) {
        ([only], _) => only.clone(),
        (parts, Presence::Listed) => rbuild_image::assemble_index(store, targets.lease, parts)?,
        (parts, Presence::Passing) => rbuild_image::unrecorded_index(store, targets.lease, parts)?,
    };
    Ok(Made { whole, parts })
}

fn assemble_target(
    store: &Store,
    targets: &Targets<'_>,
    (target, stack): (&PlannedTarget, &Vec<LayerId>),
    presence: Presence,
) -> Result<ImageRecord, Error> {
    let times = |step: StepId| -> (DiffId, Timestamp) {
        let created = targets.results.step(step).map(|result| result.created());
        let created = created.unwrap_or_else(|| Timestamp::from(SystemTime::UNIX_EPOCH));
        (targets.layers.diffs[&step].diff_id, created)
    };
    let config = target.image.finished_config(&times, targets.plan.source_date_epoch);
    Ok(match presence {
        Presence::Listed => rbuild_image::assemble(store, targets.lease, &config, stack)?,
        Presence::Passing => rbuild_image::unrecorded(store, targets.lease, &config, stack)?,
    })
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
