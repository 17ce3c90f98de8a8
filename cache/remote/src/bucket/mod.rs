//! A cache in a bucket of S3 or a container of Azure, laid out as BuildKit's `type=s3` and `type=azblob`: a description under each name of
//! the cache, and a blob under each digest.
//!
//! Logins are of the build that was given them: a layer that is in a bucket names the bucket and no more.

mod client;
mod failure;
mod place;

pub use failure::BucketFailure;
pub use place::{Addressing, AzureContainer, BucketPlace, BucketService, S3Bucket};

use crate::{ImportedCache, RemoteCacheError, SharedCache, document, layout};
use client::Bucket;
use rbuild_cache::{LayerId, LayerOrigin, RemoteLayer, Store};
use rbuild_image::{ImageError, Packing, RemoteImages, known_blob};
use rbuild_oci::{Descriptor, Digest, MediaType};
use std::{
    fs::File,
    io::{self, Write},
};

/// The longest description that is read, in bytes.
const DESCRIPTION_LIMIT: u64 = 16 << 20;

impl BucketPlace {
    /// Brings the blob of `remote`, which is in this bucket, into `store`.
    ///
    /// # Errors
    /// When it cannot be had, or is not what it should be.
    pub async fn bring(&self, store: &Store, blob: &Descriptor) -> Result<(), RemoteCacheError> {
        if store.has_blob(&blob.digest, blob.size) {
            return Ok(());
        }
        let mut writer = store.blob_writer().map_err(ImageError::from)?;
        let taken = self.fetch(blob, |piece| writer.write_all(piece)).await?;
        taken.map_err(|error| RemoteCacheError::file("write a blob of", store.root())(error))?;
        Ok(writer.commit_expecting(&blob.digest, blob.size).map_err(ImageError::from)?)
    }

    /// True if it has the blob.
    pub(crate) async fn has(&self, blob: &Descriptor) -> Result<bool, RemoteCacheError> {
        let asking = async { Bucket::new(self)?.has(blob).await };
        asking.await.map_err(self.failed("look for", blob.digest.to_string()))
    }

    /// Writes the blob that `file` is.
    pub(crate) async fn send(&self, blob: &Descriptor, file: File) -> Result<(), RemoteCacheError> {
        let sending = async { Bucket::new(self)?.send(blob, file).await };
        sending.await.map_err(self.failed("write", blob.digest.to_string()))
    }

    /// Reads the blob, and gives its pieces to `take`. Its digest is not checked.
    pub(crate) async fn fetch(
        &self,
        blob: &Descriptor,
        take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<io::Result<()>, RemoteCacheError> {
        let fetching = async { Bucket::new(self)?.fetch(blob, take).await };
        fetching.await.map_err(self.failed("read", blob.digest.to_string()))
    }

    /// Sees that it can be asked.
    pub(crate) async fn open(&self) -> Result<(), RemoteCacheError> {
        match self.document().await {
            Ok(_) | Err(BucketFailure::Missing | BucketFailure::TooLong { .. }) => Ok(()),
            Err(failure) => Err(self.failed("ask for", self.names[0].clone())(failure)),
        }
    }

    /// Reads the description.
    pub(crate) async fn import(&self) -> Result<ImportedCache, RemoteCacheError> {
        let subject = self.to_string();
        let bytes = self.document().await.map_err(self.failed("read", self.names[0].clone()))?;
        let cache = SharedCache::read(&subject, &bytes)?;
        Ok(ImportedCache::new(LayerOrigin::Bucket { bucket: self.location() }, cache))
    }

    async fn document(&self) -> Result<Vec<u8>, BucketFailure> {
        Bucket::new(self)?.document(&self.description(&self.names[0]), DESCRIPTION_LIMIT).await
    }

    /// Sees that the bucket has the layer as a blob. What is sent is written to the disk before, because the name of a blob is its
    /// digest.
    pub(crate) async fn send_layer(
        &self,
        (store, images): (&Store, &RemoteImages),
        layer: &LayerId,
        packing: &Packing,
    ) -> Result<Descriptor, RemoteCacheError> {
        let remote = store.remote_layer(layer).map_err(ImageError::from)?;
        let remote = remote.filter(|remote| packing.keeps(&remote.blob));
        let bucket = Bucket::new(self).map_err(self.failed("open", String::new()))?;
        let here = LayerOrigin::Bucket { bucket: self.location() };
        let known = match &remote {
            Some(RemoteLayer { blob, origin, .. }) if *origin == here => {
                // what is nowhere else is not sent again
                let has = bucket.has(blob).await;
                let has = has.map_err(self.failed("look for", blob.digest.to_string()))?;
                let elsewhere = ImageError::LayerElsewhere { layer: *layer };
                return if has { Ok(blob.clone()) } else { Err(elsewhere.into()) };
            }
            Some(remote) => Some(remote.blob.clone()),
            None => known_blob(store, layer, packing)?,
        };
        let has = async |blob: &Descriptor| {
            let has = bucket.has_fresh(blob, store.now()).await;
            has.map_err(self.failed("look for", blob.digest.to_string()))
        };
        if let Some(known) = known
            && has(&known).await?
        {
            return Ok(known);
        }
        let scratch = store.scratch_dir().map_err(ImageError::from)?;
        layout::make(scratch.path())?;
        let blob = layout::send_layer((store, images), layer, (scratch.path(), packing)).await?;
        if !has(&blob).await? {
            let path = scratch.path().join("blobs/sha256").join(blob.digest.hex());
            let file = File::open(&path).map_err(RemoteCacheError::file("open", path))?;
            let sent = bucket.send(&blob, file).await;
            sent.map_err(self.failed("write", blob.digest.to_string()))?;
        }
        Ok(blob)
    }

    /// Names `cache`, whose blobs the bucket has.
    pub(crate) async fn publish(&self, cache: &SharedCache) -> Result<Descriptor, RemoteCacheError> {
        let bytes = document::write_annotated(cache);
        let media_type = MediaType::from(document::CACHE_CONFIG);
        let described = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        for name in &self.names {
            let writing = async { Bucket::new(self)?.put(&self.description(name), bytes.clone()).await };
            writing.await.map_err(self.failed("write", name.clone()))?;
        }
        Ok(described)
    }

    fn failed(&self, action: &'static str, object: String) -> impl FnOnce(BucketFailure) -> RemoteCacheError {
        let bucket = self.service.to_string();
        move |source| RemoteCacheError::Bucket { action, object, bucket, source }
    }
}
