//! A cache in an OCI layout directory, as `type=local` of BuildKit writes and reads it.
//!
//! Blobs are written beside and renamed, `index.json` is replaced under a lock of the directory after everything that it names, so
//! that writers at once keep each other's caches and a reader never sees half of one.

use crate::{
    ImportedCache, RemoteCacheError, SharedCache,
    documents::{Documents, description},
};
use rbuild_cache::{Cancel, LayerId, LayerOrigin, RemoteLayer, Store, create_private_file};
use rbuild_image::{
    Flow, ImageError, Layout, Packing, RemoteImages, compress_layer, known_blob, remember_blob,
};
use rbuild_oci::{Descriptor, Digest, Hasher, Index, ManifestOrIndex, MediaType};
use std::{
    collections::HashSet,
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The annotation of an entry with its tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// What becomes of blobs of a layout that nothing names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leftovers {
    /// They stay.
    #[default]
    Kept,
    /// They go (`reset=true`).
    Removed,
}

/// Reads the cache `tag` of the layout `directory`, or the one that `digest` names.
pub(crate) fn import(
    directory: &Path,
    tag: &str,
    digest: Option<&Digest>,
) -> Result<ImportedCache, RemoteCacheError> {
    let subject = format!("{}:{tag}", directory.display());
    let layout = Layout::open(directory)?;
    let manifest = match digest {
        Some(digest) => *digest,
        None => {
            let entries = layout.entries()?;
            let is_called =
                |entry: &&Descriptor| entry.annotations.get(REF_NAME).is_some_and(|name| name == tag);
            let missing =
                || RemoteCacheError::NoSuchCache { directory: directory.to_owned(), tag: tag.to_owned() };
            entries.iter().find(is_called).ok_or_else(missing)?.digest
        }
    };
    let parsed = ManifestOrIndex::from_json(&layout.document(&manifest)?, None);
    let parsed = parsed.map_err(|source| RemoteCacheError::Manifest { subject: subject.clone(), source })?;
    let Some(description) = description(&parsed) else {
        return Err(RemoteCacheError::NotACache { subject });
    };
    let cache = SharedCache::read(&subject, &layout.document(&description.digest)?)?;
    let layout = directory
        .to_str()
        .ok_or(RemoteCacheError::Description { subject, problem: "the path of its directory is no text" })?;
    Ok(ImportedCache::new(LayerOrigin::Layout { layout: layout.to_owned() }, cache))
}

/// Makes the directory, if it is not there.
pub(crate) fn make(directory: &Path) -> Result<(), RemoteCacheError> {
    fs::create_dir_all(directory).map_err(RemoteCacheError::file("make", directory))?;
    for path in [directory.join("blobs"), directory.join("blobs/sha256")] {
        // a link in a layout of somebody else leads out of it
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(RemoteCacheError::file("enter", path)(io::ErrorKind::NotADirectory.into())),
            Err(_) => match fs::create_dir(&path) {
                // another build was faster
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(RemoteCacheError::file("make", path))?,
            },
        }
    }
    Ok(())
}

/// Sees that the layout has the layer as a blob.
pub(crate) async fn send_layer(
    (store, images): (&Store, &RemoteImages),
    layer: &LayerId,
    (directory, packing): (&Path, &Packing),
) -> Result<Descriptor, RemoteCacheError> {
    let remote = store.remote_layer(layer).map_err(ImageError::from)?;
    let remote = remote.filter(|remote| packing.keeps(&remote.blob));
    if let Some(RemoteLayer { blob, origin: LayerOrigin::Registry(reference), .. }) = &remote {
        if Layout::open(directory)?.has_blob(blob) {
            return Ok(blob.clone());
        }
        let mut draft = Draft::new(directory)?;
        let mut stream = images.client().fetch_blob(reference, blob).await?;
        while let Some(piece) = stream.next_chunk().await? {
            draft.write(&piece)?;
        }
        return draft.finish(blob.media_type.clone());
    }
    if let Some(RemoteLayer { origin: LayerOrigin::Bucket { .. }, .. }) = &remote {
        // its bucket is asked for what the build needs alone
        return Err(ImageError::LayerElsewhere { layer: *layer }.into());
    }
    let (store, layer, directory, packing) = (store.clone(), *layer, directory.to_owned(), *packing);
    let waiting = Waiting::default();
    let unwanted = waiting.0.clone();
    let writing = move || write_layer(&store, (&layer, remote), (&directory, unwanted), &packing);
    tokio::task::spawn_blocking(writing).await.map_err(|_| RemoteCacheError::Worker)?
}

