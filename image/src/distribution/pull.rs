//! Pulling an image: the manifest, the entry for the platform, the config, and those layers the store lacks.
//!
//! A layer goes straight from the network through verification to a thread that keeps the compressed blob, decompresses,
//! hashes and unpacks it; two are under way at a time, and the network waits when the disk is slower.

use crate::{
    ImageError, ImageEvent, Keep, PendingLayer, assemble,
    event::OnEvent,
    known_layers::{self, Known},
    platform_choice::{DEPTH_LIMIT, choose},
    unpack_layer,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use rbuild_cache::{ImageLayer, ImageRecord, LayerId, Lease, RefRecord, Store};
use rbuild_oci::{
    Descriptor, DiffId, Digest, ImageConfig, ImageId, ImageName, Manifest, ManifestOrIndex, Platform,
    Reference, Timestamp,
};
use rbuild_registry::{Client, FetchedManifest};
use std::{
    io::{self, Read},
    sync::Arc,
};
use tokio::sync::{Semaphore, mpsc};

/// Layers under way at a time: more would take memory, and hardly be faster on a few cores.
const LAYERS_AT_ONCE: usize = 2;

/// Pieces of a layer (of some 16 KiB) that may wait for the disk.
const PIECES_AHEAD: usize = 64;

/// Bytes between two progress events.
const PROGRESS_STEP: u64 = 256 << 10;

/// The longest config accepted.
const CONFIG_LIMIT: u64 = 16 << 20;

/// An image that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageRecord,
    /// Digest of what the registry has under the reference, a manifest or an index.
    pub digest: Digest,
}

/// Pulls what `reference` names for `platform` and points the reference at it. Must run in a tokio runtime.
///
/// # Errors
/// [`ImageError::Registry`], [`ImageError::NoPlatform`], [`ImageError::WrongLayer`], what [`crate::apply_tar`] finds in a
/// layer; an I/O error of the store.
pub async fn pull(
    store: &Store,
    client: &Client,
    reference: &Reference,
    platform: &Platform,
    on_event: OnEvent<'_>,
) -> Result<Pulled, ImageError> {
    // before anything is written: what is younger than a lease is not collected
    let lease = Arc::new(store.lease()?);
    let found = find_manifest(store, client, reference, platform).await?;
    let config = fetch_config(store, client, reference, &found.manifest.config).await?;
    let parsed = ImageConfig::from_json(&config)
        .map_err(|source| ImageError::Document { subject: format!("config of {reference}"), source })?;
    let diff_ids = &parsed.rootfs.diff_ids;
    if diff_ids.len() != found.manifest.layers.len() {
        let (subject, layers) = (reference.to_string(), found.manifest.layers.len());
        return Err(ImageError::LayerCount { subject, layers, diff_ids: diff_ids.len() });
    }
    let pulling = Pulling { store, client, reference, on_event, lease: Arc::clone(&lease) };
    let layers = pulling.layers(&found.manifest.layers, diff_ids).await?;
    let now = Timestamp::from(store.now());
    let id = ImageId::from_digest(Digest::of(&config));
    let image = ImageRecord { id, layers, manifest: Some(found.manifest_digest), created: now };
    let (store, reference, top) = (store.clone(), reference.clone(), found.top);
    let digest = top.digest;
    let image = blocking("recording an image", move || {
        let image = assemble::record(&store, image)?;
        match ImageName::new(reference.clone()) {
            Ok(name) => {
                store.set_name(&name, &RefRecord { image: id, manifest: Some(digest), tagged_at: now })?;
            }
            Err(_) => store.set_pin(&reference, &top.bytes, id, now)?,
        }
        Ok(image)
    })
    .await?;
    drop(lease);
    on_event(ImageEvent::Manifest { digest });
    Ok(Pulled { image, digest })
}

struct FoundManifest {
    /// What stands under the reference.
    top: FetchedManifest,
    manifest: Manifest,
    manifest_digest: Digest,
}

