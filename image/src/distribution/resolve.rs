//! Resolving an image: the manifest, the entry for the platform and the config are fetched, and its layers become known.
//! Those that the store lacks stay elsewhere.

use super::{Pulled, RemoteImages, blocking};
use crate::{
    ImageError, assemble, known_layers,
    platform_choice::{DEPTH_LIMIT, choose},
    several_platforms,
};
use rbuild_cache::{
    FoundIn, ImageLayer, ImageRecord, LayerId, LayerOrigin, Lease, RefRecord, RemoteLayer, Store,
};
use rbuild_oci::{
    ChainId, Descriptor, DiffId, Digest, ImageConfig, ImageId, ImageName, Manifest, ManifestOrIndex,
    Platform, Reference, Timestamp,
};
use rbuild_registry::{FetchedManifest, RegistryError};
use std::sync::Arc;

/// The longest config accepted, in bytes.
const CONFIG_LIMIT: u64 = 16 << 20;

/// An image whose layers are known and held, and which is not recorded yet.
pub(super) struct FoundImage {
    /// The manifest or index that the registry has under the reference.
    top: FetchedManifest,
    manifest: Digest,
    id: ImageId,
    layers: Vec<LayerId>,
    /// The layers as the registry has them.
    pub(super) blobs: Vec<Descriptor>,
    lease: Arc<Lease>,
}

impl FoundImage {
    /// Its layers, lowest first.
    pub(super) fn stack(&self) -> Vec<LayerId> {
        self.layers.clone()
    }
}

struct FoundManifest {
    top: FetchedManifest,
    manifest: Manifest,
    digest: Digest,
}

impl RemoteImages {
    /// Finds what `reference` names for `platform`, points the reference at it, and holds it by `lease`. No layer is fetched.
    /// Must run in a tokio runtime.
    ///
    /// # Errors
    /// [`ImageError::Registry`], [`ImageError::NoPlatform`], [`ImageError::Document`], [`ImageError::LayerCount`]; an I/O
    /// error of the store.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
        lease: &Arc<Lease>,
    ) -> Result<Pulled, ImageError> {
        let found = self.find(reference, platform, lease.clone()).await?;
        self.record(reference, found).await
    }

    /// Fetches manifest and config, and makes the layers known. `lease` is older than what is written here, so that no
    /// collection takes that.
    pub(super) async fn find(
        &self,
        reference: &Reference,
        platform: &Platform,
        lease: Arc<Lease>,
    ) -> Result<FoundImage, ImageError> {
        let FoundManifest { top, manifest, digest } = self.find_manifest(reference, platform).await?;
        manifest
            .check_image()
            .map_err(|source| ImageError::Document { subject: reference.familiar(), source })?;
        ImageError::check_count(manifest.layers.len(), || reference.familiar())?;
        let config = self.fetch_config(reference, &manifest.config).await?;
        let parsed = ImageConfig::from_json(&config)
            .map_err(|source| ImageError::Document { subject: format!("config of {reference}"), source })?;
        let diff_ids = parsed.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let (subject, layers) = (reference.to_string(), manifest.layers.len());
            return Err(ImageError::LayerCount { subject, layers, diff_ids: diff_ids.len() });
        }
        let id = ImageId::from_digest(Digest::of(&config));
        let remote = |(blob, diff_id): (&Descriptor, &DiffId)| RemoteLayer {
            blob: blob.clone(),
            diff_id: *diff_id,
            origin: LayerOrigin::Registry(reference.clone()),
            found_in: FoundIn::Image,
        };
        let remotes: Vec<RemoteLayer> = manifest.layers.iter().zip(&diff_ids).map(remote).collect();
        let store = self.store.clone();
        let (layers, lease) =
            blocking("looking for layers", move || Ok((known_stack(&store, &lease, &id, remotes)?, lease)))
                .await?;
        Ok(FoundImage { top, manifest: digest, id, layers, blobs: manifest.layers, lease })
    }

    /// Records a found image, whose layers are held, and names it.
    pub(super) async fn record(
        &self,
        reference: &Reference,
        found: FoundImage,
    ) -> Result<Pulled, ImageError> {
        let (store, reference) = (self.store.clone(), reference.clone());
        blocking("recording an image", move || {
            let described = |(layer, blob): (&LayerId, &Descriptor)| {
                let described = assemble::image_layer(&store, layer)?;
                // whatever the store has, this is the form the registry has it in
                Ok(ImageLayer { blob: Some(blob.clone()), ..described })
            };
            let layers = found.layers.iter().zip(&found.blobs).map(described);
            let layers = layers.collect::<Result<_, ImageError>>()?;
            let (id, now) = (found.id, Timestamp::from(store.now()));
            let image = ImageRecord {
                id,
                layers,
                manifest: Some(found.manifest),
                created: now,
                platforms: Vec::new(),
            };
            let image = assemble::record(&store, &found.lease, image)?;
            let digest = found.top.digest;
            let named = beside_others(&store, &found.lease, (&reference, digest), &image)?;
            match ImageName::new(reference.clone()) {
                Ok(name) => {
                    let record = RefRecord { image: named, manifest: Some(digest), tagged_at: now };
                    store.set_name(&name, &record)?;
                }
                Err(_) => store.set_pin(&reference, &found.top.bytes, named, now)?,
            }
            Ok(Pulled { image, digest })
        })
        .await
    }

    /// The manifest for `platform`, kept as a blob with the indexes that led to it.
    async fn find_manifest(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<FoundManifest, ImageError> {
        let mut wanted = reference.clone();
        let (mut top, mut size) = (None, None);
        for _ in 0..DEPTH_LIMIT {
            let fetched = self.client.fetch_manifest(&wanted).await?;
            check_size(&wanted, &fetched, size)?;
            self.store.put_blob(&fetched.bytes)?;
            let subject = || reference.familiar();
            let parsed =
                ManifestOrIndex::from_json(&fetched.bytes, Some(&fetched.media_type)).map_err(|source| {
                    ImageError::Document { subject: format!("manifest of {}", subject()), source }
                })?;
            match parsed {
                ManifestOrIndex::Manifest(manifest) => {
                    let digest = fetched.digest;
                    return Ok(FoundManifest { top: top.unwrap_or(fetched), manifest, digest });
                }
                ManifestOrIndex::Index(index) => {
                    let chosen = choose(&index, platform, &subject())?;
                    size = Some(chosen.size);
                    wanted = reference.with_digest(chosen.digest);
                    top.get_or_insert(fetched);
                }
            }
        }
        Err(ImageError::IndexDepth { subject: reference.familiar() })
    }

    /// The config of an image of the repository of `reference`. Must run in a tokio runtime.
    ///
    /// # Errors
    /// [`ImageError::Registry`]; [`ImageError::TooLong`] for one that no image has; an I/O error of the store.
    pub async fn fetch_config(
        &self,
        reference: &Reference,
        config: &Descriptor,
    ) -> Result<Vec<u8>, ImageError> {
        // a damaged one is fetched again
        if let Ok(Some(bytes)) = self.store.blob(&config.digest) {
            // counts as written now, so that it stays
            self.store.put_blob(&bytes)?;
            return Ok(bytes);
        }
        if config.size > CONFIG_LIMIT {
            let subject = format!("config of {}", reference.familiar());
            return Err(ImageError::TooLong { subject, size: config.size, limit: CONFIG_LIMIT });
        }
        let mut stream = self.client.fetch_blob(reference, config).await?;
        let mut bytes = Vec::with_capacity(config.size as usize);
        while let Some(piece) = stream.next_chunk().await? {
            bytes.extend_from_slice(&piece);
        }
        self.store.put_blob(&bytes)?;
        Ok(bytes)
    }
}

