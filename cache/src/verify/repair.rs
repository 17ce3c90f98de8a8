//! Makes what is damaged count as missing. A name goes with the image that it led to, because a name that leads nowhere would
//! only fail later; each is reported. What a running build holds stays, and so does every container.

use super::{
    fault::{Fault, FaultState, FoundFault},
    references::Stock,
};
use crate::{
    EvictedBy, ImageRecord, Index, LayerId, LayerMeta, LayerSource, Store, StoreError, disk::whole_file,
};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// Repairs what can be; what has lost its name goes to `aside`, to be removed when no lock is held.
pub(super) fn all(
    store: &Store,
    index: &Index<'_>,
    (stock, faults): (&Stock, Vec<Fault>),
    aside: &mut Vec<PathBuf>,
) -> Result<Vec<FoundFault>, StoreError> {
    let repairing = Repairing { store, index, stock };
    let mut found: Vec<FoundFault> = Vec::with_capacity(faults.len());
    let records = faults.iter().any(|fault| matches!(fault, Fault::Record { .. }));
    if records {
        // before any layer goes: records without layers are found again, layers without records are garbage
        repairing.evict(&faults)?;
        store.forget_recent()?;
    }
    // names first, layers and blobs last: killed in between, nothing leads to what is gone
    for fault in faults.into_iter().rev() {
        let state = repairing.repair(&fault, aside)?;
        found.push(stock.found(fault, state));
    }
    found.reverse();
    Ok(found)
}

struct Repairing<'a> {
    store: &'a Store,
    index: &'a Index<'a>,
    stock: &'a Stock,
}

impl Repairing<'_> {
    fn repair(&self, fault: &Fault, aside: &mut Vec<PathBuf>) -> Result<FaultState, StoreError> {
        let store = self.store;
        Ok(match fault {
            Fault::Blob(blob) => self.take(&store.blob_path(blob), aside)?,
            Fault::Layer { layer, .. } => self.take_layer(layer, aside)?,
            Fault::UnseenBlob { .. } | Fault::UnseenLayer { .. } => FaultState::Kept(
                "what could not be looked at may be whole: see to the reason, then verify again",
            ),
            Fault::LayerBlob { layer, .. } => self.without_blob(layer)?,
            Fault::ImageFile(path) | Fault::NameFile(path) => self.take(path, aside)?,
            Fault::Image { image, .. } => {
                store.remove_image(image)?;
                FaultState::Repaired("the image was removed: build, load or pull it again")
            }
            Fault::Manifest { image, .. } => {
                if let Some(record) = store.image(image)? {
                    store.put_image(&ImageRecord { manifest: None, ..record })?;
                }
                FaultState::Repaired("the image goes without it")
            }
            Fault::Name { name, .. } => {
                store.remove_reference(name)?;
                FaultState::Repaired("the name was removed: build, load or pull it again")
            }
            Fault::ContainerFile(_) => FaultState::Kept(
                "a container is never removed here: look at its files in fs beside it, then rm -f it",
            ),
            Fault::Container { .. } => {
                FaultState::Kept("a container is never removed here: export what you need, then remove it")
            }
            Fault::Record { .. } => FaultState::Repaired("the step runs again"),
            Fault::UnreadableRecord(key) => {
                self.index.remove_record(key)?;
                FaultState::Repaired("the step runs again")
            }
        })
    }

    /// Evicts the records that cannot be used.
    fn evict(&self, faults: &[Fault]) -> Result<(), StoreError> {
        let keys: HashSet<_> = faults.iter().filter_map(Fault::evicted).collect();
        let records = self.stock.inventory.records.iter().filter(|(key, _)| keys.contains(key));
        let records: Vec<_> = records.cloned().collect();
        self.index.mark_evicted(&records, self.store.now().into(), |_| EvictedBy::Lost)
    }

    fn take_layer(&self, layer: &LayerId, aside: &mut Vec<PathBuf>) -> Result<FaultState, StoreError> {
        if self.stock.inventory.held.layers.contains(layer) {
            return Ok(FaultState::Kept(
                "a running build or container uses it: repair again when that is over",
            ));
        }
        if self.stock.inventory.containers.iter().any(|container| container.layers.contains(layer)) {
            return Ok(FaultState::Kept("a container stands on it"));
        }
        self.take(&self.store.layer_directory(layer), aside)
    }

    fn take(&self, path: &Path, aside: &mut Vec<PathBuf>) -> Result<FaultState, StoreError> {
        let gone = self.store.space().path("gone")?;
        whole_file::rename(path, &gone)?;
        aside.push(gone);
        Ok(FaultState::Repaired("removed"))
    }

    /// The files of the layer are whole, and give the same tar.
    fn without_blob(&self, layer: &LayerId) -> Result<FaultState, StoreError> {
        let meta = self.store.layer_meta(layer)?;
        self.store.update_layer_meta(layer, &LayerMeta { source: LayerSource::Own, ..meta })?;
        Ok(FaultState::Repaired("its tar is written from its files"))
    }
}
