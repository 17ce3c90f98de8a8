//! What the store holds and how much of it could be freed, for `df` and `images`.

use super::{
    inventory::{Inventory, last_uses},
    layer_facts::LayerFacts,
};
use crate::{
    CacheKey, CacheRecord, ImageLayer, ImageRecord, LayerId, MountUsage, Store, StoreError, disk::tree_size,
};
use rbuild_oci::{ImageId, Reference, Timestamp};
use std::collections::{HashMap, HashSet};

/// Sizes of everything in the store: bytes on the disk, in whole blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// One entry for each image.
    pub images: Vec<ImageUsage>,
    /// One entry for each layer.
    pub layers: Vec<LayerUsage>,
    /// One entry for each cache record whose layer is there.
    pub records: Vec<RecordUsage>,
    /// Size of the layers that images and containers have, each counted once.
    pub image_bytes: u64,
    /// Size of the image layers that no container uses.
    pub image_reclaimable_bytes: u64,
    /// Size of the layers that only cache records use, each counted once.
    pub record_bytes: u64,
    /// The layers that nothing uses any more.
    pub garbage: Vec<LayerId>,
    /// Their size.
    pub garbage_bytes: u64,
    /// Size of all blobs.
    pub blob_bytes: u64,
    /// The `RUN --mount=type=cache` directories.
    pub mounts: Vec<MountUsage>,
    /// Size of the records of builds, without their logs.
    pub build_bytes: u64,
    /// Size of what the steps of builds wrote.
    pub log_bytes: u64,
    /// Size of what failed steps left.
    pub failed_bytes: u64,
}

/// An image's sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image.
    pub id: ImageId,
    /// Its names.
    pub references: Vec<Reference>,
    /// Ids of the containers made from it.
    pub containers: Vec<String>,
    /// Size of all its layers, in bytes on the disk.
    pub size_bytes: u64,
    /// Size of those of its layers that other images use as well.
    pub shared_bytes: u64,
}

/// A layer's size and users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUsage {
    /// The layer.
    pub layer: LayerId,
    /// Its size, in bytes on the disk.
    pub size_bytes: u64,
    /// The number of images that have it.
    pub images: usize,
    /// The number of cache records that made it or stand on it.
    pub records: usize,
}

/// A cache record and whether it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordUsage {
    /// Its key.
    pub key: CacheKey,
    /// The record.
    pub record: CacheRecord,
    /// Its layer's size.
    pub size_bytes: u64,
    /// When a build last used its layer.
    pub last_used: Timestamp,
    /// True if an image or container has its layer.
    pub shared: bool,
    /// True if a running build or container holds its layer.
    pub in_use: bool,
}

impl ImageUsage {
    /// Size of those of its layers that no other image uses, in bytes on the disk.
    #[must_use]
    pub fn unique_bytes(&self) -> u64 {
        self.size_bytes - self.shared_bytes
    }
}

impl Store {
    /// Counts everything. Layers that were never measured are walked, while no lock is held.
    ///
    /// # Errors
    /// An I/O error when the store cannot be read.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let inventory = self.index(|index| Inventory::take(self, index))?;
        let layers: Vec<LayerId> = inventory.layers.iter().copied().collect();
        let facts = LayerFacts::with(&inventory.records, self, &layers);
        Ok(Usage { mounts: self.measured_mounts()?, ..count(&inventory, &facts, self) })
    }
}

fn count(inventory: &Inventory, sizes: &LayerFacts, store: &Store) -> Usage {
    let log_bytes = tree_size(&store.logs_dir());
    let image_layers: HashSet<LayerId> = inventory.image_layers();
    let mut in_images: HashMap<LayerId, usize> = HashMap::new();
    for image in &inventory.images {
        let own: HashSet<LayerId> = image.layers.iter().map(|layer| layer.layer).collect();
        own.into_iter().for_each(|layer| *in_images.entry(layer).or_default() += 1);
    }
    let last_use = last_uses(&inventory.records, &store.recent_uses());
    let mut in_records: HashMap<LayerId, usize> = HashMap::new();
    let usable = inventory.records.iter().filter(|(_, record)| record.evicted.is_none());
    let records: Vec<RecordUsage> = usable
        .filter(|(_, record)| inventory.layers.contains(&record.layer))
        .map(|(key, record)| {
            record.stack().for_each(|layer| *in_records.entry(*layer).or_default() += 1);
            RecordUsage {
                key: *key,
                record: record.clone(),
                size_bytes: sizes.bytes(&record.layer),
                last_used: last_use.get(&record.layer).copied().unwrap_or(record.created),
                shared: image_layers.contains(&record.layer),
                in_use: inventory.held.layers.contains(&record.layer),
            }
        })
        .collect();
    let mut layers: Vec<LayerUsage> = inventory
        .layers
        .iter()
        .map(|layer| LayerUsage {
            layer: *layer,
            size_bytes: sizes.bytes(layer),
            images: in_images.get(layer).copied().unwrap_or(0),
            records: in_records.get(layer).copied().unwrap_or(0),
        })
        .collect();
    layers.sort_by_key(|usage| usage.layer);
    let sum = |counts: &dyn Fn(&LayerUsage) -> bool| {
        layers.iter().filter(|usage| counts(usage)).map(|usage| usage.size_bytes).sum::<u64>()
    };
    let is_garbage = |usage: &LayerUsage| usage.records == 0 && !image_layers.contains(&usage.layer);
    let by_containers = container_layers(inventory);
    Usage {
        images: images(inventory, sizes, &in_images),
        image_bytes: sum(&|usage| image_layers.contains(&usage.layer)),
        image_reclaimable_bytes: sum(&|usage| usage.images > 0 && !by_containers.contains(&usage.layer)),
        record_bytes: sum(&|usage| usage.records > 0 && !image_layers.contains(&usage.layer)),
        garbage: layers.iter().filter(|usage| is_garbage(usage)).map(|usage| usage.layer).collect(),
        garbage_bytes: sum(&is_garbage),
        blob_bytes: inventory.blobs.iter().map(|blob| tree_size(&store.blob_path(blob))).sum(),
        mounts: Vec::new(),
        build_bytes: tree_size(&store.builds_dir()) - log_bytes,
        log_bytes,
        failed_bytes: store.failed_bytes(),
        records,
        layers,
    }
}

fn images(inventory: &Inventory, sizes: &LayerFacts, in_images: &HashMap<LayerId, usize>) -> Vec<ImageUsage> {
    let image = |image: &ImageRecord| {
        let names = inventory.references.iter().filter(|(_, record)| record.image == image.id);
        let containers = inventory.containers.iter().filter(|container| container.image_id == image.id);
        let size = |layer: &ImageLayer| sizes.bytes(&layer.layer);
        let shared = |layer: &&ImageLayer| in_images.get(&layer.layer).is_some_and(|users| *users > 1);
        ImageUsage {
            id: image.id,
            references: names.map(|(reference, _)| reference.clone()).collect(),
            containers: containers.map(|container| container.id.clone()).collect(),
            size_bytes: image.layers.iter().map(size).sum(),
            shared_bytes: image.layers.iter().filter(shared).map(size).sum(),
        }
    };
    inventory.images.iter().map(image).collect()
}

fn container_layers(inventory: &Inventory) -> HashSet<LayerId> {
    inventory.containers.iter().flat_map(|container| container.layers.iter().copied()).collect()
}
