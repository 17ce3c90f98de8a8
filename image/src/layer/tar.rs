//! A layer's tar as a stream, whatever it is made from, checked at its end; and its DiffId.

use super::{
    recipe,
    tar_writer::{self, Stop},
};
use crate::ImageError;
use rbuild_archive::{ChunkReader, ChunkWriter, FillError, decompressed, pipe, sniff};
use rbuild_cache::{Cancel, LayerId, LayerMeta, LayerSource, Store};
use rbuild_oci::{DiffId, Hasher};
use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A layer's tar being read. Another thread makes it and is at most a few MiB ahead; it ends when this is dropped.
pub struct LayerTar {
    reader: ChunkReader<ImageError>,
    /// Bytes given out that the reader still holds.
    given: usize,
    hasher: Hasher,
    size: u64,
    layer: LayerId,
    expected: Option<DiffId>,
    found: Option<DiffId>,
    /// Bytes of regular files; right once the end has been reached.
    content: Arc<AtomicU64>,
}

/// The identity of a layer's tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerDiff {
    /// Its SHA-256.
    pub diff_id: DiffId,
    /// Its length in bytes; unknown of a layer that is elsewhere.
    pub tar_size: Option<u64>,
}

/// Streams the exact bytes of the layer's tar.
///
/// # Errors
/// When the layer is not in the store, or elsewhere. Later failures, such as a damaged layer, are errors of the stream.
pub fn layer_tar(store: &Store, layer: &LayerId) -> Result<LayerTar, ImageError> {
    let meta = store.layer_meta(layer)?;
    let (writer, reader) = pipe();
    let (store, layer) = (store.clone(), *layer);
    let source = meta.source;
    let content = Arc::new(AtomicU64::new(meta.size_bytes.unwrap_or(0)));
    let counted = content.clone();
    std::thread::Builder::new()
        .name("layer-tar".to_owned())
        .spawn(move || produce(&store, &layer, &source, (writer, &counted)))
        .map_err(|source| ImageError::LayerFile { action: "read", path: layer.to_string().into(), source })?;
    let hasher = Hasher::new();
    Ok(LayerTar { reader, given: 0, hasher, size: 0, layer, expected: meta.diff_id, found: None, content })
}

/// The layer's DiffId and tar length: as recorded, or computed and then recorded. Computing writes nothing but that.
///
/// # Errors
/// When the layer cannot be read.
pub fn layer_diff(store: &Store, layer: &LayerId) -> Result<LayerDiff, ImageError> {
    Ok(layer_diff_until(store, layer, &Cancel::default())?.expect("nothing cancels it"))
}

/// The same; `None` when `cancel` was called before it was computed.
///
/// # Errors
/// When the layer cannot be read.
pub fn layer_diff_until(
    store: &Store,
    layer: &LayerId,
    cancel: &Cancel,
) -> Result<Option<LayerDiff>, ImageError> {
    if let Some(known) = known_layer_diff(store, layer)? {
        return Ok(Some(known));
    }
    let Some((diff, content)) = hash(store, layer, cancel)? else { return Ok(None) };
    let mut meta = store.layer_meta(layer)?;
    meta.diff_id = Some(diff.diff_id);
    meta.tar_size = diff.tar_size;
    meta.size_bytes = Some(content);
    store.update_layer_meta(layer, &meta)?;
    Ok(Some(diff))
}

/// The layer's DiffId and tar length as recorded; `None` when they have not been computed. The DiffId of a layer that is
/// elsewhere is the one its image names.
///
/// # Errors
/// When the layer is not in the store.
pub fn known_layer_diff(store: &Store, layer: &LayerId) -> Result<Option<LayerDiff>, ImageError> {
    let LayerMeta { diff_id, tar_size, source, .. } = store.layer_meta(layer)?;
    Ok(match source {
        LayerSource::Elsewhere(remote) => Some(LayerDiff { diff_id: remote.diff_id, tar_size: None }),
        LayerSource::Own | LayerSource::Recipe(_) | LayerSource::Blob(_) => {
            diff_id.zip(tar_size).map(|(diff_id, size)| LayerDiff { diff_id, tar_size: Some(size) })
        }
    })
}

