//! What a caller asks for: how the engine is set up, and one build.

use crate::{
    ArchiveFormat, CacheInput, CacheOutput, Entitlement, ImageLock, InlineCache, RemoteContext, SecretValue,
    SshKeys,
};
use rbuild_cache::PrivilegeOptions;
use rbuild_daemon::DaemonAddress;
use rbuild_executor::{Limits, NameOptions};
use rbuild_image::{ImageForm, PushedAs, StaleFiles};
use rbuild_oci::{Clock, Digest, ImageName, Platform, Reference};
use rbuild_planner::{Network, NoCache};
use rbuild_registry::ClientOptions;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The store's directory.
    pub root: PathBuf,
    /// Credentials, certificates and rules for registries.
    pub registry: ClientOptions,
    /// When things are made.
    pub clock: Clock,
}

/// Where a build context comes from.
#[derive(Clone, Debug)]
pub enum ContextSource {
    /// Nowhere: it has no files.
    Empty,
    /// A directory of this machine.
    Directory(PathBuf),
    /// A tar, compressed or not, which is read from its beginning.
    Archive(Arc<File>),
    /// A place on the network.
    Remote(RemoteContext),
}

/// Where the Dockerfile's text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerfileSource {
    /// `Dockerfile` in the context, or `dockerfile` when only that exists.
    InContext,
    /// A file; of an archive or a remote context, a file in it.
    File(PathBuf),
    /// The text itself (standard input).
    Text(Vec<u8>),
    /// The text at an `http` or `https` URL.
    Url(String),
}

/// The source that `--build-context NAME=…` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContextSource {
    /// A local directory.
    Directory(PathBuf),
    /// A place on the network.
    Remote(RemoteContext),
    /// `docker-image://REF`.
    Image(Reference),
    /// `docker-image://scratch`.
    Scratch,
    /// `oci-layout://PATH[:TAG][@DIGEST]`.
    OciLayout(LayoutReference),
}

/// An image of an OCI layout directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutReference {
    /// The directory.
    pub path: PathBuf,
    /// Its tag; `latest` when there is neither tag nor digest.
    pub tag: Option<String>,
    /// The manifest's or index's digest, which decides.
    pub digest: Option<Digest>,
}

/// The policy for looking a reference up in its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Only when the store has none.
    Missing,
    /// Always (`--pull`).
    Always,
    /// Not at all: what is not on this machine is an error.
    Never,
}

/// What a build does when a step fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It stops the steps that run, and fails.
    #[default]
    Stop,
    /// It carries out everything that does not need the step, and fails then.
    GoOn,
}

/// Another store on this machine that base images are looked for in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// Docker's engine.
    Docker(DaemonAddress),
    /// Podman's service.
    Podman(DaemonAddress),
    /// The storage of the containers tools, through the program `podman`.
    ContainersStorage,
    /// An OCI layout directory. An image of it has a name only if its entry says so in full.
    Layout(PathBuf),
}

/// A use of the finished target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// An image in the store.
    Store {
        /// The names it is given; an image without a name is found by its id.
        names: Vec<ImageName>,
    },
    /// An image in the store under the digest of its manifest (`dangling-name-prefix`): `REPOSITORY@DIGEST`.
    Pin {
        /// The repository; its tag does not matter.
        repository: ImageName,
    },
    /// An image in registries.
    Registry {
        /// The names it gets there.
        names: Vec<ImageName>,
        /// Where its manifest is found.
        place: PushedAs,
        /// The form in which it is sent.
        form: ImageForm,
        /// The name `NAME@DIGEST` in the store.
        canonical: CanonicalName,
    },
    /// An image in an archive or a layout directory.
    Archive {
        /// Where it is written.
        destination: ArchiveDestination,
        /// The readers it is for.
        format: ArchiveFormat,
        /// The names it has there.
        names: Vec<ImageName>,
        /// The form in which it is written.
        form: ImageForm,
    },
    /// The files of the target's root filesystem. For these nothing is hashed.
    Files(FilesDestination),
    /// An image in a running docker or podman, and in the store.
    Daemon {
        /// Where the daemon listens.
        address: DaemonAddress,
        /// The names that the daemon gives it.
        names: Vec<ImageName>,
    },
}

