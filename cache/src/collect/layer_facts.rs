//! What never changes about a committed layer, gathered before any lock is taken that builds wait for: how much of the
//! disk it takes, and which blob its tar comes from. Records know both of the layers that steps made, so that only the
//! descriptions of the other layers are read.

use crate::{
    CacheKey, CacheRecord, LayerId, LayerMeta, LayerSource, Store, StoreError, disk::list,
    disk::tree_own_size,
};
use rbuild_oci::Digest;
use std::collections::HashMap;

/// The layers of a store, by listing their directory.
pub(crate) fn layer_ids(store: &Store) -> Result<Vec<LayerId>, StoreError> {
    Ok(list(&store.at("layers"))?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Bytes on the disk and blobs, by layer.
#[derive(Debug, Default)]
pub(super) struct LayerFacts(HashMap<LayerId, Fact>);

#[derive(Clone, Copy, Debug, Default)]
struct Fact {
    bytes: u64,
    blob: Option<Digest>,
}

impl LayerFacts {
    /// Gathers those of these layers. A layer of an early version, which was not measured when it was committed, is
    /// measured now, once. One that vanishes meanwhile has no bytes.
    pub(super) fn gather(store: &Store, layers: &[LayerId]) -> Result<Self, StoreError> {
        let records = store.index(|index| Ok(index.layer_bytes()))?;
        Ok(Self::complete(&records, store, layers))
    }

    /// As [`LayerFacts::gather`], for a caller that has all records.
    pub(super) fn with(records: &[(CacheKey, CacheRecord)], store: &Store, layers: &[LayerId]) -> Self {
        let bytes = records.iter().filter_map(|(_, record)| Some((record.layer, record.layer_bytes?)));
        Self::complete(&bytes.collect(), store, layers)
    }

    fn complete(recorded: &HashMap<LayerId, u64>, store: &Store, layers: &[LayerId]) -> Self {
        let fact = |layer: &LayerId| match recorded.get(layer) {
            Some(bytes) => Fact { bytes: *bytes, blob: None },
            None => described(store, layer),
        };
        Self(layers.iter().map(|layer| (*layer, fact(layer))).collect())
    }

    /// Bytes of a layer; none of one that came later.
    pub(super) fn bytes(&self, layer: &LayerId) -> u64 {
        self.0.get(layer).map_or(0, |fact| fact.bytes)
    }

    /// The blob of a layer, which is read now if it came later.
    pub(super) fn blob(&self, store: &Store, layer: &LayerId) -> Option<Digest> {
        self.0.get(layer).map_or_else(|| blob(&store.layer_meta(layer).ok()?), |fact| fact.blob)
    }

    /// Bytes of all of them.
    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|fact| fact.bytes).sum()
    }
}

fn described(store: &Store, layer: &LayerId) -> Fact {
    let Ok(meta) = store.layer_meta(layer) else { return Fact::default() };
    let is_here = !matches!(meta.source, LayerSource::Elsewhere(_));
    let bytes = meta.disk_bytes.unwrap_or_else(|| if is_here { measured(store, layer, &meta) } else { 0 });
    Fact { bytes, blob: blob(&meta) }
}

/// Measures a layer and notes that in its description.
fn measured(store: &Store, layer: &LayerId, meta: &LayerMeta) -> u64 {
    let bytes = tree_own_size(&store.layer_directory(layer));
    // it is only worth the next walk
    let _ = store.update_layer_meta(layer, &LayerMeta { disk_bytes: Some(bytes), ..meta.clone() });
    bytes
}

fn blob(meta: &LayerMeta) -> Option<Digest> {
    match &meta.source {
        LayerSource::Recipe(recipe) => Some(*recipe),
        LayerSource::Blob(blob) => Some(blob.digest),
        // kept by a fetch that did not end, or by another layer's
        LayerSource::Elsewhere(remote) => Some(remote.blob.digest),
        LayerSource::Own => None,
    }
}
