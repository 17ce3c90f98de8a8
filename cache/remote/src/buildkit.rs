//! BuildKit's own part of a cache description (`application/vnd.buildkit.cacheconfig.v0`).
//!
//! rbuild's keys are not BuildKit's, so each of the two finds nothing in what the other wrote. What is written here is true
//! nevertheless, and BuildKit reads it without complaint: a record for each key, linked to that of its parent, with the
//! chain of its layers where all of them are in the cache.

use crate::SharedCache;
use rbuild_cache::CacheKey;
use rbuild_oci::{Descriptor, DiffId, Digest, MediaType, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Annotations of a layer's descriptor that BuildKit asks for.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
const CREATED_AT: &str = "buildkit/createdat";

/// The part of the description.
#[derive(Serialize)]
pub(crate) struct Part {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Layer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<Record>,
}

#[derive(Serialize)]
struct Layer {
    blob: Digest,
    parent: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

/// What BuildKit wants to know of a blob that no manifest describes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotations {
    media_type: MediaType,
    #[serde(rename = "diffID")]
    diff_id: DiffId,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Record {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Result>,
    digest: Digest,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<[Input; 1]>,
}

#[derive(Serialize)]
struct Result {
    layer: usize,
    #[serde(rename = "createdAt")]
    created_at: Timestamp,
}

#[derive(Serialize)]
struct Input {
    link: usize,
}

impl Part {
    /// Describes `cache` in BuildKit's form.
    pub(crate) fn of(cache: &SharedCache) -> Self {
        let mut part = Self { layers: Vec::new(), records: Vec::new() };
        let (mut places, mut chains) = (HashMap::<CacheKey, usize>::new(), HashMap::new());
        for record in &cache.records {
            let parent = part.place(&mut places, record.parent);
            let own = part.place(&mut places, record.key);
            let stack = record.parent_layers.iter().chain([&record.layer]);
            let blobs = stack.map(|layer| cache.layers[*layer].blob.as_ref().map(|blob| blob.digest));
            if let Some(blobs) = blobs.collect::<Option<Vec<_>>>() {
                let top = blobs.into_iter().fold(-1, |below, blob| part.chain(&mut chains, blob, below));
                let layer = usize::try_from(top).unwrap_or_default();
                part.records[own].layers = vec![Result { layer, created_at: record.created }];
            }
            part.records[own].inputs = vec![[Input { link: parent }]];
        }
        part
    }

    /// The same, with what a manifest would say of the blobs.
    pub(crate) fn annotated(cache: &SharedCache) -> Self {
        let mut part = Self::of(cache);
        for layer in &mut part.layers {
            let known = cache.blobs().into_iter().find(|(_, blob)| blob.digest == layer.blob);
            layer.annotations = known.map(|(shared, blob)| Annotations {
                media_type: blob.media_type.clone(),
                diff_id: shared.diff_id,
                size: blob.size,
                created_at: created(cache, &blob.digest),
            });
        }
        part
    }

    /// The number of the record with this key.
    fn place(&mut self, places: &mut HashMap<CacheKey, usize>, key: CacheKey) -> usize {
        *places.entry(key).or_insert_with(|| {
            let digest = Digest::from_bytes(*key.as_bytes());
            self.records.push(Record { layers: Vec::new(), digest, inputs: Vec::new() });
            self.records.len() - 1
        })
    }

    /// The number of the layer `blob` on the layer `parent`.
    fn chain(&mut self, chains: &mut HashMap<(Digest, i64), i64>, blob: Digest, parent: i64) -> i64 {
        *chains.entry((blob, parent)).or_insert_with(|| {
            self.layers.push(Layer { blob, parent, annotations: None });
            self.layers.len() as i64 - 1
        })
    }
}

/// The records of a cache whose layers are those of an image, as the image's config carries them: results are layers of the image
/// by their numbers.
pub(crate) fn inline_records(cache: &SharedCache) -> Vec<u8> {
    let mut part = Part { layers: Vec::new(), records: Vec::new() };
    let mut places = HashMap::new();
    for record in &cache.records {
        let parent = part.place(&mut places, record.parent);
        let own = part.place(&mut places, record.key);
        let layer = record.parent_layers.len();
        part.records[own].layers = vec![Result { layer, created_at: record.created }];
        part.records[own].inputs = vec![[Input { link: parent }]];
    }
    serde_json::to_vec(&part.records).expect("records are strings and numbers")
}

/// When the layer with this blob was made.
fn created(cache: &SharedCache, blob: &Digest) -> Option<Timestamp> {
    let of = |layer: usize| cache.layers[layer].blob.as_ref().is_some_and(|own| own.digest == *blob);
    cache.records.iter().find(|record| of(record.layer)).map(|record| record.created)
}

/// The descriptors of the cache's blobs, with what BuildKit wants to know of them.
pub(crate) fn descriptors(cache: &SharedCache) -> Vec<Descriptor> {
    let described = cache.blobs().into_iter().map(|(layer, blob)| {
        let mut annotations = BTreeMap::from([(UNCOMPRESSED.to_owned(), layer.diff_id.to_string())]);
        annotations
            .extend(created(cache, &blob.digest).map(|time| (CREATED_AT.to_owned(), time.to_string())));
        let (media_type, digest, size) = (blob.media_type.clone(), blob.digest, blob.size);
        Descriptor { annotations, ..Descriptor::new(media_type, digest, size) }
    });
    // named, so that a registry keeps them
    let of_mounts = cache.mounts.iter().map(|mount| mount.blob.clone());
    described.chain(of_mounts).collect()
}
