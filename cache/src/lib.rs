//! rbuild's disk store: blobs, layers, images and references, the build cache's index, locks, temporary space and
//! garbage collection. `docs/cache-format.md` has every format and rule in full.
//!
//! Two laws hold at every instant. *The cache is advice*: what the index says may be lost or wrong without harm,
//! because a record's user checks that its layers are there. *The store is truth*: a thing has its name only when it is
//! whole. All code here is synchronous; what a layer or an image means is left to `rbuild-image` and `rbuild-executor`.

#![forbid(unsafe_code)]

mod builds;
mod cancel;
mod collect;
mod disk;
mod error;
mod index;
mod store;
mod verify;

pub use builds::{
    BuildBudget, BuildEnd, BuildId, BuildOutcome, BuildRecord, BuildState, BuildSubject, ChangedInput,
    FileAspect, LogReader, MissReason, OpenBuild, RecordedFinding, RecordedStep, StepLog, StepOutcome,
};
pub use cancel::{Cancel, Canceled};
pub use collect::{
    CachePart, DiskSpace, Effect, ImagePrune, ImageUsage, LayerUsage, Limit, MountPrune, PruneOptions,
    PruneReport, RecordPrune, RecordUsage, Room, Usage,
};
pub use disk::{BootId, FileStat, MachineId, Stamp, create_private_file, make_dirs_with_mode};
pub use error::{StoreError, Warning, Warnings};
pub use index::{
    CacheKey, CacheRecord, ContextIndex, ContextIndexBuilder, EvictedBy, FactKey, Index, KeyBuilder, Lookup,
    Miss, RecentPlace, RecentRecords, Recorder, Saved, SiteHash, StepHash, StepInputs,
};
pub use store::{
    BlobReader, BlobWriter, Budget, CacheMount, CacheMountSpec, CommandWrites, Container, ContainerDirectory,
    ContainerHealth, ContainerInput, ContainerLimits, ContainerLock, ContainerLog, ContainerNetwork,
    ContainerProgram, ContainerSettings, ContainerState, ContainerStreams, ContainerUlimit, DraftedName,
    FilledLayer, FoundIn, GitRepository, HealthResult, HealthStatus, IdMaps, IdRange, ImageLayer,
    ImageRecord, ImageRow, IsWhole, JobSlot, KnownContext, LayerDiff, LayerDraft, LayerId, LayerLock,
    LayerMeta, LayerOrigin, LayerSource, Lease, LowerStore, MemoryClaim, MemoryTurn, Missing, MountSharing,
    MountUsage, NewContainer, Next, PauseLock, PlatformImage, PrivilegeOptions, ProcessOptions,
    ProgramCorrection, RefRecord, RemoteLayer, Reserve, ScratchDir, StepHolder, StepLock, Store, WebSource,
    Writer,
};
pub use store::{
    BoundPort, ContainerNames, JoinedNetwork, NetworkPlace, PortProtocol, ProgramNetwork, PublishedPort,
};
pub use store::{BuilderName, InvalidBuilderName};
pub use store::{
    ContainerMount, KeptVolume, MissingHostPath, MountOrigin, MountPropagation, MountedFrom, MountedTmpfs,
    Submounts, Volume, VolumeDraft, VolumeName, VolumesLock,
};
pub use store::{FailedFiles, FailedStepBudget, FailedStepFiles};
pub use store::{
    HeldAttachment, NamedNetwork, NetworkAttachment, NetworkName, NetworkSubnet, NetworksLock, Subnet,
    hardware_address, is_alias,
};
pub use store::{ListedManifest, ManifestList, OpenUpload};
pub use verify::{Fault, FaultState, FoundFault, LayerFiles, Repair, TarBlob, Verified, proves_damage};