/// The name of a pushed image in the store that has the digest of its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanonicalName {
    /// It gets none.
    Absent,
    /// It gets one for each name.
    Given,
}

/// Where an image is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveDestination {
    /// A tar.
    Tar(OutputFile),
    /// A directory; other images of a layout that is there stay.
    Directory(PathBuf),
}

/// Where files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesDestination {
    /// A tar.
    Tar(OutputFile),
    /// A directory. All files belong to the user who exports them.
    Directory {
        /// Its path; it is made when it is not there.
        path: PathBuf,
        /// The directories of platforms.
        split: PlatformSplit,
        /// The treatment of what it had before.
        stale: StaleFiles,
    },
}

/// The places of the files of platforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlatformSplit {
    /// Of several platforms each has a directory named for it, such as `linux_amd64`.
    #[default]
    OfSeveral,
    /// An only platform has one too.
    Always,
}

/// An open file or stream that an output is written to, from where it stands.
#[derive(Clone, Debug)]
pub struct OutputFile(Arc<File>);

impl OutputFile {
    /// Output to `file`.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self(Arc::new(file))
    }

    /// The open file.
    pub(crate) fn as_file(&self) -> &File {
        &self.0
    }
}

impl PartialEq for OutputFile {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OutputFile {}

/// The times of files in layers that a build makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerTimes {
    /// Those of the files.
    #[default]
    AsTheyAre,
    /// Those of the files, but none after SOURCE_DATE_EPOCH, if the build has one (`rewrite-timestamp`).
    Clamped,
}

/// The layers of a build's image that become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Squash {
    /// None.
    #[default]
    Nothing,
    /// Those of its own steps (`--squash`).
    OwnLayers,
    /// All, those of its base image among them (`--squash-all`).
    Everything,
}

/// A stage that is built beside the target of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FurtherTarget {
    /// Its name or number.
    pub target: String,
    /// The uses of it, in order.
    pub outputs: Vec<Output>,
}

/// What a build does with the cache mounts of one id (`--cache-mount`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheMountOptions {
    /// The mount begins with these files where the store has none: those of a directory, which then belong to the mount's
    /// owner, or of an archive.
    pub source: Option<PathBuf>,
    /// Above this many bytes it is emptied after a step.
    pub max_bytes: Option<u64>,
}

/// What a build does with cache mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheMounts {
    /// By id.
    pub by_id: BTreeMap<String, CacheMountOptions>,
    /// The largest size of every other one.
    pub max_bytes: Option<u64>,
}

