//! Failures between rbuild and a daemon.

use rbuild_oci::FailureClass;
use std::{io, path::PathBuf};

/// The lower-level error behind a [`DaemonError`]; only its text is meant for use.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failed request to a daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A text that is no address.
    #[error("cannot use {text:?} as the address of a daemon: {problem}")]
    Address {
        /// As given.
        text: String,
        /// The reason.
        problem: &'static str,
    },
    /// A daemon is not running there.
    #[error("cannot connect to a docker or podman at {address}: is it running?")]
    NotRunning {
        /// Its address.
        address: String,
        /// The system's error.
        source: Cause,
    },
    /// The user may not use the socket.
    #[error("no permission to use the daemon's socket {address}")]
    Denied {
        /// Its address.
        address: String,
        /// The system's error.
        source: Cause,
    },
    /// The connection failed.
    #[error("the connection to the daemon at {address} failed")]
    Connection {
        /// Its address.
        address: String,
        /// The reason.
        source: Cause,
    },
    /// The daemon does not answer.
    #[error("the daemon at {address} did not answer for {seconds} s")]
    Stalled {
        /// Its address.
        address: String,
        /// The limit.
        seconds: u64,
    },
    /// It keeps images for one platform only.
    #[error(
        "the daemon at {address} cannot take an image for several platforms: {kept_by} keeps images for one: choose one with \
         --platform, or push the image"
    )]
    OnePlatform {
        /// Its address.
        address: String,
        /// What it is.
        kept_by: &'static str,
    },
    /// The daemon answers with an error.
    #[error("the daemon at {address} answers {status} to {request}: {message}")]
    Refused {
        /// Its address.
        address: String,
        /// The request, in words.
        request: &'static str,
        /// The HTTP status.
        status: u16,
        /// The daemon's own words.
        message: String,
    },
    /// The daemon could not load an archive.
    #[error("the daemon at {address} could not load the image: {message}")]
    Load {
        /// Its address.
        address: String,
        /// The daemon's own words.
        message: String,
    },
    /// An answer that is not what the API promises.
    #[error("the daemon at {address} gave an answer that makes no sense to {request}: {problem}")]
    Protocol {
        /// Its address.
        address: String,
        /// The request, in words.
        request: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
    /// A certificate or key cannot be used.
    #[error("cannot use {}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Cause,
    },
    /// The archive could not be made.
    #[error("cannot make the archive for the daemon")]
    Archive {
        /// The reason.
        source: io::Error,
    },
}

impl DaemonError {
    /// The side that has to act on the failure.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Address { .. } => FailureClass::Input,
            Self::NotRunning { .. }
            | Self::Denied { .. }
            | Self::Connection { .. }
            | Self::Stalled { .. }
            | Self::OnePlatform { .. }
            | Self::Refused { .. }
            | Self::Load { .. }
            | Self::Protocol { .. }
            | Self::Certificate { .. } => FailureClass::Environment,
            // what is sent comes from the store, which is on this machine
            Self::Archive { source } => FailureClass::of_io(source, FailureClass::Internal),
        }
    }
}
