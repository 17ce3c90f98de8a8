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
            Self::FetchLayer { source, .. } => source.class(),
            Self::Document { .. }
            | Self::ArchiveJson { .. }
            | Self::Entry { .. }
            | Self::WrongLayer { .. }
            | Self::LayerCount { .. }
            | Self::TooManyLayers { .. }
            | Self::NoPlatform { .. }
            | Self::IndexDepth { .. }
            | Self::NotAnArchive
            | Self::EmptyArchive
            | Self::SeveralImages { .. }
            | Self::ArchiveFile { .. }
            | Self::LayoutTag { .. }
            | Self::ArchiveDigest { .. }
            | Self::ArchiveSize { .. }
            | Self::NoImages { .. }
            | Self::BucketNotGiven { .. }
            | Self::TooLong { .. } => Input,
            Self::Archive(error) => error.class(),
            Self::EntryIo { source, .. } | Self::ArchiveRead(source) => FailureClass::of_io(source, Input),
            Self::Owner { .. }
            | Self::Podman(_)
            | Self::Recipe(_)
            | Self::LayerFile { .. }
            | Self::LayerDamaged { .. }
            | Self::LayerBlobMissing { .. }
            | Self::BlobMissing { .. }
            | Self::LayerSize { .. }
            | Self::ArchiveWrite(_) => Environment,
            Self::OutputFile { source, .. } => FailureClass::of_io(source, Input),
            Self::Compress(source) => FailureClass::of_io(source, Internal),
            Self::Canceled => Input,
            Self::Worker { .. } | Self::LayerElsewhere { .. } => Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntryProblem;
    use rbuild_archive::{ArchiveError, TarProblem};
    use rbuild_cache::{FoundIn, LayerId, StoreError};
    use rbuild_oci::{DiffId, Digest, ImageId, ParseError};
    use rbuild_registry::RegistryError;
    use std::io;

    const ENOSPC: i32 = 28;
    const ENAMETOOLONG: i32 = 36;

    fn text() -> String {
        "x".to_owned()
    }

    fn digest() -> Digest {
        Digest::of(b"x")
    }

    fn diff_id() -> DiffId {
        DiffId::from_digest(digest())
    }

    fn full() -> io::Error {
        io::Error::from_raw_os_error(ENOSPC)
    }

    fn damaged() -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, "damaged")
    }

    fn entry(number: i32) -> ImageError {
        let source = io::Error::from_raw_os_error(number);
        ImageError::EntryIo { entry: text(), action: "create", source }
    }

    #[test]
    fn images_and_archives_that_are_wrong_are_the_user_s() {
        let json = serde_json::from_str::<u8>("x").unwrap_err();
        let (name, expected, found) = (text(), diff_id(), diff_id());
        let subject = text;
        for error in [
            StoreError::AmbiguousImage {
                prefix: text(),
                first: ImageId::from_digest(digest()),
                second: ImageId::from_digest(digest()),
            }
            .into(),
            RegistryError::NotFound { reference: text() }.into(),
            ImageError::Document { subject: subject(), source: ParseError::Digest(text()) },
            ImageError::ArchiveJson { file: text(), source: json },
            ImageError::Entry { entry: text(), problem: EntryProblem::Outside },
            entry(ENAMETOOLONG),
            ArchiveError::Damaged(TarProblem::Header).into(),
            ArchiveError::Decompress(damaged()).into(),
            ImageError::ArchiveRead(damaged()),
            ImageError::WrongLayer { name, expected, found },
            ImageError::LayerCount { subject: subject(), layers: 1, diff_ids: 2 },
            ImageError::NoPlatform { subject: subject(), wanted: text(), available: Vec::new() },
            ImageError::IndexDepth { subject: subject() },
            ImageError::NotAnArchive,
            ImageError::ArchiveFile { archive: "archive", file: text() },
            ImageError::LayoutTag { tag: text(), available: Vec::new() },
            ImageError::ArchiveDigest { archive: "archive", file: text(), found: digest() },
            ImageError::ArchiveSize { archive: "archive", file: text(), stated: 1, found: 2 },
            ImageError::NoImages { archive: "archive" },
            ImageError::TooLong { subject: subject(), size: 2, limit: 1 },
        ] {
            assert_eq!(error.class(), Input, "{error}");
        }
    }

    #[test]
    fn full_disks_and_damaged_stores_are_the_machine_s() {
        let layer: LayerId = "0123456789abcdef".parse().unwrap();
        let (expected, found) = (diff_id(), diff_id());
        let (kind, image) = ("config", ImageId::from_digest(digest()));
        for error in [
            StoreError::LayerMissing { layer: text() }.into(),
            RegistryError::Stalled { host: text(), seconds: 1 }.into(),
            entry(ENOSPC),
            ArchiveError::Read(full()).into(),
            ArchiveError::Decompress(full()).into(),
            ImageError::ArchiveRead(full()),
            ImageError::ArchiveWrite(io::ErrorKind::BrokenPipe.into()),
            ImageError::Compress(full()),
            ImageError::Owner { entry: text(), uid: 1, gid: 1, source: damaged() },
            ImageError::Recipe(damaged()),
            ImageError::LayerFile { action: "open", path: "x".into(), source: damaged() },
            ImageError::LayerDamaged { layer, expected, found },
            ImageError::LayerBlobMissing { layer, blob: digest() },
            ImageError::BlobMissing { kind, digest: digest(), image },
            ImageError::LayerSize { layer, recorded: 1, found: 2 },
        ] {
            assert_eq!(error.class(), Environment, "{error}");
        }
    }

    #[test]
    fn a_layer_that_cannot_be_fetched_is_the_matter_of_what_hinders_it() {
        let fetch = |source: ImageError| {
            let (image, registry) = (text(), text());
            let (found_in, source) = (FoundIn::Image, Box::new(source));
            ImageError::FetchLayer { layer: digest(), image, registry, found_in, source }.class()
        };
        assert_eq!(fetch(RegistryError::Stalled { host: text(), seconds: 1 }.into()), Environment);
        assert_eq!(fetch(RegistryError::BlobNotFound { repository: text(), digest: digest() }.into()), Input);
        assert_eq!(fetch(ImageError::Compress(damaged())), Internal);
    }

    #[test]
    fn what_cannot_be_is_a_mistake_of_rbuild() {
        let layer: LayerId = "0123456789abcdef".parse().unwrap();
        for error in [
            ImageError::Compress(damaged()),
            ImageError::Worker { task: "x" },
            ImageError::LayerElsewhere { layer },
        ] {
            assert_eq!(error.class(), Internal, "{error}");
        }
    }
}
