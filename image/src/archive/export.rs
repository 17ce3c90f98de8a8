//! Writing one image as an archive or a layout directory, as BuildKit's exporters `oci` and `docker` do: its layers are
//! packed, its manifest may have annotations, and the entries are in the order of their names.
//!
//! A tar has to say how long an entry is before its bytes, and the names are digests. So a layer that is to be compressed
//! is compressed to the store's temporary space first; an uncompressed one, and one that came as a blob, come from where
//! they are.

use super::save::{ArchiveFormat, DockerImage, blob_name, json};
use crate::{
    ImageError,
    form::ImageForm,
    layer::{Flow, compress_layer, layer_diff, layer_tar, remember_compressed},
};
use rbuild_archive::{BLOCK, END, EntryKind, TarHeader, padding};
use rbuild_cache::{Cancel, ImageLayer, ImageRecord, LayerId, ScratchDir, Store, create_private_file};
use rbuild_oci::{
    Compression, Descriptor, Digest, ImageConfig, ImageName, Index, ManifestOrIndex, MediaType, Timestamp,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// The annotation with a name in full.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The annotation with a tag alone.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image to write.
#[derive(Clone, Copy, Debug)]
pub struct ExportedImage<'a> {
    /// The image, or the images for several platforms; the files of their layers are in the store.
    pub images: &'a [ImageRecord],
    /// The names it has in the archive.
    pub names: &'a [ImageName],
    /// How it is written.
    pub form: &'a ImageForm,
    /// The readers it is for.
    pub format: ArchiveFormat,
    /// The time that the index gives as that of its making.
    pub created: Timestamp,
}

/// Writes the image as a tar to `out`. Returns the descriptor of its manifest.
///
/// # Errors
/// [`ImageError::ArchiveWrite`] when `out` fails, [`ImageError::Canceled`] when `cancel` was called; a layer's error; an I/O
/// error of the store.
pub fn export_archive(
    store: &Store,
    exported: &ExportedImage<'_>,
    out: &mut dyn Write,
    cancel: &Cancel,
) -> Result<Descriptor, ImageError> {
    let packed = Packed::of(store, exported, cancel)?;
    let mut tar = Tar { out };
    tar.directory("blobs/")?;
    tar.directory("blobs/sha256/")?;
    for (digest, blob) in &packed.blobs {
        tar.begin(&blob_name(digest), 0o444, blob.size)?;
        let mut piece = |bytes: &[u8]| tar.out.write_all(bytes).map_err(ImageError::ArchiveWrite);
        blob.content.each_piece(store, cancel, &mut piece)?;
        tar.pad(blob.size)?;
    }
    tar.file("index.json", 0o644, &Index::new(packed.entries.clone()).to_json())?;
    if exported.format == ArchiveFormat::Docker {
        tar.file("manifest.json", 0o444, &packed.docker)?;
    }
    tar.file("oci-layout", 0o444, LAYOUT)?;
    tar.out.write_all(&END).and_then(|()| tar.out.flush()).map_err(ImageError::ArchiveWrite)?;
    Ok(packed.manifest)
}

