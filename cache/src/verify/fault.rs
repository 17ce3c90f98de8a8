//! What can be wrong with a store, and what became of it.

use crate::{CacheKey, LayerId};
use rbuild_oci::{Digest, ImageId, Reference};
use std::{fmt, path::PathBuf};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes of a blob are not those of its name.
    Blob(Digest),
    /// The description or the files of a layer are damaged.
    Layer {
        /// The layer.
        layer: LayerId,
        /// The reason.
        reason: String,
    },
    /// A blob could not be read, which says nothing of its bytes.
    UnseenBlob {
        /// The blob.
        blob: Digest,
        /// The reason.
        reason: String,
    },
    /// The files of a layer could not be looked at, which says nothing of them.
    UnseenLayer {
        /// The layer.
        layer: LayerId,
        /// The reason.
        reason: String,
    },
    /// The blob from which the tar of a layer comes is gone or damaged.
    LayerBlob {
        /// The layer.
        layer: LayerId,
        /// The blob.
        blob: Digest,
    },
    /// A file that describes an image cannot be read.
    ImageFile(PathBuf),
    /// A part of an image is gone or damaged: its config, a layer, or the image for one of its platforms.
    Image {
        /// The image.
        image: ImageId,
        /// The part.
        part: String,
    },
    /// The manifest of an image is gone or damaged; the image can be used without it.
    Manifest {
        /// The image.
        image: ImageId,
        /// The manifest.
        manifest: Digest,
    },
    /// A file of a name cannot be read.
    NameFile(PathBuf),
    /// A name leads to an image that is gone or damaged.
    Name {
        /// The name.
        name: Reference,
        /// The image.
        image: ImageId,
    },
    /// The file that describes a container cannot be read.
    ContainerFile(PathBuf),
    /// A layer that a container stands on is gone or damaged.
    Container {
        /// The container.
        container: String,
        /// The layer.
        layer: LayerId,
    },
    /// A layer that a cache record needs is gone or damaged.
    Record {
        /// The key of the record.
        key: CacheKey,
        /// The instruction.
        instruction: String,
        /// The layer.
        layer: LayerId,
    },
    /// A cache record cannot be read.
    UnreadableRecord(CacheKey),
}

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultState {
    /// It is still there.
    Left,
    /// It is still there, for this reason.
    Kept(&'static str),
    /// It was repaired so.
    Repaired(&'static str),
}

/// A fault that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFault {
    /// The fault.
    pub fault: Fault,
    /// What became of it.
    pub state: FaultState,
    /// The names of images that are damaged by it.
    pub names: Vec<Reference>,
}

impl Fault {
    /// The cache record that cannot be used for it.
    pub(super) fn evicted(&self) -> Option<CacheKey> {
        match self {
            Self::Record { key, .. } => Some(*key),
            Self::Blob(_)
            | Self::Layer { .. }
            | Self::UnseenBlob { .. }
            | Self::UnseenLayer { .. }
            | Self::LayerBlob { .. }
            | Self::ImageFile(_)
            | Self::Image { .. }
            | Self::Manifest { .. }
            | Self::NameFile(_)
            | Self::Name { .. }
            | Self::ContainerFile(_)
            | Self::Container { .. }
            | Self::UnreadableRecord(_) => None,
        }
    }
}

impl FoundFault {
    /// True if it is not there any more.
    #[must_use]
    pub fn is_repaired(&self) -> bool {
        matches!(self.state, FaultState::Repaired(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob {digest}: its bytes have another digest"),
            Self::Layer { layer, reason } => write!(f, "layer {layer}: {reason}"),
            Self::UnseenBlob { blob, reason } => write!(f, "blob {blob}: it could not be read: {reason}"),
            Self::UnseenLayer { layer, reason } => {
                write!(f, "layer {layer}: its files could not be looked at: {reason}")
            }
            Self::LayerBlob { layer, blob } => write!(f, "layer {layer}: its blob {blob} is missing"),
            Self::ImageFile(path) => write!(f, "image file {}: it cannot be read", path.display()),
            Self::Image { image, part } => write!(f, "image {image}: {part} is missing"),
            Self::Manifest { image, manifest } => {
                write!(f, "image {image}: its manifest {manifest} is missing")
            }
            Self::NameFile(path) => write!(f, "name file {}: it cannot be read", path.display()),
            Self::Name { name, image } => write!(f, "name {}: its image {image} is missing", name.familiar()),
            Self::ContainerFile(path) => write!(f, "container file {}: it cannot be read", path.display()),
            Self::Container { container, layer } => {
                write!(f, "container {container}: its layer {layer} is missing")
            }
            Self::Record { key, instruction, layer } => {
                write!(f, "cache record {key} ({instruction}): its layer {layer} is missing")
            }
            Self::UnreadableRecord(key) => write!(f, "cache record {key}: it cannot be read"),
        }
    }
}
