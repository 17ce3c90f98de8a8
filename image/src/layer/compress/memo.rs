//! What layers were compressed to before: a fact about a DiffId and a compression, remembered in the index.

use super::LayerCompression;
use crate::ImageError;
use rbuild_cache::{FactKey, ImageLayer, KeyBuilder, Store};
use rbuild_oci::{Compression, Descriptor, DiffId, MediaType};
use std::collections::HashMap;

/// The version of the way layers are cut and compressed: part of what is remembered, because the same level of another
/// version gives other bytes.
const FORMAT: u64 = 3;

/// The blobs to which `layers` were compressed before with `compression`, as far as the index knows. An uncompressed tar is
/// known without it.
#[must_use]
pub fn recall_compressed(
    store: &Store,
    layers: &[ImageLayer],
    compression: LayerCompression,
) -> HashMap<DiffId, Descriptor> {
    if compression == LayerCompression::Uncompressed {
        let plain = |layer: &ImageLayer| {
            let media_type = MediaType::OciLayer(Compression::None);
            let blob = Descriptor::new(media_type, *layer.diff_id.as_digest(), layer.tar_size?);
            Some((layer.diff_id, blob))
        };
        return layers.iter().filter_map(plain).collect();
    }
    if layers.is_empty() {
        return HashMap::new();
    }
    let known = store.index(|index| {
        let fact = |layer: &ImageLayer| {
            let json = index.fact(&key(layer.diff_id, compression))?;
            Some((layer.diff_id, serde_json::from_slice(&json).ok()?))
        };
        Ok(layers.iter().filter_map(fact).collect())
    });
    known.unwrap_or_default()
}

/// Remembers to which blobs layers were compressed with `compression`.
///
/// # Errors
/// An I/O error of the index; compressing again is all that it costs.
pub fn remember_compressed(
    store: &Store,
    compressed: &[(DiffId, Descriptor)],
    compression: LayerCompression,
) -> Result<(), ImageError> {
    if compressed.is_empty() || compression == LayerCompression::Uncompressed {
        return Ok(());
    }
    Ok(store.index(|index| {
        compressed.iter().try_for_each(|(diff_id, descriptor)| {
            let json = serde_json::to_vec(descriptor).expect("a descriptor is strings and numbers");
            index.put_fact(&key(*diff_id, compression), &json)
        })
    })?)
}

fn key(diff_id: DiffId, compression: LayerCompression) -> FactKey {
    let (algorithm, level) = match compression {
        LayerCompression::Uncompressed => ("none", 0),
        LayerCompression::Gzip(level) => ("gzip", level.0),
        LayerCompression::Zstd(level) => ("zstd", level.0),
    };
    KeyBuilder::new("compressed layer")
        .digest("diff id", diff_id.as_digest())
        .field("algorithm", algorithm)
        .number("level", level.into())
        .number("format", FORMAT)
        .finish_fact()
}
