//! Pushing an image: its layers as compressed blobs, then config and manifest.
//!
//! What the registry has is not sent, and what it is known to have is not even compressed: a layer pulled from a registry
//! keeps its blob's digest, and the descriptor of every layer compressed once is memoised. So the manifest of an image
//! pushed before is known beforehand, and one request finds that nothing is to be done. A layer that is elsewhere is taken
//! from another repository of the same registry, or else streamed from its registry without being stored here.

mod send;

use super::RemoteImages;
use crate::{
    ImageError, ImageEvent,
    event::OnEvent,
    form::ImageForm,
    layer::{Packing, recall_compressed},
    several_platforms,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use rbuild_cache::{ImageLayer, ImageRecord, Lease, RefRecord, Store};
use rbuild_oci::{Descriptor, DiffId, Digest, ImageName, ManifestOrIndex, MediaType, Reference};
use rbuild_registry::{BlobBody, BlobUpload, Client};
use std::{collections::HashMap, sync::OnceLock};
use tokio::sync::Semaphore;

/// Layers under way at a time. Each compresses on all cores; more would only wait for them.
const LAYERS_AT_ONCE: usize = 2;

/// Where a pushed manifest is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushedAs {
    /// Under the name's tag.
    Tag,
    /// Under its digest in the name's repository; the tag is left alone.
    Digest,
}

impl RemoteImages {
    /// Pushes the image as `name`, in `form`; what leads to it comes last. One for several platforms becomes an index of its
    /// images, `platforms`. Returns the descriptor of the manifest or the index. Must run in a tokio runtime.
    ///
    /// # Errors
    /// [`ImageError::Registry`]; [`ImageError::LayerDamaged`] for a layer that is not what it was;
    /// [`ImageError::FetchLayer`] for one that is elsewhere and cannot be had; an I/O error of the store.
    pub async fn push(
        &self,
        (image, platforms): (&ImageRecord, &[ImageRecord]),
        (name, place): (&ImageName, PushedAs),
        form: &ImageForm,
        on_event: OnEvent<'_>,
    ) -> Result<Descriptor, ImageError> {
        let packing = &form.packing;
        let pushing = Pushing {
            store: &self.store,
            client: &self.client,
            name,
            reference: name.as_reference(),
            place,
            form,
            on_event,
            memo: recall_compressed(&self.store, unpacked(image, packing), packing.compression),
            repositories: OnceLock::new(),
        };
        let lease = self.store.lease()?;
        hold(&lease, image)?;
        let (media_type, bytes) = match platforms {
            [] => pushing.image(image, place).await?,
            platforms => pushing.index(platforms).await?,
        };
        pushing.done(image, media_type, &bytes)
    }

    /// Asks whether the registry lets this client push `name`, before anything is made. Nothing is sent. Must run in a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`ImageError::Registry`] when it does not, or cannot be reached.
    pub async fn check_push(&self, name: &ImageName) -> Result<(), ImageError> {
        Ok(self.client.check_push(name.as_reference()).await?)
    }
}

fn hold(lease: &Lease, image: &ImageRecord) -> Result<(), ImageError> {
    let layers: Vec<_> = image.layers.iter().map(|layer| layer.layer).collect();
    let blobs: Vec<_> =
        image.layers.iter().filter_map(|layer| layer.blob.as_ref().map(|blob| blob.digest)).collect();
    // a missing blob can be made again, and a missing layer is an error when it is needed
    lease.hold(&layers, &blobs)?;
    Ok(())
}

pub(super) struct Pushing<'a> {
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
    pub(super) name: &'a ImageName,
    /// The same, for the registry.
    pub(super) reference: &'a Reference,
    pub(super) place: PushedAs,
    pub(super) form: &'a ImageForm,
    pub(super) on_event: OnEvent<'a>,
    /// The blobs to which layers were compressed before, by DiffId.
    pub(super) memo: HashMap<DiffId, Descriptor>,
    /// Other repositories of the registry, by a layer they have; looked for when a layer is missing.
    pub(super) repositories: OnceLock<HashMap<DiffId, String>>,
}

