//! Why files cannot be copied.

use crate::ImageError;
use rbuild_archive::ArchiveError;
use rbuild_oci::FailureClass::{self, Input};
use std::io;

/// A copy that failed. Many of the words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is no such file.
    #[error("Could not find the file {path}{place}")]
    Missing {
        /// The path.
        path: String,
        /// In which container; empty for the host.
        place: String,
    },
    /// The path ends in a slash and is of no directory.
    #[error("{path}: not a directory")]
    NotADirectory {
        /// The path.
        path: String,
    },
    /// A file is to be copied to a directory that there is not.
    #[error("no such directory: {path}")]
    NoDirectory {
        /// The path.
        path: String,
    },
    /// A directory is to be copied to a file.
    #[error("cannot copy directory: {path} is a file")]
    DirectoryOverFile {
        /// The file.
        path: String,
    },
    /// An archive is to be extracted in what is no directory.
    #[error("destination {path:?} must be a directory")]
    NeedsDirectory {
        /// The path.
        path: String,
    },
    /// A directory is in the way of another kind of file.
    #[error("cannot overwrite directory {entry:?} with non-directory")]
    OverDirectory {
        /// Its path below the destination.
        entry: String,
    },
    /// Another kind of file is in the way of a directory.
    #[error("cannot overwrite non-directory {entry:?} with directory")]
    OverFile {
        /// Its path below the destination.
        entry: String,
    },
    /// A container may not change its own files.
    #[error("container rootfs is marked read-only")]
    ReadOnlyRoot,
    /// Something is mounted on the file that is to be replaced.
    #[error("cannot overwrite {entry:?}, which is mounted in the container")]
    OverMount {
        /// Its path below the destination.
        entry: String,
    },
    /// Links lead to each other.
    #[error("too many symbolic links on the way to {path}")]
    TooManyLinks {
        /// The path.
        path: String,
    },
    /// An entry of an archive that cannot be made.
    #[error("archive entry {entry:?} {problem}")]
    Entry {
        /// Its name.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A system call failed.
    #[error("{action} {path}")]
    Io {
        /// What was done.
        action: &'static str,
        /// To what.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive")]
    Archive(#[from] ArchiveError),
    /// The files cannot be read.
    #[error(transparent)]
    Files(#[from] ImageError),
}

impl CopyError {
    /// Who has to act on it.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Io { source, .. } => FailureClass::of_io(source, Input),
            Self::Archive(error) => error.class(),
            Self::Files(error) => error.class(),
            Self::Missing { .. }
            | Self::NotADirectory { .. }
            | Self::NoDirectory { .. }
            | Self::DirectoryOverFile { .. }
            | Self::NeedsDirectory { .. }
            | Self::OverDirectory { .. }
            | Self::OverFile { .. }
            | Self::ReadOnlyRoot
            | Self::OverMount { .. }
            | Self::TooManyLinks { .. }
            | Self::Entry { .. } => Input,
        }
    }

    pub(super) fn io(action: &'static str, path: impl AsRef<[u8]>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: shown(path), source: source.into() }
    }
}

/// Bytes of a path for people.
pub(super) fn shown(path: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(path.as_ref()).into_owned()
}
