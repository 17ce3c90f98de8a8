//! What a caller asks for: how the engine is set up, and one build.

use crate::ImageLock;
use crate::SecretValue;
use rbuild_cache::PlatformImage;
use rbuild_daemon::DaemonAddress;
use rbuild_oci::{Clock, Digest, ImageId, ImageName, Platform, Reference};
use rbuild_planner::{Network, NoCache};
use rbuild_registry::ClientOptions;
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The store's directory.
    pub root: PathBuf,
    /// The number of steps that may run at once.
    pub jobs: usize,
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

/// A build context on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteContext {
    /// A Git repository, as `URL#REF:SUBDIRECTORY`.
    Git(String),
    /// An archive or a Dockerfile at a URL.
    Http(String),
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
    /// An image in a running docker or podman, and in the store.
    Daemon {
        /// Where the daemon listens.
        address: DaemonAddress,
        /// The names that the daemon gives it.
        names: Vec<ImageName>,
    },
}

/// One build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The context.
    pub context: ContextSource,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// The uses of the finished target, in order. Without an output its steps are carried out and stay in the cache;
    /// nothing is hashed that no output needs.
    pub outputs: Vec<Output>,
    /// `--build-arg`, in order.
    pub build_args: Vec<(String, String)>,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// `--target`.
    pub target: Option<String>,
    /// `--platform`: the platforms to build for, each once. With several the outputs are for all of them. Without one the
    /// base image decides.
    pub platforms: Vec<Platform>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, SecretValue>,
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
    /// `--add-host`: host and address.
    pub add_hosts: Vec<(String, String)>,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
}

impl ContextSource {
    /// Its name, if it has one.
    pub(crate) fn shown(&self) -> Option<String> {
        match self {
            Self::Directory(path) => Some(path.display().to_string()),
            Self::Remote(RemoteContext::Git(place) | RemoteContext::Http(place)) => Some(place.clone()),
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
    /// The names that it gives.
    pub(crate) fn names(&self) -> &[ImageName] {
        match self {
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
            build_args: Vec::new(),
            labels: Vec::new(),
            target: None,
            platforms: Vec::new(),
            secrets: BTreeMap::new(),
            network: Network::Default,
            no_cache: NoCache::None,
            named_contexts: BTreeMap::new(),
            pull: PullPolicy::Missing,
            image_sources: Vec::new(),
            locked: None,
            add_hosts: Vec::new(),
            shm_size: None,
        }
    }
}

/// A finished build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The outcome of each output of the request, in the same order.
    pub outputs: Vec<Exported>,
    /// The number of steps taken from the cache.
    pub cached: usize,
    /// The number of steps carried out.
    pub executed: usize,
    /// What the references of its base images led to.
    pub images: ImageLock,
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
    /// An image in a running docker or podman.
    Daemon {
        /// Its id in the store. A daemon may have another one.
        image: ImageId,
    },
}

impl Built {
    /// The image in the store, if an output asked for one.
    #[must_use]
    pub fn image(&self) -> Option<ImageId> {
        self.outputs.first().map(|(Exported::Store { image, .. } | Exported::Daemon { image })| *image)
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci-layout://{}", self.path.display())?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}
