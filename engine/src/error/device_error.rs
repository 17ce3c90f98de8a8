//! Devices that cannot be given.

use std::{io, path::PathBuf};

/// A device that cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A `--device` that makes no sense; the words are Docker's.
    #[error("{0}")]
    Option(String),
    /// There is no device at a path; the words are Docker's.
    #[error("error gathering device information while adding custom device \"{}\"", path.display())]
    Node {
        /// The path on the machine.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A place for a device that is not in `/dev`.
    #[error("device {0:?} is not below /dev, where alone devices open in a container")]
    Place(String),
    /// A name that no device can have.
    #[error("invalid device {0:?}")]
    Name(String),
    /// A name that no description has.
    #[error("required device {name:?} is not registered in {directories}")]
    Unknown {
        /// The name.
        name: String,
        /// Where descriptions were looked for.
        directories: String,
    },
    /// Two descriptions of one device, of which none is to be preferred.
    #[error("device {name:?} is described twice, in {} and {}", one.display(), other.display())]
    Twice {
        /// Its name.
        name: String,
        /// The one.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A description that cannot be read.
    #[error("cannot read the device description {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A description that makes no sense, or holds what no version knows that this program reads.
    #[error("cannot understand the device description {}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DocumentError,
    },
    /// A description with something that is not done.
    #[error("the device description {} asks for {what}, which is not supported", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
    },
}

/// Why a description of devices makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// In a file whose name ends in `.json`.
    #[error(transparent)]
    Json(serde_json::Error),
    /// In one whose name ends in `.yaml`.
    #[error(transparent)]
    Yaml(serde_norway::Error),
}