/// Refuses a manifest that is longer or shorter than the index that led to it says.
fn check_size(
    reference: &Reference,
    fetched: &FetchedManifest,
    expected: Option<u64>,
) -> Result<(), ImageError> {
    let found = fetched.bytes.len() as u64;
    match expected.filter(|expected| *expected != found) {
        None => Ok(()),
        Some(expected) => {
            let host = reference.domain().to_owned();
            Err(RegistryError::SizeMismatch { host, digest: fetched.digest, expected, found }.into())
        }
    }
}

/// The layers of image `id`, lowest first, held by `lease`: those of its record, or known ones, or new ones that are
/// elsewhere.
fn known_stack(
    store: &Store,
    lease: &Lease,
    id: &ImageId,
    remotes: Vec<RemoteLayer>,
) -> Result<Vec<LayerId>, ImageError> {
    let diff_ids: Vec<DiffId> = remotes.iter().map(|remote| remote.diff_id).collect();
    let known = match recorded_stack(store, lease, id)? {
        Some(layers) => layers.into_iter().map(Some).collect(),
        None => known_layers::find(store, lease, &diff_ids)?,
    };
    let chains = ChainId::each(&diff_ids);
    let wanted = remotes.into_iter().zip(chains.into_iter().map(Some));
    known_layers::or_elsewhere(store, lease, known.into_iter().zip(wanted))
}

/// What the name `reference` is to lead to when the registry has `top` under it: `image`, or an image for several platforms
/// when the same index has led to images for others before. A build for several platforms needs them all, and so does one for
/// another platform than the one before it.
fn beside_others(
    store: &Store,
    lease: &Lease,
    (reference, top): (&Reference, Digest),
    image: &ImageRecord,
) -> Result<ImageId, ImageError> {
    let known = store.reference(reference)?.filter(|known| known.manifest == Some(top));
    let Some(known) = known.filter(|known| known.image != image.id) else { return Ok(image.id) };
    let Some(record) = store.image(&known.image)? else { return Ok(image.id) };
    let others = if record.platforms.is_empty() {
        vec![record.id]
    } else {
        record.platforms.iter().map(|one| one.image).collect()
    };
    let mut images = Vec::new();
    for other in others.into_iter().filter(|other| *other != image.id) {
        images.extend(lease.hold_image(&other)?);
    }
    if images.is_empty() {
        return Ok(image.id);
    }
    images.push(image.clone());
    Ok(several_platforms::record_several(store, lease, ImageId::from_digest(top), &images)?.id)
}

/// The layers of image `id` as recorded, if they are all there. The same ids as before let cached steps be found.
fn recorded_stack(store: &Store, lease: &Lease, id: &ImageId) -> Result<Option<Vec<LayerId>>, ImageError> {
    let Some(image) = store.image(id)? else { return Ok(None) };
    let layers: Vec<LayerId> = image.layers.iter().map(|layer| layer.layer).collect();
    let there = lease.hold(&layers, &[])?.is_empty();
    Ok((there && layers.iter().all(|layer| known_layers::is_whole(store, layer))).then_some(layers))
}
