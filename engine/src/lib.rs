//! rbuild as a library: builds Dockerfiles into images, keeps images and containers, moves images to and from
//! registries and archives.
//!
//! This crate is all that an embedding program needs: it re-exports the types of inner crates that its own signatures name.
//! [`Engine::open`] opens a store; [`Engine::build`] turns a [`BuildRequest`] into an image while it sends [`Event`]s.
//! Invariants: nothing here prints or reads the environment; several engines live side by side in one process, and share nothing but
//! the knowledge that an index no longer answers it. Arguments, environment and output are the caller's (in rbuild itself: the `cli` crate).

#![forbid(unsafe_code)]

mod bases;
mod build;
mod builds;
mod containers;
mod context;
mod error;
mod export;
mod failed_steps;
mod git;
mod guest;
mod images;
mod layers;
mod lookup;
mod named_networks;
mod preview;
mod random_id;
mod remote_sources;
mod report;
mod shared_cache;
mod store;
mod urls;
mod volumes;

#[cfg(test)]
#[path = "../tests/steps/mod.rs"]
mod tests;

pub use bases::image_lock::{ImageLock, LockError, LockedImage, LockedSource, MovedImage};
pub use build::built::{Built, BuiltTarget, Exported, MountNeed};
pub use build::failures::Failures;
pub use build::request::{
    ArchiveDestination, BuildRequest, CacheMountOptions, CacheMounts, CanonicalName, ContextSource,
    DockerfileSource, EngineOptions, FilesDestination, FurtherTarget, ImageSource, LayerTimes,
    LayoutReference, NamedContextSource, OnFailure, Output, OutputFile, PlatformSplit, PullPolicy, Squash,
};
pub use build::step_failure::StepFailure;
pub use builds::{
    followed_build::FollowedBuild,
    unknown_step::{UnknownStep, find_step},
};
pub use containers::{
    Attached, CommitLayers, CommitRequest, Committed, ContainerEnd, ContainerFiles, ContainerRequest,
    ContainerSizes, ContainerStdio, During, ExecPrivileges, ExecRequest, ExecStreams, FirstFiles,
    ForegroundContainer, HostEnd, LogEntry, LogRequest, MonitorMessage, MountRequest, OutputStream, Pause,
    RequestedSource, Retention, RunningProgram, Terminal, UnnamedPorts, VolumesFrom, parse_signal,
    start_detached,
};
pub use context::{ContextDecision, ContextListing, RemoteContext};
pub use error::Error;
pub use error::annotation_error::AnnotationError;
pub use error::cache_mount_error::CacheMountError;
pub use error::causes::Causes;
pub use error::container_error::ContainerError;
pub use error::device_error::{DeviceError, DocumentError};
pub use error::diagnostic::{Diagnostic, OtherMistake};
pub use error::hint::{Hint, ImageHolder};
pub use error::network_error::NetworkError;
pub use error::pause_error::PauseError;
pub use error::start_failure::StartFailure;
pub use error::unknown_name::UnknownName;
pub use failed_steps::{DebugError, DebugRequest, FoundStep, Nothing};
pub use git::GitError;
pub use guest::devices::DeviceOption;
pub use guest::entitlement::Entitlement;
pub use guest::privileges::{PrivilegeError, read_privileges};
pub use guest::secrets::SecretValue;
pub use guest::ssh::SshKeys;
pub use images::archive_format::ArchiveFormat;
pub use images::compare::{
    Change, ContainerChange, Difference, FileChange, FileKind, ImageDifference, LayerEffect, LayerReport,
};
pub use images::manifests::{IndexEntry, RemoteManifest, combined_index};
pub use images::platform_images::ImagePart;
pub use images::registries::{PlaceReport, RegistryReport, check_login, search_registry, test_registry};
pub use images::squash::{SquashRequest, Squashed};
pub use images::transfer::{ArchiveSource, LoadedImage, PullStatus, Pulled, Pushed};
pub use images::{Force, HistoryLine, Image, ImageSummary, RemovedImage};
pub use named_networks::NetworkRequest;
pub use preview::{
    ArgumentOutline, Checked, Input, MountOutline, Outline, Outlook, PlannedBuild, StagePreview, StepPreview,
    Target,
};
pub use rbuild_archive::begins_archive;
pub use rbuild_daemon::{DaemonAddress, DaemonError, TlsFiles};
pub use rbuild_executor::{
    ContainerUse, ContextFile, ContextFileKind, DecidingPattern, FirstProcess, HOST_GATEWAY, Limits,
    MAX_DEFINITION, Machine, MachineFeature, Most, NameOptions, Resource, StepShell, Ulimit, UnmetLimit,
    masked_paths, read_only_paths, runnable_platforms,
};
pub use rbuild_image::{
    CopyError, GzipLevel, ImageAnnotations, ImageForm, LastLink, LayerCompression, MediaTypes, Packing,
    PulledLayers, PushedAs, StaleFiles, ZstdLevel,
};
pub use rbuild_oci::{
    Clock, ContainerConfig, Descriptor, DiffId, Digest, Empty, FailureClass, Healthcheck, HistoryEntry,
    ImageConfig, ImageId, ImageName, ImagePath, Index, ManifestOrIndex, MediaType, ParseError, Platform,
    Reference, RootFs, Timestamp, go_quoted,
};
pub use rbuild_parser::{DurationProblem, nanoseconds};
pub use rbuild_planner::{Access, Network, NoCache, Security};
pub use rbuild_registry::{
    ClientOptions, CredentialHelper, Credentials, FoundRepository, Login, LoginOrigin,
    Notice as RegistryNotice, Protection, Proxies, Reached, Registries, RetryPolicy, Secret, Tls,
};
pub use rbuild_remote_cache::{
    Addressing, AzureContainer, BucketPlace, BucketService, CacheContainer, CacheDestination, CacheForm,
    CacheSource, CacheTarget, Leftovers, S3Bucket,
};
pub use rbuild_sys::{UsernsError, userns::enter_user_namespace};
pub use remote_sources::RemoteError;
pub use report::event::{Activity, ActivityId, Event, EventSink, Note, Outcome, StepName, Warning};
pub use report::finding::Finding;
pub use shared_cache::cache_output::{CacheFailure, CacheInput, CacheMode, CacheOutput, InlineCache};
pub use store::cache_mounts::familiar_mount_id;
pub use store::remains::Remains;
pub use store::space::{Space, SpaceLimits};
pub use store::usage::{
    CacheEntry, CacheKind, DetailedUsage, PruneCache, PruneContainers, PruneEffect, PruneImages,
    PruneNetworks, PruneRequest, PruneVolumes, Pruned, UsageLine,
};
pub use volumes::{VolumeError, VolumeUsage};

