//! Why a repository, or something in it, cannot be had.

use rbuild_cache::StoreError;
use rbuild_executor::ExecutorError;
use rbuild_oci::FailureClass;
use rbuild_planner::SourceError;
use rbuild_registry::RegistryError;
use std::io;

/// Why a repository, or something in it, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program is not there, or cannot be started.
    #[error("cannot run git: install it to use Git repositories as sources")]
    Program(#[source] io::Error),
    /// The program failed.
    #[error("git {action} failed{}", said(.message))]
    Failed {
        /// Its subcommand.
        action: &'static str,
        /// The end of what it wrote, without logins.
        message: String,
    },
    /// The server's certificate is signed by nobody whom this machine trusts.
    #[error(
        "git {action} failed{}; if the server has its own certificate authority, put its certificate in certs.d/{host}/ca.crt",
        said(.message)
    )]
    Untrusted {
        /// The subcommand.
        action: &'static str,
        /// As in [`Self::Failed`].
        message: String,
        /// The server, with its port if one was given.
        host: String,
    },
    /// The server shows the repository only to those who log in, or has no such repository.
    #[error(
        "git {action} failed: {host} wants a login, as servers also do for what they do not have: give it as the secret GIT_AUTH_TOKEN or \
         GIT_AUTH_HEADER"
    )]
    LoginWanted {
        /// The subcommand.
        action: &'static str,
        /// The server, with its port if one was given.
        host: String,
    },
    /// The server does not take the login.
    #[error("git {action} failed: {host} refuses the login of GIT_AUTH_TOKEN or GIT_AUTH_HEADER")]
    LoginRefused {
        /// The subcommand.
        action: &'static str,
        /// The server, with its port if one was given.
        host: String,
    },
    /// The server redirects a request that has a login.
    #[error(
        "git {action}: the server redirects to another address, where the login of GIT_AUTH_TOKEN or GIT_AUTH_HEADER is not \
         sent: give that address instead"
    )]
    Redirected {
        /// The subcommand.
        action: &'static str,
    },
    /// The server sends nothing.
    #[error("git {action}: the server sent nothing for {seconds} seconds")]
    Stalled {
        /// The subcommand.
        action: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// No branch or tag has the name, and it is no whole commit.
    #[error("repository does not contain ref {reference}{}", .hint)]
    NoReference {
        /// As written.
        reference: String,
        /// What to do, if it looks like the beginning of a commit.
        hint: &'static str,
    },
    /// A reference that `git` might take for something else.
    #[error("{reference:?} is not the name of a branch, tag or commit")]
    BadReference {
        /// As written.
        reference: String,
    },
    /// The commit is not the one that was asked for. The words are BuildKit's.
    #[error("expected checksum to match {expected}, got {found}")]
    Mismatch {
        /// As written.
        expected: String,
        /// What the reference leads to.
        found: String,
    },
    /// There is no such directory in the commit.
    #[error("no directory {subdirectory:?} in commit {commit}")]
    NoDirectory {
        /// As written.
        subdirectory: String,
        /// The commit.
        commit: String,
    },
    /// A query that cannot be.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The files cannot be made.
    #[error("cannot check out the commit")]
    Files(#[source] io::Error),
    /// The configuration that has the proxies cannot be read.
    #[error(transparent)]
    Configuration(#[from] RegistryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reading the files failed, or the build was canceled.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
}

impl GitError {
    /// Who has to act on the failure.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Redirected { .. }
            | Self::LoginWanted { .. }
            | Self::LoginRefused { .. }
            | Self::NoReference { .. }
            | Self::BadReference { .. }
            | Self::Mismatch { .. }
            | Self::NoDirectory { .. }
            | Self::Source(_) => FailureClass::Input,
            Self::Program(_)
            | Self::Failed { .. }
            | Self::Untrusted { .. }
            | Self::Stalled { .. }
            | Self::Files(_) => FailureClass::Environment,
            Self::Store(error) => error.class(),
            Self::Configuration(error) => error.class(),
            Self::Executor(error) => error.class(),
        }
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
