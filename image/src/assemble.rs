//! Making an image of this store from a config and layers.

use crate::{ImageError, layer_diff};
use rbuild_cache::{ImageLayer, ImageRecord, LayerId, LayerSource, Lease, Store};
use rbuild_oci::{Digest, ImageConfig, ImageId, Timestamp};

/// Records the image of `config`, whose DiffIds are filled in, and `layers`, lowest first, whose descriptions the caller has
/// read. The store is synced first, so
/// that the image can be named at once. An image that is there already costs a few reads and no write. `lease` holds the
/// layers, and from now on the image. Making its layers findable ([`crate::make_findable`]) is left to the caller.
///
/// # Errors
/// [`ImageError::LayerCount`] or [`ImageError::WrongLayer`] when config and layers do not agree; an I/O error of the
/// store.
pub fn assemble(
    store: &Store,
    lease: &Lease,
    config: &ImageConfig,
    layers: &[LayerId],
) -> Result<ImageRecord, ImageError> {
    let id = ImageId::from_digest(Digest::of(&config.to_json()));
    let is_of_config = |there: &ImageRecord| {
        there.layers.iter().map(|layer| layer.diff_id).eq(config.rootfs.diff_ids.iter().copied())
    };
    if let Some(there) = lease.hold_image_of(&id, layers)?.filter(is_of_config) {
        return Ok(there);
    }
    let image = unrecorded(store, lease, config, layers)?;
    record(store, lease, image)
}

/// The same image without a record: it is in the store as long as `lease` holds it, and no list shows it.
///
/// # Errors
/// As [`assemble`].
pub fn unrecorded(
    store: &Store,
    lease: &Lease,
    config: &ImageConfig,
    layers: &[LayerId],
) -> Result<ImageRecord, ImageError> {
    let json = config.to_json();
    let id = ImageId::from_digest(Digest::of(&json));
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        return Err(ImageError::LayerCount {
            subject: format!("image {id}"),
            layers: layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let mut stack = Vec::with_capacity(layers.len());
    for (layer, expected) in layers.iter().zip(diff_ids) {
        let diff = layer_diff(store, layer)?;
        if diff.diff_id != *expected {
            let (expected, found) = (*expected, diff.diff_id);
            return Err(ImageError::WrongLayer { name: layer.to_string(), expected, found });
        }
        stack.push(image_layer(store, layer)?);
    }
    store.put_blob(&json)?;
    // it is younger than the lease, so it is still there
    lease.hold(&[], &[*id.as_digest()])?;
    let created = Timestamp::from(store.now());
    Ok(ImageRecord { id, layers: stack, manifest: None, created, platforms: Vec::new() })
}

/// A layer as an image's record has it; its DiffId must be known.
pub(crate) fn image_layer(store: &Store, layer: &LayerId) -> Result<ImageLayer, ImageError> {
    let diff = layer_diff(store, layer)?;
    let meta = store.layer_meta(layer)?;
    let blob = match meta.source {
        LayerSource::Blob(descriptor) => Some(descriptor),
        LayerSource::Elsewhere(remote) => Some(remote.blob),
        LayerSource::Own | LayerSource::Recipe(_) => None,
    };
    Ok(ImageLayer {
        layer: *layer,
        diff_id: diff.diff_id,
        tar_size: diff.tar_size,
        size: meta.size_bytes,
        blob,
    })
}

/// Writes an image's record when everything it leads to is on the disk, and holds the image by `lease`, which holds its
/// layers. One that is there and whole is kept, unless the new one knows a manifest it does not.
pub(crate) fn record(store: &Store, lease: &Lease, image: ImageRecord) -> Result<ImageRecord, ImageError> {
    if let Some(there) = lease.hold_image(&image.id)?
        && agree(&there.layers, &image.layers)
        && (image.manifest.is_none() || there.manifest == image.manifest)
        && there.platforms == image.platforms
    {
        return Ok(there);
    }
    store.sync_and_put_image(&image)?;
    // it is younger than the lease, so it is still there
    lease.hold(&[], &[*image.id.as_digest()])?;
    Ok(image)
}

/// True if these are the same layers of one image, as far as both records know. A record that says something else is damaged.
fn agree(there: &[ImageLayer], new: &[ImageLayer]) -> bool {
    let same = |one: Option<u64>, other: Option<u64>| one.is_none() || other.is_none() || one == other;
    let layer = |(one, other): (&ImageLayer, &ImageLayer)| {
        one.diff_id == other.diff_id && same(one.tar_size, other.tar_size) && same(one.size, other.size)
    };
    there.len() == new.len() && there.iter().zip(new).all(layer)
}
