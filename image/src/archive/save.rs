//! Writing images as an archive that is Docker's and an OCI one at once (`manifest.json` and `index.json` over the same
//! blobs). It is streamed: every length is known before, and layers come straight from [`crate::layer_tar`], so that no
//! layer is ever stored as a tar. Equal images give equal bytes.

use crate::{ImageError, layer_diff, layer_tar};
use rbuild_archive::{BLOCK, END, EntryKind, TarHeader, padding};
use rbuild_cache::{ImageLayer, ImageRecord, Store};
use rbuild_oci::{
    Compression, Descriptor, DiffId, Digest, ImageConfig, ImageId, ImageName, Index, Manifest, MediaType,
    Platform,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io::Write,
};

/// An image to save and the names it is to have in the archive.
#[derive(Clone, Debug)]
pub struct SaveItem {
    /// The image.
    pub image: ImageRecord,
    /// The images for its platforms, when it is one for several.
    pub platforms: Vec<ImageRecord>,
    /// Its names; an image without names can be found by its id only.
    pub names: Vec<ImageName>,
}

/// The readers that the archive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// Readers of either format: Docker's files and OCI's over the same blobs.
    Docker,
    /// Readers of OCI archives: without Docker's files.
    Oci,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl DockerImage {
    /// An image whose layers are in these files.
    pub(super) fn new(id: &ImageId, names: &[ImageName], layers: Vec<String>) -> Self {
        let names: Vec<String> = names.iter().map(familiar).collect();
        Self { config: blob_name(id.as_digest()), repo_tags: (!names.is_empty()).then_some(names), layers }
    }
}

/// Writes `items` to `out`.
///
/// # Errors
/// [`ImageError::LayerElsewhere`] for an image whose layers were not fetched; [`ImageError::ArchiveWrite`] when `out` fails,
/// [`ImageError::LayerDamaged`] for a layer that is not what it was; an I/O error of the store.
pub fn save(
    store: &Store,
    items: &[SaveItem],
    format: ArchiveFormat,
    out: &mut dyn Write,
) -> Result<(), ImageError> {
    write(store, items, (format, &BTreeSet::new()), out)
}

/// Writes `item` to `out` in Docker's format, without the layers in `left_out`: for a reader that has them.
///
/// # Errors
/// Those of [`save`], for the layers that are written.
pub fn save_partly(
    store: &Store,
    item: SaveItem,
    left_out: &BTreeSet<DiffId>,
    out: &mut dyn Write,
) -> Result<(), ImageError> {
    write(store, &[item], (ArchiveFormat::Docker, left_out), out)
}

/// The digest of the manifest that the image has in an archive.
///
/// # Errors
/// [`ImageError::LayerElsewhere`] when the length of a layer is not known, [`ImageError::BlobMissing`]; an I/O error of the
/// store.
pub fn archive_manifest(store: &Store, image: &ImageRecord) -> Result<Digest, ImageError> {
    Ok(Digest::of(&manifest(store, image, &config(store, image)?)?))
}

/// The digest of the index that an image for several platforms has in an archive, of its `images`.
///
/// # Errors
/// As [`archive_manifest`].
pub fn archive_index(store: &Store, images: &[ImageRecord]) -> Result<Digest, ImageError> {
    let entry = |image: &ImageRecord| -> Result<Descriptor, ImageError> {
        let config = config(store, image)?;
        Ok(described(&manifest(store, image, &config)?, &config))
    };
    let entries = images.iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Digest::of(&Index::new(entries).to_json()))
}

