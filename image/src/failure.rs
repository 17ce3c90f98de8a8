//! Who has to act on a failure with layers, archives and images.

use crate::ImageError;
use rbuild_oci::FailureClass::{self, Environment, Input, Internal};

impl ImageError {
    /// Who has to act on it: an image or an archive that is not what it should be is the user's matter, a store that lost
    /// or damaged something that of the machine's owner.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Registry(error) => error.class(),
            Self::Document { .. }
            | Self::ArchiveJson { .. }
            | Self::Entry { .. }
            | Self::Tar(_)
            | Self::WrongLayer { .. }
            | Self::LayerCount { .. }
            | Self::NoPlatform { .. }
            | Self::IndexDepth { .. }
            | Self::NotAnArchive
            | Self::ArchiveFile { .. }
            | Self::LayoutTag { .. }
            | Self::ArchiveDigest { .. }
            | Self::TooLong { .. } => Input,
            Self::EntryIo { source, .. }
            | Self::Input(source)
            | Self::Decompress(source)
            | Self::ArchiveRead(source) => FailureClass::of_io(source, Input),
            Self::Owner { .. }
            | Self::Recipe(_)
            | Self::LayerFile { .. }
            | Self::LayerDamaged { .. }
            | Self::LayerBlobMissing { .. }
            | Self::BlobMissing { .. }
            | Self::LayerSize { .. }
            | Self::ArchiveWrite(_) => Environment,
            Self::Compress(source) => FailureClass::of_io(source, Internal),
            Self::Worker { .. } => Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn bad_archives_are_the_user_s_and_full_disks_the_machine_s() {
        const ENOSPC: i32 = 28;
        const ENAMETOOLONG: i32 = 36;
        let entry = |number| ImageError::EntryIo {
            entry: "x".to_owned(),
            action: "create",
            source: io::Error::from_raw_os_error(number),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged");
        for (error, class) in [
            (ImageError::NotAnArchive, Input),
            (entry(ENAMETOOLONG), Input),
            (entry(ENOSPC), Environment),
            (ImageError::Decompress(damaged()), Input),
            (ImageError::Decompress(io::Error::from_raw_os_error(ENOSPC)), Environment),
            (ImageError::Compress(damaged()), Internal),
            (ImageError::ArchiveWrite(io::ErrorKind::BrokenPipe.into()), Environment),
            (ImageError::Worker { task: "x" }, Internal),
        ] {
            assert_eq!(error.class(), class, "{error}");
        }
    }
}
