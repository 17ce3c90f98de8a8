//! All errors that can end a request, and who has to act on each.

pub(crate) mod advice;
pub(crate) mod annotation_error;
pub(crate) mod cache_mount_error;
pub(crate) mod causes;
mod class;
pub(crate) mod container_error;
pub(crate) mod device_error;
pub(crate) mod diagnostic;
pub(crate) mod hint;
pub(crate) mod network_error;
pub(crate) mod pause_error;
pub(crate) mod start_failure;
pub(crate) mod unknown_name;
pub(crate) mod unsupported;

use crate::{
    AnnotationError, CacheMountError, ContainerError, DebugError, Diagnostic, Failures, Hint, ImageHolder,
    LayoutReference, NetworkError, PauseError, PrivilegeError, Remains, StepFailure, UnknownName,
    VolumeError, error::diagnostic::DockerfileText, remote_sources::RemoteError,
};
use rbuild_cache::{FoundIn, StoreError};
use rbuild_daemon::DaemonError;
use rbuild_executor::ExecutorError;
use rbuild_image::{CopyError, ImageError};
use rbuild_oci::{Digest, ImageId, ImageName, ParseError as OciError};
use rbuild_parser::{Lines, ParseError};
use rbuild_planner::{PlanError, Step};
use rbuild_registry::RegistryError;
use rbuild_remote_cache::RemoteCacheError;
use std::{io, path::PathBuf, time::Duration};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The context directory is not there.
    #[error("unable to prepare context: path {path:?} not found")]
    ContextMissing {
        /// As given.
        path: PathBuf,
    },
    /// The context directory cannot be opened.
    #[error("unable to prepare context: open {}", .path.display())]
    ContextUnreadable {
        /// As given.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The directory of a named context is not there.
    #[error("failed to get build context {name}: stat {}", .path.display())]
    NamedContextMissing {
        /// The context's name.
        name: String,
        /// As given.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A named context is not a directory.
    #[error("failed to get build context path {}: not a directory", .path.display())]
    NamedContextNotADirectory {
        /// As given.
        path: PathBuf,
    },
    /// A named context's layout has no such image.
    #[error("oci-layout reference {:?} could not be resolved", .reference.to_string())]
    Layout {
        /// As given.
        reference: LayoutReference,
        /// The reason.
        source: Box<ImageError>,
    },
    /// The Dockerfile cannot be read.
    #[error("failed to read dockerfile: open {}", .path.display())]
    DockerfileUnreadable {
        /// Its path.
        path: PathBuf,
        /// One of that name in the context.
        meant: Option<PathBuf>,
        /// The system's error.
        source: io::Error,
    },
    /// The Dockerfile does not parse.
    #[error("{error}")]
    Syntax {
        /// The parser's finding.
        error: ParseError,
        /// Its place.
        diagnostic: Box<Diagnostic>,
    },
    /// The Dockerfile parses and yet makes no sense.
    #[error("{error}")]
    Plan {
        /// The planner's finding.
        error: PlanError,
        /// Its place.
        diagnostic: Box<Diagnostic>,
    },
    /// A base image cannot be had.
    #[error("{written}: failed to resolve source metadata for {reference}")]
    BaseImage {
        /// As written in the Dockerfile.
        written: String,
        /// In full.
        reference: String,
        /// A suggestion for the user, if there is one.
        hint: Option<Hint>,
        /// The reason.
        source: Box<Error>,
        /// Its place.
        diagnostic: Box<Diagnostic>,
    },
    /// A step failed.
    #[error(transparent)]
    Step(StepFailure),
    /// The build has taken too long.
    #[error("the build was ended after {} s, the most that it may take (--timeout)", .longest.as_secs_f64())]
    TookTooLong {
        /// How long it may take.
        longest: Duration,
    },
    /// Steps failed, and the build went on with what did not need them.
    #[error("{0}")]
    Several(Failures<Error>),
    /// No image of that name or id.
    #[error("No such image: {0}")]
    NoSuchImage(UnknownName),
    /// An image that has a name or an id here, and of which not everything is here.
    #[error("image {0} is not whole: its record, its config or a layer of it is missing or damaged")]
    ImageDamaged(String),
    /// A build that may use locked images only names one that is not locked.
    #[error("{0} is not in the lock file")]
    NotLocked(String),
    /// The image that is locked under a name is not there, and the name leads to another one.
    #[error("{name} is locked as image {locked} and is image {found} now")]
    LockedElsewhere {
        /// The name.
        name: String,
        /// What is locked.
        locked: ImageId,
        /// What was found.
        found: ImageId,
    },
    /// An image that is planned with is not in the store.
    #[error("the store does not have it")]
    NotInStore,
    /// Nothing that an image could be squashed from.
    #[error("image {image} has no layer {layer:?}, and is built on no image of that name")]
    NoSuchLayer {
        /// The image.
        image: String,
        /// As asked.
        layer: String,
    },
    /// An id prefix fits several images.
    #[error("image id {0} is ambiguous: give more digits")]
    AmbiguousImage(String),
    /// No manifest of that name.
    #[error("no such manifest: {0}")]
    NoSuchManifest(String),
    /// No build of that id is remembered.
    #[error("no such build: {0}")]
    NoSuchBuild(String),
    /// An image cannot be removed yet.
    #[error("conflict: unable to remove {name} ({holder})")]
    ImageInUse {
        /// As asked.
        name: String,
        /// The reason why the image cannot be removed.
        holder: ImageHolder,
    },
    /// A cache mount is not there, is in use or has no id.
    #[error(transparent)]
    CacheMount(#[from] CacheMountError),
    /// A volume or a mount cannot be had.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// No container of that name or id.
    #[error("No such container: {0}")]
    NoSuchContainer(UnknownName),
    /// A container name is taken.
    #[error("the container name {name:?} is already in use by container {id}")]
    ContainerNameTaken {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// A container is running and should not be.
    #[error("container {0} is running")]
    ContainerRunning(String),
    /// The kernel does not take the new limits of a container.
    #[error("container {name} keeps its limits: {reason}")]
    LimitsRefused {
        /// The container.
        name: String,
        /// The kernel's answer.
        reason: String,
    },
    /// A container is paused or is not.
    #[error(transparent)]
    Pause(#[from] PauseError),
    /// A container cannot have its network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Files cannot be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A container does not run and should.
    #[error("container {0} is not running")]
    ContainerNotRunning(String),
    /// A container does not do what is asked.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A command line that cannot be started.
    #[error("no command specified: the image has neither ENTRYPOINT nor CMD")]
    NoCommand,
    /// A reference, platform or document that is not one.
    #[error(transparent)]
    Value(#[from] OciError),
    /// Privileges that cannot be given.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// A `--change` that does not begin with an instruction that only changes the config, or is empty. The words are Docker's.
    #[error("{}", not_a_change(.keyword))]
    NotAChange {
        /// Its first word in capitals.
        keyword: String,
    },
    /// The context is a Dockerfile, and another one is named.
    #[error("ambiguous Dockerfile source: the context is a Dockerfile, and --file names {path:?}", path = path.display().to_string())]
    TwoDockerfiles {
        /// As written.
        path: PathBuf,
    },
    /// Something rbuild does not do.
    #[error("{what} is not supported yet")]
    Unsupported {
        /// The feature that is not supported.
        what: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reading, writing or moving an image failed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A registry did not take an image.
    #[error("failed to push {image}")]
    Push {
        /// The name to push it as.
        image: ImageName,
        /// The reason.
        source: Box<ImageError>,
    },
    /// Files that a step stands on or takes are at a registry and cannot be had.
    #[error("{step}: failed to fetch the files it needs")]
    StepLayers {
        /// The step's position and name.
        step: String,
        /// The reason.
        source: Box<ImageError>,
        /// The step's place.
        diagnostic: Box<Diagnostic>,
    },
    /// Layers of an image came with a cache of another machine and cannot be had: a build makes them again.
    #[error("image {image} lacks layers")]
    LayersLost {
        /// The name it was asked for by.
        image: String,
        /// The reason.
        source: Box<ImageError>,
    },
    /// A layer that a cache of another machine has cannot be had from there.
    #[error("failed to fetch layer {layer}")]
    CachedLayer {
        /// The digest of its blob.
        layer: Digest,
        /// The reason.
        source: Box<RemoteCacheError>,
    },
    /// What a cache mount has cannot be brought or sent.
    #[error("failed to move what the cache mount {id} has")]
    CachedMount {
        /// The mount.
        id: String,
        /// The reason.
        source: Box<RemoteCacheError>,
    },
    /// A remote source cannot be had.
    #[error("failed to fetch {url}")]
    Source {
        /// Its URL, without a password.
        url: String,
        /// The reason.
        source: Box<RemoteError>,
        /// The place of its ADD; a context has none.
        diagnostic: Option<Box<Diagnostic>>,
    },
    /// Files of an image are needed and still at its registry.
    #[error("layers of {image} are not fetched yet")]
    LayersElsewhere {
        /// The image they belong to.
        image: String,
        /// What named them.
        found_in: FoundIn,
    },
    /// An archive of Docker's kind cannot hold an image for several platforms.
    #[error("docker exporter does not support exporting manifest lists, use the oci exporter instead")]
    DockerArchiveOfSeveral,
    /// An annotation has no place.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// An image that is to be pushed has no name.
    #[error("tag is needed when pushing to registry")]
    PushWithoutName,
    /// A cache for other machines could not be written.
    #[error("failed to export the cache to {to}")]
    CacheExport {
        /// The cache.
        to: String,
        /// The reason.
        source: Box<RemoteCacheError>,
    },
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A running docker or podman failed.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// Carrying something out failed outside a build.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// A file operation failed.
    #[error("{action} {}", .path.display())]
    Io {
        /// The operation that failed: `open`, `write`, …
        action: &'static str,
        /// The path it was applied to.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A failed step cannot be looked into.
    #[error(transparent)]
    Debug(#[from] DebugError),
    /// A worker ended without an answer.
    #[error("a worker ended without an answer: {0}")]
    Worker(String),
}

impl Error {
    /// The same failure, of a step that has left this.
    pub(crate) fn leaving(self, remains: Remains) -> Self {
        match self {
            Self::Step(failure) => Self::Step(StepFailure { remains, ..failure }),
            other => other,
        }
    }

    /// What the steps that failed have left, in their order.
    #[must_use]
    pub fn remains(&self) -> Vec<Remains> {
        match self {
            Self::Step(failure) => vec![failure.remains],
            Self::Several(failures) => failures.iter().flat_map(Self::remains).collect(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn syntax(error: ParseError, text: &DockerfileText) -> Self {
        let mut diagnostic = text.at(error.lines);
        diagnostic.others = text.other_mistakes();
        Self::Syntax { error, diagnostic }
    }

    pub(crate) fn not_pushed(image: &ImageName, source: ImageError) -> Self {
        Self::Push { image: image.clone(), source: Box::new(source) }
    }

    pub(crate) fn plan(error: PlanError, text: &DockerfileText) -> Self {
        let diagnostic = text.at(error.lines);
        Self::Plan { error, diagnostic }
    }

    /// A failure of `step`, with its place and `log`, the end of its output; others than the executor's speak for themselves.
    pub(crate) fn at_step(self, step: &Step, text: &DockerfileText, log: Vec<String>) -> Self {
        match self {
            Self::Executor(error) => {
                Self::step(error, text, step.lines, (format!("{} {}:", step.position, step.name), log))
            }
            Self::Source { url, source, .. } => {
                Self::Source { url, source, diagnostic: Some(text.at(Some(step.lines))) }
            }
            Self::Image(error @ ImageError::FetchLayer { .. }) => Self::StepLayers {
                step: format!("{} {}", step.position, step.name),
                source: Box::new(error),
                diagnostic: text.at(Some(step.lines)),
            },
            other => other,
        }
    }

    pub(crate) fn step(
        error: ExecutorError,
        text: &DockerfileText,
        lines: Lines,
        step: (String, Vec<String>),
    ) -> Self {
        let mut diagnostic = text.at(Some(lines));
        diagnostic.step = Some(step);
        Self::Step(StepFailure { error: Box::new(error), diagnostic, remains: Remains::Nothing })
    }

    /// The place in the Dockerfile, for failures that have one.
    #[must_use]
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        match self {
            Self::Syntax { diagnostic, .. }
            | Self::Plan { diagnostic, .. }
            | Self::BaseImage { diagnostic, .. }
            | Self::StepLayers { diagnostic, .. } => Some(diagnostic),
            Self::Source { diagnostic, .. } => diagnostic.as_deref(),
            Self::Step(failure) => Some(&failure.diagnostic),
            _ => None,
        }
    }

    /// The failure to open the context directory `path`.
    pub(crate) fn context(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::ContextMissing { path },
            _ => Self::ContextUnreadable { path, source },
        }
    }
}

fn not_a_change(keyword: &str) -> String {
    match keyword {
        "" => "file with no instructions".to_owned(),
        keyword => format!("{keyword} is not a valid change command"),
    }
}

#[cfg(test)]
mod tests;