/// Writes the image into `directory`, which is made when it is not there. A layout that is there keeps its other images.
/// Its index comes last, so that what it names is there. Returns the descriptor of the manifest.
///
/// # Errors
/// [`ImageError::OutputFile`] when a file cannot be written; as [`export_archive`] otherwise.
pub fn export_layout(
    store: &Store,
    exported: &ExportedImage<'_>,
    directory: &Path,
    cancel: &Cancel,
) -> Result<Descriptor, ImageError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ImageError::OutputFile { action, path, source }
    };
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(directory).map_err(failed("make", directory))?;
    for path in [directory.join("blobs"), blobs.clone()] {
        // a link in a layout of somebody else leads out of it
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(failed("enter", &path)(io::ErrorKind::NotADirectory.into())),
            Err(_) => fs::create_dir(&path).map_err(failed("make", &path))?,
        }
    }
    let index = directory.join("index.json");
    // an index that cannot be kept is found before the work
    other_images(&index, exported.names)?;
    let packed = Packed::of(store, exported, cancel)?;
    for (digest, blob) in &packed.blobs {
        write_file(&blobs.join(digest.hex()), 0o444, |file| {
            blob.content.each_piece(store, cancel, &mut |bytes| {
                file.write_all(bytes).map_err(failed("write", &blobs.join(digest.hex())))
            })
        })?;
    }
    let document = |name: &str, mode, bytes: &[u8]| {
        let path = directory.join(name);
        write_file(&path, mode, |file| file.write_all(bytes).map_err(failed("write", &path)))
    };
    if exported.format == ArchiveFormat::Docker {
        document("manifest.json", 0o444, &packed.docker)?;
    }
    document("oci-layout", 0o444, LAYOUT)?;
    // of builds into one layout each keeps the entries of those before it; closing the directory lets the next one go on
    let locked = File::open(directory).map_err(failed("open", directory))?;
    locked.lock().map_err(failed("lock", directory))?;
    let others = other_images(&index, exported.names)?;
    // the same image without a name would be there twice
    let is_again = |other: &Descriptor| {
        other.digest == packed.manifest.digest && !other.annotations.contains_key(REF_NAME)
    };
    let entries = others.into_iter().filter(|other| !is_again(other));
    let entries = entries.chain(packed.entries).collect();
    document("index.json", 0o644, &Index::new(entries).to_json())?;
    Ok(packed.manifest)
}

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The images of a layout that is there already, but for those whose names are given anew.
fn other_images(index: &Path, names: &[ImageName]) -> Result<Vec<Descriptor>, ImageError> {
    let bytes = match fs::read(index) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ImageError::OutputFile { action: "read", path: index.to_owned(), source }),
    };
    let read = ManifestOrIndex::from_json(&bytes, Some(&MediaType::OciIndex));
    let subject = index.display().to_string();
    let ManifestOrIndex::Index(there) = read.map_err(|source| ImageError::Document { subject, source })?
    else {
        return Err(ImageError::NotAnArchive);
    };
    // other tools write a tag alone
    let given_anew = |entry: &Descriptor| {
        let (name, tag) = (entry.annotations.get(IMAGE_NAME), entry.annotations.get(REF_NAME));
        names.iter().any(|given| match (name, tag) {
            (Some(name), _) => *name == given.to_string(),
            (None, Some(tag)) => tag == given.tag(),
            (None, None) => false,
        })
    };
    Ok(there.manifests.into_iter().filter(|entry| !given_anew(entry)).collect())
}

