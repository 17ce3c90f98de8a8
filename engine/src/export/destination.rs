//! What an output goes to, found to be there before any step runs.

use super::{archive::Archive, registry::Registry};
use crate::{Error, FilesDestination, Output, report::reporter::Reporter};
use futures_util::future::try_join_all;
use rbuild_daemon::Daemon;
use rbuild_image::RemoteImages;
use rbuild_oci::ImageName;

/// An output that can be made.
pub(crate) enum Destination {
    /// The store, with these names.
    Store { names: Vec<ImageName> },
    /// The store, under the digest of the manifest in this repository.
    Pin { repository: ImageName },
    /// Registries that let this client push.
    Registry(Registry),
    /// An archive.
    Archive(Archive),
    /// Files.
    Files(FilesDestination),
    /// A running docker or podman, with these names.
    Daemon { daemon: Daemon, names: Vec<ImageName> },
}

impl Destination {
    /// Sees that what `output` goes to is there.
    ///
    /// # Errors
    /// [`Error::Daemon`] when no daemon answers, [`Error::Push`] when a registry does not let this client push,
    /// [`Error::PushWithoutName`].
    pub(crate) async fn open(
        output: &Output,
        remote: &RemoteImages,
        reporter: &Reporter,
    ) -> Result<Self, Error> {
        Ok(match output {
            Output::Store { names } => Self::Store { names: names.clone() },
            Output::Pin { repository } => Self::Pin { repository: repository.clone() },
            Output::Registry { names, .. } if names.is_empty() => return Err(Error::PushWithoutName),
            Output::Registry { names, place, form, canonical } => {
                let remote = remote.heard_by(reporter.listener());
                let checks = names.iter().map(|name| {
                    let checked = remote.check_push(name);
                    async move { checked.await.map_err(|error| Error::not_pushed(name, error)) }
                });
                try_join_all(checks).await?;
                let (names, form) = (names.clone(), form.clone());
                Self::Registry(Registry { names, place: *place, form, canonical: *canonical })
            }
            Output::Archive { destination, format, names, form } => Self::Archive(Archive {
                destination: destination.clone(),
                format: *format,
                names: names.clone(),
                form: form.clone(),
            }),
            Output::Files(destination) => Self::Files(destination.clone()),
            Output::Daemon { address, names } => {
                Self::Daemon { daemon: Daemon::connect(address).await?, names: names.clone() }
            }
        })
    }

    /// Sees that it takes an image for several platforms.
    ///
    /// # Errors
    /// [`Error::Daemon`] for a daemon that keeps images for one.
    pub(crate) async fn require_platforms(&self) -> Result<(), Error> {
        match self {
            Self::Daemon { daemon, .. } => Ok(daemon.require_platforms().await?),
            Self::Store { .. } | Self::Pin { .. } | Self::Registry(_) | Self::Archive(_) | Self::Files(_) => {
                Ok(())
            }
        }
    }

    /// True if it needs an image.
    pub(crate) fn is_image(&self) -> bool {
        match self {
            Self::Store { .. }
            | Self::Pin { .. }
            | Self::Registry(_)
            | Self::Archive(_)
            | Self::Daemon { .. } => true,
            Self::Files(_) => false,
        }
    }

    /// True if the image stays in the store, and lists show it.
    pub(crate) fn is_store(&self) -> bool {
        match self {
            Self::Store { .. } | Self::Pin { .. } | Self::Daemon { .. } => true,
            Self::Registry(_) | Self::Archive(_) | Self::Files(_) => false,
        }
    }

    /// The names that the image gets in the store.
    pub(crate) fn names(&self) -> &[ImageName] {
        match self {
            Self::Store { names } => names,
            Self::Pin { .. }
            | Self::Registry(_)
            | Self::Archive(_)
            | Self::Files(_)
            | Self::Daemon { .. } => &[],
        }
    }
}
