//! What the store holds and who needs it: the picture from which `usage` counts and a collection decides.

use super::layer_facts::layer_ids;
use crate::{
    CacheKey, CacheRecord, Container, ImageRecord, Index, LayerId, RefRecord, Store, StoreError, disk::list,
    store::Held,
};
use rbuild_oci::{Digest, ImageId, Reference, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

/// Files that cannot be read as what they should be, and why.
type Unreadable = Vec<(PathBuf, serde_json::Error)>;

/// Everything in the store at one moment.
pub(crate) struct Inventory {
    pub(crate) layers: HashSet<LayerId>,
    pub(crate) blobs: Vec<Digest>,
    /// Bytes of files of the web.
    pub(crate) web_blobs: Vec<Digest>,
    pub(crate) held: Held,
    pub(crate) images: Vec<ImageRecord>,
    pub(crate) references: Vec<(Reference, RefRecord)>,
    pub(crate) containers: Vec<Container>,
    /// Records of containers that cannot be read, so that it is not known what these need.
    pub(crate) unreadable_containers: Unreadable,
    pub(crate) records: Vec<(CacheKey, CacheRecord)>,
    /// Blobs that say what records were made of, evicted ones too, because these explain misses.
    pub(crate) lists: HashSet<Digest>,
}

impl Inventory {
    /// Takes stock. The order matters to a collection: things first, then who needs them (see `store/lease.rs`).
    pub(crate) fn take(store: &Store, index: &Index<'_>) -> Result<Self, StoreError> {
        let layers = layer_ids(store)?.into_iter().collect();
        let records = index.records();
        let blobs = list(&store.at("blobs/sha256"))?;
        let (containers, unreadable_containers) = containers(store)?;
        Ok(Self {
            layers,
            blobs: blobs.iter().filter_map(|name| Digest::from_hex(name).ok()).collect(),
            web_blobs: store.web_blobs()?,
            held: store.held()?,
            images: store.images()?,
            references: store.references()?,
            containers,
            unreadable_containers,
            lists: records.iter().flat_map(|(_, record)| lists(record)).collect(),
            records,
        })
    }

    /// The same for a collection, which must not take what a container needs.
    ///
    /// # Errors
    /// [`StoreError::Document`] when the record of a container cannot be read; an I/O error when the store cannot.
    pub(super) fn take_all(store: &Store, index: &Index<'_>) -> Result<Self, StoreError> {
        let mut inventory = Self::take(store, index)?;
        match inventory.unreadable_containers.pop() {
            Some((path, source)) => Err(StoreError::Document { path, source }),
            None => Ok(inventory),
        }
    }

    /// Images a name points at.
    pub(super) fn named_images(&self) -> HashSet<ImageId> {
        self.references.iter().map(|(_, record)| record.image).collect()
    }

    /// Images containers were made from.
    pub(super) fn container_images(&self) -> HashSet<ImageId> {
        self.containers.iter().map(|container| container.image_id).collect()
    }

    /// Layers of all images and containers.
    pub(super) fn image_layers(&self) -> HashSet<LayerId> {
        let of_images = self.images.iter().flat_map(|image| image.layers.iter().map(|layer| layer.layer));
        let of_containers = self.containers.iter().flat_map(|container| container.layers.iter().copied());
        of_images.chain(of_containers).collect()
    }

    /// Layers that images, containers, leases and records which can be hit need.
    pub(super) fn live_layers(&self) -> HashSet<LayerId> {
        let mut live = self.image_layers();
        live.extend(&self.held.layers);
        let records = self.records.iter().filter(|(_, record)| record.evicted.is_none());
        live.extend(records.flat_map(|(_, record)| record.stack()));
        live
    }

    /// Those of `blobs` that no image, reference or lease needs. Layers may need them.
    pub(super) fn unreferred<'b>(&self, blobs: impl Iterator<Item = &'b Digest>) -> Vec<&'b Digest> {
        let mut live = self.held.blobs.clone();
        live.extend(&self.web_blobs);
        for image in &self.images {
            live.insert(*image.id.as_digest());
            live.extend(image.manifest);
            live.extend(image.layers.iter().filter_map(|layer| Some(layer.blob.as_ref()?.digest)));
        }
        live.extend(&self.lists);
        live.extend(self.references.iter().filter_map(|(_, record)| record.manifest));
        blobs.filter(|blob| !live.contains(blob)).collect()
    }
}

/// The blobs that say what a record was made of.
pub(super) fn lists(record: &CacheRecord) -> impl Iterator<Item = Digest> {
    record.inputs.lists.iter().map(|(_, list)| *list)
}

/// The time when each layer was last of use: that of the newest record that made it or stands on it, or of a build that
/// found all it needed (`recent`).
pub(super) fn last_uses(
    records: &[(CacheKey, CacheRecord)],
    recent: &HashMap<LayerId, Timestamp>,
) -> HashMap<LayerId, Timestamp> {
    let mut last: HashMap<LayerId, Timestamp> = recent.clone();
    for (_, record) in records {
        for layer in record.stack() {
            let newest = last.entry(*layer).or_insert(record.created);
            *newest = record.created.max(*newest);
        }
    }
    last
}

/// All containers, and the records that cannot be read.
fn containers(store: &Store) -> Result<(Vec<Container>, Unreadable), StoreError> {
    let (mut known, mut unreadable) = (Vec::new(), Vec::new());
    for directory in store.containers()? {
        match directory.recorded() {
            Err(StoreError::Document { path, source }) => unreadable.push((path, source)),
            container => known.extend(container?),
        }
    }
    Ok((known, unreadable))
}