impl Pushing<'_> {
    /// Where the document `bytes` is to be found.
    fn at(&self, place: PushedAs, bytes: &[u8]) -> Reference {
        match place {
            PushedAs::Tag => self.reference.clone(),
            PushedAs::Digest => self.reference.with_digest(Digest::of(bytes)),
        }
    }

    /// Sends the image with its manifest, which is returned.
    async fn image(&self, image: &ImageRecord, place: PushedAs) -> Result<(MediaType, Vec<u8>), ImageError> {
        if let Some(planned) = self.planned(image)
            && let Ok((media_type, bytes)) = self.manifest(image, &planned)
            && self.is_known(place, &bytes).await
        {
            for layer in &image.layers {
                (self.on_event)(ImageEvent::LayerExists { digest: *layer.diff_id.as_digest() });
            }
            return Ok((media_type, bytes));
        }
        let (layers, config) = tokio::join!(self.layers(&image.layers), self.config(image));
        let (media_type, bytes) = self.manifest(image, &layers?)?;
        config?;
        let sent = Bytes::from(bytes.clone());
        self.client.put_manifest(&self.at(place, &bytes), &media_type, sent).await?;
        Ok((media_type, bytes))
    }

    /// True if the registry has this very document there.
    async fn is_known(&self, place: PushedAs, bytes: &[u8]) -> bool {
        let there = self.client.head_manifest(&self.at(place, bytes)).await;
        matches!(there, Ok(head) if head.digest == Digest::of(bytes))
    }

    /// Sends the images and the index of them, which is returned.
    async fn index(&self, images: &[ImageRecord]) -> Result<(MediaType, Vec<u8>), ImageError> {
        let mut entries = Vec::with_capacity(images.len());
        for image in images {
            let (media_type, bytes) = self.image(image, PushedAs::Digest).await?;
            let mut entry = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
            entry.platform = Some(several_platforms::config(self.store, image)?.1.platform());
            entries.push(entry);
        }
        let (media_type, bytes) = self.form.index(entries);
        if !self.is_known(self.place, &bytes).await {
            let sent = Bytes::from(bytes.clone());
            self.client.put_manifest(&self.at(self.place, &bytes), &media_type, sent).await?;
        }
        Ok((media_type, bytes))
    }

    /// The compressed form of every layer, when all are known.
    fn planned(&self, image: &ImageRecord) -> Option<Vec<Descriptor>> {
        image.layers.iter().map(|layer| self.known_form(layer).cloned()).collect()
    }

    fn known_form<'a>(&'a self, layer: &'a ImageLayer) -> Option<&'a Descriptor> {
        let kept = layer.blob.as_ref().filter(|blob| self.form.packing.keeps(blob));
        kept.or_else(|| self.memo.get(&layer.diff_id))
    }

    /// The manifest of these layers: the one the image was pulled with if it fits, byte for byte, otherwise a new one.
    fn manifest(
        &self,
        image: &ImageRecord,
        layers: &[Descriptor],
    ) -> Result<(MediaType, Vec<u8>), ImageError> {
        if let Some(digest) = &image.manifest
            && self.form.keeps_manifests()
            && let Ok(Some(bytes)) = self.store.blob(digest)
            && let Ok(ManifestOrIndex::Manifest(kept)) = ManifestOrIndex::from_json(&bytes, None)
            && kept.config.digest == *image.id.as_digest()
            && kept.layers.iter().map(|layer| layer.digest).eq(layers.iter().map(|layer| layer.digest))
        {
            return Ok((kept.media_type, bytes));
        }
        let digest = *image.id.as_digest();
        let missing = || ImageError::BlobMissing { kind: "config", digest, image: image.id };
        let size = self.store.blob_size(&digest).ok_or_else(missing)?;
        let config = Descriptor::new(MediaType::OciConfig, digest, size);
        // the config is read only where something depends on it
        let has_own = self.form.annotations.platforms().next().is_some();
        let platform = has_own.then(|| several_platforms::config(self.store, image)).transpose()?;
        Ok(self.form.manifest(&config, layers, platform.map(|(_, config)| config.platform()).as_ref()))
    }

    /// Brings all layers into the repository.
    async fn layers(&self, layers: &[ImageLayer]) -> Result<Vec<Descriptor>, ImageError> {
        let turns = Semaphore::new(LAYERS_AT_ONCE);
        // the same layer twice is sent once: the second one finds it there
        let mut first: HashMap<DiffId, usize> = HashMap::new();
        let mut parts = Vec::new();
        // what has to be made begins while the registry is asked about the others
        let (known, unknown): (Vec<_>, Vec<_>) =
            layers.iter().enumerate().partition(|(_, layer)| self.known_form(layer).is_some());
        for (at, layer) in unknown.into_iter().chain(known) {
            if *first.entry(layer.diff_id).or_insert(at) == at {
                parts.push(async {
                    // the semaphore is never closed
                    let _turn = turns.acquire().await.ok();
                    Ok::<_, ImageError>((layer.diff_id, self.layer(layer).await?))
                });
            }
        }
        let sent: HashMap<_, _> = try_join_all(parts).await?.into_iter().collect();
        Ok(layers.iter().filter_map(|layer| sent.get(&layer.diff_id).cloned()).collect())
    }

    pub(super) async fn layer(&self, layer: &ImageLayer) -> Result<Descriptor, ImageError> {
        let known = self.known_form(layer);
        let digest = known.map_or(*layer.diff_id.as_digest(), |known| known.digest);
        if let Some(known) = known
            && self.is_there(layer, known).await?
        {
            return Ok(known.clone());
        }
        let kept = known.filter(|known| self.store.has_blob(&known.digest, known.size));
        let descriptor = match kept {
            Some(kept) => {
                (self.on_event)(ImageEvent::LayerStarted { digest, size: Some(kept.size) });
                self.send_kept(kept).await?;
                kept.clone()
            }
            None => match self.store.remote_layer(&layer.layer)? {
                Some(remote) if self.form.packing.keeps(&remote.blob) => {
                    let size = Some(remote.blob.size);
                    (self.on_event)(ImageEvent::LayerStarted { digest: remote.blob.digest, size });
                    self.pass_on(&remote).await?;
                    remote.blob
                }
                Some(_) | None => {
                    (self.on_event)(ImageEvent::LayerStarted { digest, size: None });
                    match layer.tar_size {
                        Some(..=send::SMALL_LAYER) => self.send_small(layer).await?,
                        Some(_) | None => self.send_compressed(layer, digest).await?,
                    }
                }
            },
        };
        (self.on_event)(ImageEvent::LayerDone { digest });
        Ok(descriptor)
    }

    /// True if the repository has the blob, or if the registry mounted it from another repository.
    async fn is_there(&self, layer: &ImageLayer, known: &Descriptor) -> Result<bool, ImageError> {
        let digest = known.digest;
        if self.client.blob_exists(self.reference, &digest).await? {
            (self.on_event)(ImageEvent::LayerExists { digest });
            return Ok(true);
        }
        let Some(from) = self.other_repository(layer)? else { return Ok(false) };
        let outcome = self.client.mount_blob(self.reference, &digest, &from).await?;
        if outcome == rbuild_registry::MountOutcome::Mounted {
            (self.on_event)(ImageEvent::LayerMounted { digest, from });
            return Ok(true);
        }
        Ok(false)
    }

    /// Another repository of the registry that should have the layer: one whose image has a name here, or the one from
    /// which the layer, because it is elsewhere, can be fetched.
    fn other_repository(&self, layer: &ImageLayer) -> Result<Option<String>, ImageError> {
        let known = match self.repositories.get() {
            Some(known) => known,
            None => {
                let found = repositories(self.store, self.reference)?;
                self.repositories.get_or_init(|| found)
            }
        };
        if let Some(path) = known.get(&layer.diff_id) {
            return Ok(Some(path.clone()));
        }
        let Some(remote) = self.store.remote_layer(&layer.layer)? else { return Ok(None) };
        let other = remote.origin.registry().filter(|origin| {
            origin.domain() == self.reference.domain() && origin.path() != self.reference.path()
        });
        Ok(other.map(|origin| origin.path().to_owned()))
    }

    async fn config(&self, image: &ImageRecord) -> Result<(), ImageError> {
        let digest = *image.id.as_digest();
        // the config of an image with a layer that was never sent is new, too
        if self.planned(image).is_some() && self.client.blob_exists(self.reference, &digest).await? {
            return Ok(());
        }
        let missing = || ImageError::BlobMissing { kind: "config", digest, image: image.id };
        let bytes = Bytes::from(self.store.blob(&digest)?.ok_or_else(missing)?);
        let descriptor = Descriptor::new(MediaType::OciConfig, digest, bytes.len() as u64);
        let upload = BlobUpload { descriptor: &descriptor, mount_from: None };
        self.client.upload_blob(self.reference, upload, || BlobBody::from_bytes(bytes.clone())).await?;
        Ok(())
    }

    /// Keeps the manifest, and notes it with the name when that is the image's here too.
    fn done(
        &self,
        image: &ImageRecord,
        media_type: MediaType,
        bytes: &[u8],
    ) -> Result<Descriptor, ImageError> {
        let digest = self.store.put_blob(bytes)?;
        if self.place == PushedAs::Tag
            && let Some(record) = self.store.reference(self.reference)?
            && record.image == image.id
        {
            self.store.set_name(self.name, &RefRecord { manifest: Some(digest), ..record })?;
        }
        (self.on_event)(ImageEvent::Manifest { digest });
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }
}

/// The layers that have no blob to leave as.
fn unpacked<'a>(image: &'a ImageRecord, packing: &Packing) -> impl Iterator<Item = &'a ImageLayer> {
    let kept = |layer: &&ImageLayer| layer.blob.as_ref().is_some_and(|blob| packing.keeps(blob));
    image.layers.iter().filter(move |layer| !kept(layer))
}

/// The layers of what was resolved at or pushed to other repositories of the same registry.
fn repositories(store: &Store, reference: &Reference) -> Result<HashMap<DiffId, String>, ImageError> {
    let mut found = HashMap::new();
    for (other, record) in store.names()? {
        if other.domain() != reference.domain()
            || other.path() == reference.path()
            || record.manifest.is_none()
        {
            continue;
        }
        let Ok(Some(image)) = store.image(&record.image) else { continue };
        for layer in image.layers {
            found.entry(layer.diff_id).or_insert_with(|| other.path().to_owned());
        }
    }
    Ok(found)
}
