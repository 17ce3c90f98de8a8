//! Everything that can end the program early.

use rbuild::{UnknownName, UnknownStep};
use rbuild_docker_api::FilterError;
use std::{io, path::PathBuf};

/// A command line that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    /// A flag or the number of arguments is wrong.
    #[error("{0}")]
    Line(String),
    /// The flags are right, and what one of them names cannot be: docker's daemon says so, not its client.
    #[error("{0}")]
    Refused(String),
    /// There is no such command.
    #[error("{0}")]
    Command(String),
    /// The flags are right, and what they ask to be built is not: Docker counts this as a failed build.
    #[error("failed to build: {0}")]
    Build(String),
}

impl UsageError {
    /// The mistake `message` describes, in Docker's words where Docker has some.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Line(message.into())
    }

    /// The refusal that `message` gives the reason of, in the words of docker's daemon where that has some.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    /// The mistake in a build that `message` describes.
    pub(crate) fn in_build(message: impl Into<String>) -> Self {
        Self::Build(message.into())
    }

    /// A flag, value or kind of input that Docker knows and rbuild does not do.
    pub(crate) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::Line(format!("{what} is not supported yet"))
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line is wrong.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A build failed.
    #[error("failed to build{}", if in_solver(.0) { ": failed to solve" } else { "" })]
    Build(#[source] Box<rbuild::Error>),
    /// A check found that the Dockerfile cannot be built; the message has its place with it.
    #[error("{0}")]
    Unbuildable(String),
    /// The engine could not do something else.
    #[error(transparent)]
    Engine(#[from] rbuild::Error),
    /// `run` failed before the container's program could say anything.
    #[error(transparent)]
    Run(Box<CliError>),
    /// A `--format` template is wrong.
    #[error("template parsing error: template: {0}")]
    Template(String),
    /// The program of a container could not be started by the process that should stay with it.
    #[error("{reason}")]
    NotStarted {
        /// The exit code of `run` for it.
        code: u8,
        /// The failure, in words.
        reason: String,
    },
    /// No image and no container has that name.
    #[error("No such object: {0}")]
    NoSuchObject(UnknownName),
    /// A build has no such step.
    #[error(transparent)]
    NoSuchStep(#[from] UnknownStep),
    /// What was asked for cannot be done with what is there. The words are Docker's.
    #[error("{0}")]
    Refused(String),
    /// A registry does not take a login, or could not be asked.
    #[error(transparent)]
    Login(rbuild::Error),
    /// A file could not be read or written.
    #[error("{action} {}", .path.display())]
    File {
        /// The operation that failed.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Standard input or output failed.
    #[error("{action}")]
    Stream {
        /// The operation that failed: `write to standard output`, …
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// rbuild's own configuration file is not what it should be.
    #[error("{}: {problem}", .path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with its place.
        problem: String,
    },
    /// A configuration file is not what it should be.
    #[error("{} is not a docker configuration", .path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// The JSON reader's error.
        source: serde_json::Error,
    },
    /// Docker's context of that name is not there, or names no daemon.
    #[error("docker has no context {name:?}")]
    NoSuchDockerContext {
        /// The context's name.
        name: String,
    },
    /// A lock file cannot be used.
    #[error("cannot read {}", .path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: rbuild::LockError,
    },
    /// A build is to obey a lock file that is not there.
    #[error("{} is not there: build with --lock to write it", .0.display())]
    NoLockFile(PathBuf),
    /// A user namespace could not be entered.
    #[error("cannot work as an ordinary user")]
    UserNamespace(#[source] rbuild::UsernsError),
    /// The question was answered with no, so that nothing was to be done.
    #[error("not wanted")]
    Declined,
    /// A signal asked to stop.
    #[error("canceled")]
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// Some of several things failed, and each failure was reported already.
    #[error("not everything could be done")]
    Reported {
        /// The exit code: the highest of those of the failures.
        code: u8,
    },
}

impl From<FilterError> for CliError {
    fn from(error: FilterError) -> Self {
        Self::Usage(match error {
            FilterError::Argument(_) => UsageError::new(error.to_string()),
            FilterError::Invalid(_)
            | FilterError::Value { .. }
            | FilterError::Unsupported(_)
            | FilterError::Moment(_) => UsageError::refused(error.to_string()),
        })
    }
}

impl CliError {
    /// Makes a failure to do `action` on `path` out of what the system said.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// A failed write to standard output.
    pub(crate) fn stdout(source: io::Error) -> Self {
        Self::Stream { action: "write to standard output", source }
    }
}

/// True if a failed build got as far as what BuildKit calls solving.
fn in_solver(error: &rbuild::Error) -> bool {
    !matches!(
        error,
        rbuild::Error::ContextMissing { .. }
            | rbuild::Error::ContextUnreadable { .. }
            | rbuild::Error::NamedContextMissing { .. }
            | rbuild::Error::NamedContextNotADirectory { .. }
            | rbuild::Error::Layout { .. }
    )
}
