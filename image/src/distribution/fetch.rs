//! Fetching layers that are elsewhere.
//!
//! A layer goes straight from the network through verification to a thread that keeps the compressed blob, decompresses,
//! hashes and unpacks it; a few are under way at a time, and the network waits when the disk is slower. Nothing counts before
//! all of it is right and on the disk: until then the layers stay elsewhere.

use super::{RemoteImages, blocking, patience::Patience};
use crate::{
    BlobRetention, ImageError, ImageEvent, Layout, PendingLayer,
    event::OnEvent,
    known_layers::{self, KnownLayer},
    unpack_layer,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use rbuild_cache::{LayerId, LayerLock, LayerOrigin, Lease, RemoteLayer, Store, StoreError};
use rbuild_oci::{Digest, Reference};
use rbuild_registry::BlobStart;
use std::{
    collections::HashSet,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};
use tokio::sync::mpsc;

/// Pieces of a layer (of some 16 KiB) that may wait for the disk.
const PIECES_AHEAD: usize = 64;

/// Bytes between two progress events.
const PROGRESS_STEP: u64 = 256 << 10;

/// A compressed layer and its files together take about so many times its length.
const UNPACKED: u64 = 4;

/// The longest pause between two looks at a lock that another fetch holds.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A layer to fetch, locked.
struct Wanted {
    /// Its place in the stack.
    at: usize,
    lock: LayerLock,
    remote: RemoteLayer,
}

impl RemoteImages {
    /// The topmost of those layers of `stack` that are elsewhere; `None` when all are here.
    ///
    /// # Errors
    /// When a layer is not in the store.
    pub fn elsewhere(&self, stack: &[LayerId]) -> Result<Option<RemoteLayer>, ImageError> {
        for layer in stack.iter().rev() {
            if let Some(remote) = self.store.remote_layer(layer)? {
                return Ok(Some(remote));
            }
        }
        Ok(None)
    }

    /// Brings the files of all layers of `stack`, lowest first, into the store; those that are there cost one read each.
    /// Waits for a layer that another fetch is bringing. Must run in a tokio runtime.
    ///
    /// # Errors
    /// [`ImageError::FetchLayer`] for a layer that cannot be had or is not what it should be; an I/O error of the store.
    pub async fn fetch_layers(&self, stack: &[LayerId], on_event: OnEvent<'_>) -> Result<(), ImageError> {
        let mut places = Vec::new();
        let mut seen = HashSet::new();
        for (at, layer) in stack.iter().enumerate() {
            if seen.insert(layer) && self.store.remote_layer(layer)?.is_some() {
                places.push(at);
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let lease = self.store.lease()?;
        if let Some(layer) = lease.hold(stack, &[])?.layers.first() {
            return Err(StoreError::LayerMissing { layer: layer.to_string() }.into());
        }
        let mut wanted = Vec::with_capacity(places.len());
        for at in places {
            let lock = self.lock(&stack[at]).await?;
            if let Some(remote) = self.store.remote_layer(&stack[at])? {
                wanted.push(Wanted { at, lock, remote });
            }
        }
        let packed: u64 = wanted.iter().map(|wanted| wanted.remote.blob.size).sum();
        let room = self.store.clone();
        blocking("making room", move || Ok(room.make_room(packed.saturating_mul(UNPACKED))?)).await?;
        let parts = wanted.iter().map(|wanted| self.unpacked(&wanted.remote, on_event));
        let pending = try_join_all(parts).await?;
        let (store, stack) = (self.store.clone(), stack.to_vec());
        let fetched = wanted.into_iter().zip(pending).collect();
        let notes = blocking("keeping layers", move || fill(&store, lease, &stack, fetched)).await?;
        for (digest, note) in notes {
            on_event(ImageEvent::LayerNote { digest, note });
        }
        Ok(())
    }

    /// Waits for the lock of a layer. It polls, because a blocking flock(2) cannot be cancelled.
    async fn lock(&self, layer: &LayerId) -> Result<LayerLock, ImageError> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = self.store.try_lock_layer(layer)? {
                return Ok(lock);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Fetches and unpacks one layer, when it is its turn.
    async fn unpacked(
        &self,
        remote: &RemoteLayer,
        on_event: OnEvent<'_>,
    ) -> Result<PendingLayer, ImageError> {
        // the semaphore is never closed
        let turn = self.turns.acquire().await.ok();
        let unpacked = self.unpack(remote, on_event).await;
        drop(turn);
        unpacked.map_err(|source| ImageError::fetch_layer(remote, source))
    }

    async fn unpack(&self, remote: &RemoteLayer, on_event: OnEvent<'_>) -> Result<PendingLayer, ImageError> {
        let descriptor = &remote.blob;
        let digest = descriptor.digest;
        on_event(ImageEvent::LayerStarted { digest, size: Some(descriptor.size) });
        let (store, keep) = (self.store.clone(), BlobRetention::Download(descriptor.clone()));
        let pending = if self.store.has_blob(&digest, descriptor.size) {
            // another layer's, or left by a fetch that was interrupted
            let Some(blob) = self.store.open_blob(&digest)? else {
                return Err(ImageError::Worker { task: "reading a kept blob" });
            };
            blocking("unpacking a layer", move || unpack_layer(&store, blob, &keep)).await?
        } else {
            match &remote.origin {
                LayerOrigin::Registry(reference) => {
                    self.unpack_download((reference, remote), keep, on_event).await?
                }
                LayerOrigin::Bucket { bucket } => {
                    return Err(ImageError::BucketNotGiven { bucket: bucket.clone() });
                }
                LayerOrigin::Layout { layout } => {
                    let (layout, wanted) = (PathBuf::from(layout), descriptor.clone());
                    // like any blob of the store from here on: checked against its digest and its length
                    let keep = BlobRetention::Blob(wanted.clone());
                    blocking("unpacking a layer", move || {
                        let blob = Layout::open(&layout)?.blob(&wanted)?;
                        unpack_layer(&store, blob, &keep)
                    })
                    .await?
                }
            }
        };
        if pending.diff_id() != remote.diff_id {
            let (name, expected, found) = (digest.to_string(), remote.diff_id, pending.diff_id());
            return Err(ImageError::WrongLayer { name, expected, found });
        }
        on_event(ImageEvent::LayerDone { digest });
        Ok(pending)
    }

    /// Unpacks a layer while its blob arrives, after the part that a broken download has left.
    async fn unpack_download(
        &self,
        (reference, remote): (&Reference, &RemoteLayer),
        keep: BlobRetention,
        on_event: OnEvent<'_>,
    ) -> Result<PendingLayer, ImageError> {
        let digest = remote.blob.digest;
        let left = self.store.take_partial_blob(&digest)?.filter(|(_, length)| *length < remote.blob.size);
        let offset = left.as_ref().map_or(0, |(_, length)| *length);
        let (pieces, waiting) = mpsc::channel(PIECES_AHEAD);
        let rest = Pieces { waiting, current: Bytes::new(), ended: false };
        let store = self.store.clone();
        let unpacking = blocking("unpacking a layer", move || match left {
            Some((beginning, _)) => unpack_layer(&store, beginning.chain(rest), &keep),
            None => unpack_layer(&store, rest, &keep),
        });
        let (received, unpacked) =
            tokio::join!(self.receive((reference, remote), (offset, pieces), on_event), unpacking);
        // the transfer's error comes first, because a broken transfer makes the unpacking fail as well
        received?;
        if unpacked.is_err() {
            // what arrived is of no use, or there is no room for it
            self.store.drop_partial_blob(&digest);
        }
        unpacked
    }

    /// Moves a blob, from byte `offset` on, from the network to the unpacking thread. When that thread ends first, its own
    /// error says why.
    async fn receive(
        &self,
        (reference, RemoteLayer { blob, found_in, .. }): (&Reference, &RemoteLayer),
        (offset, pieces): (u64, mpsc::Sender<Option<Bytes>>),
        on_event: OnEvent<'_>,
    ) -> Result<(), ImageError> {
        // the writer of the blob checks its digest; a tar that is not compressed is checked by its DiffId
        let start = BlobStart::SizeOnly { offset };
        let mut patience = Patience::with(reference.domain(), *found_in, self.client.stall_limit());
        let mut stream = patience.wait(self.client.fetch_blob_from(reference, blob, start)).await?;
        let (digest, mut bytes, mut reported) = (blob.digest, offset, offset);
        while let Some(piece) = patience.wait(stream.next_chunk()).await? {
            patience.moved(piece.len() as u64);
            bytes += piece.len() as u64;
            if pieces.send(Some(piece)).await.is_err() {
                return Ok(());
            }
            if bytes - reported >= PROGRESS_STEP {
                reported = bytes;
                on_event(ImageEvent::LayerProgress { digest, bytes });
            }
        }
        // without this the end of the channel is the end of a broken transfer
        let _ = pieces.send(None).await;
        Ok(())
    }
}

/// Puts the fetched layers of `stack` in their places, lowest first, and lets them count when all are on the disk.
fn fill(
    store: &Store,
    // held until the layers count
    _lease: Lease,
    stack: &[LayerId],
    fetched: Vec<(Wanted, PendingLayer)>,
) -> Result<Vec<(Digest, crate::Note)>, ImageError> {
    let (mut filled, mut anywhere, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (Wanted { at, lock, remote }, pending) in fetched {
        let layer = pending.fill(lock, &stack[..at])?;
        if !layer.depends_on_lower {
            anywhere.push(KnownLayer::anywhere(stack[at], remote.diff_id));
        }
        notes.extend(layer.notes.into_iter().map(|note| (remote.blob.digest, note)));
        filled.push(layer.layer);
    }
    store.sync()?;
    for layer in filled {
        layer.finish()?;
    }
    known_layers::remember(store, &anywhere);
    Ok(notes)
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
