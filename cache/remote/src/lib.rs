//! Build caches that machines share: the results of one build as a document that another machine looks its own steps up
//! in, beside the layers they stand for.
//!
//! The container is BuildKit's (a manifest whose config is a cache description), in a registry or a layout directory, or the config
//! of an image, and its records are written in BuildKit's form; what rbuild itself looks up stands beside them, because only it has rbuild's keys.
//! Invariants: nothing that is read is believed without its digest, and everything that is read has limits; a
//! description is written after all that it names; looking up needs the description alone, and layers come when
//! something stands on them. What a hit is worth is the engine's to judge, how blobs move is `rbuild-image`'s.

#![forbid(unsafe_code)]

mod bucket;
mod buildkit;
mod destination;
mod document;
mod documents;
mod error;
mod files;
mod imported;
mod inline;
mod layout;
mod patience;
mod registry;
mod shared;
mod source;

pub use bucket::{Addressing, AzureContainer, BucketFailure, BucketPlace, BucketService, S3Bucket};
pub use destination::{CacheDestination, CacheTarget};
pub use documents::{CacheContainer, CacheForm};
pub use error::RemoteCacheError;
pub use imported::ImportedCache;
pub use layout::Leftovers;
pub use shared::{SharedCache, SharedLayer, SharedMount, SharedRecord};
pub use source::CacheSource;
