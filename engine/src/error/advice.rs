//! What a person can do about an error.

use crate::{ContainerError, Error, Hint, NetworkError, VolumeError};
use rbuild_cache::{FoundIn, StoreError};
use rbuild_daemon::DaemonError;
use rbuild_executor::{ExecutorError, Meant};
use rbuild_image::ImageError;
use rbuild_registry::RegistryError;
use std::io;

impl Error {
    /// A suggestion for the user, where one is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::BaseImage { hint, source, .. } => hint
                .clone()
                .or_else(|| source.hint())
                .or_else(|| source.is_unreachable().then_some(Hint::BringImage)),
            Self::Registry(error) => Hint::of_registry(error),
            Self::Daemon(DaemonError::Denied { .. }) => Some(Hint::UseSocket),
            Self::Daemon(DaemonError::NotRunning { .. }) => Some(Hint::StartDaemon),
            Self::Image(error) => Hint::of_image(error),
            Self::Push { source, .. } => Hint::of_image(source),
            // what a cache has is made again instead
            Self::StepLayers { source, .. } => Hint::of_image(source),
            Self::LayersLost { .. } => Some(Hint::MakeAgain),
            Self::CacheExport { source, .. } => Hint::of_cache(source),
            Self::LayersElsewhere { image, found_in } => Some(match found_in {
                FoundIn::Image => Hint::PullAgain(image.clone()),
                FoundIn::Cache => Hint::MakeAgain,
            }),
            Self::ImageInUse { holder, .. } => Some(holder.hint()),
            Self::NoSuchContainer(unknown)
            | Self::NoSuchImage(unknown)
            | Self::Network(NetworkError::NoSuch(unknown))
            | Self::Volume(VolumeError::NoSuch(unknown)) => unknown.near.clone().map(Hint::DidYouMean),
            Self::ContainerNameTaken { name, .. } => Some(Hint::FreeName(name.clone())),
            Self::ContainerRunning(_) => Some(Hint::StopContainer),
            Self::Container(ContainerError::MonitorStopped { name, monitor }) => {
                Some(Hint::ContinueMonitor { name: name.clone(), monitor: *monitor })
            }
            Self::Store(StoreError::Document { path, .. }) => Hint::of_document(path),
            Self::ImageDamaged(_) => Some(Hint::RepairStore),
            Self::NotLocked(_) | Self::LockedElsewhere { .. } => Some(Hint::LockAgain),
            Self::Step(failure) => match &*failure.error {
                ExecutorError::SourceNotFound { meant: Some(Meant::Path(path)), .. } => {
                    Some(Hint::DidYouMean(path.clone()))
                }
                ExecutorError::SourceNotFound { meant: Some(Meant::AboveContext), .. } => {
                    Some(Hint::WidenContext)
                }
                ExecutorError::SecretNotFound { id, near } => {
                    Some(Hint::GiveSecret { id: id.clone(), near: near.clone() })
                }
                error => is_disk_full(error).then_some(Hint::MakeRoom),
            },
            Self::DockerfileUnreadable { meant: Some(meant), .. } => {
                Some(Hint::DidYouMean(meant.display().to_string()))
            }
            Self::DockerfileUnreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some(Hint::NameDockerfile)
            }
            Self::Store(StoreError::NoSpace { .. }) => Some(Hint::MakeRoom),
            Self::Executor(error) if is_disk_full(error) => Some(Hint::MakeRoom),
            Self::Source { source, .. } if source.is_of_lock() => Some(Hint::LockAgain),
            _ => None,
        }
    }

    /// True if a registry cannot be reached.
    fn is_unreachable(&self) -> bool {
        let (Self::Registry(error) | Self::Image(ImageError::Registry(error))) = self else { return false };
        matches!(error, RegistryError::Connection { .. } | RegistryError::UnknownHost { .. })
    }

    /// What a person can do about a failure of a registry, where the message does not say it.
    #[must_use]
    pub fn registry_advice(&self) -> Option<&'static str> {
        match self {
            Self::Registry(error) => error.advice(),
            _ => None,
        }
    }
}

/// True if the disk of the store has no room left.
fn is_disk_full(error: &ExecutorError) -> bool {
    matches!(error, ExecutorError::Store(StoreError::NoSpace { .. }))
}
