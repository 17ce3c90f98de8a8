//! What leads to what: names to images, images and containers to layers and blobs, records to layers. All of it is looked at
//! under the locks of a collection, so nothing comes or goes meanwhile.

use super::{Fault, FaultState, FoundFault, Verified, bytes::Bytes};
use crate::{
    CacheKey, ImageRecord, Index, LayerId, LayerSource, Store, StoreError, collect::Inventory, disk::list,
};
use rbuild_oci::{Digest, ImageId, Reference};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::PathBuf,
};

/// The store at one moment.
pub(super) struct Stock {
    pub(super) inventory: Inventory,
    /// Blobs that are there and not damaged.
    blobs: HashSet<Digest>,
    /// Layers that are there and not damaged.
    layers: HashSet<LayerId>,
    damaged_blobs: Vec<Digest>,
    damaged_layers: BTreeMap<LayerId, String>,
    /// What could not be looked at.
    unseen: Vec<Fault>,
    unreadable_records: Vec<CacheKey>,
    unreadable_images: Vec<PathBuf>,
    unreadable_names: Vec<PathBuf>,
}

impl Stock {
    /// Takes stock.
    pub(super) fn take(store: &Store, index: &Index<'_>, seen: &Bytes) -> Result<Self, StoreError> {
        let inventory = Inventory::take(store, index)?;
        let mut blobs: HashSet<Digest> = inventory.blobs.iter().copied().collect();
        blobs.retain(|blob| !seen.damaged_blobs.contains(blob));
        let mut layers = inventory.layers.clone();
        layers.retain(|layer| !seen.damaged_layers.contains_key(layer));
        Ok(Self {
            blobs,
            layers,
            damaged_blobs: seen.damaged_blobs.clone(),
            damaged_layers: seen.damaged_layers.clone(),
            unseen: seen.unseen(),
            unreadable_records: index.unreadable_records(),
            unreadable_images: unreadable_images(store, &inventory)?,
            unreadable_names: store.unreadable_names()?,
            inventory,
        })
    }

    /// How much there is.
    pub(super) fn counts(&self) -> Verified {
        Verified {
            images: self.inventory.images.len(),
            names: self.inventory.references.len(),
            records: self.inventory.records.iter().filter(|(_, record)| record.evicted.is_none()).count(),
            ..Verified::default()
        }
    }

