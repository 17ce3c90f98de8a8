//! Why a remote source cannot be had.

use crate::git::GitError;
use rbuild_cache::StoreError;
use rbuild_executor::MAX_DEFINITION;
use rbuild_oci::{Digest, FailureClass};
use rbuild_registry::RegistryError;
use std::io;

/// Why a remote source cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The server failed, or cannot be reached.
    #[error(transparent)]
    Server(#[from] RegistryError),
    /// The file is not the one that `--checksum` names. The words are BuildKit's.
    #[error("digest mismatch {found}: {expected}")]
    Mismatch {
        /// That of the file.
        found: Digest,
        /// The one that was asked for.
        expected: Digest,
    },
    /// The file is not the one that the lock file names.
    #[error("the lock file has {locked}, and the file is {found} now")]
    Moved {
        /// That of the file.
        found: Digest,
        /// What is locked.
        locked: Digest,
    },
    /// A build that may use locked sources only.
    #[error("it is not in the lock file")]
    NotLocked,
    /// A server that does not say how long its file is does not come to an end.
    #[error("the server did not say how long the file is, and sent more than {limit} bytes")]
    Endless {
        /// The most that is taken.
        limit: u64,
    },
    /// What is no archive is too long for a Dockerfile.
    #[error(
        "it is no archive, and longer than {} MiB, the most that a Dockerfile may have", MAX_DEFINITION >> 20
    )]
    DefinitionTooLong,
    /// What arrives cannot be written.
    #[error("cannot keep what arrives")]
    Keep(#[source] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A repository cannot be had.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A worker ended without an answer.
    #[error("a worker ended without an answer: {0}")]
    Worker(String),
}

impl RemoteError {
    /// True if the lock file is what keeps it from being used.
    pub(crate) fn is_of_lock(&self) -> bool {
        matches!(self, Self::NotLocked | Self::Moved { .. })
    }

    /// Who has to act on the failure.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Server(error) => error.class(),
            Self::Mismatch { .. } | Self::Moved { .. } | Self::NotLocked | Self::DefinitionTooLong => {
                FailureClass::Input
            }
            Self::Endless { .. } | Self::Keep(_) => FailureClass::Environment,
            Self::Store(error) => error.class(),
            Self::Git(error) => error.class(),
            Self::Worker(_) => FailureClass::Internal,
        }
    }
}
