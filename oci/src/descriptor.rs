//! Descriptors, which point at blobs (OCI image specification, descriptor.md), and the media types that rbuild knows.

use crate::{Digest, Platform};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{collections::BTreeMap, fmt};

/// The compression of a layer blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// An uncompressed tar.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// A media type, of the OCI or the Docker family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaType {
    /// An OCI image index.
    OciIndex,
    /// An OCI image manifest.
    OciManifest,
    /// An OCI image config.
    OciConfig,
    /// An OCI layer.
    OciLayer(Compression),
    /// A Docker manifest list.
    DockerManifestList,
    /// A Docker image manifest, schema 2.
    DockerManifest,
    /// A Docker image config.
    DockerConfig,
    /// A Docker layer.
    DockerLayer(Compression),
    /// Any other type, kept as written.
    Other(String),
}

impl MediaType {
    const NAMES: [(&'static str, Self); 12] = [
        ("application/vnd.oci.image.index.v1+json", Self::OciIndex),
        ("application/vnd.oci.image.manifest.v1+json", Self::OciManifest),
        ("application/vnd.oci.image.config.v1+json", Self::OciConfig),
        ("application/vnd.oci.image.layer.v1.tar", Self::OciLayer(Compression::None)),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Self::OciLayer(Compression::Gzip)),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Self::OciLayer(Compression::Zstd)),
        ("application/vnd.docker.distribution.manifest.list.v2+json", Self::DockerManifestList),
        ("application/vnd.docker.distribution.manifest.v2+json", Self::DockerManifest),
        ("application/vnd.docker.container.image.v1+json", Self::DockerConfig),
        ("application/vnd.docker.image.rootfs.diff.tar", Self::DockerLayer(Compression::None)),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Self::DockerLayer(Compression::Gzip)),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", Self::DockerLayer(Compression::Zstd)),
    ];

    /// The name used in documents and headers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => {
                Self::NAMES.iter().find(|(_, media_type)| media_type == known).map_or("", |(name, _)| name)
            }
        }
    }

    /// The compression, if this is the type of a layer.
    #[must_use]
    pub fn layer_compression(&self) -> Option<Compression> {
        match self {
            Self::OciLayer(compression) | Self::DockerLayer(compression) => Some(*compression),
            Self::Other(name) if name.contains(".nondistributable.") || name.contains(".foreign.") => {
                Some(if name.ends_with("gzip") {
                    Compression::Gzip
                } else if name.ends_with("zstd") {
                    Compression::Zstd
                } else {
                    Compression::None
                })
            }
            Self::OciIndex
            | Self::OciManifest
            | Self::OciConfig
            | Self::DockerManifestList
            | Self::DockerManifest
            | Self::DockerConfig
            | Self::Other(_) => None,
        }
    }

    /// True if a config of this type may be an image's. Old tools and registries wrote generic types (docker/distribution
    /// issue 1621), which docker takes too; any other type is that of something else, such as a chart.
    #[must_use]
    pub fn may_be_config(&self) -> bool {
        match self {
            Self::OciConfig | Self::DockerConfig => true,
            Self::Other(name) => {
                ["", "application/octet-stream", "application/json", "text/html"].contains(&name.as_str())
            }
            Self::OciIndex
            | Self::OciManifest
            | Self::OciLayer(_)
            | Self::DockerManifestList
            | Self::DockerManifest
            | Self::DockerLayer(_) => false,
        }
    }

    /// True if a blob of this type may be a layer. Of types that rbuild does not know, those with a tar in their name and
    /// those that say nothing may be one; the blob's bytes decide.
    #[must_use]
    pub fn may_be_layer(&self) -> bool {
        let unknown = |name: &str| {
            let is_generic = ["", "application/octet-stream"].contains(&name);
            is_generic || ((name.contains("tar") || name.contains("gzip")) && !name.ends_with("encrypted"))
        };
        match self {
            Self::OciLayer(_) | Self::DockerLayer(_) => true,
            Self::Other(name) => self.layer_compression().is_some() || unknown(name),
            Self::OciIndex
            | Self::OciManifest
            | Self::OciConfig
            | Self::DockerManifestList
            | Self::DockerManifest
            | Self::DockerConfig => false,
        }
    }

    /// True if this is the type of a list of manifests.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerManifestList)
    }

    /// True if this is the type of one image's manifest.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }
}

impl From<&str> for MediaType {
    fn from(name: &str) -> Self {
        let known = Self::NAMES.into_iter().find(|(known, _)| *known == name);
        known.map_or_else(|| Self::Other(name.to_owned()), |(_, media_type)| media_type)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(d)?.as_str().into())
    }
}

/// A blob's type, digest and size, with the annotations of the document that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The blob's media type.
    pub media_type: MediaType,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// Annotations, sorted by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform of the image; only indexes state it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// A descriptor without annotations or platform.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, annotations: BTreeMap::new(), platform: None }
    }
}
