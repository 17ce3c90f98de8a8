//! The bytes of a push: layers as they are kept, as they come from another registry, or compressed on the way.
//!
//! An upload that takes time is noted in the store, and the next push of the same bytes goes on with it, if the registry knows
//! it still. A layer that is compressed on the way is made again for that, to the same bytes.

use super::Pushing;
use crate::{
    ImageError, ImageEvent, Layout,
    distribution::blocking,
    layer::{Flow, LayerCompression, compress_layer, remember_compressed},
};
use bytes::Bytes;
use rbuild_cache::{ImageLayer, LayerOrigin, OpenUpload, RemoteLayer, Store};
use rbuild_oci::{Descriptor, Digest, Reference};
use rbuild_registry::{BlobBody, BlobUpload, Client, UploadNotes};
use std::{io, path::Path};
use tokio::sync::{mpsc, oneshot};

/// Pieces of a layer on its way from one registry to another (of some 16 KiB) that may wait for the latter.
const PIECES_AHEAD: usize = 64;

/// The longest tar, in bytes, that is compressed into memory before it is sent.
pub(super) const SMALL_LAYER: u64 = 1 << 20;

/// Compressed blocks (of up to 1 MiB) that may wait for the network.
const BLOCKS_AHEAD: usize = 2;

impl Pushing<'_> {
    pub(super) async fn send_kept(&self, blob: &Descriptor) -> Result<(), ImageError> {
        let open = || match self.store.open_blob(&blob.digest) {
            Ok(Some(reader)) => BlobBody::from_reader(reader),
            // an upload that is shorter than it should be is refused and explained by the registry's client
            Ok(None) | Err(_) => BlobBody::from_bytes(Bytes::new()),
        };
        self.send_blob(blob, open).await
    }

    /// Sends a blob, going on with an earlier push of it that broke off.
    async fn send_blob(&self, blob: &Descriptor, open: impl FnMut() -> BlobBody) -> Result<(), ImageError> {
        let Some(upload) = self.noted(&blob.digest.to_string(), Some(blob.size)) else {
            let upload = BlobUpload { descriptor: blob, mount_from: None };
            self.client.upload_blob(self.reference, upload, open).await?;
            return Ok(());
        };
        let notes = UploadNotes { earlier: upload.earlier(), note: &|location| upload.note(location) };
        self.client.upload_noted_blob(self.reference, blob, notes, open).await?;
        upload.done();
        Ok(())
    }

    /// The note of the upload of `content`; none for one that is sent again at once.
    fn noted(&self, content: &str, size: Option<u64>) -> Option<OpenUpload> {
        let repository = format!("{}/{}", self.reference.domain(), self.reference.path());
        size.is_none_or(|size| size > SMALL_LAYER).then(|| self.store.open_upload(&repository, content))?
    }

    /// Sends the blob of a layer that is elsewhere while it comes from there; nothing of it is kept.
    pub(super) async fn pass_on(&self, remote: &RemoteLayer) -> Result<(), ImageError> {
        let reference = match &remote.origin {
            LayerOrigin::Registry(reference) => reference,
            LayerOrigin::Bucket { bucket } => {
                let source = ImageError::BucketNotGiven { bucket: bucket.clone() };
                return Err(ImageError::fetch_layer(remote, source));
            }
            LayerOrigin::Layout { layout } => {
                let layout = Layout::open(Path::new(layout))?;
                // one that is not there is the first thing to be said
                layout.blob(&remote.blob).map_err(|source| ImageError::fetch_layer(remote, source))?;
                let open = || match layout.blob(&remote.blob) {
                    Ok(blob) => BlobBody::from_reader(blob),
                    // an upload that is shorter than it should be is refused and explained by the registry's client
                    Err(_) => BlobBody::from_bytes(Bytes::new()),
                };
                return self.send_blob(&remote.blob, open).await;
            }
        };
        let open = || {
            let (pieces, body) = mpsc::channel::<io::Result<Bytes>>(PIECES_AHEAD);
            let (client, reference, remote) = (self.client.clone(), reference.clone(), remote.clone());
            tokio::spawn(async move {
                if let Err(source) = pour(&client, (&reference, &remote), &pieces).await {
                    // an upload that has ended needs no reason to
                    let _ = pieces.send(Err(io::Error::other(source))).await;
                }
            });
            BlobBody::from_channel(body)
        };
        self.send_blob(&remote.blob, open).await
    }

    /// Compresses a small layer before sending it, because a blob whose digest is known takes a request less.
    pub(super) async fn send_small(&self, layer: &ImageLayer) -> Result<Descriptor, ImageError> {
        let (store, layer, compression) = (self.store.clone(), layer.clone(), self.form.packing.compression);
        let compressing = blocking("compressing a layer", move || {
            let mut bytes = Vec::new();
            let compressed = compress_and_note(&store, &layer, compression, |block| {
                bytes.extend_from_slice(&block);
                Flow::Continue
            })?;
            Ok((compressed.ok_or(ImageError::Worker { task: "compressing a layer" })?, Bytes::from(bytes)))
        });
        let (descriptor, bytes) = compressing.await?;
        let upload = BlobUpload { descriptor: &descriptor, mount_from: None };
        self.client.upload_blob(self.reference, upload, || BlobBody::from_bytes(bytes.clone())).await?;
        Ok(descriptor)
    }

    /// Compresses a layer while sending it. A broken upload makes it compress again, to the same bytes, of which the
    /// registry gets those it lacks, also when that is a later push.
    pub(super) async fn send_compressed(
        &self,
        layer: &ImageLayer,
        shown: Digest,
    ) -> Result<Descriptor, ImageError> {
        let (moved, mut progress) = mpsc::unbounded_channel();
        let compression = self.form.packing.compression;
        let uploading = async move {
            let mut compressing = None;
            let open = || {
                let (blocks, body) = mpsc::channel::<io::Result<Bytes>>(BLOCKS_AHEAD);
                let (stated, digest) = oneshot::channel();
                let (store, layer, moved) = (self.store.clone(), layer.clone(), moved.clone());
                compressing = Some(tokio::task::spawn_blocking(move || {
                    let mut bytes = 0;
                    let outcome = compress_and_note(&store, &layer, compression, |block| {
                        bytes += block.len() as u64;
                        // an upload that has ended needs no progress
                        let _ = moved.send(bytes);
                        if blocks.blocking_send(Ok(block.into())).is_ok() {
                            Flow::Continue
                        } else {
                            Flow::Stop
                        }
                    });
                    match &outcome {
                        Ok(Some(descriptor)) => drop(stated.send(descriptor.digest)),
                        Ok(None) => {}
                        Err(error) => drop(blocks.blocking_send(Err(io::Error::other(error.to_string())))),
                    }
                    outcome
                }));
                (BlobBody::from_channel(body), digest)
            };
            (self.send_stream(&format!("{} {compression:?}", layer.diff_id), open).await, compressing)
        };
        let reporting = async {
            while let Some(bytes) = progress.recv().await {
                (self.on_event)(ImageEvent::LayerProgress { digest: shown, bytes });
            }
        };
        let ((sent, compressing), ()) = tokio::join!(uploading, reporting);
        let stopped = || ImageError::Worker { task: "compressing a layer" };
        let compressed = match compressing {
            // an error in the layer is why the upload failed
            Some(compressing) => compressing.await.map_err(|_| stopped())??,
            None => None,
        };
        sent?;
        compressed.ok_or_else(stopped)
    }

    /// Sends a blob that is being made of `content`, going on with an earlier push of it that broke off.
    async fn send_stream(
        &self,
        content: &str,
        open: impl FnMut() -> (BlobBody, oneshot::Receiver<Digest>),
    ) -> Result<(), ImageError> {
        let Some(upload) = self.noted(content, None) else {
            self.client.upload_stream(self.reference, open).await?;
            return Ok(());
        };
        let notes = UploadNotes { earlier: upload.earlier(), note: &|location| upload.note(location) };
        self.client.upload_noted_stream(self.reference, notes, open).await?;
        upload.done();
        Ok(())
    }
}

/// Moves the blob of a layer from its registry to `pieces`, until its end or until the other side has gone.
async fn pour(
    client: &Client,
    (reference, remote): (&Reference, &RemoteLayer),
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), ImageError> {
    let moved = async {
        let mut stream = client.fetch_blob(reference, &remote.blob).await?;
        while let Some(piece) = stream.next_chunk().await? {
            if pieces.send(Ok(piece)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    moved.await.map_err(|source| ImageError::fetch_layer(remote, source))
}

/// Compresses a layer, and notes to what.
fn compress_and_note(
    store: &Store,
    layer: &ImageLayer,
    compression: LayerCompression,
    take: impl FnMut(Vec<u8>) -> Flow,
) -> Result<Option<Descriptor>, ImageError> {
    let compressed = compress_layer(store, &layer.layer, compression, take)?;
    if let Some(blob) = &compressed {
        // compressing again is all that a failure costs
        let _ = remember_compressed(store, layer, blob, compression);
    }
    Ok(compressed)
}
