//! Loading an archive's images into the store.

use super::{
    file::{ArchiveFile, ArchiveSource},
    manifest::{self, ArchivedImage, ListedImage, Wanted},
    unpack_layers::unpack_layers,
};
use crate::{ImageError, assemble, event::OnEvent, several_platforms};
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
/// for several platforms all are loaded that the archive has, or the one for `platform`. Layers the store has are not read.
/// Names are set at the very end, when everything is on the disk.
///
/// # Errors
/// [`ImageError::NotAnArchive`], [`ImageError::Document`] for a name that cannot be given (then nothing is written),
/// [`ImageError::ArchiveFile`] for a missing member, [`ImageError::WrongLayer`] for a layer
/// that is not what the config says, [`ImageError::NoPlatform`], what [`crate::apply_tar`] finds in a layer; an I/O error of
/// the store.
pub fn load(
    store: &Store,
    source: ArchiveSource,
    platform: Option<&Platform>,
    on_event: OnEvent<'_>,
) -> Result<Vec<Loaded>, ImageError> {
    let archive = ArchiveFile::open(store, source)?;
    let listed = manifest::images(&archive, platform.map_or(Wanted::All, Wanted::Only))?;
    let lease = store.lease()?;
    let mut images = Vec::new();
    let mut entries = Vec::with_capacity(listed.len());
    for ListedImage { names, images: parts, index } in listed {
        entries.push((names, index, parts.len()));
        images.extend(parts);
    }
    let stacks = unpack_layers(store, &lease, &images, on_event)?;
    let now = Timestamp::from(store.now());
    let mut loaded = Vec::with_capacity(entries.len());
    let mut unpacked = images.iter().zip(&stacks);
    for (names, index, count) in entries {
        let parts = unpacked.by_ref().take(count);
        let parts = parts.map(|(image, layers)| record(store, &lease, image, (layers, now)));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let whole = index.map(|index| {
            let id = ImageId::from_digest(store.put_blob(&index)?);
            several_platforms::record_several(store, &lease, id, &parts)
        });
        let whole = whole.transpose()?.map(|whole| whole.id);
        // an entry without an index is one image
        loaded.extend(whole.or(parts.first().map(|only| only.id)).map(|id| Loaded { id, names }));
    }
    for Loaded { id, names } in &loaded {
        for name in names {
            let record = RefRecord { image: *id, manifest: None, tagged_at: now };
            store.set_name(name, &record)?;
        }
    }
    Ok(loaded)
}

/// Loads the one image of an archive, or of one for several platforms that for `platform`, and gives it this name, whatever the
/// archive calls it.
///
/// # Errors
/// As [`load`]; [`ImageError::SeveralImages`].
pub fn load_as(
    store: &Store,
    source: ArchiveSource,
    (name, platform): (&ImageName, &Platform),
    on_event: OnEvent<'_>,
) -> Result<ImageId, ImageError> {
    let archive = ArchiveFile::open(store, source)?;
    let listed = manifest::images(&archive, Wanted::Best(platform))?;
    let images: Vec<ArchivedImage> = listed.into_iter().flat_map(|listed| listed.images).collect();
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
