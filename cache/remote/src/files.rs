//! Blobs of a cache that are no layers of its steps: what cache mounts have, as files that go there and come from there.

use crate::{CacheDestination, CacheSource, CacheTarget, RemoteCacheError, layout, patience::while_it_moves};
use rbuild_image::{Layout, RemoteImages};
use rbuild_oci::{Descriptor, Hasher};
use rbuild_registry::{BlobBody, BlobUpload};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

impl CacheDestination {
    /// True if it has the blob. Must run in a tokio runtime.
    ///
    /// # Errors
    /// When the place does not say.
    pub async fn has(&self, images: &RemoteImages, blob: &Descriptor) -> Result<bool, RemoteCacheError> {
        match &self.target {
            CacheTarget::Registry(name) => {
                let name = name.as_reference();
                let asking =
                    async |images: &RemoteImages| Ok(images.client().blob_exists(name, &blob.digest).await?);
                while_it_moves((images, name.domain()), asking).await
            }
            CacheTarget::Layout { directory, .. } => Ok(Layout::open(directory)?.has_blob(blob)),
            CacheTarget::Bucket(place) => place.has(blob).await,
        }
    }

    /// Sees that it has the blob that the file `path` is. Must run in a tokio runtime.
    ///
    /// # Errors
    /// When the file cannot be read, or the place does not take it.
    pub async fn send(
        &self,
        images: &RemoteImages,
        (blob, path): (&Descriptor, &Path),
    ) -> Result<(), RemoteCacheError> {
        if self.has(images, blob).await? {
            return Ok(());
        }
        let file = File::open(path).map_err(RemoteCacheError::file("open", path))?;
        match &self.target {
            CacheTarget::Registry(name) => {
                let upload = BlobUpload { descriptor: blob, mount_from: None };
                let open = || match File::open(path) {
                    Ok(file) => BlobBody::from_reader(file),
                    // an upload that is shorter than it should be is refused and explained by the registry's client
                    Err(_) => BlobBody::from_bytes(bytes::Bytes::new()),
                };
                let name = name.as_reference();
                let sending = async |images: &RemoteImages| {
                    Ok(images.client().upload_blob(name, upload, open).await.map(drop)?)
                };
                while_it_moves((images, name.domain()), sending).await
            }
            CacheTarget::Layout { directory, .. } => layout::put(directory, blob, file),
            CacheTarget::Bucket(place) => place.send(blob, file).await,
        }
    }
}

impl CacheSource {
    /// Writes the blob into `file`. Must run in a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be had, or is not what it should be.
    pub async fn fetch(
        &self,
        images: &RemoteImages,
        blob: &Descriptor,
        (file, path): (&mut File, &Path),
    ) -> Result<(), RemoteCacheError> {
        let failed = RemoteCacheError::file("write", path);
        let mut hasher = Hasher::new();
        let mut write = |piece: &[u8]| {
            hasher.update(piece);
            file.write_all(piece)
        };
        match self {
            Self::Registry(reference) => {
                let mut stream = images.client().fetch_blob(reference, blob).await?;
                while let Some(piece) = stream.next_chunk().await? {
                    if let Err(error) = write(&piece) {
                        return Err(failed(error));
                    }
                }
            }
            Self::Layout { directory, .. } => {
                let mut reader = Layout::open(directory)?.blob(blob)?;
                copy(&mut reader, &mut write).map_err(failed)?;
            }
            Self::Bucket(place) => place.fetch(blob, &mut write).await?.map_err(failed)?,
        }
        match hasher.finish() {
            found if found == blob.digest => Ok(()),
            found => Err(RemoteCacheError::WrongBlob { expected: blob.digest, found }),
        }
    }
}

fn copy(from: &mut impl Read, write: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => write(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
