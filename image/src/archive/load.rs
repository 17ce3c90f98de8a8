//! Loading an archive's images into the store.

use super::{
    file::{ArchiveFile, ArchiveSource},
    manifest::{self, ArchivedImage},
    unpack_layers::unpack_layers,
};
use crate::{ImageError, assemble, event::OnEvent};
use rbuild_cache::{ImageRecord, LayerId, Lease, RefRecord, Store};
use rbuild_oci::{Digest, ImageId, ImageName, Platform, Timestamp};

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub id: ImageId,
    /// The names it was given.
    pub names: Vec<ImageName>,
}

/// Loads all images of an archive: Docker's, old or new, or an OCI one, plain or compressed. Of an image
/// for several platforms the one for this machine is loaded. Layers the store has are not read. Names are set at the very
/// end, when everything is on the disk.
///
/// # Errors
/// [`ImageError::NotAnArchive`], [`ImageError::Document`] for a name that cannot be given (then nothing is written),
/// [`ImageError::ArchiveFile`] for a missing member, [`ImageError::WrongLayer`] for a layer
/// that is not what the config says, what [`crate::apply_tar`] finds in a layer; an I/O error of the store.
pub fn load(store: &Store, source: ArchiveSource, on_event: OnEvent<'_>) -> Result<Vec<Loaded>, ImageError> {
    let archive = ArchiveFile::open(store, source)?;
    let images = manifest::images(&archive, &Platform::host())?;
    let lease = store.lease()?;
    let stacks = unpack_layers(store, &lease, &images, on_event)?;
    let now = Timestamp::from(store.now());
    let mut loaded = Vec::with_capacity(images.len());
    for (image, layers) in images.into_iter().zip(stacks) {
        let names = image.names.clone();
        loaded.push(Loaded { id: record(store, &lease, &image, (&layers, now))?.id, names });
    }
    for Loaded { id, names } in &loaded {
        for name in names {
            let record = RefRecord { image: *id, manifest: None, tagged_at: now };
            store.set_name(name, &record)?;
        }
    }
    Ok(loaded)
}

/// Loads the one image of an archive and gives it this name, whatever the archive calls it.
///
/// # Errors
/// As [`load`]; [`ImageError::SeveralImages`].
pub fn load_as(
    store: &Store,
    source: ArchiveSource,
    name: &ImageName,
    on_event: OnEvent<'_>,
) -> Result<ImageId, ImageError> {
    let archive = ArchiveFile::open(store, source)?;
    let images = manifest::images(&archive, &Platform::host())?;
    record_as(store, &images, name, on_event)
}

/// Loads the only one of `images` under this name.
pub(super) fn record_as(
    store: &Store,
    images: &[ArchivedImage],
    name: &ImageName,
    on_event: OnEvent<'_>,
) -> Result<ImageId, ImageError> {
    let lease = store.lease()?;
    let stacks = unpack_layers(store, &lease, images, on_event)?;
    let ([image], [layers]) = (images, stacks.as_slice()) else {
        return Err(ImageError::SeveralImages { count: images.len() });
    };
    let now = Timestamp::from(store.now());
    let id = record(store, &lease, image, (layers, now))?.id;
    store.set_name(name, &RefRecord { image: id, manifest: None, tagged_at: now })?;
    Ok(id)
}

/// Gives the image `id` this name if the store has it; returns false if it has not.
///
/// # Errors
/// An I/O error of the store.
pub fn name_known(store: &Store, id: &ImageId, name: &ImageName) -> Result<bool, ImageError> {
    let lease = store.lease()?;
    let held = lease.hold_image(id)?.is_some();
    if held {
        let tagged_at = Timestamp::from(store.now());
        store.set_name(name, &RefRecord { image: *id, manifest: None, tagged_at })?;
    }
    Ok(held)
}

fn record(
    store: &Store,
    lease: &Lease,
    image: &ArchivedImage,
    (layers, created): (&[LayerId], Timestamp),
) -> Result<ImageRecord, ImageError> {
    let layers = layers.iter().map(|layer| assemble::image_layer(store, layer)).collect::<Result<_, _>>()?;
    // the bytes as they came, not written anew: the image's id is their digest
    let id = ImageId::from_digest(Digest::of(&image.config));
    store.put_blob(&image.config)?;
    let manifest = image.manifest.as_deref().map(|bytes| store.put_blob(bytes)).transpose()?;
    assemble::record(store, lease, ImageRecord { id, layers, manifest, created, platforms: Vec::new() })
}
