//! Checking that an image of this store is what its config says.

use crate::{
    ImageError,
    layer::{layer_diff, rehash},
};
use rbuild_cache::{ImageRecord, Store};
use rbuild_oci::{ImageConfig, ManifestOrIndex};

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The records only. The layers' files may be elsewhere.
    Records,
    /// Every byte of every layer as well.
    Content,
}

/// Checks the image: its config is there, parses and names these layers; the layers are there and as long as recorded;
/// its manifest, if it has one, is there and fits.
///
/// # Errors
/// The first problem found.
pub fn validate(store: &Store, image: &ImageRecord, depth: Depth) -> Result<(), ImageError> {
    let missing = |kind, digest| ImageError::BlobMissing { kind, digest, image: image.id };
    let config = *image.id.as_digest();
    let json = store.blob(&config)?.ok_or_else(|| missing("config", config))?;
    let parsed = ImageConfig::from_json(&json)
        .map_err(|source| ImageError::Document { subject: format!("config {config}"), source })?;
    let count = |layers: usize, diff_ids: usize| {
        let subject = format!("image {}", image.id);
        if layers == diff_ids { Ok(()) } else { Err(ImageError::LayerCount { subject, layers, diff_ids }) }
    };
    count(image.layers.len(), parsed.rootfs.diff_ids.len())?;
    for (layer, expected) in image.layers.iter().zip(&parsed.rootfs.diff_ids) {
        let diff = match depth {
            Depth::Records => layer_diff(store, &layer.layer)?,
            Depth::Content => rehash(store, &layer.layer)?,
        };
        for found in [layer.diff_id, diff.diff_id] {
            if found != *expected {
                let (name, expected) = (layer.layer.to_string(), *expected);
                return Err(ImageError::WrongLayer { name, expected, found });
            }
        }
        if let (Some(recorded), Some(found)) = (layer.tar_size, diff.tar_size)
            && recorded != found
        {
            return Err(ImageError::LayerSize { layer: layer.layer, recorded, found });
        }
    }
    let Some(digest) = image.manifest else { return Ok(()) };
    let json = store.blob(&digest)?.ok_or_else(|| missing("manifest", digest))?;
    let parsed = ManifestOrIndex::from_json(&json, None)
        .map_err(|source| ImageError::Document { subject: format!("manifest {digest}"), source })?;
    match parsed {
        ManifestOrIndex::Manifest(manifest) => count(manifest.layers.len(), image.layers.len()),
        ManifestOrIndex::Index(_) => Ok(()),
    }
}
