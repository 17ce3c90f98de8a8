//! The errors of the store, and its warnings.

use crate::{BuildId, Writer};
use rbuild_oci::{Digest, FailureClass, ImageId};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

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
    /// The user lacks the permission.
    #[error("no permission to {action} {}", path.display())]
    Denied {
        /// The attempted operation, as a verb.
        action: &'static str,
        /// The path of the file or directory.
        path: PathBuf,
        /// The system call's error.
        #[source]
        source: io::Error,
    },
    /// Any other failed file operation.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The attempted operation, as a verb.
        action: &'static str,
        /// The path of the file or directory.
        path: PathBuf,
        /// The system call's error.
        #[source]
        source: io::Error,
    },
    /// A newer rbuild has written the store.
    #[error(
        "the store at {} has format {found}, which is newer than {known}, the newest that is known here: use a newer version, or \
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
    #[error("{} is not a store: its version file does not hold a number", root.display())]
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
        /// The writer that it belongs to.
        writer: Writer,
        /// The writer that tried to open it.
        opener: Writer,
    },
    /// The user who wrote the store had other subordinate ids at that time.
    #[error(
        "the layers of the store at {} belong to ids that {writer} no longer has ({recorded}): restore them in \
         /etc/subuid and /etc/subgid, or use another store", root.display()
    )]
    OtherIds {
        /// The store.
        root: PathBuf,
        /// The writer that it belongs to.
        writer: Writer,
        /// The ids it was written with.
        recorded: String,
    },
    /// A blob whose bytes do not have its digest. It has been removed, so that it now counts as missing.
    #[error("blob {digest} in the store is damaged")]
    BlobDamaged {
        /// The digest in its name.
        digest: Digest,
    },
    /// The bytes that were written are not the blob that was expected.
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
        /// The JSON reader's error.
        #[source]
        source: serde_json::Error,
    },
    /// A layer that is not in the store.
    #[error("layer {layer} is not in the store")]
    LayerMissing {
        /// Its id.
        layer: String,
    },
    /// A name that a volume cannot have. The words are Docker's.
    #[error(
        "{0:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed: to show a \
         directory of the host, use its absolute path"
    )]
    VolumeName(String),
    /// A name that a volume cannot have.
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    VolumeNameTooShort,
    /// No name for a network.
    #[error("invalid name: name is empty")]
    NetworkNameEmpty,
    /// A word that means something else.
    #[error("operation is not permitted on predefined {0} network")]
    NetworkNamePredefined(String),
    /// A name that a network cannot have.
    #[error("invalid network name {0:?}: only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed, 255 at most")]
    NetworkName(String),
    /// What is no range of addresses. The words are Docker's.
    #[error("invalid subnet {text}: {problem}")]
    Subnet {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        problem: String,
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
    /// The beginning of a build's id that fits several builds.
    #[error("build id {prefix:?} is ambiguous: it fits {first} and {second}")]
    AmbiguousBuild {
        /// The prefix given.
        prefix: String,
        /// One build.
        first: BuildId,
        /// Another one.
        second: BuildId,
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

/// Something that the store repaired by itself and that a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The index could not be read and was started empty; images and layers are untouched.
    IndexReset {
        /// The index directory.
        path: PathBuf,
        /// The database's message.
        reason: String,
    },
}

impl StoreError {
    /// The party that has to act on it. The machine's owner acts on a store that is damaged, cannot be used or belongs
    /// to another user; the user acts on bytes that are not the expected blob, and on an ambiguous prefix.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NoSpace { .. }
            | Self::Denied { .. }
            | Self::Io { .. }
            | Self::NewerStore { .. }
            | Self::NotAStore { .. }
            | Self::OtherWriter { .. }
            | Self::OtherIds { .. }
            | Self::BlobDamaged { .. }
            | Self::Document { .. }
            | Self::LayerMissing { .. }
            | Self::IndexDamaged { .. } => FailureClass::Environment,
            Self::BlobMismatch { .. }
            | Self::VolumeName(_)
            | Self::VolumeNameTooShort
            | Self::NetworkNameEmpty
            | Self::NetworkNamePredefined(_)
            | Self::NetworkName(_)
            | Self::Subnet { .. }
            | Self::AmbiguousImage { .. }
            | Self::AmbiguousBuild { .. } => FailureClass::Input,
            Self::RecorderStopped => FailureClass::Internal,
        }
    }

    /// Sorts an I/O error by what a person can do about it.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path, source },
            io::ErrorKind::PermissionDenied => Self::Denied { action, path, source },
            _ => Self::Io { action, path, source },
        }
    }

    /// For `map_err`: the error of doing `action` on `path`.
    pub(crate) fn on<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::io(action, path, source)
    }
}

/// The warnings of a store that nobody has taken yet.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<Warning>>>);

impl Warnings {
    /// Takes those collected since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Warning> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add(&self, warning: Warning) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::IndexReset { path, reason } => {
                write!(
                    f,
                    "the cache index at {} is damaged and goes on without what it lost: {reason}",
                    path.display()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_calls_error_is_the_machines_and_says_what_kind() {
        let table = [
            ("EPERM", 1, "no permission to read /s"),
            ("ENOENT", 2, "cannot read /s"),
            ("EIO", 5, "cannot read /s"),
            ("EACCES", 13, "no permission to read /s"),
            ("ENFILE", 23, "cannot read /s"),
            ("EMFILE", 24, "cannot read /s"),
            ("ENOSPC", 28, "no space left on the store at /s"),
            ("EROFS", 30, "cannot read /s"),
            ("EDQUOT", 122, "no space left on the store at /s"),
        ];
        for (name, number, message) in table {
            let error = StoreError::io("read", Path::new("/s"), io::Error::from_raw_os_error(number));
            assert_eq!(
                (error.to_string().as_str(), error.class()),
                (message, FailureClass::Environment),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_the_store_is_the_machines_and_with_an_image_the_users() {
        use FailureClass::{Environment, Input, Internal};
        let (root, digest) = (|| PathBuf::from("/s"), Digest::of(b""));
        let (id, build) = (ImageId::from_digest(digest), BuildId::random);
        let (writer, opener) = (Writer::Root, Writer::User { uid: 5, ids: None });
        let json = || serde_json::from_str::<u8>("x").expect_err("no number");
        let (expected, found) = (digest, digest);
        let table = [
            (StoreError::NewerStore { root: root(), found: 9, known: 1 }, Environment),
            (StoreError::NotAStore { root: root() }, Environment),
            (StoreError::OtherWriter { root: root(), writer, opener: opener.clone() }, Environment),
            (StoreError::OtherIds { root: root(), writer: opener, recorded: String::new() }, Environment),
            (StoreError::BlobDamaged { digest }, Environment),
            (StoreError::Document { path: root(), source: json() }, Environment),
            (StoreError::LayerMissing { layer: String::new() }, Environment),
            (StoreError::IndexDamaged { path: root() }, Environment),
            (StoreError::BlobMismatch { expected, expected_size: 1, found, found_size: 2 }, Input),
            (StoreError::AmbiguousImage { prefix: String::new(), first: id, second: id }, Input),
            (StoreError::AmbiguousBuild { prefix: String::new(), first: build(), second: build() }, Input),
            (StoreError::RecorderStopped, Internal),
        ];
        for (error, class) in table {
            assert_eq!(error.class(), class, "{error}");
        }
    }
}
