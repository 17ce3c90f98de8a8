//! A cache in a registry: a manifest whose config is the description, or an index whose last entry is, or an image that carries
//! it.

use crate::{
    CacheForm, ImportedCache, RemoteCacheError, SharedCache,
    documents::{Documents, description},
};
use bytes::Bytes;
use rbuild_cache::LayerOrigin;
use rbuild_image::RemoteImages;
use rbuild_oci::{Descriptor, ImageName, Index, Manifest, ManifestOrIndex, Reference};
use rbuild_registry::{BlobBody, BlobUpload};

/// Images of an index that are asked for a cache, at most.
const IMAGES_LIMIT: usize = 32;

/// Reads the cache that `reference` names, or the one that the image with this name carries.
pub(crate) async fn import(
    images: &RemoteImages,
    reference: &Reference,
) -> Result<ImportedCache, RemoteCacheError> {
    let subject = reference.familiar();
    let parsed = document_of(images, reference).await?;
    let cache = match (description(&parsed), parsed) {
        (Some(description), _) => {
            let bytes = images.fetch_config(reference, &description).await?;
            SharedCache::read(&subject, &bytes)?
        }
        (None, ManifestOrIndex::Manifest(manifest)) => carried(images, reference, &manifest).await?,
        (None, ManifestOrIndex::Index(index)) => carried_by_platforms(images, reference, &index).await?,
    };
    Ok(ImportedCache::new(LayerOrigin::Registry(reference.clone()), cache))
}

async fn document_of(
    images: &RemoteImages,
    reference: &Reference,
) -> Result<ManifestOrIndex, RemoteCacheError> {
    let fetched = images.manifest(reference).await?;
    let parsed = ManifestOrIndex::from_json(&fetched.bytes, Some(&fetched.media_type));
    parsed.map_err(|source| RemoteCacheError::Manifest { subject: reference.familiar(), source })
}

/// The cache that an image carries in its config.
async fn carried(
    images: &RemoteImages,
    reference: &Reference,
    manifest: &Manifest,
) -> Result<SharedCache, RemoteCacheError> {
    let subject = reference.familiar();
    if !manifest.config.media_type.may_be_config() {
        return Err(RemoteCacheError::NotACache { subject });
    }
    let config = images.fetch_config(reference, &manifest.config).await?;
    SharedCache::carried_by((&subject, &config), &manifest.layers)
}

/// What the images for the platforms of an index carry, together. One that carries nothing is passed over, unless none does.
async fn carried_by_platforms(
    images: &RemoteImages,
    reference: &Reference,
    index: &Index,
) -> Result<SharedCache, RemoteCacheError> {
    let (mut found, mut failure) = (None::<SharedCache>, None);
    for entry in index.manifests.iter().filter(|entry| is_of_platform(entry)).take(IMAGES_LIMIT) {
        let reference = reference.with_digest(entry.digest);
        let carried = match document_of(images, &reference).await? {
            ManifestOrIndex::Manifest(manifest) => carried(images, &reference, &manifest).await,
            ManifestOrIndex::Index(_) => continue,
        };
        match carried {
            Ok(cache) => {
                let found = found.get_or_insert_default();
                found.append(cache);
                // each image is within the limits: together they may not go far beyond
                if !found.is_within_limits() {
                    break;
                }
            }
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    let nothing = || RemoteCacheError::NotACache { subject: reference.familiar() };
    found.ok_or_else(|| failure.unwrap_or_else(nothing))
}

/// True for an image, false for what is said of one.
fn is_of_platform(entry: &Descriptor) -> bool {
    let is_attestation = entry.annotations.contains_key("vnd.docker.reference.type");
    entry.media_type.is_manifest() && !is_attestation
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
