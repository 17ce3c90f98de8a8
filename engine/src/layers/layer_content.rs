//! Whether two stacks of layers hold the same files: a step whose parent was built again with an identical result need
//! not run again.
//!
//! Only stacks that a record names are compared, so a cold build pays nothing. See
//! `docs/decisions/0006-content-compared-on-demand.md`.

use crate::{Error, builds::records::Records, layers::layer_files::LayerFiles};
use rbuild_cache::{KeyBuilder, LayerId, Store};
use rbuild_executor::ExecutorError;
use rbuild_oci::Digest;

/// True if two stacks hold the same files, layer by layer. Files that are elsewhere are fetched when they must be read.
///
/// # Errors
/// When a layer cannot be read, or its files cannot be had.
pub(crate) fn is_same(
    (store, files): (&Store, &LayerFiles),
    records: &Records,
    one: &[LayerId],
    other: &[LayerId],
) -> Result<bool, Error> {
    if one.len() != other.len() {
        return Ok(false);
    }
    let mut read = false;
    for (one_layer, other_layer) in one.iter().zip(other) {
        if one_layer == other_layer || same_tar(store, one_layer, other_layer)? {
            continue;
        }
        if !read {
            files.need(one)?;
            files.need(other)?;
            read = true;
        }
        if content(store, records, *one_layer)? != content(store, records, *other_layer)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True if two layers are known to have the same tar. Neither tar is read for this.
fn same_tar(store: &Store, one: &LayerId, other: &LayerId) -> Result<bool, Error> {
    let diff_id = |layer| rbuild_image::known_layer_diff(store, layer).map(|diff| Some(diff?.diff_id));
    let one = diff_id(one)?;
    Ok(one.is_some() && one == diff_id(other)?)
}

/// The digest of what `layer` contains, times apart; remembered of the layer, which never changes. Its files must be here.
///
/// # Errors
/// When it cannot be read; [`ExecutorError::Canceled`].
pub(crate) fn content(store: &Store, records: &Records, layer: LayerId) -> Result<Digest, Error> {
    let fact = KeyBuilder::new("layer content 2").field("layer", layer.to_string()).finish_fact();
    let known = store.index(|index| Ok(index.fact(&fact)))?;
    if let Some(raw) = known.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        return Ok(Digest::from_bytes(raw));
    }
    let digest = rbuild_image::layer_content(store, &layer, records.cancel())?;
    let digest = digest.ok_or(Error::Executor(ExecutorError::Canceled))?;
    records.recorder()?.fact(fact, digest.as_bytes().to_vec());
    Ok(digest)
}
