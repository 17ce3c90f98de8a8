//! Manifests of registries as they are, and copies of images from one repository to another.

use super::RemoteImages;
use crate::ImageError;
use bytes::Bytes;
use rbuild_oci::{Descriptor, Digest, ImageName, ManifestOrIndex, MediaType, Reference};
use rbuild_registry::{BlobBody, BlobUpload, Client, FetchedManifest, RegistryError};
use std::io;
use tokio::sync::mpsc;

/// Pieces of a blob on its way from one registry to another (of some 16 KiB) that may wait for the latter.
const PIECES_AHEAD: usize = 64;

/// Manifests and indexes that one entry may lead to.
const MANIFESTS_LIMIT: usize = 256;

impl RemoteImages {
    /// What the registry has under `reference`, as it is. Must run in a tokio runtime.
    ///
    /// # Errors
    /// [`ImageError::Registry`].
    pub async fn manifest(&self, reference: &Reference) -> Result<FetchedManifest, ImageError> {
        Ok(self.client.fetch_manifest(reference).await?)
    }

    /// The names that the registry has in the repository of `reference`, in its order. Must run in a tokio runtime.
    ///
    /// # Errors
    /// [`ImageError::Registry`].
    pub async fn names(&self, reference: &Reference) -> Result<Vec<ImageName>, ImageError> {
        Ok(self.client.list_tags(reference).await?)
    }

    /// Sees that the repository of `to` has the image or index of `entry`, which the repository of `from` has, with all that it
    /// names. Must run in a tokio runtime.
    ///
    /// # Errors
    /// [`ImageError::Registry`], [`ImageError::Document`].
    pub async fn copy(&self, entry: &Descriptor, from: &Reference, to: &Reference) -> Result<(), ImageError> {
        if from.has_repository_of(to) {
            return Ok(());
        }
        // what an index names comes before the index
        let mut open = vec![entry.digest];
        let mut found = Vec::new();
        while let Some(digest) = open.pop() {
            if found.len() == MANIFESTS_LIMIT {
                return Err(ImageError::IndexDepth { subject: from.familiar() });
            }
            let fetched = self.client.fetch_manifest(&from.with_digest(digest)).await?;
            let parsed =
                ManifestOrIndex::from_json(&fetched.bytes, Some(&fetched.media_type)).map_err(|source| {
                    ImageError::Document { subject: format!("manifest of {}", from.familiar()), source }
                })?;
            match parsed {
                ManifestOrIndex::Index(index) => {
                    open.extend(index.manifests.iter().map(|entry| entry.digest));
                }
                ManifestOrIndex::Manifest(manifest) => {
                    for blob in manifest.layers.iter().chain([&manifest.config]) {
                        self.copy_blob(blob, from, to).await?;
                    }
                }
            }
            found.push(fetched);
        }
        for fetched in found.into_iter().rev() {
            let place = to.with_digest(fetched.digest);
            self.client.put_manifest(&place, &fetched.media_type, fetched.bytes).await?;
        }
        Ok(())
    }

    async fn copy_blob(&self, blob: &Descriptor, from: &Reference, to: &Reference) -> Result<(), ImageError> {
        if self.client.blob_exists(to, &blob.digest).await? {
            return Ok(());
        }
        let mount_from = (from.domain() == to.domain()).then(|| from.path());
        let open = || {
            let (pieces, body) = mpsc::channel::<io::Result<Bytes>>(PIECES_AHEAD);
            let (client, from, blob) = (self.client.clone(), from.clone(), blob.clone());
            tokio::spawn(async move {
                if let Err(source) = pour(&client, (&from, &blob), &pieces).await {
                    // an upload that has ended needs no reason to
                    let _ = pieces.send(Err(io::Error::other(source))).await;
                }
            });
            BlobBody::from_channel(body)
        };
        self.client.upload_blob(to, BlobUpload { descriptor: blob, mount_from }, open).await?;
        Ok(())
    }

    /// Gives the registry a manifest or index under `name`, whose parts it has. Must run in a tokio runtime.
    ///
    /// # Errors
    /// [`ImageError::Registry`].
    pub async fn put_manifest(
        &self,
        name: &ImageName,
        media_type: &MediaType,
        bytes: Vec<u8>,
    ) -> Result<Digest, ImageError> {
        Ok(self.client.put_manifest(name.as_reference(), media_type, Bytes::from(bytes)).await?)
    }
}

/// Moves a blob from its registry to `pieces`, until its end or until the other side has gone.
async fn pour(
    client: &Client,
    (from, blob): (&Reference, &Descriptor),
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), RegistryError> {
    let mut stream = client.fetch_blob(from, blob).await?;
    while let Some(piece) = stream.next_chunk().await? {
        if pieces.send(Ok(piece)).await.is_err() {
            break;
        }
    }
    Ok(())
}
