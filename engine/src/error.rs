//! Everything that can end a request, and whose turn it is then.

use crate::{Diagnostic, LayoutReference, diagnostic::DockerfileText};
use rbuild_cache::StoreError;
use rbuild_executor::ExecutorError;
use rbuild_image::ImageError;
use rbuild_oci::{FailureClass, ParseError as OciError};
use rbuild_parser::{Lines, ParseError};
use rbuild_planner::PlanError;
use rbuild_registry::RegistryError;
use rbuild_sys::{SandboxError, SpawnError};
use std::{io, path::PathBuf};

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// It is not there (a shell's 127).
    NotFound,
    /// It cannot be executed (a shell's 126).
    NotExecutable,
}

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
        /// What the system said.
        source: io::Error,
    },
    /// The directory of a named context is not there.
    #[error("failed to get build context {name}: stat {}: {}", .path.display(), reason(.source))]
    NamedContextMissing {
        /// The context's name.
        name: String,
        /// As given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A named context is something else than a directory.
    #[error("failed to get build context path {}: not a directory", .path.display())]
    NamedContextNotADirectory {
        /// As given.
        path: PathBuf,
    },
    /// A named context's layout has no such image.
    #[error("oci-layout reference {:?} could not be resolved: {}", .reference.to_string(), in_full(.source.as_ref()))]
    Layout {
        /// As given.
        reference: LayoutReference,
        /// Why.
        source: Box<ImageError>,
    },
    /// The Dockerfile cannot be read.
    #[error("failed to read dockerfile: open {}: {}", .path.display(), reason(.source))]
    DockerfileUnreadable {
        /// Its path.
        path: PathBuf,
        /// What the system said.
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
    #[error("{written}: failed to resolve source metadata for {reference}: {source}{suggestion}")]
    BaseImage {
        /// As written in the Dockerfile.
        written: String,
        /// In full.
        reference: String,
        /// ` (did you mean X?)` or nothing.
        suggestion: String,
        /// Why.
        source: Box<Error>,
        /// Its place.
        diagnostic: Box<Diagnostic>,
    },
    /// A step failed.
    #[error("{}", in_full(error))]
    Step {
        /// Why.
        error: ExecutorError,
        /// Its place and last output.
        diagnostic: Box<Diagnostic>,
    },
    /// No image of that name or id.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// An id prefix fits several images.
    #[error("image id {0} is ambiguous: give more digits")]
    AmbiguousImage(String),
    /// An image cannot be removed yet.
    #[error("conflict: unable to remove {name} ({reason})")]
    ImageInUse {
        /// As asked.
        name: String,
        /// What holds it, and what to do.
        reason: String,
    },
    /// No container of that name or id.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// A container name is taken.
    #[error(
        "the container name {name:?} is already in use by container {id}: remove it (rbuild rm {name}) or use another name"
    )]
    ContainerNameTaken {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// A container is running and should not be.
    #[error("container {0} is running: stop it first, or use --force")]
    ContainerRunning(String),
    /// A command line that cannot be started.
    #[error("no command specified: the image has neither ENTRYPOINT nor CMD")]
    NoCommand,
    /// A reference, platform or document that is not one.
    #[error(transparent)]
    Value(#[from] OciError),
    /// Something rbuild does not do.
    #[error("{what} is not supported")]
    Unsupported {
        /// What.
        what: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reading, writing or moving an image failed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Carrying something out failed outside a build.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// A file operation failed.
    #[error("{action} {}", .path.display())]
    Io {
        /// What was tried: `open`, `write`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A worker ended without an answer.
    #[error("a worker ended without an answer: {0}")]
    Worker(String),
}

impl Error {
    pub(crate) fn syntax(error: ParseError, text: &DockerfileText) -> Self {
        let mut diagnostic = text.at(error.lines);
        diagnostic.others = text.other_mistakes();
        Self::Syntax { error, diagnostic }
    }

    pub(crate) fn plan(error: PlanError, text: &DockerfileText) -> Self {
        let diagnostic = text.at(error.lines);
        Self::Plan { error, diagnostic }
    }

    pub(crate) fn step(
        error: ExecutorError,
        text: &DockerfileText,
        lines: Lines,
        step: (String, Vec<String>),
    ) -> Self {
        let mut diagnostic = text.at(Some(lines));
        diagnostic.step = Some(step);
        Self::Step { error, diagnostic }
    }

    /// The place in the Dockerfile, for failures that have one.
    #[must_use]
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        match self {
            Self::Syntax { diagnostic, .. }
            | Self::Plan { diagnostic, .. }
            | Self::BaseImage { diagnostic, .. }
            | Self::Step { diagnostic, .. } => Some(diagnostic),
            _ => None,
        }
    }

    /// Why the program of a container could not be started, when that is what failed.
    #[must_use]
    pub fn start_failure(&self) -> Option<StartFailure> {
        match self {
            Self::Executor(ExecutorError::Sandbox(SandboxError::Spawn(SpawnError::NotFound { .. }))) => {
                Some(StartFailure::NotFound)
            }
            Self::Executor(ExecutorError::Sandbox(SandboxError::Spawn(SpawnError::Exec { .. }))) => {
                Some(StartFailure::NotExecutable)
            }
            _ => None,
        }
    }

    /// Whose turn it is.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::ContextMissing { .. }
            | Self::NamedContextNotADirectory { .. }
            | Self::Syntax { .. }
            | Self::Plan { .. }
            | Self::NoSuchImage(_)
            | Self::AmbiguousImage(_)
            | Self::ImageInUse { .. }
            | Self::NoSuchContainer(_)
            | Self::ContainerNameTaken { .. }
            | Self::ContainerRunning(_)
            | Self::NoCommand
            | Self::Value(_)
            | Self::Unsupported { .. } => FailureClass::Input,
            Self::ContextUnreadable { source, .. }
            | Self::NamedContextMissing { source, .. }
            | Self::DockerfileUnreadable { source, .. } => FailureClass::of_io(source, FailureClass::Input),
            Self::Layout { source, .. } => source.class(),
            Self::BaseImage { source, .. } => source.class(),
            Self::Step { error, .. } | Self::Executor(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Image(error) => error.class(),
            Self::Registry(error) => error.class(),
            Self::Io { .. } => FailureClass::Environment,
            Self::Worker(_) => FailureClass::Internal,
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

/// An error with its causes, for a failure that has a place in a Dockerfile: there one line says all.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The system's words for an error, as other tools write them.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FailureClass::{Environment, Input, Internal};

    #[test]
    fn the_class_of_a_request_is_that_of_its_cause() {
        const ENOENT: i32 = 2;
        const EACCES: i32 = 13;
        let io = |number| io::Error::from_raw_os_error(number);
        let base = |source: Error| Error::BaseImage {
            written: String::new(),
            reference: String::new(),
            suggestion: String::new(),
            source: Box::new(source),
            diagnostic: DockerfileText { name: String::new(), bytes: Vec::new() }.at(None),
        };
        let refused = || RegistryError::Refused { host: "r".to_owned(), source: "refused".into() };
        let missing = || RegistryError::NotFound { reference: "r/a".to_owned() };
        for (error, class) in [
            (Error::context("c".into(), io(ENOENT)), Input),
            (Error::context("c".into(), io(EACCES)), Environment),
            (Error::DockerfileUnreadable { path: "D".into(), source: io(ENOENT) }, Input),
            (Error::DockerfileUnreadable { path: "D".into(), source: io(EACCES) }, Environment),
            (base(Error::Image(ImageError::Registry(refused()))), Environment),
            (base(Error::Registry(missing())), Input),
            (Error::Store(StoreError::RecorderStopped), Internal),
            (Error::Worker(String::new()), Internal),
        ] {
            assert_eq!(error.class(), class, "{error}");
        }
    }
}
