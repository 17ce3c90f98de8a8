//! Layers whose files are not younger than a moment, so that two builds at different times make the same ones.

use super::{
    apply::{BlobRetention, unpack_layer},
    plain_tar::plain_tar,
    tar::layer_diff,
    tar_writer::EntryTimes,
    whiteout::Marks,
};
use crate::{
    ImageError,
    known_layers::{self, KnownLayer},
};
use rbuild_archive::END;
use rbuild_cache::{FactKey, KeyBuilder, LayerId, Lease, Store};
use std::io::Read;

/// The layer with the files of `layer` on the layers `lower`, lowest first, where `latest`, in seconds since 1970, takes
/// the place of later times: `layer` itself when none of its files is younger. `lease` holds it.
///
/// # Errors
/// When the layer is missing or cannot be read; an I/O error of the store.
pub fn clamped_layer(
    store: &Store,
    lease: &Lease,
    (layer, lower): (&LayerId, &[LayerId]),
    latest: i64,
) -> Result<LayerId, ImageError> {
    let fact = fact(layer, latest);
    // the index is advice: one that cannot be used knows no layer
    if let Ok(Some(known)) = store.index(|index| Ok(index.layer_fact(&fact)))
        && lease.hold(&[known], &[])?.layers.is_empty()
        && known_layers::is_whole(store, &known)
    {
        return Ok(known);
    }
    let marks = Some(Marks::of(store.writer()));
    let tar = plain_tar(&store.layer_fs(layer), b"", marks, EntryTimes::AtMost(latest))?;
    let pending = unpack_layer(store, tar.chain(&END[..]), &BlobRetention::Recipe)?;
    let clamped = if pending.diff_id() == layer_diff(store, layer)?.diff_id {
        *layer
    } else {
        let applied = pending.commit(lease, lower)?;
        known_layers::remember(store, &[KnownLayer::anywhere(applied.layer, applied.diff_id)]);
        applied.layer
    };
    // making it again is all that it costs
    let _ = store.index(|index| index.put_layer_fact(&fact, &clamped));
    Ok(clamped)
}

fn fact(layer: &LayerId, latest: i64) -> FactKey {
    KeyBuilder::new("clamped layer")
        .field("layer", layer.to_string())
        .field("latest", latest.to_string())
        .finish_fact()
}