fn write(
    store: &Store,
    items: &[SaveItem],
    (format, left_out): (ArchiveFormat, &BTreeSet<DiffId>),
    out: &mut dyn Write,
) -> Result<(), ImageError> {
    let lease = store.lease()?;
    let layers: Vec<_> = items.iter().flat_map(|item| &item.image.layers).map(|layer| layer.layer).collect();
    let images = items.iter().flat_map(|item| std::iter::once(&item.image).chain(&item.platforms));
    let blobs: Vec<Digest> = images.map(|image| *image.id.as_digest()).collect();
    lease.hold(&layers, &blobs)?;
    let written = left_out.iter().map(|layer| *layer.as_digest()).collect();
    let mut writer = Writer { out, written, header: Vec::new() };
    writer.directory(b"blobs/")?;
    writer.directory(b"blobs/sha256/")?;
    let mut docker = Vec::new();
    let mut index = Vec::new();
    for item in items {
        let manifest = writer.item(store, item)?;
        index.extend(index_entries(item, &manifest));
        docker.push(docker_image(item));
    }
    writer.file(b"index.json", &Index::new(index).to_json())?;
    if format == ArchiveFormat::Docker {
        writer.file(b"manifest.json", &json(&docker))?;
    }
    writer.file(b"oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#)?;
    if format == ArchiveFormat::Docker {
        writer.file(b"repositories", &json(&repositories(items)))?;
    }
    writer.put(&END)?;
    writer.out.flush().map_err(ImageError::ArchiveWrite)
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    /// Blobs that are in the archive already, or left out.
    written: HashSet<Digest>,
    header: Vec<u8>,
}

impl Writer<'_> {
    /// Writes the blobs of an item; returns the descriptor of its manifest, or of its index.
    fn item(&mut self, store: &Store, item: &SaveItem) -> Result<Descriptor, ImageError> {
        if item.platforms.is_empty() {
            return self.image(store, &item.image);
        }
        let images = item.platforms.iter().map(|image| self.image(store, image));
        let index = Index::new(images.collect::<Result<_, _>>()?).to_json();
        let digest = Digest::of(&index);
        self.blob(digest, &index)?;
        Ok(Descriptor::new(MediaType::OciIndex, digest, index.len() as u64))
    }

    /// Writes an image's blobs; returns the descriptor of its manifest.
    fn image(&mut self, store: &Store, image: &ImageRecord) -> Result<Descriptor, ImageError> {
        for layer in &image.layers {
            self.layer(store, layer)?;
        }
        let config = config(store, image)?;
        self.blob(*image.id.as_digest(), &config)?;
        let manifest = manifest(store, image, &config)?;
        let described = described(&manifest, &config);
        self.blob(described.digest, &manifest)?;
        Ok(described)
    }

    fn layer(&mut self, store: &Store, layer: &ImageLayer) -> Result<(), ImageError> {
        let digest = *layer.diff_id.as_digest();
        if !self.written.insert(digest) {
            return Ok(());
        }
        let size = tar_size(store, layer)?;
        self.begin(&blob_name(&digest), size)?;
        let mut tar = layer_tar(store, &layer.layer)?;
        let mut bytes = 0;
        while let Some(chunk) = tar.next_chunk()? {
            bytes += chunk.len() as u64;
            if bytes > size {
                break;
            }
            self.put(chunk)?;
        }
        if bytes != size {
            let (recorded, found) = (size, bytes);
            return Err(ImageError::LayerSize { layer: layer.layer, recorded, found });
        }
        if tar.diff_id() != Some(layer.diff_id) {
            let found = tar.diff_id().unwrap_or(DiffId::from_digest(Digest::of(b"")));
            let expected = layer.diff_id;
            return Err(ImageError::LayerDamaged { layer: layer.layer, expected, found });
        }
        self.pad(size)?;
        Ok(())
    }

    fn blob(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), ImageError> {
        if self.written.insert(digest) { self.file(blob_name(&digest).as_bytes(), bytes) } else { Ok(()) }
    }

    fn file(&mut self, name: &[u8], bytes: &[u8]) -> Result<(), ImageError> {
        self.header(&TarHeader::new(EntryKind::File, name, 0o644, bytes.len() as u64))?;
        self.put(bytes)?;
        self.pad(bytes.len() as u64)
    }

    fn begin(&mut self, name: &str, size: u64) -> Result<(), ImageError> {
        self.header(&TarHeader::new(EntryKind::File, name.as_bytes(), 0o644, size))
    }

    fn directory(&mut self, name: &[u8]) -> Result<(), ImageError> {
        self.header(&TarHeader::new(EntryKind::Directory, name, 0o755, 0))
    }

    fn header(&mut self, header: &TarHeader<'_>) -> Result<(), ImageError> {
        self.header.clear();
        header.write(&mut self.header);
        self.out.write_all(&self.header).map_err(ImageError::ArchiveWrite)
    }

    fn pad(&mut self, size: u64) -> Result<(), ImageError> {
        self.put(&[0; BLOCK][..padding(size)])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.out.write_all(bytes).map_err(ImageError::ArchiveWrite)
    }
}

