//! Who has to act on a failure.

use crate::{Error, StepFailure};
use rbuild_oci::FailureClass;

impl Error {
    /// Who has to act on the failure.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Several(failures) => failures.iter().next().map_or(FailureClass::Internal, Self::class),
            Self::Copy(error) => error.class(),
            Self::ContextMissing { .. }
            | Self::NamedContextNotADirectory { .. }
            | Self::Syntax { .. }
            | Self::Plan { .. }
            | Self::NoSuchImage(_)
            | Self::NotLocked(_)
            | Self::LockedElsewhere { .. }
            | Self::NotInStore
            | Self::NoSuchLayer { .. }
            | Self::AmbiguousImage(_)
            | Self::NoSuchManifest(_)
            | Self::NoSuchBuild(_)
            | Self::ImageInUse { .. }
            | Self::NoSuchContainer(_)
            | Self::Volume(_)
            | Self::CacheMount(_)
            | Self::ContainerNameTaken { .. }
            | Self::ContainerRunning(_)
            | Self::ContainerNotRunning(_)
            | Self::Pause(_)
            | Self::Network(_)
            | Self::LimitsRefused { .. }
            | Self::Container(_)
            | Self::NoCommand
            | Self::NotAChange { .. }
            | Self::Debug(_)
            | Self::PushWithoutName
            | Self::TookTooLong { .. }
            | Self::DockerArchiveOfSeveral
            | Self::Annotation(_)
            | Self::Value(_)
            | Self::Privilege(_)
            | Self::TwoDockerfiles { .. }
            | Self::Unsupported { .. } => FailureClass::Input,
            Self::ImageDamaged(_) => FailureClass::Environment,
            Self::ContextUnreadable { source, .. }
            | Self::NamedContextMissing { source, .. }
            | Self::DockerfileUnreadable { source, .. } => FailureClass::of_io(source, FailureClass::Input),
            Self::Layout { source, .. }
            | Self::StepLayers { source, .. }
            | Self::LayersLost { source, .. } => source.class(),
            Self::BaseImage { source, .. } => source.class(),
            Self::Source { source, .. } => source.class(),
            Self::Step(StepFailure { error, .. }) => error.class(),
            Self::Executor(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Image(error) => error.class(),
            Self::Push { source, .. } => source.class(),
            Self::Registry(error) => error.class(),
            Self::Daemon(error) => error.class(),
            Self::CacheExport { source, .. }
            | Self::CachedLayer { source, .. }
            | Self::CachedMount { source, .. } => source.class(),
            Self::Io { .. } | Self::LayersElsewhere { .. } => FailureClass::Environment,
            Self::Worker(_) => FailureClass::Internal,
        }
    }
}
