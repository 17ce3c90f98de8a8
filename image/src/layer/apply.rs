//! From a layer tar to a layer of the store: one thread reads, decompresses and hashes while another unpacks.
//!
//! Unpacking and committing are apart: several layers of an image unpack at once, but a layer commits when those below it
//! have, because its implied directories look like theirs ([`crate::layer::directories`]).

use super::{
    directories::Directories,
    note::Note,
    recipe::RecipeWriter,
    unpack::{Unpacked, unpack},
};
use crate::ImageError;
use rbuild_archive::{ArchiveError, ChunkWriter, Codec, FillError, TarReader, decompressed, pipe, sniff};
use rbuild_cache::{
    BlobWriter, FilledLayer, LayerDraft, LayerId, LayerLock, LayerMeta, LayerSource, Lease, Store,
};
use rbuild_oci::{Descriptor, DiffId, Hasher, Timestamp};
use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

/// The way to get the exact bytes of the tar again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobRetention {
    /// A recipe is recorded that makes the tar from the layer's files.
    Recipe,
    /// The compressed bytes are kept as the blob this describes, and checked against it. Uncompressed bytes get a recipe
    /// nevertheless: no tar is stored.
    Blob(Descriptor),
    /// The same of bytes that are being downloaded: what arrived stays when the rest does not.
    Download(Descriptor),
    /// Nothing is: what is unpacked never leaves as a layer.
    Nothing,
}

/// A layer that is unpacked and has no name yet. Dropping it removes it.
#[derive(Debug)]
pub struct PendingLayer {
    draft: LayerDraft,
    directories: Directories,
    meta: LayerMeta,
    diff_id: DiffId,
    tar_size: u64,
    notes: Vec<Note>,
    store: Store,
}

/// A layer made from a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The layer.
    pub layer: LayerId,
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// Length of the uncompressed tar in bytes.
    pub tar_size: u64,
    /// The compressed blob, when it was kept.
    pub blob: Option<Descriptor>,
    /// Notes on the entries or attributes that could not be unpacked.
    pub notes: Vec<Note>,
    /// True if the tree took anything from the layers below, so that it is right only on them.
    pub depends_on_lower: bool,
}

/// A layer that was elsewhere and whose files are in their place.
pub(crate) struct Filled {
    pub(crate) layer: FilledLayer,
    pub(crate) notes: Vec<Note>,
    pub(crate) depends_on_lower: bool,
}

/// Unpacks a layer tar (plain, gzip, bzip2, xz or zstd) and commits it above `lower`, lowest first.
///
/// # Errors
/// [`ImageError::Entry`] for an entry no layer may have, [`ImageError::Archive`] for a damaged stream and when `tar` fails;
/// an I/O error of the store.
pub fn apply_tar(
    store: &Store,
    lease: &Lease,
    tar: impl Read,
    lower: &[LayerId],
    keep: &BlobRetention,
) -> Result<Applied, ImageError> {
    unpack_layer(store, tar, keep)?.commit(lease, lower)
}

/// Unpacks a layer tar without giving it a name.
///
/// # Errors
/// As [`apply_tar`].
pub fn unpack_layer(store: &Store, tar: impl Read, keep: &BlobRetention) -> Result<PendingLayer, ImageError> {
    let draft = store.new_layer()?;
    let mut source = Source { inner: tar, kept: None, failure: None };
    let (codec, sniffed) = sniff(&mut source).map_err(ArchiveError::Read)?;
    let head = sniffed.into_inner().0.into_inner();
    let (recipe, blob) = match keep {
        BlobRetention::Blob(descriptor) | BlobRetention::Download(descriptor) if codec != Codec::Plain => {
            let mut writer = match keep {
                BlobRetention::Download(descriptor) => store.download_writer(&descriptor.digest)?,
                BlobRetention::Blob(_) | BlobRetention::Recipe | BlobRetention::Nothing => {
                    store.blob_writer()?
                }
            };
            writer.write_all(&head).map_err(ArchiveError::Read)?;
            source.kept = Some(writer);
            (None, Some(descriptor))
        }
        BlobRetention::Blob(_) | BlobRetention::Download(_) | BlobRetention::Recipe => {
            (Some(RecipeWriter::new()?), None)
        }
        BlobRetention::Nothing => (None, None),
    };
    let (writer, reader) = pipe();
    let fs = draft.fs().to_owned();
    let (fed, unpacked) = std::thread::scope(|scope| {
        let unpacking =
            scope.spawn(move || unpack(&fs, store.writer(), TarReader::recording(reader, recipe)));
        let fed = feed((&head, &mut source), codec, (writer, store));
        let unpacked = unpacking.join().map_err(|_| ImageError::Worker { task: "unpacking a layer" });
        (fed, unpacked.and_then(|unpacked| unpacked))
    });
    // when reading failed the unpacking has seen an early end, and when unpacking failed the reading has stopped
    let (fed, unpacked) = match (fed, unpacked) {
        (Err(error), _) | (Ok(None), Err(error)) | (Ok(Some(_)), Err(error)) => return Err(error),
        (Ok(None), Ok(_)) => return Err(ImageError::Worker { task: "unpacking a layer" }),
        (Ok(Some(fed)), Ok(unpacked)) => (fed, unpacked),
    };
    if let (Some(writer), Some(descriptor)) = (source.kept, blob) {
        writer.commit_expecting(&descriptor.digest, descriptor.size)?;
    }
    pending(store, draft, &fed, unpacked, blob)
}

