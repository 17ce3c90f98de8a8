//! What comes of a build.

use crate::ImageLock;
use rbuild_cache::PlatformImage;
use rbuild_oci::{Descriptor, ImageId};
use std::collections::BTreeMap;

/// A finished build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// What became of its target.
    pub target: BuiltTarget,
    /// The same of each further target, in the order of the request.
    pub further_targets: Vec<BuiltTarget>,
    /// The number of steps taken from the cache.
    pub cached: usize,
    /// The number of steps carried out.
    pub executed: usize,
    /// What the references of its base images led to.
    pub images: ImageLock,
    /// The secrets that its steps mount, cached or not, by id.
    pub secrets: BTreeMap<String, MountNeed>,
    /// The agents that they mount, by id.
    pub agents: BTreeMap<String, MountNeed>,
}

/// Whether the steps of a build can do without something that they mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountNeed {
    /// Each of them can.
    Optional,
    /// One of them, at least, cannot (`required`).
    Required,
}

/// A finished target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuiltTarget {
    /// The outcome of each output of the request, in the same order.
    pub outputs: Vec<Exported>,
}

/// The outcome of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exported {
    /// An image in the store.
    Store {
        /// Its id; of an image for several platforms that of the whole.
        image: ImageId,
        /// The image for each platform of a request for several, in the same order.
        platforms: Vec<PlatformImage>,
    },
    /// An image in registries.
    Registry {
        /// Its id: the digest of its config, or of an index for several platforms.
        image: ImageId,
        /// The descriptor of its manifest.
        manifest: Descriptor,
    },
    /// An image in an archive or a layout directory.
    Archive {
        /// Its id: the digest of its config, or of an index for several platforms.
        image: ImageId,
        /// The descriptor of its manifest.
        manifest: Descriptor,
    },
    /// Files.
    Files,
    /// An image in a running docker or podman.
    Daemon {
        /// Its id in the store. A daemon may have another one.
        image: ImageId,
    },
}

impl Built {
    /// The image of the target in the store, if an output asked for one.
    #[must_use]
    pub fn image(&self) -> Option<ImageId> {
        self.target.image()
    }
}

impl BuiltTarget {
    /// The image in the store, if an output asked for one.
    #[must_use]
    pub fn image(&self) -> Option<ImageId> {
        self.outputs.iter().find_map(|output| match output {
            Exported::Store { image, .. } | Exported::Daemon { image } => Some(*image),
            Exported::Registry { .. } | Exported::Archive { .. } | Exported::Files => None,
        })
    }

    /// The id of the image that the outputs have, if they are not files alone.
    #[must_use]
    pub fn id(&self) -> Option<ImageId> {
        self.outputs.iter().find_map(|output| match output {
            Exported::Store { image, .. }
            | Exported::Daemon { image }
            | Exported::Registry { image, .. }
            | Exported::Archive { image, .. } => Some(*image),
            Exported::Files => None,
        })
    }

    /// True if it is an image for several platforms.
    #[must_use]
    pub fn is_index(&self) -> bool {
        self.outputs.iter().any(|output| match output {
            Exported::Store { platforms, .. } => !platforms.is_empty(),
            Exported::Registry { manifest, .. } | Exported::Archive { manifest, .. } => {
                manifest.media_type.is_index()
            }
            Exported::Daemon { .. } | Exported::Files => false,
        })
    }

    /// The manifest of the image in the first registry that got it, by which others find it, or else in the first archive.
    #[must_use]
    pub fn manifest(&self) -> Option<&Descriptor> {
        let in_registry = self.outputs.iter().find_map(|output| match output {
            Exported::Registry { manifest, .. } => Some(manifest),
            Exported::Store { .. } | Exported::Daemon { .. } | Exported::Archive { .. } | Exported::Files => {
                None
            }
        });
        in_registry.or_else(|| {
            self.outputs.iter().find_map(|output| match output {
                Exported::Archive { manifest, .. } => Some(manifest),
                Exported::Store { .. }
                | Exported::Daemon { .. }
                | Exported::Registry { .. }
                | Exported::Files => None,
            })
        })
    }
}
