//! A cache in a registry: a manifest whose config is the description, or an index whose last entry is.

use crate::{
    CacheForm, ImportedCache, RemoteCacheError, SharedCache, document,
    documents::{Documents, description},
};
use bytes::Bytes;
use rbuild_cache::LayerOrigin;
use rbuild_image::RemoteImages;
use rbuild_oci::{Descriptor, ImageName, ManifestOrIndex, Reference};
use rbuild_registry::{BlobBody, BlobUpload};

/// Reads the cache that `reference` names.
pub(crate) async fn import(
    images: &RemoteImages,
    reference: &Reference,
) -> Result<ImportedCache, RemoteCacheError> {
    let subject = reference.familiar();
    let fetched = images.manifest(reference).await?;
    let parsed = ManifestOrIndex::from_json(&fetched.bytes, Some(&fetched.media_type));
    let parsed = parsed.map_err(|source| RemoteCacheError::Manifest { subject: subject.clone(), source })?;
    let Some(description) = description(parsed) else {
        return Err(RemoteCacheError::NotACache { subject });
    };
    let bytes = images.fetch_config(reference, &description).await?;
    let cache = document::read(&subject, &bytes)?;
    Ok(ImportedCache::new(LayerOrigin::Registry(reference.clone()), cache))
}

/// Names `cache`, whose blobs the repository has.
pub(crate) async fn publish(
    images: &RemoteImages,
    name: &ImageName,
    (cache, form): (&SharedCache, &CacheForm),
) -> Result<Descriptor, RemoteCacheError> {
    let (client, reference) = (images.client(), name.as_reference());
    let documents = Documents::of(cache, form);
    let manifest = documents.manifest;
    let there = client.head_manifest(reference).await;
    if there.is_ok_and(|head| head.digest == manifest.digest) {
        return Ok(manifest);
    }
    let (config, bytes) = (&documents.config, Bytes::from(documents.config_bytes));
    if !client.blob_exists(reference, &config.digest).await? {
        let upload = BlobUpload { descriptor: config, mount_from: None };
        client.upload_blob(reference, upload, || BlobBody::from_bytes(bytes.clone())).await?;
    }
    let sent = Bytes::from(documents.manifest_bytes);
    client.put_manifest(reference, &manifest.media_type, sent).await?;
    Ok(manifest)
}
