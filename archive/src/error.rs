//! What can go wrong while an archive is read.

use rbuild_oci::FailureClass;
use std::io;

/// An archive that cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The source of the bytes failed, or their decompression on the way here.
    #[error("cannot read the tar stream")]
    Read(#[source] io::Error),
    /// Compressed bytes are damaged, or ask for more memory than they may.
    #[error("cannot decompress the tar stream")]
    Decompress(#[source] io::Error),
    /// The bytes are not those of a tar.
    #[error("damaged tar: {0}")]
    Damaged(TarProblem),
}

/// What is wrong with a tar as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TarProblem {
    /// A block that is not a header.
    #[error("a header has a wrong checksum")]
    Header,
    /// The stream ends within an entry.
    #[error("it ends within an entry")]
    Truncated,
    /// A field that should be a number, or is one that cannot be.
    #[error("a header's {field} is no valid number")]
    Number {
        /// The field.
        field: &'static str,
    },
    /// Extension headers longer than any sensible ones.
    #[error("the extension headers of an entry have {size} bytes, more than the {limit} allowed")]
    ExtensionTooLong {
        /// Bytes up to and with the one that is too much.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A name or link target longer than any path can be.
    #[error("a name has {length} bytes, more than the {limit} a path can have")]
    PathTooLong {
        /// Its bytes.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// More entries than any sensible archive has.
    #[error("it has more than {limit} entries")]
    TooManyEntries {
        /// Entries allowed.
        limit: u64,
    },
    /// A PAX header that is not made of records.
    #[error("a pax header is malformed")]
    PaxRecord,
    /// A sparse file whose map does not fit it.
    #[error("the map of a sparse file is malformed")]
    Sparse,
}

impl ArchiveError {
    /// Who has to act on it: bytes that are not what they should be are the user's, unless the machine failed to read them.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Read(source) | Self::Decompress(source) => FailureClass::of_io(source, FailureClass::Input),
            Self::Damaged(_) => FailureClass::Input,
        }
    }
}

impl From<TarProblem> for ArchiveError {
    fn from(problem: TarProblem) -> Self {
        Self::Damaged(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bytes_are_the_user_s_and_a_failing_disk_is_not() {
        let bad_bytes = || io::Error::new(io::ErrorKind::InvalidData, "corrupt");
        let failing_disk = || io::Error::from_raw_os_error(5);
        for (error, class) in [
            (ArchiveError::Read(bad_bytes()), FailureClass::Input),
            (ArchiveError::Read(failing_disk()), FailureClass::Environment),
            (ArchiveError::Decompress(bad_bytes()), FailureClass::Input),
            (ArchiveError::Decompress(failing_disk()), FailureClass::Environment),
            (TarProblem::Header.into(), FailureClass::Input),
        ] {
            assert_eq!(error.class(), class, "{error}");
        }
    }
}
