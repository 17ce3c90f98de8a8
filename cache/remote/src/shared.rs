//! The results of a build as another machine can use them: layers by what they contain, records by their keys.

use rbuild_cache::{CacheKey, MachineId, StepHash};
use rbuild_oci::{Descriptor, DiffId, Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// Layers and records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SharedCache {
    /// The layers that records name, each once.
    pub layers: Vec<SharedLayer>,
    /// The records, each after that of its parent.
    pub records: Vec<SharedRecord>,
    /// What cache mounts have.
    #[serde(default)]
    pub mounts: Vec<SharedMount>,
}

/// What a cache mount has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedMount {
    /// Its id in a store.
    pub id: String,
    /// Its compressed tar in this cache.
    pub blob: Descriptor,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedLayer {
    /// Digest of its tar.
    pub diff_id: DiffId,
    /// Digest of what it contains, times apart, if it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// Its compressed tar in this cache. Layers of base images have none here, and neither has one that is cheaper to make
    /// again than to fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Descriptor>,
}

/// The result of a step. Layers are named by their indexes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedRecord {
    /// The step's key.
    pub key: CacheKey,
    /// Its key by the content of what it copied, if it is a COPY from a stage or an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_content: Option<CacheKey>,
    /// The key of what it stood on.
    pub parent: CacheKey,
    /// The step itself.
    pub step: StepHash,
    /// Its hash as [`rbuild_cache::CacheRecord::content_step`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_step: Option<StepHash>,
    /// The layer it made.
    pub layer: usize,
    /// The layers it stood on, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_layers: Vec<usize>,
    /// The layers of the stages and images it took files from, in the order of its sources, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_layers: Vec<usize>,
    /// When the step ended.
    pub created: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The machine on which it was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineId>,
}

impl SharedCache {
    /// The number of the layer with this DiffId; what was known of it before stays, and what is new is added.
    pub fn layer(&mut self, layer: SharedLayer) -> usize {
        let known = self.layers.iter().position(|known| known.diff_id == layer.diff_id);
        let at = known.unwrap_or(self.layers.len());
        match self.layers.get_mut(at) {
            Some(known) => {
                known.content = known.content.or(layer.content);
                known.blob = known.blob.take().or(layer.blob);
            }
            None => self.layers.push(layer),
        }
        at
    }

    /// Leaves out where and in what time the records were made, and when if that was after `latest`.
    pub fn forget_origins(&mut self, latest: Timestamp) {
        for record in &mut self.records {
            record.machine = None;
            record.duration_ms = 0;
            record.created = record.created.min(latest);
        }
    }

    /// The layers and records of `other` as well.
    pub(crate) fn append(&mut self, other: Self) {
        let places: Vec<usize> = other.layers.into_iter().map(|layer| self.layer(layer)).collect();
        let of = |layers: Vec<usize>| layers.into_iter().map(|layer| places[layer]).collect();
        self.records.extend(other.records.into_iter().map(|record| SharedRecord {
            layer: places[record.layer],
            parent_layers: of(record.parent_layers),
            source_layers: of(record.source_layers),
            ..record
        }));
    }

    /// The blobs of its layers, in their order, each once.
    pub(crate) fn blobs(&self) -> Vec<(&SharedLayer, &Descriptor)> {
        let mut blobs: Vec<(&SharedLayer, &Descriptor)> = Vec::new();
        for layer in &self.layers {
            if let Some(blob) = &layer.blob
                && !blobs.iter().any(|(_, known)| known.digest == blob.digest)
            {
                blobs.push((layer, blob));
            }
        }
        blobs
    }
}
