//! Where a cache is written, and in which form.

use crate::{
    BucketPlace, CacheForm, Leftovers, RemoteCacheError, SharedCache, documents::Documents, layout,
    patience::while_it_moves, registry,
};
use rbuild_cache::{LayerId, Store};
use rbuild_image::{OnEvent, RemoteImages};
use rbuild_oci::{Descriptor, ImageName};
use std::{fmt, path::PathBuf};

/// A cache to write (`--cache-to`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheDestination {
    /// Its place.
    pub target: CacheTarget,
    /// Its form.
    pub form: CacheForm,
}

/// The place of a cache to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheTarget {
    /// A registry.
    Registry(ImageName),
    /// An OCI layout directory, which is made when it is not there.
    Layout {
        /// Its whole path.
        directory: PathBuf,
        /// The name of the cache in it.
        tag: String,
        /// What becomes of blobs that nothing in it names any more.
        leftovers: Leftovers,
    },
    /// A bucket.
    Bucket(BucketPlace),
}

impl CacheDestination {
    /// Sees that it can be written to. Must run in a tokio runtime.
    ///
    /// # Errors
    /// When a registry does not let this client push, or a directory cannot be made.
    pub async fn open(&self, images: &RemoteImages) -> Result<(), RemoteCacheError> {
        match &self.target {
            CacheTarget::Registry(name) => {
                while_it_moves((images, domain(name)), async |images| Ok(images.check_push(name).await?))
                    .await
            }
            CacheTarget::Layout { directory, .. } => layout::make(directory),
            CacheTarget::Bucket(place) => place.open().await,
        }
    }

    /// Sees that it has the layer, whose DiffId must be known, as a blob. Must run in a tokio runtime.
    ///
    /// # Errors
    /// When the layer cannot be read or had, or the place does not take it.
    pub async fn send_layer(
        &self,
        (store, images): (&Store, &RemoteImages),
        layer: &LayerId,
        on_event: OnEvent<'_>,
    ) -> Result<Descriptor, RemoteCacheError> {
        let packing = &self.form.packing;
        match &self.target {
            CacheTarget::Registry(name) => {
                let sending = async |images: &RemoteImages| {
                    Ok(images.send_layer(layer, (name, packing), on_event).await?)
                };
                while_it_moves((images, domain(name)), sending).await
            }
            CacheTarget::Bucket(place) => place.send_layer((store, images), layer, packing).await,
            CacheTarget::Layout { directory, .. } => {
                layout::send_layer((store, images), layer, (directory, packing)).await
            }
        }
    }

    /// Names `cache`, whose blobs it has. Returns the descriptor of its manifest. Must run in a tokio runtime.
    ///
    /// # Errors
    /// When the place does not take it.
    pub async fn publish(
        &self,
        images: &RemoteImages,
        cache: &SharedCache,
    ) -> Result<Descriptor, RemoteCacheError> {
        match &self.target {
            CacheTarget::Registry(name) => {
                let publishing =
                    async |images: &RemoteImages| registry::publish(images, name, (cache, &self.form)).await;
                while_it_moves((images, domain(name)), publishing).await
            }
            CacheTarget::Bucket(place) => place.publish(cache).await,
            CacheTarget::Layout { directory, tag, leftovers } => {
                layout::publish((directory, tag), Documents::of(cache, &self.form), *leftovers)
            }
        }
    }
}

/// The registry of a cache.
fn domain(name: &ImageName) -> &str {
    name.as_reference().domain()
}

impl fmt::Display for CacheTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => f.write_str(&name.as_reference().familiar()),
            Self::Bucket(place) => place.fmt(f),
            Self::Layout { directory, tag, .. } => write!(f, "{}:{tag}", directory.display()),
        }
    }
}
