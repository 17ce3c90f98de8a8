//! What an archive says of its images: Docker's `manifest.json`, or else the OCI `index.json`.

use super::file::{ArchiveFile, Section, digest_in};
use crate::{
    ImageError,
    platform_choice::{DEPTH_LIMIT, choose},
};
use rbuild_archive::{Codec, sniff};
use rbuild_oci::{
    Compression, Descriptor, Digest, ImageConfig, ImageName, Index, ManifestOrIndex, MediaType, ParseError,
    Platform, Reference,
};
use serde::Deserialize;

/// An image as an archive has it.
pub(crate) struct ArchivedImage {
    /// The config's bytes.
    pub(crate) config: Vec<u8>,
    pub(crate) parsed: ImageConfig,
    pub(crate) names: Vec<ImageName>,
    /// Lowest first; as many as the config names.
    pub(crate) layers: Vec<ArchivedLayer>,
    /// The OCI manifest's bytes, when there is one and its layers are compressed.
    pub(crate) manifest: Option<Vec<u8>>,
}

/// What an archive lists under one entry: an image, or the images for several platforms.
pub(crate) struct ListedImage {
    pub(crate) names: Vec<ImageName>,
    pub(crate) images: Vec<ArchivedImage>,
    /// The bytes of the index of several.
    pub(crate) index: Option<Vec<u8>>,
}