/// Somebody waits for a layer that is written. Without them, its thread stops.
#[derive(Default)]
struct Waiting(Cancel);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Writes a layer that this machine has, until it is `unwanted`.
fn write_layer(
    store: &Store,
    (layer, remote): (&LayerId, Option<RemoteLayer>),
    (directory, unwanted): (&Path, Cancel),
    packing: &Packing,
) -> Result<Descriptor, RemoteCacheError> {
    let there = Layout::open(directory)?;
    let known = known_blob(store, layer, packing)?;
    if let Some(known) = known.clone().filter(|known| there.has_blob(known)) {
        return Ok(known);
    }
    let mut draft = Draft::new(directory)?.until(unwanted);
    if let Some(RemoteLayer { blob, origin: LayerOrigin::Layout { layout }, .. }) = remote {
        draft.copy(&mut Layout::open(Path::new(&layout))?.blob(&blob)?)?;
        return draft.finish_as(&blob);
    }
    if let Some(kept) = known
        && let Some(mut reader) = store.open_blob(&kept.digest).map_err(ImageError::from)?
    {
        draft.copy(&mut reader)?;
        return draft.finish_as(&kept);
    }
    let compression = packing.compression;
    let mut failure = None;
    let compressed = compress_layer(store, layer, compression, |block| match draft.write(&block) {
        Ok(()) => Flow::Continue,
        Err(error) => {
            failure = Some(error);
            Flow::Stop
        }
    })?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let compressed = compressed.ok_or(RemoteCacheError::Worker)?;
    // compressing again is all that it costs
    let _ = remember_blob(store, layer, compression, &compressed);
    draft.finish_as(&compressed)
}

/// Sees that the layout has `blob`, which `file` is.
pub(crate) fn put(directory: &Path, blob: &Descriptor, mut file: File) -> Result<(), RemoteCacheError> {
    let mut draft = Draft::new(directory)?;
    draft.copy(&mut file)?;
    draft.finish_as(blob).map(drop)
}

/// Writes the documents of a cache, and names it.
pub(crate) fn publish(
    (directory, tag): (&Path, &str),
    documents: Documents,
    leftovers: Leftovers,
) -> Result<Descriptor, RemoteCacheError> {
    for bytes in [&documents.config_bytes, &documents.manifest_bytes] {
        let mut draft = Draft::new(directory)?;
        draft.write(bytes)?;
        draft.finish(MediaType::OciManifest)?;
    }
    let locked = File::open(directory).map_err(RemoteCacheError::file("open", directory))?;
    // closing it lets the next writer go on
    locked.lock().map_err(RemoteCacheError::file("lock", directory))?;
    let mut entries = match fs::symlink_metadata(directory.join("index.json")) {
        Ok(_) => Layout::open(directory)?.entries()?,
        Err(_) => Vec::new(),
    };
    entries.retain(|entry| entry.annotations.get(REF_NAME).is_none_or(|name| name != tag));
    let mut entry = documents.manifest.clone();
    entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
    entries.push(entry);
    replace(directory, "oci-layout", LAYOUT)?;
    replace(directory, "index.json", &Index::new(entries.clone()).to_json())?;
    if leftovers == Leftovers::Removed {
        remove_leftovers(directory, &entries)?;
    }
    Ok(documents.manifest)
}