/// One build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The context.
    pub context: ContextSource,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// The uses of the finished target, in order; of a further target those that it has itself. Without an output its steps are carried out and stay in the cache;
    /// nothing is hashed that no output needs.
    pub outputs: Vec<Output>,
    /// The times of files in the image.
    pub layer_times: LayerTimes,
    /// Of the steps that come from the cache so many in a hundred are carried out again, to see whether they give the same files.
    pub verify_cache: u8,
    /// The time that takes the place of SOURCE_DATE_EPOCH in the outputs, in seconds (`source-date-epoch`).
    pub output_epoch: Option<i64>,
    /// `--squash` and `--squash-all`: the layers of the image that become one.
    pub squash: Squash,
    /// `--build-arg`, in order.
    pub build_args: Vec<(String, String)>,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// `--target`.
    pub target: Option<String>,
    /// Further stages of the same Dockerfile that are built, with outputs of their own. Steps that several need are done once.
    pub further_targets: Vec<FurtherTarget>,
    /// `--platform`: the platforms to build for, each once. With several the outputs are for all of them. Without one the
    /// base image decides.
    pub platforms: Vec<Platform>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, SecretValue>,
    /// `--cache-mount`, and how large cache mounts may become.
    pub cache_mounts: CacheMounts,
    /// `--ssh`, by id.
    pub ssh: BTreeMap<String, SshKeys>,
    /// `--allow`.
    pub entitlements: BTreeSet<Entitlement>,
    /// `--allow device=NAME`: the described devices that a RUN may use without [`Entitlement::Device`]; names as `RUN --device` takes them.
    pub allowed_devices: BTreeSet<String>,
    /// `--network`.
    pub network: Network,
    /// `--no-cache` and `--no-cache-filter`.
    pub no_cache: NoCache,
    /// `--build-context`, by familiar name.
    pub named_contexts: BTreeMap<String, NamedContextSource>,
    /// `--pull`.
    pub pull: PullPolicy,
    /// Other stores on this machine that base images are looked for in, in order, after the own one and before registries.
    pub image_sources: Vec<ImageSource>,
    /// The images that base images have to be. One that it does not name is an error.
    pub locked: Option<ImageLock>,
    /// Stores that are only read, in which images and results are looked for after the own one.
    pub lower_stores: Vec<PathBuf>,
    /// How many steps may run on the store when one of this build begins, those of other processes included; `None` for four for
    /// each processor, and at least 16.
    pub jobs: Option<usize>,
    /// What happens when a step fails.
    pub on_failure: OnFailure,
    /// `--add-host` and `--dns…`.
    pub names: NameOptions,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--memory`, `--ulimit` and their like, of each RUN.
    pub limits: Limits,
    /// `--cap-add`, `--cap-drop` and `--security-opt`, of each RUN.
    pub privileges: PrivilegeOptions,
    /// `--step-timeout`: how long a RUN may take.
    pub step_timeout: Option<Duration>,
    /// `--timeout`: how long the build may take.
    pub timeout: Option<Duration>,
    /// `--cache-from`: caches of other machines, the first one that has a result gives it.
    pub cache_from: Vec<CacheInput>,
    /// `--cache-to`: caches for other machines.
    pub cache_to: Vec<CacheOutput>,
    /// `--cache-to type=inline`: the cache that travels in the images themselves.
    pub inline_cache: InlineCache,
}

impl ContextSource {
    /// Its name, if it has one.
    pub(crate) fn shown(&self) -> Option<String> {
        match self {
            Self::Directory(path) => Some(path.display().to_string()),
            Self::Remote(place) => Some(place.to_string()),
            Self::Empty | Self::Archive(_) => None,
        }
    }

    /// The directory that the context is.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Empty | Self::Archive(_) | Self::Remote(_) => None,
        }
    }
}

impl Output {
    /// True if it is an image.
    pub(crate) fn is_image(&self) -> bool {
        match self {
            Self::Store { .. }
            | Self::Pin { .. }
            | Self::Registry { .. }
            | Self::Archive { .. }
            | Self::Daemon { .. } => true,
            Self::Files(_) => false,
        }
    }

    /// The names that it gives.
    pub(crate) fn names(&self) -> &[ImageName] {
        match self {
            Self::Registry { names, .. } | Self::Archive { names, .. } => names,
            Self::Files(_) | Self::Pin { .. } => &[],
            Self::Store { names } | Self::Daemon { names, .. } => names,
        }
    }
}

impl BuildRequest {
    /// A build of the Dockerfile in the directory `context` to an image without a name in the store; the fields say what
    /// else can be asked for.
    #[must_use]
    pub fn new(context: impl Into<PathBuf>) -> Self {
        Self {
            context: ContextSource::Directory(context.into()),
            dockerfile: DockerfileSource::InContext,
            outputs: vec![Output::Store { names: Vec::new() }],
            layer_times: LayerTimes::AsTheyAre,
            verify_cache: 0,
            output_epoch: None,
            squash: Squash::Nothing,
            build_args: Vec::new(),
            labels: Vec::new(),
            target: None,
            further_targets: Vec::new(),
            platforms: Vec::new(),
            secrets: BTreeMap::new(),
            cache_mounts: CacheMounts::default(),
            ssh: BTreeMap::new(),
            entitlements: BTreeSet::new(),
            allowed_devices: BTreeSet::new(),
            network: Network::Default,
            no_cache: NoCache::None,
            named_contexts: BTreeMap::new(),
            pull: PullPolicy::Missing,
            image_sources: Vec::new(),
            locked: None,
            lower_stores: Vec::new(),
            jobs: None,
            on_failure: OnFailure::Stop,
            names: NameOptions::default(),
            shm_size: None,
            limits: Limits::default(),
            privileges: PrivilegeOptions::default(),
            step_timeout: None,
            timeout: None,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            inline_cache: InlineCache::Absent,
        }
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci-layout://{}", self.path.display())?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}
