//! What the store holds and who needs it: the picture from which `usage` counts and `prune` decides.

use crate::{
    CacheKey, CacheRecord, ContainerUse, ImageRecord, Index, LayerId, LayerSource, RefRecord, Store,
    StoreError,
    disk::{list, tree_size},
    store::Held,
};
use rbuild_oci::{Digest, ImageId, Reference, Timestamp};
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    time::SystemTime,
};

/// A blob's file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobFile {
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

/// Everything in the store at one moment.
pub(crate) struct Inventory<'a> {
    store: &'a Store,
    pub(crate) layers: HashSet<LayerId>,
    pub(crate) blobs: HashMap<Digest, BlobFile>,
    pub(crate) held: Held,
    pub(crate) images: Vec<ImageRecord>,
    pub(crate) references: Vec<(Reference, RefRecord)>,
    pub(crate) containers: Vec<(String, ContainerUse)>,
    pub(crate) records: Vec<(CacheKey, CacheRecord)>,
    sizes: RefCell<HashMap<LayerId, u64>>,
}

impl<'a> Inventory<'a> {
    /// Takes stock. The order matters to a collection: things first, then who needs them (see `lease`).
    pub(crate) fn take(store: &'a Store, index: &Index<'_>) -> Result<Self, StoreError> {
        let layers = list(&store.at("layers"))?.iter().filter_map(|name| name.parse().ok()).collect();
        let blobs = blob_files(store)?;
        Ok(Self {
            store,
            layers,
            blobs,
            held: store.held()?,
            images: store.images()?,
            references: store.references()?,
            containers: store.container_uses()?,
            records: index.records(),
            sizes: RefCell::default(),
        })
    }

    /// Bytes of a layer's regular files.
    pub(crate) fn layer_size(&self, layer: &LayerId) -> u64 {
        if let Some(size) = self.sizes.borrow().get(layer) {
            return *size;
        }
        let known = self.store.layer_meta(layer).ok().and_then(|meta| meta.size_bytes);
        let size = known.unwrap_or_else(|| tree_size(&self.store.layer_fs(layer)).bytes);
        self.sizes.borrow_mut().insert(*layer, size);
        size
    }

    /// Images a name points at.
    pub(crate) fn named_images(&self) -> HashSet<ImageId> {
        self.references.iter().map(|(_, record)| record.image).collect()
    }

    /// Images containers were made from.
    pub(crate) fn container_images(&self) -> HashSet<ImageId> {
        self.containers.iter().filter_map(|(_, uses)| uses.image).collect()
    }

    /// Layers of all images and containers.
    pub(crate) fn image_layers(&self) -> HashSet<LayerId> {
        let of_images = self.images.iter().flat_map(|image| image.layers.iter().map(|layer| layer.layer));
        let of_containers = self.containers.iter().flat_map(|(_, uses)| uses.layers.iter().copied());
        of_images.chain(of_containers).collect()
    }

    /// Blobs needed by the images, references, records and leases as they stand, and by these layers.
    pub(crate) fn live_blobs(&self, layers: &HashSet<LayerId>) -> HashSet<Digest> {
        let mut live = self.held.blobs.clone();
        for image in &self.images {
            live.insert(*image.id.as_digest());
            live.extend(image.manifest);
            live.extend(image.layers.iter().filter_map(|layer| Some(layer.blob.as_ref()?.digest)));
        }
        live.extend(self.references.iter().filter_map(|(_, record)| record.manifest));
        for layer in layers {
            match self.store.layer_meta(layer).map(|meta| meta.source) {
                Ok(LayerSource::Recipe(recipe)) => _ = live.insert(recipe),
                Ok(LayerSource::Blob(blob)) => _ = live.insert(blob.digest),
                Ok(LayerSource::Own) | Err(_) => {}
            }
        }
        live
    }
}

/// When a layer was last of use, as far as records tell: the newest record that stands on it or is it.
pub(crate) fn freshness(records: &[(CacheKey, CacheRecord)]) -> HashMap<LayerId, Timestamp> {
    let mut fresh: HashMap<LayerId, Timestamp> = HashMap::new();
    for (_, record) in records {
        for layer in record.stack() {
            let newest = fresh.entry(*layer).or_insert(record.created);
            *newest = record.created.max(*newest);
        }
    }
    fresh
}

fn blob_files(store: &Store) -> Result<HashMap<Digest, BlobFile>, StoreError> {
    let directory = store.at("blobs/sha256");
    let mut blobs = HashMap::new();
    for name in list(&directory)? {
        let Ok(digest) = Digest::from_hex(&name) else { continue };
        if let Ok(metadata) = std::fs::metadata(directory.join(&name)) {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            blobs.insert(digest, BlobFile { size: metadata.len(), modified });
        }
    }
    Ok(blobs)
}
