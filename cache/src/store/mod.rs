//! The store as a whole. Opening an existing one reads two small files and scans nothing; a directory that another
//! process has removed is made again when it is needed.

mod blob;
mod budget;
mod builder_name;
mod cache_mount;
mod container;
mod container_end;
mod container_health;
mod container_lock;
mod container_mount;
mod container_network;
mod container_pause;
mod container_ports;
mod container_settings;
mod container_volumes;
mod durability;
mod failed_step;
mod git_repository;
mod image_record;
mod image_row;
mod job_slot;
mod known_context;
mod layer;
mod layer_id;
mod lease;
mod listing;
mod lower;
mod manifest_list;
mod mount_record;
mod named_network;
mod network_name;
mod noted_health;
mod open_upload;
mod opening;
mod partial_blob;
mod privilege_options;
mod process_options;
mod reference_record;
mod remote_layer;
mod reserve;
mod scratch;
mod step_lock;
mod subnet;
mod volume;
mod volume_name;
mod web_source;
mod write_back;
mod writer;

pub use blob::{BlobReader, BlobWriter};
pub use budget::Budget;
pub use builder_name::{BuilderName, InvalidBuilderName};
pub use cache_mount::{CacheMount, CacheMountSpec, MountSharing};
pub use container::{Container, ContainerDirectory, ContainerState, NewContainer, Next};
pub use container_health::{ContainerHealth, HealthResult, HealthStatus};
pub use container_lock::{ContainerLock, ContainerProgram, ProgramCorrection};
pub use container_mount::{
    ContainerMount, MissingHostPath, MountOrigin, MountPropagation, MountedFrom, MountedTmpfs, Submounts,
};
pub use container_network::{
    BoundPort, ContainerNames, ContainerNetwork, JoinedNetwork, NetworkPlace, PortProtocol, ProgramNetwork,
    PublishedPort,
};
pub use container_pause::PauseLock;
pub use container_settings::{
    ContainerInput, ContainerLimits, ContainerLog, ContainerSettings, ContainerStreams, ContainerUlimit,
};
pub(crate) use durability::Durable;
pub use failed_step::{FailedFiles, FailedStepBudget, FailedStepFiles};
pub use git_repository::GitRepository;
pub use image_record::{ImageLayer, ImageRecord, PlatformImage};
pub use image_row::ImageRow;
pub use job_slot::{JobSlot, MemoryClaim, MemoryTurn};
pub use known_context::KnownContext;
pub(crate) use layer::DescribedDiff;
pub use layer::{FoundIn, LayerDiff, LayerDraft, LayerMeta, LayerOrigin, LayerSource, RemoteLayer};
pub use layer_id::LayerId;
pub(crate) use lease::Held;
pub use lease::{Lease, Missing};
pub use lower::{IsWhole, LowerStore};
pub use manifest_list::{ListedManifest, ManifestList};
pub use mount_record::MountUsage;
pub use named_network::{
    HeldAttachment, NamedNetwork, NetworkAttachment, NetworkSubnet, NetworksLock, hardware_address,
};
pub use network_name::{NetworkName, is_alias};
pub use open_upload::OpenUpload;
pub use privilege_options::PrivilegeOptions;
pub use process_options::ProcessOptions;
pub use reference_record::{DraftedName, RefRecord};
pub use remote_layer::{FilledLayer, LayerLock};
pub use reserve::Reserve;
pub use scratch::ScratchDir;
pub use step_lock::{StepHolder, StepLock};
pub use subnet::Subnet;
pub use volume::{KeptVolume, Volume, VolumeDraft, VolumesLock};
pub use volume_name::VolumeName;
pub use web_source::WebSource;
pub use write_back::CommandWrites;
pub use writer::{IdMaps, IdRange, Writer};

use self::{opening::Opened, write_back::WriteBack};
use crate::{
    BootId, MachineId, StoreError, Warning, Warnings,
    disk::{IndexWriters, TemporarySpace, UsageCount},
};
use rbuild_oci::Clock;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicU64},
    time::SystemTime,
};