/// The platforms whose images are taken from an archive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// All that the archive has.
    All,
    /// This one.
    Only(&'a Platform),
    /// The best for this one; an only image, whatever it is for.
    Best(&'a Platform),
}

/// A layer as an archive has it.
#[derive(Clone)]
pub(crate) struct ArchivedLayer {
    /// The member's name.
    pub(crate) name: String,
    pub(crate) section: Section,
    /// The blob's descriptor, when the blob is compressed and named by its digest.
    pub(crate) blob: Option<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Reads what the archive says of the images that are `wanted`.
pub(crate) fn images(archive: &ArchiveFile, wanted: Wanted<'_>) -> Result<Vec<ListedImage>, ImageError> {
    let has_index = archive.find("index.json")?.is_some();
    // Docker's file names one image of several
    let images = if archive.find("manifest.json")?.is_some() && !(has_index && lists_indexes(archive)) {
        let images = docker_images(archive)?;
        images.iter().try_for_each(|image| check_platform(archive, &image.parsed, wanted))?;
        let one = |image: ArchivedImage| ListedImage {
            names: image.names.clone(),
            images: vec![image],
            index: None,
        };
        images.into_iter().map(one).collect()
    } else if has_index {
        oci_images(archive, wanted)?
    } else {
        return Err(archive.describes_nothing());
    };
    if images.is_empty() {
        return Err(ImageError::NoImages { archive: archive.kind() });
    }
    Ok(images)
}

/// True if `index.json` leads to an image for several platforms.
fn lists_indexes(archive: &ArchiveFile) -> bool {
    index(archive).is_ok_and(|top| top.manifests.iter().any(|entry| entry.media_type.is_index()))
}

/// Fails if the only image is for another platform than is `wanted`.
fn check_platform(archive: &ArchiveFile, config: &ImageConfig, wanted: Wanted<'_>) -> Result<(), ImageError> {
    match wanted {
        Wanted::Only(platform) if config.platform().distance(platform).is_none() => {
            Err(ImageError::NoPlatform {
                subject: format!("the {}", archive.kind()),
                wanted: platform.to_string(),
                available: vec![config.platform().to_string()],
            })
        }
        Wanted::Only(_) | Wanted::Best(_) | Wanted::All => Ok(()),
    }
}

fn docker_images(archive: &ArchiveFile) -> Result<Vec<ArchivedImage>, ImageError> {
    let file = "manifest.json";
    let listed: Vec<DockerImage> = serde_json::from_slice(&archive.document(file)?)
        .map_err(|source| ImageError::ArchiveJson { file: file.to_owned(), source })?;
    let image = |listed: DockerImage| {
        let names = listed.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| parse_name(name)).collect::<Result<_, _>>()?;
        let layers = listed.layers.unwrap_or_default();
        ImageError::check_count(layers.len(), || format!("image {}", listed.config))?;
        let layers = layers.into_iter().map(|name| {
            let section = archive.section(&name)?;
            let blob = compressed(&name, &section)?;
            Ok(ArchivedLayer { name, section, blob })
        });
        let layers = layers.collect::<Result<Vec<_>, ImageError>>()?;
        Ok(ArchivedImage { names, ..finish(archive, &listed.config, layers)? })
    };
    listed.into_iter().map(image).collect()
}

/// The descriptor of a layer that newer Dockers save compressed. The names of such layers are digests.
fn compressed(name: &str, section: &Section) -> Result<Option<Descriptor>, ImageError> {
    let Some(digest) = digest_in(name) else { return Ok(None) };
    let (codec, _) = sniff(section.reader()).map_err(ImageError::ArchiveRead)?;
    let compression = match codec {
        Codec::Gzip => Compression::Gzip,
        Codec::Zstd => Compression::Zstd,
        // no media type has these
        Codec::Plain | Codec::Bzip2 | Codec::Xz => return Ok(None),
    };
    Ok(Some(Descriptor::new(MediaType::OciLayer(compression), digest, section.size)))
}

fn oci_images(archive: &ArchiveFile, wanted: Wanted<'_>) -> Result<Vec<ListedImage>, ImageError> {
    let top = index(archive)?;
    // one entry a name, but one image whatever its names
    let mut listed: Vec<(Digest, ListedImage)> = Vec::new();
    for entry in top.manifests.iter().filter(|entry| !is_attestation(entry)) {
        let names = name_of(entry)?;
        let (digest, image) = match wanted {
            Wanted::All if entry.media_type.is_index() => (entry.digest, all_platforms(archive, entry)?),
            Wanted::All => one(listed_image(archive, entry, &Platform::host())?),
            Wanted::Only(platform) | Wanted::Best(platform) => {
                let found = listed_image(archive, entry, platform)?;
                check_platform(archive, &found.1.parsed, wanted)?;
                one(found)
            }
        };
        match listed.iter_mut().find(|(known, _)| *known == digest) {
            Some((_, known)) => known.names.extend(names),
            None => listed.push((digest, ListedImage { names: names.into_iter().collect(), ..image })),
        }
    }
    Ok(listed.into_iter().map(|(_, image)| image).collect())
}

fn one((digest, image): (Digest, ArchivedImage)) -> (Digest, ListedImage) {
    (digest, ListedImage { names: Vec::new(), images: vec![image], index: None })
}

fn is_attestation(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
}

/// The images of an index as far as the archive has them: a store that pulled an index for one platform saves all of the index
/// and that image.
fn all_platforms(archive: &ArchiveFile, entry: &Descriptor) -> Result<ListedImage, ImageError> {
    blob(archive, entry)?;
    let file = blob_name(&entry.digest);
    let bytes = archive.document(&file)?;
    let (mut images, mut seen) = (Vec::new(), Vec::new());
    let mut pending = vec![(entry.clone(), 0)];
    while let Some((entry, depth)) = pending.pop() {
        if seen.contains(&entry.digest) || archive.find(&blob_name(&entry.digest))?.is_none() {
            continue;
        }
        seen.push(entry.digest);
        if !entry.media_type.is_index() {
            images.push(listed_image_of(archive, &entry)?);
            continue;
        }
        if depth >= DEPTH_LIMIT {
            return Err(ImageError::IndexDepth { subject: format!("the {}", archive.kind()) });
        }
        let file = blob_name(&entry.digest);
        if let ManifestOrIndex::Index(index) = document(archive, &file, Some(&entry.media_type))? {
            let inner = index.manifests.into_iter().filter(|entry| !is_attestation(entry));
            // the last of them is looked at first
            let inner: Vec<_> = inner.map(|entry| (entry, depth + 1)).collect();
            pending.extend(inner.into_iter().rev());
        }
    }
    if images.is_empty() {
        return Err(ImageError::NoImages { archive: archive.kind() });
    }
    let index = (images.len() > 1).then_some(bytes);
    Ok(ListedImage { names: Vec::new(), images, index })
}

fn listed_image_of(archive: &ArchiveFile, entry: &Descriptor) -> Result<ArchivedImage, ImageError> {
    let host = Platform::host();
    Ok(listed_image(archive, entry, entry.platform.as_ref().unwrap_or(&host))?.1)
}

/// The images an OCI layout lists.
pub(crate) fn index(archive: &ArchiveFile) -> Result<Index, ImageError> {
    match document(archive, "index.json", None)? {
        ManifestOrIndex::Index(index) => Ok(index),
        ManifestOrIndex::Manifest(_) => Err(ImageError::NotAnArchive),
    }
}

/// The image that the manifest or index `digest` leads to on `platform`, without names, and its manifest's digest. What the
/// index of the archive says of it is believed no more than anything else.
pub(crate) fn oci_image(
    archive: &ArchiveFile,
    digest: &Digest,
    platform: &Platform,
) -> Result<(Digest, ArchivedImage), ImageError> {
    match index(archive)?.manifests.iter().find(|entry| entry.digest == *digest) {
        Some(entry) => listed_image(archive, entry, platform),
        None => followed(archive, (*digest, None), platform),
    }
}

fn listed_image(
    archive: &ArchiveFile,
    entry: &Descriptor,
    platform: &Platform,
) -> Result<(Digest, ArchivedImage), ImageError> {
    blob(archive, entry)?;
    followed(archive, (entry.digest, Some(entry.media_type.clone())), platform)
}

fn followed(
    archive: &ArchiveFile,
    (mut digest, mut media_type): (Digest, Option<MediaType>),
    platform: &Platform,
) -> Result<(Digest, ArchivedImage), ImageError> {
    for _ in 0..DEPTH_LIMIT {
        let file = blob_name(&digest);
        let manifest = match document(archive, &file, media_type.as_ref())? {
            ManifestOrIndex::Index(index) => {
                let entry = choose(&index, platform, &format!("the {}", archive.kind()))?;
                blob(archive, entry)?;
                (digest, media_type) = (entry.digest, Some(entry.media_type.clone()));
                continue;
            }
            ManifestOrIndex::Manifest(manifest) => manifest,
        };
        manifest.check_image().map_err(|source| unreadable(archive, &file, source))?;
        ImageError::check_count(manifest.layers.len(), || format!("image {file}"))?;
        let layers = manifest.layers.iter().map(|layer| {
            let (name, section) = blob(archive, layer)?;
            let compression = layer.media_type.layer_compression();
            let blob = compression.is_none_or(|found| found != Compression::None).then(|| layer.clone());
            Ok(ArchivedLayer { name, section, blob })
        });
        let layers = layers.collect::<Result<Vec<_>, ImageError>>()?;
        let (config, _) = blob(archive, &manifest.config)?;
        let mut image = finish(archive, &config, layers)?;
        if image.layers.iter().all(|layer| layer.blob.is_some()) {
            image.manifest = Some(archive.document(&file)?);
        }
        return Ok((digest, image));
    }
    Err(ImageError::IndexDepth { subject: format!("the {}", archive.kind()) })
}

/// The file that `descriptor` points at, which must be as long as that says.
fn blob(archive: &ArchiveFile, descriptor: &Descriptor) -> Result<(String, Section), ImageError> {
    let name = blob_name(&descriptor.digest);
    let section = archive.section(&name)?;
    if section.size == descriptor.size {
        return Ok((name, section));
    }
    let (archive, stated, found) = (archive.kind(), descriptor.size, section.size);
    Err(ImageError::ArchiveSize { archive, file: name, stated, found })
}

fn finish(
    archive: &ArchiveFile,
    file: &str,
    layers: Vec<ArchivedLayer>,
) -> Result<ArchivedImage, ImageError> {
    let config = archive.document(file)?;
    let parsed = ImageConfig::from_json(&config).map_err(|source| unreadable(archive, file, source))?;
    if parsed.rootfs.diff_ids.len() != layers.len() {
        let (subject, diff_ids) = (format!("image {file}"), parsed.rootfs.diff_ids.len());
        return Err(ImageError::LayerCount { subject, layers: layers.len(), diff_ids });
    }
    Ok(ArchivedImage { config, parsed, names: Vec::new(), layers, manifest: None })
}

/// The full name containerd and Docker annotate, or a `ref.name` that is more than a tag.
pub(super) fn name_of(entry: &Descriptor) -> Result<Option<ImageName>, ImageError> {
    if let Some(name) = entry.annotations.get("io.containerd.image.name") {
        return parse_name(name).map(Some);
    }
    let name = entry.annotations.get("org.opencontainers.image.ref.name");
    // a bare tag names no repository
    let name = name.filter(|name| name.contains([':', '/']) && name.parse::<Reference>().is_ok());
    name.map(|name| parse_name(name)).transpose()
}

/// A name the archive gives. One with a digest would make that digest mean what the archive has.
fn parse_name(name: &str) -> Result<ImageName, ImageError> {
    name.parse().map_err(|source| ImageError::Document {
        subject: format!("image name {name:?} of the archive"),
        source,
    })
}

fn document(
    archive: &ArchiveFile,
    file: &str,
    media_type: Option<&MediaType>,
) -> Result<ManifestOrIndex, ImageError> {
    ManifestOrIndex::from_json(&archive.document(file)?, media_type)
        .map_err(|source| unreadable(archive, file, source))
}

fn unreadable(archive: &ArchiveFile, file: &str, source: ParseError) -> ImageError {
    ImageError::Document { subject: format!("{file} of the {}", archive.kind()), source }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
