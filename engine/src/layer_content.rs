//! Whether two stacks of layers hold the same files: a step whose parent was built again with an identical result need
//! not run again.
//!
//! Only stacks that a record names are compared, so a cold build pays nothing. See
//! `docs/decisions/0006-content-compared-on-demand.md`.

use crate::{Error, records::Records};
use rbuild_cache::{KeyBuilder, LayerId, Store};
use rbuild_oci::Digest;

/// Whether two stacks hold the same files, layer by layer.
///
/// # Errors
/// When a layer cannot be read.
pub(crate) fn is_same(
    store: &Store,
    records: &Records,
    one: &[LayerId],
    other: &[LayerId],
) -> Result<bool, Error> {
    if one.len() != other.len() {
        return Ok(false);
    }
    for (one, other) in one.iter().zip(other) {
        if one != other && content(store, records, *one)? != content(store, records, *other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The digest of what `layer` contains, times apart; remembered of the layer, which never changes.
fn content(store: &Store, records: &Records, layer: LayerId) -> Result<Digest, Error> {
    let fact = KeyBuilder::new("layer content 2").field("layer", layer.to_string()).finish_fact();
    let known = store.index(|index| Ok(index.fact(&fact)))?;
    if let Some(raw) = known.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        return Ok(Digest::from_bytes(raw));
    }
    let digest = rbuild_image::layer_content(store, &layer)?;
    records.recorder()?.fact(fact, digest.as_bytes().to_vec());
    Ok(digest)
}
