//! Finding the layers of an image that the store already has, whatever image they came with.
//!
//! A layer is known by its DiffId; one whose tree took something from the layers below it (an implied directory) only by
//! its ChainId, because above other layers it would be another tree.

use crate::ImageError;
use rbuild_cache::{FactKey, KeyBuilder, LayerId, LayerSource, Lease, Store};
use rbuild_oci::{ChainId, DiffId};

/// A layer to be found again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownLayer {
    pub(crate) layer: LayerId,
    pub(crate) key: FactKey,
}

impl KnownLayer {
    /// A layer that is right above any other.
    pub(crate) fn anywhere(layer: LayerId, diff_id: DiffId) -> Self {
        Self { layer, key: diff_key(diff_id) }
    }

    /// A layer that is right only as the topmost layer of `chain`.
    pub(crate) fn on_its_chain(layer: LayerId, chain: ChainId) -> Self {
        Self { layer, key: chain_key(chain) }
    }
}

/// The layers of the stack `diff_ids`, lowest first, that are in the store; `lease` holds them from now on.
pub(crate) fn find(
    store: &Store,
    lease: &Lease,
    diff_ids: &[DiffId],
) -> Result<Vec<Option<LayerId>>, ImageError> {
    if diff_ids.is_empty() {
        return Ok(Vec::new());
    }
    let chains = ChainId::each(diff_ids);
    let known = store.index(|index| {
        let one = |(diff_id, chain): (&DiffId, &ChainId)| {
            index.layer_fact(&diff_key(*diff_id)).or_else(|| index.layer_fact(&chain_key(*chain)))
        };
        Ok(diff_ids.iter().zip(&chains).map(one).collect())
    });
    // the index is advice: one that cannot be used knows no layer
    let mut found: Vec<Option<LayerId>> = known.unwrap_or_else(|_| vec![None; diff_ids.len()]);
    let layers: Vec<LayerId> = found.iter().flatten().copied().collect();
    let missing = lease.hold(&layers, &[])?;
    for layer in &mut found {
        *layer = layer.filter(|layer| !missing.layers.contains(layer) && is_whole(store, layer));
    }
    Ok(found)
}

/// True if the layer's description and the source of its tar are in the store. A layer that has lost either is brought
/// in again, together with both.
pub(crate) fn is_whole(store: &Store, layer: &LayerId) -> bool {
    store.layer_meta(layer).is_ok_and(|meta| match meta.source {
        LayerSource::Recipe(recipe) => matches!(store.blob(&recipe), Ok(Some(_))),
        LayerSource::Blob(blob) => store.has_blob(&blob.digest, blob.size),
        LayerSource::Own | LayerSource::Elsewhere(_) => true,
    })
}

/// Makes layers findable. If the index cannot be written, a later run reads the layers again, which costs time only.
pub(crate) fn remember(store: &Store, layers: &[KnownLayer]) {
    if layers.is_empty() {
        return;
    }
    let put =
        |known: &KnownLayer, index: &rbuild_cache::Index<'_>| index.put_layer_fact(&known.key, &known.layer);
    let _ = store.index(|index| layers.iter().try_for_each(|known| put(known, index)));
}

fn diff_key(diff_id: DiffId) -> FactKey {
    KeyBuilder::new("layer of diff id").digest("diff id", diff_id.as_digest()).finish_fact()
}

fn chain_key(chain: ChainId) -> FactKey {
    KeyBuilder::new("layer of chain id").digest("chain id", chain.as_digest()).finish_fact()
}
