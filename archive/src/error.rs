//! Failures while an archive is read.

use rbuild_oci::FailureClass;
use std::io;

/// An archive that cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The source of the bytes failed, or the decompression before them.
    #[error("cannot read the tar stream")]
    Read(#[source] io::Error),
    /// The compressed bytes are damaged, or need more memory than the limit.
    #[error("cannot decompress the tar stream")]
    Decompress(#[source] io::Error),
    /// The bytes are not a tar, or one that goes beyond the limits.
    #[error("{heading}: {0}", heading = .0.heading())]
    Damaged(TarProblem),
}

/// The damage of a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TarProblem {
    /// A block is not a header.
    #[error("a header has a wrong checksum")]
    Header,
    /// The stream ends within an entry.
    #[error("it ends within an entry")]
    Truncated,
    /// A field is not a number, or is a number that it cannot have.
    #[error("a header's {field} is no valid number")]
    Number {
        /// The name of the field.
        field: &'static str,
    },
    /// The extension headers of an entry are longer than the limit.
    #[error("the extension headers of an entry have {size} bytes, more than the {limit} allowed")]
    ExtensionTooLong {
        /// Number of bytes up to the end of the header that exceeds the limit.
        size: u64,
        /// Largest number of bytes allowed.
        limit: u64,
    },
    /// A name or link target is longer than a path can be.
    #[error("a name has {length} bytes, more than the {limit} a path can have")]
    PathTooLong {
        /// Number of bytes in the name.
        length: usize,
        /// Largest number of bytes allowed.
        limit: usize,
    },
    /// The archive has more entries than the limit.
    #[error("it has more than {limit} entries")]
    TooManyEntries {
        /// Largest number of entries allowed.
        limit: u64,
    },
    /// The paths of its directories are longer together than the limit.
    #[error("the paths of its directories have more than {limit} bytes")]
    TooManyDirectories {
        /// Largest number of bytes allowed.
        limit: u64,
    },
    /// What becomes no file is longer than the limit.
    #[error("more than {limit} bytes of it become no file")]
    TooMuchUnused {
        /// Largest number of such bytes allowed.
        limit: u64,
    },
    /// A PAX header does not consist of records.
    #[error("a pax header is malformed")]
    PaxRecord,
    /// The map of a sparse file does not fit the file.
    #[error("the map of a sparse file is malformed")]
    Sparse,
}

impl TarProblem {
    /// What is wrong at all: a tar that is too large may be whole.
    fn heading(&self) -> &'static str {
        match self {
            Self::ExtensionTooLong { .. }
            | Self::PathTooLong { .. }
            | Self::TooManyEntries { .. }
            | Self::TooManyDirectories { .. }
            | Self::TooMuchUnused { .. } => "the tar is larger than allowed",
            Self::Header | Self::Truncated | Self::Number { .. } | Self::PaxRecord | Self::Sparse => {
                "damaged tar"
            }
        }
    }
}

impl ArchiveError {
    /// The class of the failure: damaged bytes are the user's matter, unless the machine failed to read them.
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
    fn a_tar_that_is_too_large_is_not_called_damaged() {
        let said = |problem: TarProblem| ArchiveError::from(problem).to_string();
        let long = said(TarProblem::PathTooLong { length: 4096, limit: 4095 });
        assert_eq!(
            long,
            "the tar is larger than allowed: a name has 4096 bytes, more than the 4095 a path can have"
        );
        assert_eq!(said(TarProblem::Header), "damaged tar: a header has a wrong checksum");
    }

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
