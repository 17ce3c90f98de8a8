//! The readers that an archive of images is for.

/// The form of a saved archive. Both hold the image config as it is, so the image ID survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// `docker save`'s, which is an OCI layout as well.
    Docker,
    /// An OCI layout alone.
    Oci,
}

impl From<ArchiveFormat> for rbuild_image::ArchiveFormat {
    fn from(format: ArchiveFormat) -> Self {
        match format {
            ArchiveFormat::Docker => Self::Docker,
            ArchiveFormat::Oci => Self::Oci,
        }
    }
}