/// The manifest for `platform`, kept as a blob with the indexes that led to it.
async fn find_manifest(
    store: &Store,
    client: &Client,
    reference: &Reference,
    platform: &Platform,
) -> Result<FoundManifest, ImageError> {
    let mut wanted = reference.clone();
    let mut top = None;
    for _ in 0..DEPTH_LIMIT {
        let fetched = client.fetch_manifest(&wanted).await?;
        store.put_blob(&fetched.bytes)?;
        let subject = || reference.familiar();
        let parsed =
            ManifestOrIndex::from_json(&fetched.bytes, Some(&fetched.media_type)).map_err(|source| {
                ImageError::Document { subject: format!("manifest of {}", subject()), source }
            })?;
        match parsed {
            ManifestOrIndex::Manifest(manifest) => {
                let manifest_digest = fetched.digest;
                return Ok(FoundManifest { top: top.unwrap_or(fetched), manifest, manifest_digest });
            }
            ManifestOrIndex::Index(index) => {
                wanted = reference.with_digest(choose(&index, platform, &subject())?.digest);
                top.get_or_insert(fetched);
            }
        }
    }
    Err(ImageError::IndexDepth { subject: reference.familiar() })
}

async fn fetch_config(
    store: &Store,
    client: &Client,
    reference: &Reference,
    config: &Descriptor,
) -> Result<Vec<u8>, ImageError> {
    // a damaged one is fetched again
    if let Ok(Some(bytes)) = store.blob(&config.digest) {
        // counts as written now, so that it stays
        store.put_blob(&bytes)?;
        return Ok(bytes);
    }
    if config.size > CONFIG_LIMIT {
        let subject = format!("config of {}", reference.familiar());
        return Err(ImageError::TooLong { subject, size: config.size, limit: CONFIG_LIMIT });
    }
    let mut stream = client.fetch_blob(reference, config).await?;
    let mut bytes = Vec::with_capacity(config.size as usize);
    while let Some(piece) = stream.next_chunk().await? {
        bytes.extend_from_slice(&piece);
    }
    store.put_blob(&bytes)?;
    Ok(bytes)
}

struct Pulling<'a> {
    store: &'a Store,
    client: &'a Client,
    reference: &'a Reference,
    on_event: OnEvent<'a>,
    lease: Arc<Lease>,
}

