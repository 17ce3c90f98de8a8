//! Finding the layers of an image that the store already has, whatever image they came with.
//!
//! A layer is known by its DiffId; one whose tree took something from the layers below it (an implied directory) only by
//! its ChainId, because above other layers it would be another tree.

use crate::ImageError;
use rbuild_cache::{
    FactKey, FoundIn, ImageRecord, KeyBuilder, LayerId, LayerSource, Lease, RemoteLayer, Store,
};
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
    let chains = ChainId::each(diff_ids);
    find_each(store, lease, &diff_ids.iter().copied().zip(chains.into_iter().map(Some)).collect::<Vec<_>>())
}

/// Layers, each as what it is above: one that the store has, or else a new one that is elsewhere. The chain of one whose
/// lower layers have no known DiffIds is unknown. `lease` holds them all.
///
/// # Errors
/// An I/O error of the store.
pub fn known_or_elsewhere(
    store: &Store,
    lease: &Lease,
    wanted: Vec<(RemoteLayer, Option<ChainId>)>,
) -> Result<Vec<LayerId>, ImageError> {
    let names: Vec<_> = wanted.iter().map(|(remote, chain)| (remote.diff_id, *chain)).collect();
    let known = find_each(store, lease, &names)?;
    or_elsewhere(store, lease, known.into_iter().zip(wanted))
}

/// The same for layers of which is known which of them the store has.
///
/// # Errors
/// An I/O error of the store.
pub(crate) fn or_elsewhere(
    store: &Store,
    lease: &Lease,
    wanted: impl Iterator<Item = (Option<LayerId>, (RemoteLayer, Option<ChainId>))>,
) -> Result<Vec<LayerId>, ImageError> {
    let (mut layers, mut fresh) = (Vec::new(), Vec::new());
    for (known, (remote, chain)) in wanted {
        if let Some(layer) = known
            && redirect(store, &layer, &remote)? == Redirection::Done
        {
            layers.push(layer);
            continue;
        }
        let layer = store.add_remote_layer(lease, remote)?;
        // its tree is not unpacked yet, so it may depend on the layers below
        fresh.extend(chain.map(|chain| KnownLayer::on_its_chain(layer, chain)));
        layers.push(layer);
    }
    remember(store, &fresh);
    Ok(layers)
}

fn find_each(
    store: &Store,
    lease: &Lease,
    wanted: &[(DiffId, Option<ChainId>)],
) -> Result<Vec<Option<LayerId>>, ImageError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let known = store.index(|index| {
        let one = |(diff_id, chain): &(DiffId, Option<ChainId>)| {
            let on_chain = || index.layer_fact(&chain_key((*chain)?));
            index.layer_fact(&diff_key(*diff_id)).or_else(on_chain)
        };
        Ok(wanted.iter().map(one).collect())
    });
    // the index is advice: one that cannot be used knows no layer
    let mut found: Vec<Option<LayerId>> = known.unwrap_or_else(|_| vec![None; wanted.len()]);
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

/// Makes the layers of an image that were made in this store findable by their DiffIds, so that they are not brought in again.
pub fn make_findable(store: &Store, image: &ImageRecord) {
    let own = image.layers.iter().filter(|layer| {
        store.layer_meta(&layer.layer).is_ok_and(|meta| matches!(meta.source, LayerSource::Own))
    });
    let own: Vec<_> = own.map(|layer| KnownLayer::anywhere(layer.layer, layer.diff_id)).collect();
    remember(store, &own);
}

/// The fact by which a layer that is right above any other is found: where its user has more to write into the index.
#[must_use]
pub fn fact_of_layer(diff_id: DiffId) -> FactKey {
    diff_key(diff_id)
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

/// Notes that a layer, if it is still elsewhere, can be had of `remote`, whose manifest was seen just now: the registry
/// that it was first seen at may be gone, or may have lied.
fn redirect(store: &Store, layer: &LayerId, remote: &RemoteLayer) -> Result<Redirection, ImageError> {
    let moved = |known: Option<RemoteLayer>| {
        known.is_some_and(|known| {
            let blob = |remote: &RemoteLayer| (remote.blob.digest, remote.blob.size);
            blob(&known) != blob(remote)
                || !known.origin.is_place_of(&remote.origin)
                || (known.found_in, remote.found_in) == (FoundIn::Cache, FoundIn::Image)
        })
    };
    if !moved(store.remote_layer(layer)?) {
        return Ok(Redirection::Done);
    }
    let Some(lock) = store.try_lock_layer(layer)? else { return Ok(Redirection::Fetched) };
    if store.remote_layer(layer)?.is_some() {
        store.set_remote_layer(&lock, remote.clone())?;
    }
    Ok(Redirection::Done)
}

/// What became of a layer that can be had of another place.
#[derive(PartialEq, Eq)]
enum Redirection {
    /// It is here, or will come from there.
    Done,
    /// It is being fetched from where it was first seen. Whoever wants it from another place does not wait for that one, which
    /// may be slow, or may not even have it: a config can claim any DiffId.
    Fetched,
}

fn diff_key(diff_id: DiffId) -> FactKey {
    KeyBuilder::new("layer of diff id").digest("diff id", diff_id.as_digest()).finish_fact()
}

fn chain_key(chain: ChainId) -> FactKey {
    KeyBuilder::new("layer of chain id").digest("chain id", chain.as_digest()).finish_fact()
}