/// The same, always computed.
pub(crate) fn rehash(store: &Store, layer: &LayerId) -> Result<LayerDiff, ImageError> {
    Ok(hash(store, layer, &Cancel::default())?.expect("nothing cancels it").0)
}

/// DiffId and tar length, and the bytes of regular files; `None` when canceled.
fn hash(store: &Store, layer: &LayerId, cancel: &Cancel) -> Result<Option<(LayerDiff, u64)>, ImageError> {
    let mut tar = layer_tar(store, layer)?;
    while tar.next_chunk()?.is_some() {
        if cancel.is_canceled() {
            return Ok(None);
        }
    }
    let diff_id = tar.found.expect("a stream that has ended has its digest");
    Ok(Some((LayerDiff { diff_id, tar_size: Some(tar.size) }, tar.content.load(Ordering::Relaxed))))
}

impl LayerTar {
    /// The next bytes, up to 1 MiB of them; `None` at the end, when the digest is right.
    ///
    /// # Errors
    /// [`ImageError::LayerDamaged`] at the end when the digest is not the recorded one; what made reading fail.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, ImageError> {
        self.reader.consume(std::mem::take(&mut self.given));
        let available = self.reader.available()?;
        if available.is_empty() {
            self.check()?;
            return Ok(None);
        }
        self.hasher.update(available);
        self.given = available.len();
        self.size += self.given as u64;
        self.reader.available().map(Some)
    }

    /// The digest of the whole tar, once its end has been reached.
    #[must_use]
    pub fn diff_id(&self) -> Option<DiffId> {
        self.found
    }

    fn check(&mut self) -> Result<(), ImageError> {
        let hasher = std::mem::take(&mut self.hasher);
        let found = *self.found.get_or_insert_with(|| DiffId::from_digest(hasher.finish()));
        match self.expected {
            Some(expected) if expected != found => {
                Err(ImageError::LayerDamaged { layer: self.layer, expected, found })
            }
            _ => Ok(()),
        }
    }
}

impl Read for LayerTar {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.reader.available().map_err(io::Error::other)?;
        if available.is_empty() {
            return self.check().map(|()| 0).map_err(io::Error::other);
        }
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.hasher.update(&into[..count]);
        self.size += count as u64;
        self.reader.consume(count);
        Ok(count)
    }
}

fn produce(
    store: &Store,
    layer: &LayerId,
    source: &LayerSource,
    (mut out, content): (ChunkWriter<ImageError>, &AtomicU64),
) {
    match write_source(store, layer, source, (&mut out, content)) {
        // a reader that is gone wants nothing
        Ok(()) => drop(out.finish()),
        Err(Stop::Gone) => {}
        Err(Stop::Failed(error)) => out.fail(error),
    }
}

fn write_source(
    store: &Store,
    layer: &LayerId,
    source: &LayerSource,
    (out, content): (&mut ChunkWriter<ImageError>, &AtomicU64),
) -> Result<(), Stop> {
    let fs = store.layer_fs(layer);
    let open = |blob| match store.open_blob(blob) {
        Ok(Some(reader)) => Ok(reader),
        Ok(None) => Err(Stop::Failed(ImageError::LayerBlobMissing { layer: *layer, blob: *blob })),
        Err(error) => Err(Stop::Failed(error.into())),
    };
    match source {
        LayerSource::Own => tar_writer::write_tar(&fs, store.writer(), out)
            .map(|bytes| content.store(bytes, Ordering::Relaxed)),
        LayerSource::Recipe(blob) => {
            let directory = fs.parent().expect("a layer's files are below its own directory");
            recipe::replay(open(blob)?, directory, out)
        }
        LayerSource::Elsewhere(_) => Err(Stop::Failed(ImageError::LayerElsewhere { layer: *layer })),
        LayerSource::Blob(blob) => {
            // its bytes were checked when they came: what is wrong with them now happened in the store
            let failed = |source| {
                let action = "decompress the blob of";
                Stop::Failed(ImageError::LayerFile { action, path: fs.clone(), source })
            };
            let (codec, sniffed) = sniff(open(&blob.digest)?).map_err(failed)?;
            let mut plain = decompressed(codec, sniffed).map_err(failed)?;
            out.fill(&mut plain, |_| {}).map_err(|error| match error {
                FillError::ReaderGone => Stop::Gone,
                FillError::Source(error) => failed(error),
            })
        }
    }
}
