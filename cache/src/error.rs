//! What can go wrong in the store, and what is only worth a warning.

use crate::Writer;
use rbuild_oci::{Digest, ImageId};
use std::{io, path::Path, path::PathBuf};

/// A store operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system or quota is full.
    #[error("no space left on the store at {}", path.display())]
    NoSpace {
        /// The file that could not be written.
        path: PathBuf,
        /// The system call's error.
        #[source]
        source: io::Error,
    },
    /// The user may not do this in the store.
    #[error("no permission to {action} {}", path.display())]
    Denied {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system call's error.
        #[source]
        source: io::Error,
    },
    /// Any other failed file operation.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system call's error.
        #[source]
        source: io::Error,
    },
    /// A newer rbuild has written the store.
    #[error(
        "the store at {} has format {found}, and this rbuild knows formats up to {known}: use a newer rbuild, or \
         another store", root.display()
    )]
    NewerStore {
        /// The store.
        root: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The directory is something other than a store.
    #[error("{} is not an rbuild store: its version file does not hold a number", root.display())]
    NotAStore {
        /// The directory.
        root: PathBuf,
    },
    /// Another user has written the store.
    #[error(
        "the store at {} was written by {writer}, and {opener} would misread its layers: work as {writer}, or use \
         another store", root.display()
    )]
    OtherWriter {
        /// The store.
        root: PathBuf,
        /// Who wrote it.
        writer: Writer,
        /// Who wanted to open it.
        opener: Writer,
    },
    /// The user who has written the store had other subordinate ids then.
    #[error(
        "the layers of the store at {} belong to ids that {writer} no longer has ({recorded}): restore them in \
         /etc/subuid and /etc/subgid, or use another store", root.display()
    )]
    OtherIds {
        /// The store.
        root: PathBuf,
        /// Who wrote it.
        writer: Writer,
        /// The ids it was written with.
        recorded: String,
    },
    /// A blob whose bytes do not have its digest. It has been removed, so that it now counts as missing.
    #[error("blob {digest} in the store is damaged")]
    BlobDamaged {
        /// The name it had.
        digest: Digest,
    },
    /// Bytes that were to become a certain blob are another.
    #[error("expected a blob {expected} of {expected_size} bytes, got {found} of {found_size} bytes")]
    BlobMismatch {
        /// The digest asked for.
        expected: Digest,
        /// The length asked for.
        expected_size: u64,
        /// The digest of what was written.
        found: Digest,
        /// Its length.
        found_size: u64,
    },
    /// A JSON file of the store that cannot be read as what it should be.
    #[error("{} is damaged", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: serde_json::Error,
    },
    /// A layer that is not in the store.
    #[error("layer {layer} is not in the store")]
    LayerMissing {
        /// Its id.
        layer: String,
    },
    /// An image id prefix that fits several images.
    #[error("image id {prefix:?} is ambiguous: it fits {first} and {second}")]
    AmbiguousImage {
        /// The prefix given.
        prefix: String,
        /// One image.
        first: ImageId,
        /// Another one.
        second: ImageId,
    },
    /// The cache index failed inside; it is started anew and nothing but time is lost.
    #[error("the cache index at {} is damaged", path.display())]
    IndexDamaged {
        /// The index directory.
        path: PathBuf,
    },
    /// The thread that writes cache records ended early.
    #[error("the cache recorder has stopped")]
    RecorderStopped,
}

/// Something the store repaired by itself and a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The index could not be read and was started empty; images and layers are untouched.
    IndexReset {
        /// The index directory.
        path: PathBuf,
        /// What the database said.
        reason: String,
    },
}

impl StoreError {
    /// Sorts an I/O error by what a person can do about it.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { action, path, source }
            }
            _ => Self::Io { action, path, source },
        }
    }

    /// For `map_err`: the error of doing `action` on `path`.
    pub(crate) fn on<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::io(action, path, source)
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::IndexReset { path, reason } => {
                write!(f, "the cache index at {} was unreadable and starts empty: {reason}", path.display())
            }
        }
    }
}