impl Pulling<'_> {
    /// The image's layers, all in the store.
    async fn layers(
        self,
        descriptors: &[Descriptor],
        diff_ids: &[DiffId],
    ) -> Result<Vec<ImageLayer>, ImageError> {
        let known = known_layers::find(self.store, &self.lease, diff_ids)?;
        let turns = Semaphore::new(LAYERS_AT_ONCE);
        let mut parts = Vec::with_capacity(known.len());
        for ((descriptor, diff_id), known) in descriptors.iter().zip(diff_ids).zip(&known) {
            if known.is_some() {
                (self.on_event)(ImageEvent::LayerExists { digest: descriptor.digest });
            }
            parts.push(async {
                if known.is_some() {
                    return Ok(None);
                }
                // the semaphore is never closed
                let _turn = turns.acquire().await.ok();
                self.layer(descriptor, *diff_id).await.map(Some)
            });
        }
        let pending = try_join_all(parts).await?;
        let plan: Vec<_> = known.into_iter().zip(pending).collect();
        let (store, lease) = (self.store.clone(), self.lease);
        let (descriptors, diff_ids) = (descriptors.to_vec(), diff_ids.to_vec());
        let (layers, notes) =
            blocking("committing layers", move || commit(&store, &lease, plan, &descriptors, &diff_ids))
                .await?;
        for (digest, note) in notes {
            (self.on_event)(ImageEvent::LayerNote { digest, note });
        }
        Ok(layers)
    }

    /// Fetches and unpacks one layer.
    async fn layer(&self, descriptor: &Descriptor, diff_id: DiffId) -> Result<PendingLayer, ImageError> {
        let digest = descriptor.digest;
        (self.on_event)(ImageEvent::LayerStarted { digest, size: Some(descriptor.size) });
        let (store, keep) = (self.store.clone(), Keep::Blob(descriptor.clone()));
        let pending = if self.store.has_blob(&digest, descriptor.size) {
            // left by a pull that was interrupted, or its layer was collected
            let Some(blob) = self.store.open_blob(&digest)? else {
                return Err(ImageError::Worker { task: "reading a kept blob" });
            };
            blocking("unpacking a layer", move || unpack_layer(&store, blob, &keep)).await?
        } else {
            let (pieces, waiting) = mpsc::channel(PIECES_AHEAD);
            let source = Pieces { waiting, current: Bytes::new(), ended: false };
            let unpacking = blocking("unpacking a layer", move || unpack_layer(&store, source, &keep));
            let (received, unpacked) = tokio::join!(self.receive(descriptor, pieces), unpacking);
            // a failed transfer is why the unpacking failed; a failed unpacking is no reason for a transfer to fail
            received?;
            unpacked?
        };
        if pending.diff_id() != diff_id {
            let (name, found) = (digest.to_string(), pending.diff_id());
            return Err(ImageError::WrongLayer { name, expected: diff_id, found });
        }
        (self.on_event)(ImageEvent::LayerDone { digest });
        Ok(pending)
    }

    /// Moves a blob from the network to the unpacking thread. That thread may end first, which it will explain itself.
    async fn receive(
        &self,
        descriptor: &Descriptor,
        pieces: mpsc::Sender<Option<Bytes>>,
    ) -> Result<(), ImageError> {
        let mut stream = self.client.fetch_blob(self.reference, descriptor).await?;
        let (digest, mut bytes, mut told) = (descriptor.digest, 0, 0);
        while let Some(piece) = stream.next_chunk().await? {
            bytes += piece.len() as u64;
            if pieces.send(Some(piece)).await.is_err() {
                return Ok(());
            }
            if bytes - told >= PROGRESS_STEP {
                told = bytes;
                (self.on_event)(ImageEvent::LayerProgress { digest, bytes });
            }
        }
        // without this the end of the channel is the end of a broken transfer
        let _ = pieces.send(None).await;
        Ok(())
    }
}

type Planned = (Option<LayerId>, Option<PendingLayer>);
type Notes = Vec<(Digest, crate::Note)>;

/// Gives the new layers their names, lowest first.
fn commit(
    store: &Store,
    lease: &Lease,
    plan: Vec<Planned>,
    descriptors: &[Descriptor],
    diff_ids: &[DiffId],
) -> Result<(Vec<ImageLayer>, Notes), ImageError> {
    let chains = known_layers::chains(diff_ids);
    let (mut stack, mut layers, mut fresh, mut notes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (at, (known, pending)) in plan.into_iter().enumerate() {
        let layer = match (known, pending) {
            (Some(layer), _) => layer,
            (None, None) => return Err(ImageError::Worker { task: "pulling a layer" }),
            (None, Some(pending)) => {
                let applied = pending.commit(lease, &stack)?;
                fresh.push(if applied.depends_on_lower {
                    Known::on_its_chain(applied.layer, chains[at])
                } else {
                    Known::anywhere(applied.layer, applied.diff_id)
                });
                notes.extend(applied.notes.into_iter().map(|note| (descriptors[at].digest, note)));
                applied.layer
            }
        };
        stack.push(layer);
        let described = assemble::image_layer(store, &layer)?;
        // known or not, this is the form the registry has it in
        layers.push(ImageLayer { blob: Some(descriptors[at].clone()), ..described });
    }
    known_layers::remember(store, &fresh);
    Ok((layers, notes))
}

/// Runs `work` on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    task: &'static str,
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ImageError::Worker { task })?
}

/// The pieces of a blob as a reader, for a thread outside the runtime.
struct Pieces {
    waiting: mpsc::Receiver<Option<Bytes>>,
    current: Bytes,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.waiting.blocking_recv() {
                Some(Some(piece)) => self.current = piece,
                Some(None) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = self.current.len().min(into.len());
        into[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
