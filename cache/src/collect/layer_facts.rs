//! What never changes about a committed layer, read before any lock is taken: how much of the disk it takes, and which
//! blob its tar comes from.

use crate::{
    LayerId, LayerSource, Store, StoreError,
    disk::{
        list, tree_size,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::Digest;
use std::{collections::HashMap, fs};

/// The layers of a store, by listing their directory.
pub(crate) fn layer_ids(store: &Store) -> Result<Vec<LayerId>, StoreError> {
    Ok(list(&store.at("layers"))?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Bytes on the disk, by layer.
#[derive(Debug, Default)]
pub(super) struct LayerSizes(HashMap<LayerId, u64>);

impl LayerSizes {
    /// Reads what is known of these layers, and walks and notes the others. One that vanishes meanwhile has no bytes.
    pub(super) fn measure(store: &Store, layers: &[LayerId]) -> Self {
        Self(layers.iter().map(|layer| (*layer, size(store, layer))).collect())
    }

    /// Bytes of a layer; none of one that has not been measured.
    pub(super) fn of(&self, layer: &LayerId) -> u64 {
        self.0.get(layer).copied().unwrap_or(0)
    }
}

fn size(store: &Store, layer: &LayerId) -> u64 {
    let noted = store.layer_directory(layer).join("size");
    let text = whole_file::read(&noted).ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(size) = text.and_then(|text| text.trim().parse().ok()) {
        return size;
    }
    let files = store.layer_fs(layer);
    if fs::symlink_metadata(&files).is_err() {
        // it is elsewhere; when its files come, they come all at once, so that what is walked below is whole
        return 0;
    }
    let size = tree_size(&store.layer_directory(layer));
    // no directory is made for a layer that has just been removed
    if store.has_layer(layer) {
        // it is only worth the next walk
        let _ =
            whole_file::replace(store.space(), &noted, format!("{size}\n").as_bytes(), Durability::DiskLater);
    }
    size
}

/// The blob that each layer's tar comes from.
#[derive(Debug, Default)]
pub(super) struct LayerBlobs(HashMap<LayerId, Option<Digest>>);

impl LayerBlobs {
    /// Reads those of these layers.
    pub(super) fn read(store: &Store, layers: &[LayerId]) -> Self {
        Self(layers.iter().map(|layer| (*layer, blob(store, layer))).collect())
    }

    /// The blob of a layer, which is read now if it was not there before.
    pub(super) fn of(&self, store: &Store, layer: &LayerId) -> Option<Digest> {
        self.0.get(layer).copied().unwrap_or_else(|| blob(store, layer))
    }
}

fn blob(store: &Store, layer: &LayerId) -> Option<Digest> {
    match store.layer_meta(layer).ok()?.source {
        LayerSource::Recipe(recipe) => Some(recipe),
        LayerSource::Blob(blob) => Some(blob.digest),
        // kept by a fetch that did not end, or by another layer's
        LayerSource::Elsewhere(remote) => Some(remote.blob.digest),
        LayerSource::Own => None,
    }
}
