//! What can be wrong with a volume or a mount. The words are Docker's.

use crate::UnknownName;
use std::path::PathBuf;

/// A volume or a mount that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// No volume of that name.
    #[error("get {0}: no such volume")]
    NoSuch(UnknownName),
    /// Containers have it.
    #[error("remove {name}: volume is in use - [{}]", containers.join(", "))]
    InUse {
        /// The volume.
        name: String,
        /// The ids of the containers.
        containers: Vec<String>,
    },
    /// Two mounts at one place.
    #[error("Duplicate mount point: {0}")]
    Duplicate(String),
    /// A path of the host is not there.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", .0.display())]
    HostPathMissing(PathBuf),
}
