//! A layer's tar as a stream, whatever it is made from, checked at its end; and its DiffId.

use super::{
    plain_tar::{PlainTar, plain_tar},
    recipe,
    tar_writer::{self, EntryTimes, Stop},
    whiteout::Marks,
};
use crate::ImageError;
use rbuild_archive::{ChunkReader, ChunkWriter, END, FillError, decompressed, pipe, sniff};
use rbuild_cache::{Cancel, LayerDiff, LayerId, LayerMeta, LayerSource, Store};
use rbuild_oci::{DiffId, Hasher};
use std::{
    io::{self, Read},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// A layer's tar being read. One thread makes it, another hashes it, and both are at most a few MiB ahead; they end when
/// this is dropped.
pub struct LayerTar {
    reader: ChunkReader<ImageError>,
    /// Bytes given out that the reader still holds.
    given: usize,
    ended: bool,
    hashed: Arc<OnceLock<DiffId>>,
}

/// Streams the exact bytes of the layer's tar.
///
/// # Errors
/// When the layer is not in the store, or elsewhere. Later failures, such as a damaged layer, are errors of the stream.
pub fn layer_tar(store: &Store, layer: &LayerId) -> Result<LayerTar, ImageError> {
    let Produced { tar, content: _, expected } = Produced::begin(store, layer)?;
    let (out, reader) = pipe();
    let hashed = Arc::new(OnceLock::new());
    let (layer, found) = (*layer, hashed.clone());
    thread(&layer, "layer-hash", move || hash_on(&layer, expected, tar, (out, &found)))?;
    Ok(LayerTar { reader, given: 0, ended: false, hashed })
}

/// A tar that is being made by a thread of its own, and was not hashed yet.
struct Produced {
    tar: ChunkReader<ImageError>,
    /// Bytes of regular files; right once the end has been reached.
    content: Arc<AtomicU64>,
    /// The digest on record.
    expected: Option<DiffId>,
}

impl Produced {
    fn begin(store: &Store, layer: &LayerId) -> Result<Self, ImageError> {
        let LayerMeta { source, diff_id: expected, size_bytes, .. } = store.layer_meta(layer)?;
        let (writer, tar) = pipe();
        let content = Arc::new(AtomicU64::new(size_bytes.unwrap_or(0)));
        let (store, layer, counted) = (store.clone(), *layer, content.clone());
        thread(&layer, "layer-tar", move || produce(&store, &layer, &source, (writer, &counted)))?;
        Ok(Self { tar, content, expected })
    }
}

fn thread(layer: &LayerId, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), ImageError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    let failed = |source| ImageError::LayerFile { action: "read", path: layer.to_string().into(), source };
    started.map(drop).map_err(failed)
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
    Ok(store.layer_meta(layer)?.diff())
}

/// The same, always computed.
pub(crate) fn rehash(store: &Store, layer: &LayerId) -> Result<LayerDiff, ImageError> {
    Ok(hash(store, layer, &Cancel::default())?.expect("nothing cancels it").0)
}

/// DiffId and tar length, and the bytes of regular files; `None` when canceled.
fn hash(store: &Store, layer: &LayerId, cancel: &Cancel) -> Result<Option<(LayerDiff, u64)>, ImageError> {
    let Produced { mut tar, content, expected } = Produced::begin(store, layer)?;
    let (mut hasher, mut size) = (Hasher::new(), 0);
    loop {
        let piece = tar.available()?;
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        let length = piece.len();
        tar.consume(length);
        size += length as u64;
        if cancel.is_canceled() {
            return Ok(None);
        }
    }
    let found = DiffId::from_digest(hasher.finish());
    match expected {
        Some(expected) if expected != found => {
            Err(ImageError::LayerDamaged { layer: *layer, expected, found })
        }
        Some(_) | None => {
            let diff = LayerDiff { diff_id: found, tar_size: Some(size) };
            Ok(Some((diff, content.load(Ordering::Relaxed))))
        }
    }
}

impl LayerTar {
    /// The next bytes; `None` at the end, when the digest is right.
    ///
    /// # Errors
    /// [`ImageError::LayerDamaged`] at the end when the digest is not the recorded one; what made reading fail.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, ImageError> {
        self.reader.consume(std::mem::take(&mut self.given));
        let available = self.reader.available()?;
        if available.is_empty() {
            self.ended = true;
            return Ok(None);
        }
        self.given = available.len();
        self.reader.available().map(Some)
    }

    /// The digest of the whole tar, once its end has been reached.
    #[must_use]
    pub fn diff_id(&self) -> Option<DiffId> {
        self.hashed.get().filter(|_| self.ended).copied()
    }
}

impl Read for LayerTar {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.reader.available().map_err(io::Error::other)?;
        self.ended = available.is_empty();
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.reader.consume(count);
        Ok(count)
    }
}

/// The tar of a directory tree being read, made as that of a layer is.
pub struct DirectoryTar(io::Chain<PlainTar, &'static [u8]>);

/// Streams the tar of the tree at `root`: an upper directory, or the root of a mount that stays as long as this is read.
///
/// # Errors
/// When no thread can be started. Later failures are errors of the stream.
pub fn directory_tar(store: &Store, root: &Path) -> Result<DirectoryTar, ImageError> {
    let marks = Some(Marks::of(store.writer()));
    Ok(DirectoryTar(plain_tar(root, b"", marks, EntryTimes::AsTheyAre)?.chain(&END[..])))
}

impl Read for DirectoryTar {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
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

/// Passes the tar on while hashing it, and ends it with an error when it is not the one that was recorded.
fn hash_on(
    layer: &LayerId,
    expected: Option<DiffId>,
    made: ChunkReader<ImageError>,
    (mut out, hashed): (ChunkWriter<ImageError>, &OnceLock<DiffId>),
) {
    let mut hasher = Hasher::new();
    let passed = made.pass_on(&mut out, |piece| hasher.update(piece));
    match passed {
        Ok(()) => {
            let found = DiffId::from_digest(hasher.finish());
            hashed.get_or_init(|| found);
            match expected {
                Some(expected) if expected != found => {
                    out.fail(ImageError::LayerDamaged { layer: *layer, expected, found });
                }
                // a reader that is gone wants nothing
                Some(_) | None => drop(out.finish()),
            }
        }
        Err(FillError::ReaderGone) => {}
        Err(FillError::Source(error)) => out.fail(error),
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
        LayerSource::Own => {
            let marks = Some(Marks::of(store.writer()));
            let bytes = tar_writer::write_tar((&fs, Vec::new()), marks, EntryTimes::AsTheyAre, out)?;
            content.store(bytes, Ordering::Relaxed);
            Ok(out.put(&END)?)
        }
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
