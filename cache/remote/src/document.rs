//! The description of a cache as bytes: BuildKit's part, and rbuild's beside it.
//!
//! What is read comes from strangers: the numbers of things and the lengths of their lists are bounded, and every index is
//! looked at once, here, so that no reader has to.

use crate::{RemoteCacheError, SharedCache, SharedLayer, SharedMount, SharedRecord, buildkit};
use rbuild_oci::MediaType;
use serde::{Deserialize, Serialize};

/// The media type of a description.
pub(crate) const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// The version of rbuild's part. One of another version is not read.
const VERSION: u32 = 1;

/// Records of a cache, and layers, at most.
const COUNT_LIMIT: usize = 20_000;

/// Cache mounts of a cache, at most.
const MOUNTS_LIMIT: usize = 1_000;

/// Layers of a stack, at most: no image has more.
const STACK_LIMIT: usize = 499;

/// Indexes in all records, at most.
const INDEXES_LIMIT: usize = 2_000_000;

#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    buildkit: buildkit::Part,
    rbuild: WrittenPart<'a>,
}

#[derive(Serialize)]
struct WrittenPart<'a> {
    version: u32,
    layers: &'a [SharedLayer],
    records: &'a [SharedRecord],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    mounts: &'a [SharedMount],
}

/// The parts that tell what a description is.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    records: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    rbuild: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Read {
    rbuild: SharedCache,
}

impl SharedCache {
    /// Its description.
    #[must_use]
    pub fn describe(&self) -> Vec<u8> {
        let Self { layers, records, mounts } = self;
        let rbuild = WrittenPart { version: VERSION, layers, records, mounts };
        let written = Written { buildkit: buildkit::Part::of(self), rbuild };
        serde_json::to_vec(&written).expect("a description is strings and numbers")
    }

    /// Reads the description of the cache called `subject`. Each index in it leads to a layer.
    ///
    /// # Errors
    /// [`RemoteCacheError::Foreign`] for one that only BuildKit can use, [`RemoteCacheError::Newer`],
    /// [`RemoteCacheError::Description`], [`RemoteCacheError::Json`].
    pub fn read(subject: &str, bytes: &[u8]) -> Result<Self, RemoteCacheError> {
        let bad = |source| RemoteCacheError::Json { subject: subject.to_owned(), source };
        let outline: Outline = serde_json::from_slice(bytes).map_err(bad)?;
        match outline.rbuild {
            None => {
                let records = outline.records.len();
                return Err(RemoteCacheError::Foreign { subject: subject.to_owned(), records });
            }
            Some(Version { version }) if version != VERSION => {
                return Err(RemoteCacheError::Newer { subject: subject.to_owned(), version });
            }
            Some(_) => {}
        }
        let Read { rbuild } = serde_json::from_slice(bytes).map_err(bad)?;
        checked(subject, rbuild)
    }

    /// True if it has no more layers and records than are read of one cache.
    pub(crate) fn is_within_limits(&self) -> bool {
        self.layers.len() <= COUNT_LIMIT && self.records.len() <= COUNT_LIMIT
    }
}

/// Writes the description of a cache that has no manifest: what one says of blobs stands in BuildKit's part.
pub(crate) fn write_annotated(cache: &SharedCache) -> Vec<u8> {
    let SharedCache { layers, records, mounts } = cache;
    let rbuild = WrittenPart { version: VERSION, layers, records, mounts };
    let written = Written { buildkit: buildkit::Part::annotated(cache), rbuild };
    serde_json::to_vec(&written).expect("a description is strings and numbers")
}

/// Writes rbuild's part alone.
pub(crate) fn write_inline(cache: &SharedCache) -> Vec<u8> {
    let SharedCache { layers, records, mounts } = cache;
    let part = WrittenPart { version: VERSION, layers, records, mounts };
    serde_json::to_vec(&part).expect("a description is strings and numbers")
}

/// Reads rbuild's part alone, of the cache called `subject`.
///
/// # Errors
/// [`RemoteCacheError::Newer`], [`RemoteCacheError::Description`], [`RemoteCacheError::Json`].
pub(crate) fn read_inline(subject: &str, bytes: &[u8]) -> Result<SharedCache, RemoteCacheError> {
    let bad = |source| RemoteCacheError::Json { subject: subject.to_owned(), source };
    let Version { version } = serde_json::from_slice(bytes).map_err(bad)?;
    if version != VERSION {
        return Err(RemoteCacheError::Newer { subject: subject.to_owned(), version });
    }
    checked(subject, serde_json::from_slice(bytes).map_err(bad)?)
}

fn checked(subject: &str, cache: SharedCache) -> Result<SharedCache, RemoteCacheError> {
    match check(&cache) {
        Some(problem) => Err(RemoteCacheError::Description { subject: subject.to_owned(), problem }),
        None => Ok(cache),
    }
}

/// What is wrong with a cache that was read.
fn check(cache: &SharedCache) -> Option<&'static str> {
    let SharedCache { layers, records, mounts } = cache;
    if mounts.len() > MOUNTS_LIMIT {
        return Some("it has more cache mounts than any build");
    }
    if !cache.is_within_limits() {
        return Some("it has more records or layers than any build");
    }
    let mut indexes = 0;
    for record in records {
        let stack = record.parent_layers.len() + 1;
        if stack > STACK_LIMIT {
            return Some("a record stands on more layers than any image has");
        }
        indexes += stack + record.source_layers.len();
        let all = record.parent_layers.iter().chain(&record.source_layers).chain([&record.layer]);
        if all.max().is_some_and(|index| *index >= layers.len()) {
            return Some("a record names a layer that is not in it");
        }
    }
    if indexes > INDEXES_LIMIT {
        return Some("its records name too many layers");
    }
    let of_mounts = mounts.iter().map(|mount| &mount.blob);
    let blobs = layers.iter().filter_map(|layer| layer.blob.as_ref()).chain(of_mounts);
    let is_layer = |media_type: &MediaType| media_type.layer_compression().is_some();
    if blobs.into_iter().any(|blob| !is_layer(&blob.media_type)) {
        return Some("a layer has the media type of something else");
    }
    None
}