fn pending(
    store: &Store,
    draft: LayerDraft,
    fed: &Fed,
    unpacked: Unpacked,
    blob: Option<&Descriptor>,
) -> Result<PendingLayer, ImageError> {
    let source = match (&unpacked.recipe, blob) {
        (Some(recipe), _) => LayerSource::Recipe(store.put_blob(recipe)?),
        (None, Some(blob)) => LayerSource::Blob(blob.clone()),
        (None, None) => LayerSource::Own,
    };
    let meta = LayerMeta {
        created: Timestamp::from(store.now()),
        size_bytes: Some(unpacked.size_bytes),
        files: Some(unpacked.files),
        diff_id: Some(fed.diff_id),
        tar_size: Some(fed.size),
        disk_bytes: None,
        source,
    };
    Ok(PendingLayer {
        draft,
        directories: unpacked.directories,
        meta,
        diff_id: fed.diff_id,
        tar_size: fed.size,
        notes: unpacked.notes,
        store: store.clone(),
    })
}

impl PendingLayer {
    /// Digest of the uncompressed tar.
    #[must_use]
    pub fn diff_id(&self) -> DiffId {
        self.diff_id
    }

    /// The files alone, which are then not those of a layer.
    ///
    /// # Errors
    /// An I/O error of the store.
    pub fn into_files(mut self) -> Result<LayerDraft, ImageError> {
        self.finish_directories(&[])?;
        Ok(self.draft)
    }

    /// Gives it its name in the store, above `lower`, lowest first, which are committed.
    ///
    /// # Errors
    /// An I/O error of the store.
    pub fn commit(mut self, lease: &Lease, lower: &[LayerId]) -> Result<Applied, ImageError> {
        let depends_on_lower = self.finish_directories(lower)?;
        let blob = match &self.meta.source {
            LayerSource::Blob(descriptor) => Some(descriptor.clone()),
            LayerSource::Own | LayerSource::Recipe(_) | LayerSource::Elsewhere(_) => None,
        };
        let layer = self.draft.commit(lease, &self.meta)?;
        Ok(Applied {
            layer,
            diff_id: self.diff_id,
            tar_size: self.tar_size,
            blob,
            notes: self.notes,
            depends_on_lower,
        })
    }

    /// Makes it the files of the locked layer, which is elsewhere and stands on `lower`, lowest first. They count when the
    /// store was synced and the layer was finished.
    ///
    /// # Errors
    /// An I/O error of the store.
    pub(crate) fn fill(mut self, lock: LayerLock, lower: &[LayerId]) -> Result<Filled, ImageError> {
        let depends_on_lower = self.finish_directories(lower)?;
        let layer = self.draft.fill(lock, &self.meta)?;
        Ok(Filled { layer, notes: self.notes, depends_on_lower })
    }

    /// Sets the directories' final attributes. Returns true if they depend on the layers below.
    fn finish_directories(&mut self, lower: &[LayerId]) -> Result<bool, ImageError> {
        let below: Vec<PathBuf> = lower.iter().map(|layer| self.store.layer_fs(layer)).collect();
        self.directories.finish(self.draft.fs(), &below, &mut self.notes)
    }
}

/// The results of the reading side.
struct Fed {
    diff_id: DiffId,
    size: u64,
}

/// Moves everything from `source`, which began with `head`, to `out`, decompressed, for files of `store`; `None` when the unpacking side
/// has gone.
fn feed(
    (head, source): (&[u8], &mut Source<impl Read>),
    codec: Codec,
    (mut out, store): (ChunkWriter<io::Error>, &Store),
) -> Result<Option<Fed>, ImageError> {
    let mut hasher = Hasher::new();
    let mut size = 0;
    let mut plain = decompressed(codec, head.chain(&mut *source)).map_err(ArchiveError::Decompress)?;
    let filled = out.fill(&mut plain, |piece| {
        hasher.update(piece);
        size += piece.len() as u64;
        store.wrote(piece.len() as u64);
    });
    drop(plain);
    match filled {
        Ok(()) => {}
        Err(FillError::ReaderGone) => return Ok(None),
        Err(FillError::Source(error)) => {
            // the other side's error is not looked at when this side has one
            out.fail(error.kind().into());
            return Err(match source.failure.take() {
                Some(failure) => ArchiveError::Read(failure).into(),
                None => ArchiveError::Decompress(error).into(),
            });
        }
    }
    if out.finish().is_err() {
        return Ok(None);
    }
    // what follows the last member belongs to the blob
    io::copy(source, &mut io::sink()).map_err(ArchiveError::Read)?;
    Ok(Some(Fed { diff_id: DiffId::from_digest(hasher.finish()), size }))
}

/// The source. It keeps the bytes on the way when asked to, and its own failures, so that they are not taken for those of a
/// decompressor.
struct Source<R> {
    inner: R,
    kept: Option<BlobWriter>,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into).and_then(|count| {
            if let Some(kept) = &mut self.kept {
                kept.write_all(&into[..count])?;
            }
            Ok(count)
        });
        read.map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failure = Some(error);
            }
            kind.into()
        })
    }
}