use rbuild_cache::Store;
pub use rbuild_cache::{
    BoundPort, BuildEnd, BuildId, BuildOutcome, BuildRecord, BuildState, BuildSubject, CacheKey,
    ChangedInput, Container, ContainerHealth, ContainerInput, ContainerLimits, ContainerLog, ContainerMount,
    ContainerNames, ContainerNetwork, ContainerSettings, ContainerState, ContainerUlimit, EvictedBy,
    FailedStepBudget, Fault, FaultState, FileAspect, FoundFault, HealthResult, HealthStatus, ImageUsage,
    JoinedNetwork, LayerId, ListedManifest, LogReader, ManifestList, MissReason, MissingHostPath,
    MountOrigin, MountPropagation, MountUsage, MountedFrom, MountedTmpfs, NamedNetwork, NetworkAttachment,
    NetworkName, NetworkPlace, NetworkSubnet, PlatformImage, PortProtocol, PrivilegeOptions, ProcessOptions,
    ProgramNetwork, PublishedPort, RecordedFinding, RecordedStep, Repair, StepHolder, StepOutcome, Submounts,
    Subnet, Verified, Volume, VolumeName, Warnings as StoreWarnings,
};
pub use rbuild_cache::{BuilderName, InvalidBuilderName};
use rbuild_executor::{Isolation, store_writer};
use rbuild_image::RemoteImages;
use rbuild_registry::Client;
use std::sync::Arc;

/// An open store and what is needed to build in it. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    store: Store,
    isolation: Arc<Isolation>,
    /// The images of registries. Everything that this engine fetches or pushes goes through this one client, so that tokens
    /// and connections are shared; it reads and connects nothing before its first request.
    remote: RemoteImages,
    /// The same client, for files of the web.
    web: Client,
    /// How much is kept of failed steps.
    failed_steps: FailedStepBudget,
}

impl Engine {
    /// Opens the store at `options.root`, creating it when it is not there.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be created, or was written by a newer rbuild or by another user.
    pub fn open(options: EngineOptions) -> Result<Self, Error> {
        let store = Store::open(&options.root, &store_writer()?, options.clock)?;
        let isolation = Arc::new(Isolation::new(&store));
        isolation.end_left_behind();
        let web = Client::new(options.registry);
        let remote = RemoteImages::new(&store, &web);
        Ok(Self { store, isolation, remote, web, failed_steps: FailedStepBudget::default() })
    }

    /// What the store will have mended of itself and nobody was told of yet.
    #[must_use]
    pub fn store_warnings(&self) -> StoreWarnings {
        self.store.warnings()
    }

    /// The same engine with the options for registries that `read` reads when the first request needs them. When it fails,
    /// every request does, with the same error.
    #[must_use]
    pub fn with_registries(
        self,
        read: impl FnOnce() -> Result<ClientOptions, Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    ) -> Self {
        let web = Client::deferred(read);
        let remote = RemoteImages::new(&self.store, &web);
        Self { remote, web, ..self }
    }
}