/// The descriptor of `manifest`, with the platform of `config`.
fn described(manifest: &[u8], config: &[u8]) -> Descriptor {
    let digest = Digest::of(manifest);
    let mut described = Descriptor::new(MediaType::OciManifest, digest, manifest.len() as u64);
    described.platform = ImageConfig::from_json(config).ok().map(|config| config.platform());
    described
}

fn config(store: &Store, image: &ImageRecord) -> Result<Vec<u8>, ImageError> {
    let digest = *image.id.as_digest();
    let missing = || ImageError::BlobMissing { kind: "config", digest, image: image.id };
    store.blob(&digest)?.ok_or_else(missing)
}

/// The manifest of an image in an archive, where layers are not compressed.
fn manifest(store: &Store, image: &ImageRecord, config: &[u8]) -> Result<Vec<u8>, ImageError> {
    let described = |layer: &ImageLayer| -> Result<Descriptor, ImageError> {
        let media_type = MediaType::OciLayer(Compression::None);
        Ok(Descriptor::new(media_type, *layer.diff_id.as_digest(), tar_size(store, layer)?))
    };
    let layers = image.layers.iter().map(described).collect::<Result<_, _>>()?;
    let config = Descriptor::new(MediaType::OciConfig, *image.id.as_digest(), config.len() as u64);
    Ok(Manifest::new(MediaType::OciManifest, config, layers).to_json())
}

/// The length of a layer's tar: as recorded with the image, or with the layer, whose files may have come later.
pub(crate) fn tar_size(store: &Store, layer: &ImageLayer) -> Result<u64, ImageError> {
    let size = match layer.tar_size {
        Some(size) => Some(size),
        None => layer_diff(store, &layer.layer)?.tar_size,
    };
    size.ok_or(ImageError::LayerElsewhere { layer: layer.layer })
}

/// One entry a name, as Docker writes them.
fn index_entries(item: &SaveItem, manifest: &Descriptor) -> Vec<Descriptor> {
    if item.names.is_empty() {
        return vec![manifest.clone()];
    }
    let named = |name: &ImageName| {
        let mut entry = manifest.clone();
        entry.annotations.insert("io.containerd.image.name".to_owned(), name.to_string());
        let tag = name.tag().to_owned();
        entry.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag);
        entry
    };
    item.names.iter().map(named).collect()
}

fn docker_image(item: &SaveItem) -> DockerImage {
    let image = docker_part(item);
    let layers = image.layers.iter().map(|layer| blob_name(layer.diff_id.as_digest()));
    DockerImage::new(&image.id, &item.names, layers.collect())
}

/// The image that Docker's files name, which know of one platform: this machine's, or else the first.
fn docker_part(item: &SaveItem) -> &ImageRecord {
    let own = item.image.for_platform(&Platform::host());
    let own = item.platforms.iter().find(|image| Some(image.id) == own);
    own.or(item.platforms.first()).unwrap_or(&item.image)
}

/// Repository to tag to topmost layer, as the oldest readers want it.
fn repositories(items: &[SaveItem]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for item in items {
        let image = docker_part(item);
        let top = image.layers.last().map_or(image.id.as_digest(), |top| top.diff_id.as_digest());
        for name in &item.names {
            let tags = repositories.entry(name.as_reference().familiar_repository()).or_default();
            tags.insert(name.tag().to_owned(), top.hex());
        }
    }
    repositories
}

/// `name:tag` as Docker's `RepoTags` have it: the tag always there.
fn familiar(name: &ImageName) -> String {
    format!("{}:{}", name.as_reference().familiar_repository(), name.tag())
}

pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

pub(super) fn json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("a document of strings always serialises")
}
