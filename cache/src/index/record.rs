//! Cache records: what a step's result is, and what it was made from, kept in structured form so that a later miss can
//! be explained.

use super::{CacheKey, StepHash};
use crate::{LayerId, MachineId, Stamp};
use rbuild_oci::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// Version of a record's JSON, which is the byte before it.
const VERSION: u8 = 1;

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// The layer the step made.
    pub layer: LayerId,
    /// When the step ended.
    pub created: Timestamp,
    /// The step itself.
    pub step: StepHash,
    /// The key of the result it stood on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<CacheKey>,
    /// The layers it stood on, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_layers: Vec<LayerId>,
    /// The layers of the stages and images it took files from, in the order of its sources, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_layers: Vec<LayerId>,
    /// The key of a COPY from a stage or an image by the content of what it copied, if that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_content: Option<CacheKey>,
    /// The hash of a COPY by the content of what it copied, or of a RUN that mounts stages or images by how many layers each has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_step: Option<StepHash>,
    /// Bytes of the disk that its layer takes, as [`crate::LayerMeta::disk_bytes`]; only of a layer that a step of this store
    /// made, which has no blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_bytes: Option<u64>,
    /// The inputs it was made from.
    pub inputs: StepInputs,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Bytes of memory that the largest process of its command had at its peak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// The time of its command on processors, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor_ms: Option<u64>,
    /// The instruction as the Dockerfile has it.
    pub instruction: String,
    /// When its layer was removed to make room; such a record only explains misses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<Timestamp>,
    /// What removed it; records that were evicted before this was noted have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted_by: Option<EvictedBy>,
    /// The machine on which the step was carried out; the index fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineId>,
    /// When the record was written, for durability; the index fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
}

/// What made a record's layer go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvictedBy {
    /// A person, with `prune`.
    #[default]
    Prune,
    /// The budget: the store was to take no more than its greatest size.
    MaxUsedSpace,
    /// The budget: so much of the disk was to stay free.
    MinFreeSpace,
    /// Nothing by intent: a layer it stands on was gone, or a power cut may have struck it.
    Lost,
}

/// A step's inputs as ordered (name, value) pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepInputs {
    /// The step's kind, such as `run` or `copy`.
    pub kind: String,
    /// Names and values in a fixed order: `argv`, `env PATH`, `destination`, …
    pub values: Vec<(String, String)>,
    /// The values that stand for files, and the blob that lists those files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<(String, Digest)>,
}

impl CacheRecord {
    /// The layers it needs to be of use.
    pub(crate) fn stack(&self) -> impl Iterator<Item = &LayerId> {
        self.parent_layers.iter().chain(std::iter::once(&self.layer))
    }

    /// What the index has of it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(1024);
        value.push(VERSION);
        serde_json::to_writer(&mut value, self).expect("a record is strings and numbers");
        value
    }

    /// The row by which it is found in its step, in the order of time.
    pub(super) fn step_row(&self, key: &CacheKey) -> Vec<u8> {
        let mut row = Vec::with_capacity(1 + 32 + 12 + 32);
        row.push(b's');
        row.extend_from_slice(self.step.as_bytes());
        row.extend_from_slice(&u64::try_from(self.created.seconds()).unwrap_or(0).to_be_bytes());
        row.extend_from_slice(&self.created.nanoseconds().unsigned_abs().to_be_bytes());
        row.extend_from_slice(key.as_bytes());
        row
    }
}

/// A record, or a part of it; `None` when it is damaged or of another version.
pub(super) fn decode<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Option<T> {
    let (version, json) = value.split_first()?;
    if *version == VERSION { serde_json::from_slice(json).ok() } else { None }
}

/// The key that a row ends with.
pub(super) fn trailing_key(row: &[u8]) -> Option<CacheKey> {
    row.last_chunk::<32>().map(|raw| CacheKey::from_bytes(*raw))
}

/// The row by which the record that is the value of `row` is found in its step; it leads nowhere once `row` has another one.
pub(super) fn row_of_step(row: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    Some(decode::<CacheRecord>(value)?.step_row(&trailing_key(row)?))
}

impl StepInputs {
    /// Inputs of a step of this kind.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), values: Vec::new(), lists: Vec::new() }
    }

    /// Adds an input.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.values.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The blob that lists the files which the value called `name` stands for.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<Digest> {
        self.lists.iter().find(|(of, _)| of == name).map(|(_, list)| *list)
    }
}
