//! The API of a running Docker or Podman, as far as images move there and back: which images and layers it has, loading an
//! archive, naming an image, saving one (Docker Engine API, sections Image and System; Podman answers the same requests).
//!
//! Invariants: the environment is never read; every answer is read within a limit and a time; what a daemon says is shown as
//! its words and decides nothing else. Which layers an archive leaves out is decided by the caller.

#![forbid(unsafe_code)]

mod address;
mod answer;
mod client;
mod error;

pub use address::{DaemonAddress, TlsFiles};
pub use client::{Daemon, DaemonImage, DaemonKind, ListedImage, SavedImage};
pub use error::{Cause, DaemonError};
