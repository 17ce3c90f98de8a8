//! The targets as an image of the store: put together, recorded, named.

use super::Layers;
use crate::{Error, build::results::Results};
use rbuild_cache::{DraftedName, ImageRecord, LayerId, Lease, RefRecord, Store};
use rbuild_oci::{DiffId, Digest, ImageConfig, ImageId, ImageName, Timestamp};
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

/// What the image of a target is made of.
#[derive(Clone)]
pub(crate) struct Part {
    /// With its DiffIds.
    pub(crate) config: ImageConfig,
    /// Its layers, lowest first.
    pub(crate) stack: Vec<LayerId>,
}

/// The image of the targets.
pub(crate) struct Made {
    /// The only image, or the one for all platforms.
    pub(crate) whole: ImageRecord,
    /// The image of each target, in their order.
    pub(crate) parts: Vec<ImageRecord>,
    /// Names that came to the disk with it.
    pub(crate) drafted: Vec<DraftedName>,
}

impl Made {
    /// The images for the platforms of one for several; none of an only image.
    pub(crate) fn platforms(&self) -> &[ImageRecord] {
        if self.parts.len() > 1 { &self.parts } else { &[] }
    }
}

/// Makes images of these configs and layers, and of several one image for all their platforms. `lease` holds their layers,
/// which are on the disk, and then the image.
///
/// # Errors
/// When the store cannot be written.
pub(crate) fn assemble(
    (store, lease): (&Store, &Lease),
    parts: &[Part],
    presence: Presence,
) -> Result<Made, Error> {
    let assemble = |part: &Part| match presence {
        Presence::Listed => rbuild_image::assemble(store, lease, &part.config, &part.stack),
        Presence::Passing => rbuild_image::unrecorded(store, lease, &part.config, &part.stack),
    };
    let parts = parts.iter().map(assemble).collect::<Result<Vec<_>, _>>()?;
    let whole = match (parts.as_slice(), presence) {
        ([only], _) => only.clone(),
        (parts, Presence::Listed) => rbuild_image::assemble_index(store, lease, parts)?,
        (parts, Presence::Passing) => rbuild_image::unrecorded_index(store, lease, parts)?,
    };
    Ok(Made { whole, parts, drafted: Vec::new() })
}

/// Prepares `names` for the image of the only one of `parts`, before [`assemble`] syncs the store.
///
/// # Errors
/// When the store cannot be written.
pub(crate) fn draft_names(
    store: &Store,
    parts: &[Part],
    names: &[ImageName],
) -> Result<Vec<DraftedName>, Error> {
    let [only] = parts else { return Ok(Vec::new()) };
    let image = ImageId::from_digest(Digest::of(&only.config.to_json()));
    let record = RefRecord { image, manifest: None, tagged_at: store.now().into() };
    let drafted = names.iter().map(|name| store.draft_name(name, record.clone()));
    Ok(drafted.collect::<Result<_, _>>()?)
}

/// The config and the layers of each target, in their order.
pub(crate) fn parts(
    targets: &[PlannedTarget],
    results: &Results,
    layers: Layers,
    epoch: Option<i64>,
) -> Vec<Part> {
    let Layers { stacks, diffs } = layers;
    let times = |step: StepId| -> (DiffId, Timestamp) {
        let created = results.step(step).map(|result| result.created());
        let created = created.unwrap_or_else(|| Timestamp::from(SystemTime::UNIX_EPOCH));
        (diffs[&step].diff_id, created)
    };
    let config = |target: &PlannedTarget| target.image.finished_config(&times, epoch);
    targets.iter().zip(stacks).map(|(target, stack)| Part { config: config(target), stack }).collect()
}

/// Gives an image these names.
///
/// # Errors
/// When the store cannot be written.
pub(super) fn name(store: &Store, made: &Made, names: &[ImageName]) -> Result<(), Error> {
    let (image, now) = (made.whole.id, Timestamp::from(store.now()));
    for name in names {
        match made.drafted.iter().find(|drafted| drafted.points(name, &image)) {
            Some(drafted) => store.set_drafted_name(drafted)?,
            None => store.set_name(name, &RefRecord { image, manifest: None, tagged_at: now })?,
        }
    }
    Ok(())
}

/// Gives `image` the name of its manifest's digest in `repository`.
///
/// # Errors
/// When the store cannot be written.
pub(super) fn pin(store: &Store, image: &ImageRecord, repository: &ImageName) -> Result<(), Error> {
    let manifest = rbuild_image::store_manifest(store, image)?;
    let now = Timestamp::from(store.now());
    Ok(store.set_pin(repository.as_reference(), &manifest, image.id, now)?)
}
