//! Where a cache is read from.

use crate::{BucketPlace, ImportedCache, RemoteCacheError, layout, registry};
use rbuild_image::RemoteImages;
use rbuild_oci::{Digest, Reference};
use std::{fmt, path::PathBuf};

/// The place of a cache to read (`--cache-from`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSource {
    /// A registry.
    Registry(Reference),
    /// An OCI layout directory.
    Layout {
        /// Its whole path.
        directory: PathBuf,
        /// The name of the cache in it.
        tag: String,
        /// The digest of its manifest, which decides.
        digest: Option<Digest>,
    },
    /// A bucket.
    Bucket(BucketPlace),
}

impl CacheSource {
    /// The bucket, if it is in one.
    #[must_use]
    pub fn bucket(&self) -> Option<&BucketPlace> {
        match self {
            Self::Bucket(place) => Some(place),
            Self::Registry(_) | Self::Layout { .. } => None,
        }
    }

    /// Reads its description. No layer is fetched. Must run in a tokio runtime.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or has nothing that rbuild can use.
    pub async fn import(&self, images: &RemoteImages) -> Result<ImportedCache, RemoteCacheError> {
        match self {
            Self::Registry(reference) => registry::import(images, reference).await,
            Self::Bucket(place) => place.import().await,
            Self::Layout { directory, tag, digest } => {
                let (directory, tag, digest) = (directory.clone(), tag.clone(), *digest);
                let reading = move || layout::import(&directory, &tag, digest.as_ref());
                let read = tokio::task::spawn_blocking(reading).await;
                read.map_err(|_| RemoteCacheError::Worker)?
            }
        }
    }
}

impl fmt::Display for CacheSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Bucket(place) => place.fmt(f),
            Self::Layout { directory, digest: Some(digest), .. } => {
                write!(f, "{}@{digest}", directory.display())
            }
            Self::Layout { directory, tag, digest: None } => write!(f, "{}:{tag}", directory.display()),
        }
    }
}
