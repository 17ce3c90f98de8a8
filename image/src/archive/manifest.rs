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

/// Reads what the archive says, for `platform` where it offers several.
pub(crate) fn images(archive: &ArchiveFile, platform: &Platform) -> Result<Vec<ArchivedImage>, ImageError> {
    if archive.find("manifest.json")?.is_some() {
        return docker_images(archive);
    }
    if archive.find("index.json")?.is_some() {
        return oci_images(archive, platform);
    }
    Err(ImageError::NotAnArchive)
}

fn docker_images(archive: &ArchiveFile) -> Result<Vec<ArchivedImage>, ImageError> {
    let file = "manifest.json";
    let listed: Vec<DockerImage> = serde_json::from_slice(&archive.document(file)?)
        .map_err(|source| ImageError::ArchiveJson { file: file.to_owned(), source })?;
    let image = |listed: DockerImage| {
        let names = listed.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| parse_name(name)).collect::<Result<_, _>>()?;
        let layers = listed.layers.unwrap_or_default().into_iter().map(|name| {
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

fn oci_images(archive: &ArchiveFile, platform: &Platform) -> Result<Vec<ArchivedImage>, ImageError> {
    let top = index(archive)?;
    // one entry a name, but one image whatever its names
    let mut images: Vec<(Digest, ArchivedImage)> = Vec::new();
    let attestation = |entry: &Descriptor| entry.platform.as_ref().is_some_and(|p| p.os == "unknown");
    for entry in top.manifests.iter().filter(|entry| !attestation(entry)) {
        let (digest, image) = oci_image(archive, &entry.digest, platform)?;
        let image = ArchivedImage { names: name_of(entry)?.into_iter().collect(), ..image };
        match images.iter_mut().find(|(known, _)| *known == digest) {
            Some((_, known)) => known.names.extend(image.names),
            None => images.push((digest, image)),
        }
    }
    Ok(images.into_iter().map(|(_, image)| image).collect())
}

/// The images an OCI layout lists.
pub(crate) fn index(archive: &ArchiveFile) -> Result<Index, ImageError> {
    match document(archive, "index.json")? {
        ManifestOrIndex::Index(index) => Ok(index),
        ManifestOrIndex::Manifest(_) => Err(ImageError::NotAnArchive),
    }
}

/// The image that the manifest or index `digest` leads to on `platform`, without names, and its manifest's digest.
pub(crate) fn oci_image(
    archive: &ArchiveFile,
    digest: &Digest,
    platform: &Platform,
) -> Result<(Digest, ArchivedImage), ImageError> {
    let mut digest = *digest;
    for _ in 0..DEPTH_LIMIT {
        let file = blob_name(&digest);
        let manifest = match document(archive, &file)? {
            ManifestOrIndex::Index(index) => {
                digest = choose(&index, platform, &format!("the {}", archive.kind()))?.digest;
                continue;
            }
            ManifestOrIndex::Manifest(manifest) => manifest,
        };
        let layers = manifest.layers.iter().map(|layer| {
            let name = blob_name(&layer.digest);
            let section = archive.section(&name)?;
            let compression = layer.media_type.layer_compression();
            let blob = compression.is_none_or(|found| found != Compression::None).then(|| layer.clone());
            Ok(ArchivedLayer { name, section, blob })
        });
        let layers = layers.collect::<Result<Vec<_>, ImageError>>()?;
        let config = blob_name(&manifest.config.digest);
        let mut image = finish(archive, &config, layers)?;
        if image.layers.iter().all(|layer| layer.blob.is_some()) {
            image.manifest = Some(archive.document(&file)?);
        }
        return Ok((digest, image));
    }
    Err(ImageError::IndexDepth { subject: format!("the {}", archive.kind()) })
}

fn finish(
    archive: &ArchiveFile,
    file: &str,
    layers: Vec<ArchivedLayer>,
) -> Result<ArchivedImage, ImageError> {
    let config = archive.document(file)?;
    let parsed = ImageConfig::from_json(&config).map_err(|source| unreadable(archive, file, source))?;
    ImageError::check_count(layers.len(), || format!("image {file}"))?;
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

fn document(archive: &ArchiveFile, file: &str) -> Result<ManifestOrIndex, ImageError> {
    ManifestOrIndex::from_json(&archive.document(file)?, None)
        .map_err(|source| unreadable(archive, file, source))
}

fn unreadable(archive: &ArchiveFile, file: &str, source: ParseError) -> ImageError {
    ImageError::Document { subject: format!("{file} of the {}", archive.kind()), source }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