/// Writes a file that has its name only when it is whole.
fn write_file(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| ImageError::OutputFile { action: "write", path: path.to_owned(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = create_private_file(&draft).map_err(failed).and_then(|mut file| {
        write(&mut file)?;
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
        fs::rename(&draft, path).map_err(failed)
    });
    if written.is_err() {
        // why it could not be written is what people should hear of
        let _ = fs::remove_file(&draft);
    }
    written
}

/// An image as it is to be written.
struct Packed {
    blobs: BTreeMap<Digest, Blob>,
    manifest: Descriptor,
    /// The index's entries: one a name.
    entries: Vec<Descriptor>,
    /// Docker's `manifest.json`.
    docker: Vec<u8>,
    /// Holds compressed layers.
    _scratch: ScratchDir,
}

struct Blob {
    size: u64,
    content: Content,
}

/// Where a blob's bytes come from.
enum Content {
    Bytes(Vec<u8>),
    /// The blob that a layer came with.
    Kept(LayerId, Digest),
    Tar(LayerId),
    File(PathBuf),
}

impl Packed {
    fn of(store: &Store, exported: &ExportedImage<'_>, cancel: &Cancel) -> Result<Self, ImageError> {
        let ExportedImage { images, names, form, format: _, created } = *exported;
        let scratch = store.scratch_dir()?;
        let mut packing = Packing { store, scratch: &scratch, form, cancel, blobs: BTreeMap::new() };
        let mut entries = Vec::with_capacity(images.len());
        let mut docker = Vec::with_capacity(images.len());
        for image in images {
            let (entry, layers) = packing.image(image)?;
            let layers = layers.iter().map(|layer| blob_name(&layer.digest)).collect();
            docker.push(DockerImage::new(&image.id, names, layers));
            entries.push(entry);
        }
        let mut top = if let [only] = entries.as_slice() {
            let mut only = only.clone();
            only.annotations = form.descriptor_annotations.of(only.platform.as_ref());
            only
        } else {
            let (media_type, bytes) = form.index(entries);
            let mut index = packing.document(media_type, bytes);
            index.annotations.clone_from(&form.index_descriptor_annotations);
            index
        };
        let manifest = Descriptor::new(top.media_type.clone(), top.digest, top.size);
        top.annotations.insert("org.opencontainers.image.created".to_owned(), created.to_string());
        let blobs = packing.blobs;
        Ok(Self { blobs, manifest, entries: named(&top, names), docker: json(&docker), _scratch: scratch })
    }
}

/// Blobs that are being collected.
struct Packing<'a> {
    store: &'a Store,
    scratch: &'a ScratchDir,
    form: &'a ImageForm,
    cancel: &'a Cancel,
    blobs: BTreeMap<Digest, Blob>,
}

impl Packing<'_> {
    /// Adds all blobs of an image; returns the descriptors of its manifest and of its layers.
    fn image(&mut self, image: &ImageRecord) -> Result<(Descriptor, Vec<Descriptor>), ImageError> {
        let mut layers = Vec::with_capacity(image.layers.len());
        let mut known: BTreeMap<_, Descriptor> = BTreeMap::new();
        for layer in &image.layers {
            let described = match known.get(&layer.diff_id) {
                Some(described) => described.clone(),
                None => {
                    let (described, content) =
                        pack((self.store, self.scratch), layer, self.form, self.cancel)?;
                    self.blobs.insert(described.digest, Blob { size: described.size, content });
                    known.insert(layer.diff_id, described.clone());
                    described
                }
            };
            layers.push(described);
        }
        let digest = *image.id.as_digest();
        let missing = || ImageError::BlobMissing { kind: "config", digest, image: image.id };
        let config = self.store.blob(&digest)?.ok_or_else(missing)?;
        let platform = ImageConfig::from_json(&config).ok().map(|config| config.platform());
        let config = self.document(MediaType::OciConfig, config);
        let (media_type, bytes) = self.form.manifest(&config, &layers, platform.as_ref());
        let mut manifest = self.document(media_type, bytes);
        manifest.platform = platform;
        Ok((manifest, layers))
    }

    fn document(&mut self, media_type: MediaType, bytes: Vec<u8>) -> Descriptor {
        let described = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        self.blobs.insert(described.digest, Blob { size: described.size, content: Content::Bytes(bytes) });
        described
    }
}

/// One entry a name.
fn named(entry: &Descriptor, names: &[ImageName]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![entry.clone()];
    }
    let one = |name: &ImageName| {
        let mut entry = entry.clone();
        entry.annotations.insert(IMAGE_NAME.to_owned(), name.to_string());
        entry.annotations.insert(REF_NAME.to_owned(), name.tag().to_owned());
        entry
    };
    names.iter().map(one).collect()
}