    /// Everything that is wrong: what is damaged first, then what lacks it.
    pub(super) fn faults(&self, store: &Store) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self.damaged_blobs.iter().copied().map(Fault::Blob).collect();
        faults.extend(
            self.damaged_layers
                .iter()
                .map(|(layer, reason)| Fault::Layer { layer: *layer, reason: reason.clone() }),
        );
        faults.extend(self.unseen.iter().cloned());
        let mut layers: Vec<&LayerId> = self.layers.iter().collect();
        layers.sort();
        faults.extend(layers.into_iter().filter_map(|layer| self.lacking_blob(store, layer)));
        faults.extend(self.unreadable_images.iter().cloned().map(Fault::ImageFile));
        let lacking = self.lacking_images();
        faults.extend(lacking.iter().map(|(image, part)| Fault::Image { image: *image, part: part.clone() }));
        let whole = self.inventory.images.iter().filter(|image| !lacking.contains_key(&image.id));
        faults.extend(whole.filter_map(|image| self.lacking_manifest(image)));
        faults.extend(self.unreadable_names.iter().cloned().map(Fault::NameFile));
        let known: HashSet<ImageId> = self.inventory.images.iter().map(|image| image.id).collect();
        let is_gone = |image: &ImageId| !known.contains(image) || lacking.contains_key(image);
        let names = self.inventory.references.iter().filter(|(_, record)| is_gone(&record.image));
        faults.extend(names.map(|(name, record)| Fault::Name { name: name.clone(), image: record.image }));
        let unreadable = self.inventory.unreadable_containers.iter();
        faults.extend(unreadable.map(|(path, _)| Fault::ContainerFile(path.clone())));
        faults.extend(self.lacking_containers());
        faults.extend(self.unreadable_records.iter().copied().map(Fault::UnreadableRecord));
        faults.extend(self.lacking_records());
        faults
    }

    /// A fault with the names of the images that it damages.
    pub(super) fn found(&self, fault: Fault, state: FaultState) -> FoundFault {
        let names = match &fault {
            Fault::Blob(blob) | Fault::UnseenBlob { blob, .. } => self.names_of(Some(blob), None),
            Fault::Layer { layer, .. }
            | Fault::UnseenLayer { layer, .. }
            | Fault::LayerBlob { layer, .. } => self.names_of(None, Some(layer)),
            Fault::ImageFile(_)
            | Fault::Image { .. }
            | Fault::Manifest { .. }
            | Fault::NameFile(_)
            | Fault::Name { .. }
            | Fault::ContainerFile(_)
            | Fault::Container { .. }
            | Fault::Record { .. }
            | Fault::UnreadableRecord(_) => Vec::new(),
        };
        FoundFault { fault, state, names }
    }

    /// The names of images that need this blob or layer.
    fn names_of(&self, blob: Option<&Digest>, layer: Option<&LayerId>) -> Vec<Reference> {
        let needs = |image: &ImageRecord| {
            blob.is_some_and(|blob| image.id.as_digest() == blob || image.manifest == Some(*blob))
                || layer.is_some_and(|layer| image.layers.iter().any(|one| one.layer == *layer))
        };
        let images: HashSet<ImageId> =
            self.inventory.images.iter().filter(|image| needs(image)).map(|image| image.id).collect();
        let names = self.inventory.references.iter().filter(|(_, record)| images.contains(&record.image));
        names.map(|(name, _)| name.clone()).collect()
    }

    /// The images of which a part is missing, with that part; those for several platforms with them.
    fn lacking_images(&self) -> BTreeMap<ImageId, String> {
        let mut lacking = BTreeMap::new();
        for image in &self.inventory.images {
            let config = image.id.as_digest();
            if !self.blobs.contains(config) {
                lacking.insert(image.id, format!("its config {config}"));
            } else if let Some(layer) =
                image.layers.iter().map(|layer| layer.layer).find(|layer| !self.layers.contains(layer))
            {
                lacking.insert(image.id, format!("its layer {layer}"));
            }
        }
        let known: BTreeSet<ImageId> = self.inventory.images.iter().map(|image| image.id).collect();
        for image in &self.inventory.images {
            let is_gone = |part: &ImageId| !known.contains(part) || lacking.contains_key(part);
            let part = image.platforms.iter().find(|part| is_gone(&part.image));
            if let Some(part) = part.filter(|_| !lacking.contains_key(&image.id)) {
                let part = format!("its image {} for {}", part.image, part.platform);
                lacking.insert(image.id, part);
            }
        }
        lacking
    }

    fn lacking_manifest(&self, image: &ImageRecord) -> Option<Fault> {
        let manifest = image.manifest.filter(|manifest| !self.blobs.contains(manifest))?;
        Some(Fault::Manifest { image: image.id, manifest })
    }

    fn lacking_blob(&self, store: &Store, layer: &LayerId) -> Option<Fault> {
        let blob = match store.layer_meta(layer).ok()?.source {
            LayerSource::Recipe(recipe) => recipe,
            LayerSource::Blob(blob) => blob.digest,
            LayerSource::Own | LayerSource::Elsewhere(_) => return None,
        };
        (!self.blobs.contains(&blob)).then_some(Fault::LayerBlob { layer: *layer, blob })
    }

    fn lacking_containers(&self) -> impl Iterator<Item = Fault> {
        self.inventory.containers.iter().filter_map(|container| {
            let layer = container.layers.iter().find(|layer| !self.layers.contains(layer))?;
            Some(Fault::Container { container: container.id.clone(), layer: *layer })
        })
    }

    fn lacking_records(&self) -> impl Iterator<Item = Fault> {
        let usable = self.inventory.records.iter().filter(|(_, record)| record.evicted.is_none());
        usable.filter_map(|(key, record)| {
            let layer = record.stack().find(|layer| !self.layers.contains(layer))?;
            Some(Fault::Record { key: *key, instruction: record.instruction.clone(), layer: *layer })
        })
    }
}

/// The files of images that are damaged, or have another image's name.
fn unreadable_images(store: &Store, inventory: &Inventory) -> Result<Vec<PathBuf>, StoreError> {
    let known: HashSet<PathBuf> = inventory.images.iter().map(|image| store.image_path(&image.id)).collect();
    let directory = store.at("images");
    let paths = list(&directory)?.into_iter().map(|name| directory.join(name));
    // beside the records lie marks of other kinds, which say nothing of what an image is
    let is_record = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    Ok(paths.filter(|path| is_record(path) && !known.contains(path)).collect())
}
