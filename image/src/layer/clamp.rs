//! Layers whose files are not younger than a moment, so that two builds at different times make the same ones.

use super::{
    apply::{BlobRetention, unpack_layer},
    plain_tar::plain_tar,
    tar::layer_diff_until,
    tar_writer::EntryTimes,
    whiteout::Marks,
};
use crate::{
    ImageError,
    known_layers::{self, KnownLayer},
};
use rbuild_archive::END;
use rbuild_cache::{Cancel, FactKey, KeyBuilder, LayerId, Lease, Store};
use std::io::{self, Read};

/// The layer with the files of `layer` on the layers `lower`, lowest first, where `latest`, in seconds since 1970, takes
/// the place of later times: `layer` itself when none of its files is younger. `lease` holds it.
///
/// # Errors
/// When the layer is missing or cannot be read; [`ImageError::Canceled`]; an I/O error of the store.
pub fn clamped_layer(
    store: &Store,
    lease: &Lease,
    (layer, lower): (&LayerId, &[LayerId]),
    (latest, cancel): (i64, &Cancel),
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
    let tar = Stopped { inner: tar.chain(&END[..]), cancel };
    let pending = unpack_layer(store, tar, &BlobRetention::Recipe);
    // the tar ends with an error when the work is to stop
    cancel.check().map_err(|_| ImageError::Canceled)?;
    let pending = pending?;
    let before = layer_diff_until(store, layer, cancel)?.ok_or(ImageError::Canceled)?;
    let clamped = if pending.diff_id() == before.diff_id {
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

/// A stream that ends with an error when `cancel` is called.
struct Stopped<'a, R> {
    inner: R,
    cancel: &'a Cancel,
}

impl<R: Read> Read for Stopped<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_canceled() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.inner.read(into)
    }
}

fn fact(layer: &LayerId, latest: i64) -> FactKey {
    KeyBuilder::new("clamped layer")
        .field("layer", layer.to_string())
        .field("latest", latest.to_string())
        .finish_fact()
}
