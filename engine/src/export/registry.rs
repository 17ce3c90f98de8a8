//! The image in registries.

use super::Delivery;
use crate::{Activity, CanonicalName, Error, images::transfer::Progress};
use rbuild_image::{ImageEvent, ImageForm, PushedAs};
use rbuild_oci::{Descriptor, ImageName, Timestamp};

/// The names that an image gets in registries, and its form there.
pub(crate) struct Registry {
    pub(crate) names: Vec<ImageName>,
    pub(crate) place: PushedAs,
    pub(crate) form: ImageForm,
    pub(crate) canonical: CanonicalName,
}

/// Pushes the image under each of its names. Returns the descriptor of its manifest, which is the same everywhere.
///
/// # Errors
/// [`Error::Image`] when a registry does not take it, [`Error::PushWithoutName`].
pub(super) async fn push(delivery: &Delivery<'_>, registry: &Registry) -> Result<Descriptor, Error> {
    let Registry { names, place, form, canonical } = registry;
    let (store, made) = (delivery.store, delivery.image()?);
    let image = &made.whole;
    if image.layers.iter().any(|layer| layer.blob.as_ref().is_some_and(|blob| !form.packing.keeps(blob))) {
        // what is compressed again has to be here
        delivery.with_files(|| Ok(())).await?;
    }
    let remote = delivery.remote.heard_by(delivery.reporter.listener());
    let mut manifest = None;
    for name in names {
        let activity = delivery.reporter.begin(Activity::Push { image: name.to_string() });
        let pushed = {
            let progress = Progress::new(&activity);
            let tell = |event: ImageEvent| progress.tell(&event);
            remote.push((image, made.platforms()), (name, *place), form, &tell).await
        };
        let pushed = activity.end_with(pushed.map_err(|error| Error::not_pushed(name, error)))?;
        if *canonical == CanonicalName::Given
            && let Some(bytes) = store.blob(&pushed.digest)?
        {
            made.parts.iter().chain([image]).try_for_each(|image| store.put_image(image))?;
            store.set_pin(name.as_reference(), &bytes, image.id, Timestamp::from(store.now()))?;
        }
        manifest = Some(pushed);
    }
    manifest.ok_or(Error::PushWithoutName)
}
