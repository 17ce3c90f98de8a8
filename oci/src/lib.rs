//! Plain data of the OCI image world: digests, references, platforms, descriptors, manifests, image configs,
//! and the classes of failure that all crates share.
//!
//! Invariants: a value of these types is valid, because it is parsed once and fields with a rule are private; nothing
//! here touches anything outside memory. `rbuild-cache` keeps layers on disk, and `rbuild-image` handles whole images.

#![forbid(unsafe_code)]

mod config;
mod descriptor;
mod digest;
mod error;
mod failure;
mod image_name;
mod manifest;
mod path;
mod platform;
mod quoted;
mod reference;
mod timestamp;

pub use config::{ContainerConfig, DEFAULT_PATH, Empty, Healthcheck, HistoryEntry, ImageConfig, RootFs};
pub use descriptor::{Compression, Descriptor, MediaType};
pub use digest::{ChainId, DiffId, Digest, Hasher, ImageId};
pub use error::ParseError;
pub use failure::FailureClass;
pub use image_name::ImageName;
pub use manifest::{Index, Manifest, ManifestOrIndex};
pub use path::ImagePath;
pub use platform::Platform;
pub use quoted::go_quoted;
pub use reference::Reference;
pub use timestamp::{Clock, Timestamp};
