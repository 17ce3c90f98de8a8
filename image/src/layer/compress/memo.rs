//! What layers were compressed to before, noted beside each layer: a push that has nothing to send needs no index.

use super::LayerCompression;
use crate::ImageError;
use rbuild_cache::{ImageLayer, Store};
use rbuild_oci::{Compression, Descriptor, DiffId, MediaType};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The version of the way layers are cut and compressed: part of a note's name, because the same level of another version
/// gives other bytes.
const FORMAT: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Note {
    diff_id: DiffId,
    blob: Descriptor,
}

/// The blobs to which `layers` were compressed before with `compression`, as far as that is noted. An uncompressed tar is
/// known without it.
#[must_use]
pub fn recall_compressed<'a>(
    store: &Store,
    layers: impl IntoIterator<Item = &'a ImageLayer>,
    compression: LayerCompression,
) -> HashMap<DiffId, Descriptor> {
    let known = |layer: &ImageLayer| {
        if compression == LayerCompression::Uncompressed {
            let media_type = MediaType::OciLayer(Compression::None);
            return Some(Descriptor::new(media_type, *layer.diff_id.as_digest(), layer.tar_size?));
        }
        let json = store.layer_note(&layer.layer, &name(compression))?;
        let note: Note = serde_json::from_slice(&json).ok()?;
        (note.diff_id == layer.diff_id).then_some(note.blob)
    };
    layers.into_iter().filter_map(|layer| Some((layer.diff_id, known(layer)?))).collect()
}

/// Notes to which blob a layer was compressed with `compression`.
///
/// # Errors
/// An I/O error of the store; compressing again is all that it costs.
pub fn remember_compressed(
    store: &Store,
    layer: &ImageLayer,
    blob: &Descriptor,
    compression: LayerCompression,
) -> Result<(), ImageError> {
    if compression == LayerCompression::Uncompressed {
        return Ok(());
    }
    let note = Note { diff_id: layer.diff_id, blob: blob.clone() };
    let json = serde_json::to_vec(&note).expect("a descriptor is strings and numbers");
    Ok(store.note_on_layer(&layer.layer, &name(compression), &json)?)
}

fn name(compression: LayerCompression) -> String {
    let (algorithm, level) = match compression {
        LayerCompression::Uncompressed => ("none", 0),
        LayerCompression::Gzip(level) => ("gzip", level.0),
        LayerCompression::Zstd(level) => ("zstd", level.0),
    };
    format!("packed-{FORMAT}-{algorithm}-{level}.json")
}
