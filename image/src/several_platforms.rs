//! Images for several platforms: a record of the store that leads to the image for each. Its id is the digest of an index: the
//! one that a registry has, or one of manifests whose layers are as the store has them.

use crate::{ImageError, archive::tar_size, assemble};
use rbuild_cache::{ImageRecord, Lease, PlatformImage, Store};
use rbuild_oci::{
    Compression, Descriptor, Digest, ImageConfig, ImageId, Index, Manifest, MediaType, Timestamp,
};
use std::collections::HashSet;

/// Records `images`, which `lease` holds, as one image for their platforms, in this order. Of several for one platform the
/// first counts.
///
/// # Errors
/// [`ImageError::BlobMissing`] for an image without its config; an I/O error of the store.
pub fn assemble_index(
    store: &Store,
    lease: &Lease,
    images: &[ImageRecord],
) -> Result<ImageRecord, ImageError> {
    assemble::record(store, lease, unrecorded_index(store, lease, images)?)
}

/// The same image without a record: it is in the store as long as `lease` holds it, and no list shows it.
///
/// # Errors
/// As [`assemble_index`].
pub fn unrecorded_index(
    store: &Store,
    lease: &Lease,
    images: &[ImageRecord],
) -> Result<ImageRecord, ImageError> {
    let entries = images.iter().map(|image| entry(store, image)).collect::<Result<Vec<_>, _>>()?;
    let json = Index::new(entries).to_json();
    let id = ImageId::from_digest(store.put_blob(&json)?);
    // it is younger than the lease, so it is still there
    lease.hold(&[], &[*id.as_digest()])?;
    whole(store, id, images)
}

/// Records `images` as the image `id`, whose index is a blob of the store.
///
/// # Errors
/// [`ImageError::BlobMissing`] for an image without its config; an I/O error of the store.
pub fn record_several(
    store: &Store,
    lease: &Lease,
    id: ImageId,
    images: &[ImageRecord],
) -> Result<ImageRecord, ImageError> {
    assemble::record(store, lease, whole(store, id, images)?)
}

/// The image `id` for the platforms of `images`.
fn whole(store: &Store, id: ImageId, images: &[ImageRecord]) -> Result<ImageRecord, ImageError> {
    let mut platforms: Vec<PlatformImage> = Vec::with_capacity(images.len());
    let (mut layers, mut seen) = (Vec::new(), HashSet::new());
    for image in images {
        let platform = config(store, image)?.1.platform();
        if platforms.iter().all(|known| known.platform != platform) {
            platforms.push(PlatformImage { platform, image: image.id });
            layers.extend(image.layers.iter().filter(|layer| seen.insert(layer.layer)).cloned());
        }
    }
    let created = Timestamp::from(store.now());
    Ok(ImageRecord { id, layers, manifest: None, created, platforms })
}

/// The manifest of `image`, whose layers are as the store has them; of an image for several platforms its index. It becomes a
/// blob of the store.
///
/// # Errors
/// [`ImageError::BlobMissing`] for an image without its config; an I/O error of the store.
pub fn store_manifest(store: &Store, image: &ImageRecord) -> Result<Vec<u8>, ImageError> {
    let manifest = if image.platforms.is_empty() {
        manifest(store, image)?.0
    } else {
        let missing =
            || ImageError::BlobMissing { kind: "index", digest: *image.id.as_digest(), image: image.id };
        store.blob(image.id.as_digest())?.ok_or_else(missing)?
    };
    store.put_blob(&manifest)?;
    Ok(manifest)
}

/// The entry of the index for `image`.
fn entry(store: &Store, image: &ImageRecord) -> Result<Descriptor, ImageError> {
    let (manifest, config) = manifest(store, image)?;
    let mut entry = Descriptor::new(MediaType::OciManifest, Digest::of(&manifest), manifest.len() as u64);
    entry.platform = Some(config.platform());
    Ok(entry)
}

/// The manifest of an image for one platform, and its config.
fn manifest(store: &Store, image: &ImageRecord) -> Result<(Vec<u8>, ImageConfig), ImageError> {
    let (json, config) = config(store, image)?;
    let described = Descriptor::new(MediaType::OciConfig, *image.id.as_digest(), json.len() as u64);
    let mut layers = Vec::with_capacity(image.layers.len());
    for layer in &image.layers {
        layers.push(match &layer.blob {
            Some(blob) => blob.clone(),
            None => {
                let size = tar_size(store, layer)?;
                Descriptor::new(MediaType::OciLayer(Compression::None), *layer.diff_id.as_digest(), size)
            }
        });
    }
    Ok((Manifest::new(MediaType::OciManifest, described, layers).to_json(), config))
}

/// The config of `image`, as bytes and read.
pub(crate) fn config(store: &Store, image: &ImageRecord) -> Result<(Vec<u8>, ImageConfig), ImageError> {
    let digest = *image.id.as_digest();
    let missing = || ImageError::BlobMissing { kind: "config", digest, image: image.id };
    let json = store.blob(&digest)?.ok_or_else(missing)?;
    let config = ImageConfig::from_json(&json)
        .map_err(|source| ImageError::Document { subject: format!("config of {}", image.id), source })?;
    Ok((json, config))
}