/// Removes blobs that nothing leads to from `entries`. One that cannot be read keeps everything.
fn remove_leftovers(directory: &Path, entries: &[Descriptor]) -> Result<(), RemoteCacheError> {
    let layout = Layout::open(directory)?;
    let (mut named, mut open) = (HashSet::new(), entries.to_vec());
    while let Some(entry) = open.pop() {
        if !named.insert(entry.digest) || !(entry.media_type.is_manifest() || entry.media_type.is_index()) {
            continue;
        }
        let Ok(document) = layout.document(&entry.digest) else { return Ok(()) };
        match ManifestOrIndex::from_json(&document, None) {
            Ok(ManifestOrIndex::Manifest(manifest)) => {
                open.extend(manifest.layers.into_iter().chain([manifest.config]));
            }
            Ok(ManifestOrIndex::Index(index)) => open.extend(index.manifests),
            Err(_) => return Ok(()),
        }
    }
    let blobs = directory.join("blobs/sha256");
    let listed = fs::read_dir(&blobs).map_err(RemoteCacheError::file("list", &blobs))?;
    for file in listed {
        let file = file.map_err(RemoteCacheError::file("list", &blobs))?;
        let name = file.file_name();
        let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
        if digest.is_some_and(|digest| !named.contains(&digest)) {
            fs::remove_file(file.path()).map_err(RemoteCacheError::file("remove", file.path()))?;
        }
    }
    Ok(())
}

/// Gives a document of the layout its name in one step.
fn replace(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), RemoteCacheError> {
    let path = directory.join(name);
    let mut draft = Draft::beside(&path)?;
    draft.write(bytes)?;
    draft.rename(&path)
}

/// A file of a layout that is being written. Dropping it removes it.
struct Draft {
    path: PathBuf,
    blobs: PathBuf,
    file: File,
    hasher: Hasher,
    size: u64,
    /// Set when nobody waits for it.
    unwanted: Cancel,
}

impl Draft {
    fn new(directory: &Path) -> Result<Self, RemoteCacheError> {
        Self::beside(&directory.join("blobs/sha256/blob"))
    }

    /// A file in the directory of `path`, under a name that no other writer takes.
    fn beside(path: &Path) -> Result<Self, RemoteCacheError> {
        let blobs = path.parent().unwrap_or(path).to_owned();
        let mut number = 0;
        loop {
            let path = blobs.join(format!(".rbuild.{}.{number}", std::process::id()));
            match create_private_file(&path) {
                Ok(file) => {
                    let (hasher, unwanted) = (Hasher::new(), Cancel::default());
                    return Ok(Self { path, blobs, file, hasher, size: 0, unwanted });
                }
                // another writer's, or left by one that was killed
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(RemoteCacheError::file("make", path)(error)),
            }
        }
    }

    /// The same, which takes nothing any more once it is unwanted.
    fn until(mut self, unwanted: Cancel) -> Self {
        self.unwanted = unwanted;
        self
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RemoteCacheError> {
        // nobody hears of it
        self.unwanted.check().map_err(|_| RemoteCacheError::Worker)?;
        self.file.write_all(bytes).map_err(RemoteCacheError::file("write", &self.path))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn copy(&mut self, from: &mut impl Read) -> Result<(), RemoteCacheError> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.write(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(RemoteCacheError::file("read a blob for", &self.path)(error)),
            }
        }
    }

    /// Names it by its digest.
    fn finish(mut self, media_type: MediaType) -> Result<Descriptor, RemoteCacheError> {
        let digest = std::mem::take(&mut self.hasher).finish();
        let (size, named) = (self.size, self.blobs.join(digest.hex()));
        self.rename(&named)?;
        Ok(Descriptor::new(media_type, digest, size))
    }

    /// The same, if it is the blob that was expected.
    fn finish_as(self, expected: &Descriptor) -> Result<Descriptor, RemoteCacheError> {
        let found = self.hasher.clone().finish();
        if found != expected.digest {
            return Err(ImageError::ArchiveDigest {
                archive: "layout",
                file: expected.digest.to_string(),
                found,
            }
            .into());
        }
        self.finish(expected.media_type.clone())
    }

    fn rename(mut self, to: &Path) -> Result<(), RemoteCacheError> {
        let mode = Permissions::from_mode(0o644);
        let named = self.file.set_permissions(mode).and_then(|()| fs::rename(&self.path, to));
        named.map_err(RemoteCacheError::file("write", to))?;
        // from now on another draft may have this name
        self.path.clear();
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