/// A handle on one store. Cheap to clone; clones share temporary space and warnings.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    writer: Writer,
    clock: Clock,
    access: Access,
    empty: PathBuf,
    space: TemporarySpace,
    warnings: Warnings,
    boot: OnceLock<BootId>,
    machine: OnceLock<Option<MachineId>>,
    index_writers: Mutex<IndexWriters>,
    budget: Mutex<Budget>,
    lack: Mutex<Option<budget::Lack>>,
    /// Nanoseconds of the boot up to which this handle or a clone of it has synced.
    synced: AtomicU64,
    write_back: Arc<WriteBack>,
}

/// What a handle may do in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    All,
    Reading,
}

impl Store {
    /// Opens the store at `root`, which should be an absolute path, for the caller, who is `writer`; makes the store
    /// when it is not there. The times that it records come from `clock`.
    ///
    /// # Errors
    /// [`StoreError::NewerStore`] when a newer rbuild has written it, [`StoreError::NotAStore`] when it is something
    /// else, [`StoreError::OtherWriter`] and [`StoreError::OtherIds`] when the caller would misread it; an I/O error
    /// when it cannot be read or made.
    pub fn open(root: &Path, writer: &Writer, clock: Clock) -> Result<Self, StoreError> {
        let opened = opening::open(root, writer)?;
        let store = Self::new(root, writer, clock, Access::All);
        if opened == Opened::Made {
            store.keep_reserve();
        }
        Ok(store)
    }

    /// A handle on the store at `root`, which is not looked at.
    fn new(root: &Path, writer: &Writer, clock: Clock, access: Access) -> Self {
        Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                writer: writer.clone(),
                clock,
                access,
                empty: root.join("empty"),
                space: TemporarySpace::new(root),
                warnings: Warnings::default(),
                boot: OnceLock::new(),
                machine: OnceLock::new(),
                index_writers: Mutex::default(),
                budget: Mutex::default(),
                lack: Mutex::default(),
                synced: AtomicU64::new(0),
                write_back: Arc::default(),
            }),
        }
    }

    /// A handle on another store, for the same writer, which reads it and changes nothing there.
    pub(super) fn handle_on(&self, root: &Path) -> Self {
        Self::new(root, &self.inner.writer, self.inner.clock, Access::Reading)
    }

    /// The store's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The writer who opened it, to whom its layers belong.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.inner.writer
    }

    /// The time, by the clock that the store was opened with.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.inner.clock.now()
    }

    /// A directory that is always empty.
    #[must_use]
    pub fn empty_dir(&self) -> &Path {
        &self.inner.empty
    }

    /// The directory of `RUN --mount=type=cache` contents: one subdirectory for each mount id.
    pub(crate) fn mounts_dir(&self) -> PathBuf {
        self.at("mounts")
    }

    /// The directory in which the executor names the guards of running containers, a file each.
    #[must_use]
    pub fn guards_dir(&self) -> PathBuf {
        self.at("locks/guards")
    }

    /// Takes the warnings collected since the last call.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<Warning> {
        self.inner.warnings.take()
    }

    /// The warnings to come, for who asks when the store may be closed.
    #[must_use]
    pub fn warnings(&self) -> Warnings {
        self.inner.warnings.clone()
    }

    pub(crate) fn warn(&self, warning: Warning) {
        self.inner.warnings.add(warning);
    }

    /// The knowledge of other writers to the index, which this handle shares with its clones.
    pub(crate) fn index_writers(&self) -> MutexGuard<'_, IndexWriters> {
        self.inner.index_writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The count of the store's bytes; `None` when none is kept, because no budget was ever set.
    pub(crate) fn usage_count(&self) -> Option<UsageCount> {
        UsageCount::existing(&self.at("usage"))
    }

    pub(crate) fn synced(&self) -> &AtomicU64 {
        &self.inner.synced
    }

    fn write_back(&self) -> &Arc<WriteBack> {
        &self.inner.write_back
    }

    /// `root/relative`.
    pub(crate) fn at(&self, relative: &str) -> PathBuf {
        self.inner.root.join(relative)
    }

    /// The boot in which this process runs, read once.
    pub(crate) fn boot(&self) -> BootId {
        *self.inner.boot.get_or_init(BootId::current)
    }

    /// The machine on which this process runs, found out once; `None` when it has no id.
    #[must_use]
    pub fn machine(&self) -> Option<MachineId> {
        *self.inner.machine.get_or_init(MachineId::current)
    }

    /// This process's temporary space.
    pub(crate) fn space(&self) -> &TemporarySpace {
        &self.inner.space
    }
}
