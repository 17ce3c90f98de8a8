//! The bytes of blobs and the files of layers against what is recorded of them: all of them without a lock, on all processors,
//! and the suspicious ones again under it.

use super::{Fault, LayerFiles, TarBlob, proves_damage};
use crate::{LayerId, LayerSource, Store, StoreError, collect::layer_ids, disk::list};
use rbuild_oci::{Digest, Hasher};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

const BUFFER: usize = 256 << 10;

/// What reading everything has shown.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    pub(super) blobs: usize,
    pub(super) layers: usize,
    pub(super) unknown_layers: usize,
    pub(super) damaged_blobs: Vec<Digest>,
    pub(super) damaged_layers: BTreeMap<LayerId, String>,
    unseen_blobs: BTreeMap<Digest, String>,
    unseen_layers: BTreeMap<LayerId, String>,
}

/// What a blob is.
enum BlobBytes {
    Whole,
    Gone,
    /// Its bytes are others than its name says.
    Damaged,
    /// It could not be read; the reason.
    Unseen(String),
}

enum Item {
    Blob(Digest),
    Layer(LayerId),
}

impl Bytes {
    /// Reads every blob and every layer.
    pub(super) fn read(
        store: &Store,
        examine: &(impl Fn(&LayerId, TarBlob) -> LayerFiles + Sync),
    ) -> Result<Self, StoreError> {
        let blobs = list(&store.at("blobs/sha256"))?;
        let blobs = blobs.iter().filter_map(|name| Digest::from_hex(name).ok()).map(Item::Blob);
        let items: Vec<Item> = layer_ids(store)?.into_iter().map(Item::Layer).chain(blobs).collect();
        let (next, seen) = (AtomicUsize::new(0), Mutex::new(Self::default()));
        let work = || {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                let one = Self::of(store, examine, item);
                seen.lock().unwrap_or_else(PoisonError::into_inner).add(one);
            }
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
        Ok(seen.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same, with what was suspicious read once more: a build may have replaced or removed it meanwhile.
    pub(super) fn again(
        self,
        store: &Store,
        examine: &impl Fn(&LayerId, TarBlob) -> LayerFiles,
    ) -> Result<Self, StoreError> {
        let there: Vec<LayerId> = layer_ids(store)?;
        let (blobs, layers, unknown_layers) = (self.blobs, self.layers, self.unknown_layers);
        let mut seen = Self::default();
        for blob in self.damaged_blobs.into_iter().chain(self.unseen_blobs.into_keys()) {
            seen.add(Self::of(store, examine, &Item::Blob(blob)));
        }
        let suspicious = self.damaged_layers.into_keys().chain(self.unseen_layers.into_keys());
        for layer in suspicious.filter(|layer| there.contains(layer)) {
            seen.add(Self::of(store, examine, &Item::Layer(layer)));
        }
        Ok(Self { blobs, layers, unknown_layers, ..seen })
    }

    /// What could not be looked at.
    pub(super) fn unseen(&self) -> Vec<Fault> {
        let blobs = self.unseen_blobs.iter();
        let blobs = blobs.map(|(blob, reason)| Fault::UnseenBlob { blob: *blob, reason: reason.clone() });
        let layers = self.unseen_layers.iter();
        let layers =
            layers.map(|(layer, reason)| Fault::UnseenLayer { layer: *layer, reason: reason.clone() });
        blobs.chain(layers).collect()
    }

    fn of(store: &Store, examine: &impl Fn(&LayerId, TarBlob) -> LayerFiles, item: &Item) -> Self {
        let mut seen = Self::default();
        match item {
            Item::Blob(blob) => {
                seen.blobs = 1;
                match blob_bytes(store, blob) {
                    BlobBytes::Whole | BlobBytes::Gone => {}
                    BlobBytes::Damaged => seen.damaged_blobs.push(*blob),
                    BlobBytes::Unseen(reason) => drop(seen.unseen_blobs.insert(*blob, reason)),
                }
            }
            Item::Layer(layer) => match state(store, examine, layer) {
                LayerFiles::Damaged(reason) => {
                    seen.layers = 1;
                    seen.damaged_layers.insert(*layer, reason);
                }
                LayerFiles::Unseen(reason) => drop(seen.unseen_layers.insert(*layer, reason)),
                LayerFiles::Sound => seen.layers = 1,
                LayerFiles::Unknown => seen.unknown_layers = 1,
            },
        }
        seen
    }

    fn add(&mut self, other: Self) {
        self.blobs += other.blobs;
        self.layers += other.layers;
        self.unknown_layers += other.unknown_layers;
        self.damaged_blobs.extend(other.damaged_blobs);
        self.damaged_layers.extend(other.damaged_layers);
        self.unseen_blobs.extend(other.unseen_blobs);
        self.unseen_layers.extend(other.unseen_layers);
    }
}

fn blob_bytes(store: &Store, blob: &Digest) -> BlobBytes {
    match File::open(store.blob_path(blob)).and_then(hash) {
        Ok(found) if found == *blob => BlobBytes::Whole,
        Ok(_) => BlobBytes::Damaged,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BlobBytes::Gone,
        Err(error) if proves_damage(&error) => BlobBytes::Damaged,
        Err(error) => BlobBytes::Unseen(error.to_string()),
    }
}

fn hash(mut file: File) -> io::Result<Digest> {
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; BUFFER]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn state(store: &Store, examine: &impl Fn(&LayerId, TarBlob) -> LayerFiles, layer: &LayerId) -> LayerFiles {
    let blob = match store.layer_meta(layer) {
        Ok(meta) => match meta.source {
            LayerSource::Recipe(recipe) => Some(recipe),
            LayerSource::Blob(blob) => Some(blob.digest),
            LayerSource::Own | LayerSource::Elsewhere(_) => None,
        },
        Err(StoreError::LayerMissing { .. }) => {
            return LayerFiles::Damaged("it has no description".to_owned());
        }
        Err(StoreError::Io { source, .. } | StoreError::Denied { source, .. }) if !proves_damage(&source) => {
            return LayerFiles::Unseen(format!("its description cannot be read: {source}"));
        }
        Err(_) => return LayerFiles::Damaged("its description cannot be read".to_owned()),
    };
    match blob.map(|blob| (blob, blob_bytes(store, &blob))) {
        None | Some((_, BlobBytes::Whole)) => examine(layer, TarBlob::Whole),
        Some((_, BlobBytes::Gone | BlobBytes::Damaged)) => examine(layer, TarBlob::Gone),
        Some((blob, BlobBytes::Unseen(reason))) => {
            LayerFiles::Unseen(format!("its blob {blob} cannot be read: {reason}"))
        }
    }
}
