//! What can be done about a failure, as data: a front end has the words, because it has the commands and flags.

use rbuild_cache::{FoundIn, StoreError};
use rbuild_image::ImageError;
use rbuild_registry::RegistryError;
use rbuild_remote_cache::RemoteCacheError;
use std::path::Path;

/// A suggestion of what the user can do about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Use this name, which is near the one that is not there.
    DidYouMean(String),
    /// Give this secret; one with a name near to it is given.
    GiveSecret {
        /// The id.
        id: String,
        /// The other one.
        near: Option<String>,
    },
    /// Log in to this registry.
    LogIn(String),
    /// Fetch this image first.
    Fetch(String),
    /// Pull this image, whose layers are not all here, once more.
    PullAgain(String),
    /// Build the image again: a cache that had its layers does not give them.
    MakeAgain,
    /// See that this registry, which alone has the layers of an image, can be reached.
    Reach(String),
    /// Remove the image's names one by one, or all of them by force.
    RemoveNames,
    /// Use force.
    Force,
    /// Remove the image itself.
    RemoveWhole,
    /// Remove this image, of which the other is a part.
    RemoveImage(String),
    /// Remove this container, or force the removal.
    RemoveContainer(String),
    /// Stop this container, or remove it.
    StopUserOfImage(String),
    /// Remove this container, whose record is damaged.
    RemoveDamaged(String),
    /// Have the store look through itself, and make again what it has lost.
    RepairStore,
    /// Remove the container of this name, or choose another name.
    FreeName(String),
    /// Stop the container, or force its removal.
    StopContainer,
    /// Continue this process, which stays with the container, or remove that.
    ContinueMonitor {
        /// The container.
        name: String,
        /// The process.
        monitor: i32,
    },
    /// Become a user who may use the daemon's socket.
    UseSocket,
    /// Start the daemon, or write the image to a file.
    StartDaemon,
    /// Bring the image without its registry, which does not answer.
    BringImage,
    /// Lock the images of the build again.
    LockAgain,
    /// Name the Dockerfile and the directory of its context.
    NameDockerfile,
    /// Build in a directory above, or give what is there as a context of its own.
    WidenContext,
    /// See what the store holds, and remove what is not needed.
    MakeRoom,
}

/// The reason why an image cannot be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageHolder {
    /// It has several names.
    Names,
    /// This container was made from it.
    Container(String),
    /// This container was made from it and runs.
    RunningContainer(String),
    /// It is that of one platform in this image for several.
    Platforms(String),
    /// Images may share what it has for a platform.
    Variant,
    /// It has no other platform.
    LastPlatform,
}

impl ImageHolder {
    pub(crate) fn hint(&self) -> Hint {
        match self {
            Self::Names => Hint::RemoveNames,
            Self::Container(id) => Hint::RemoveContainer(id.clone()),
            Self::RunningContainer(id) => Hint::StopUserOfImage(id.clone()),
            Self::Platforms(image) => Hint::RemoveImage(image.clone()),
            Self::Variant => Hint::Force,
            Self::LastPlatform => Hint::RemoveWhole,
        }
    }
}

impl std::fmt::Display for ImageHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Names => f.write_str("it has several names"),
            Self::Container(id) => write!(f, "container {id} uses it"),
            Self::RunningContainer(id) => write!(f, "container {id} uses it and runs"),
            Self::Platforms(image) => write!(f, "image {image} has it for one of its platforms"),
            Self::Variant => f.write_str("it goes from all images that have it for this platform"),
            Self::LastPlatform => f.write_str("it is here for no other platform"),
        }
    }
}

impl Hint {
    /// For a failure to write a cache.
    pub(crate) fn of_cache(error: &RemoteCacheError) -> Option<Self> {
        match error {
            RemoteCacheError::Registry(error) => Self::of_registry(error),
            RemoteCacheError::Image(error) => Self::of_image(error),
            _ => None,
        }
    }

    /// For a failure of images.
    pub(crate) fn of_image(error: &ImageError) -> Option<Self> {
        match error {
            ImageError::Registry(error) => Self::of_registry(error),
            ImageError::Store(StoreError::Document { path, .. }) => Self::of_document(path),
            ImageError::Store(StoreError::NoSpace { .. }) => Some(Self::MakeRoom),
            ImageError::FetchLayer { found_in: FoundIn::Cache, .. } => Some(Self::MakeAgain),
            ImageError::FetchLayer { image, registry, source, .. } => match &**source {
                // what its name leads to has changed since
                ImageError::Registry(RegistryError::BlobNotFound { .. }) => {
                    Some(Self::PullAgain(image.clone()))
                }
                other => Self::of_image(other).or_else(|| Some(Self::Reach(registry.clone()))),
            },
            _ => None,
        }
    }

    /// For a damaged file of the store: the record of a container or the description of a layer.
    pub(crate) fn of_document(path: &Path) -> Option<Self> {
        let directory = path.parent()?;
        match directory.parent()?.file_name()?.to_str()? {
            "containers" => directory.file_name()?.to_str().map(|id| Self::RemoveDamaged(id.to_owned())),
            "layers" => Some(Self::RepairStore),
            _ => None,
        }
    }

    /// For a failure of a registry.
    pub(crate) fn of_registry(error: &RegistryError) -> Option<Self> {
        match error {
            RegistryError::AccessDenied { host, .. } | RegistryError::Unauthorized { host, .. } => {
                Some(Self::LogIn(host.clone()))
            }
            _ => None,
        }
    }
}