/// A layer as it is to be written: the blob it came with, its tar, or its tar compressed.
fn pack(
    (store, scratch): (&Store, &ScratchDir),
    layer: &ImageLayer,
    form: &ImageForm,
    cancel: &Cancel,
) -> Result<(Descriptor, Content), ImageError> {
    let packing = form.packing;
    if let Some(kept) = layer.blob.as_ref().filter(|blob| packing.keeps(blob))
        && store.has_blob(&kept.digest, kept.size)
    {
        return Ok((kept.clone(), Content::Kept(layer.layer, kept.digest)));
    }
    if packing.compression.format() == Compression::None {
        let size = match layer.tar_size {
            Some(size) => size,
            None => {
                let elsewhere = ImageError::LayerElsewhere { layer: layer.layer };
                layer_diff(store, &layer.layer)?.tar_size.ok_or(elsewhere)?
            }
        };
        let described =
            Descriptor::new(MediaType::OciLayer(Compression::None), *layer.diff_id.as_digest(), size);
        return Ok((described, Content::Tar(layer.layer)));
    }
    let path = scratch.path().join(layer.diff_id.as_digest().hex());
    let failed = |source| ImageError::LayerFile { action: "write", path: path.clone(), source };
    // an image for another platform may have the same layer
    let mut file = match create_private_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            File::options().write(true).truncate(true).open(&path)
        }
        made => made,
    }
    .map_err(failed)?;
    let mut lost = Ok(());
    let packed = compress_layer(store, &layer.layer, packing.compression, |piece| {
        lost = file.write_all(&piece);
        if lost.is_ok() && !cancel.is_canceled() { Flow::Continue } else { Flow::Stop }
    })?;
    lost.map_err(failed)?;
    let described = packed.ok_or(ImageError::Canceled)?;
    // compressing again is all that it costs
    let _ = remember_compressed(store, layer, &described, packing.compression);
    Ok((described, Content::File(path)))
}

impl Content {
    /// Gives all bytes to `take`. The bytes of blobs are checked as they are read.
    fn each_piece(
        &self,
        store: &Store,
        cancel: &Cancel,
        take: &mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        match self {
            Self::Bytes(bytes) => take(bytes),
            Self::Kept(layer, blob) => {
                let missing = || ImageError::LayerBlobMissing { layer: *layer, blob: *blob };
                read_all(store.open_blob(blob)?.ok_or_else(missing)?, cancel, take)
            }
            Self::File(path) => {
                let failed = |source| ImageError::LayerFile { action: "open", path: path.clone(), source };
                read_all(File::open(path).map_err(failed)?, cancel, take)
            }
            Self::Tar(layer) => {
                // the tar's own end checks its digest, and with it its length
                let mut tar = layer_tar(store, layer)?;
                while let Some(piece) = tar.next_chunk()? {
                    cancel.check().map_err(|_| ImageError::Canceled)?;
                    take(piece)?;
                }
                Ok(())
            }
        }
    }
}

fn read_all(
    mut from: impl Read,
    cancel: &Cancel,
    take: &mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        cancel.check().map_err(|_| ImageError::Canceled)?;
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ImageError::ArchiveRead(error)),
        }
    }
}

/// A tar that is being written.
struct Tar<'a> {
    out: &'a mut dyn Write,
}

impl Tar<'_> {
    fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), ImageError> {
        self.begin(name, mode, bytes.len() as u64)?;
        self.out.write_all(bytes).map_err(ImageError::ArchiveWrite)?;
        self.pad(bytes.len() as u64)
    }

    fn begin(&mut self, name: &str, mode: u32, size: u64) -> Result<(), ImageError> {
        self.header(&TarHeader::new(EntryKind::File, name.as_bytes(), mode, size))
    }

    fn directory(&mut self, name: &str) -> Result<(), ImageError> {
        self.header(&TarHeader::new(EntryKind::Directory, name.as_bytes(), 0o755, 0))
    }

    fn header(&mut self, header: &TarHeader<'_>) -> Result<(), ImageError> {
        let mut bytes = Vec::with_capacity(BLOCK);
        header.write(&mut bytes);
        self.out.write_all(&bytes).map_err(ImageError::ArchiveWrite)
    }

    fn pad(&mut self, size: u64) -> Result<(), ImageError> {
        self.out.write_all(&[0; BLOCK][..padding(size)]).map_err(ImageError::ArchiveWrite)
    }
}
