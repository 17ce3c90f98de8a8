//! Manifests and indexes (OCI image specification, manifest.md and image-index.md; Docker manifest schema 2).
//!
//! The `oci-spec` crate reads and checks documents. The rest of rbuild uses the small values here, which also cover the
//! Docker family. Written documents have two spaces of indentation and no newline at the end, as BuildKit writes them.

use crate::{Descriptor, Digest, MediaType, ParseError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One image: its config and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    /// The media type, which is [`MediaType::OciManifest`] or [`MediaType::DockerManifest`].
    pub media_type: MediaType,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Annotations, sorted by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// A manifest of `config` and `layers`. `media_type` decides if it is of the OCI or the Docker family.
    #[must_use]
    pub fn new(media_type: MediaType, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type, config, layers, annotations: BTreeMap::new() }
    }

    /// Writes the document. The digest of these bytes is the manifest's digest.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        pretty(self)
    }
}

/// A list of manifests, one for each platform or image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    /// The media type, which is [`MediaType::OciIndex`] or [`MediaType::DockerManifestList`].
    pub media_type: MediaType,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// An OCI index of `manifests`.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: MediaType::OciIndex, manifests }
    }

    /// Writes the document.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        pretty(self)
    }
}

/// A document that a reference can lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once, never kept")]
pub enum ManifestOrIndex {
    /// The manifest of one image.
    Manifest(Manifest),
    /// The index of several images.
    Index(Index),
}

impl ManifestOrIndex {
    /// Reads a document. A `mediaType` field inside decides its type, else `media_type`, which a header or descriptor has
    /// stated, else the fields that it has.
    ///
    /// # Errors
    /// [`ParseError::Document`] when it is neither a manifest nor an index.
    pub fn from_json(json: &[u8], media_type: Option<&MediaType>) -> Result<Self, ParseError> {
        let bad = |reason: String| ParseError::Document { kind: "manifest", reason };
        let value: serde_json::Value = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
        let inside = value.get("mediaType").and_then(|name| name.as_str()).map(MediaType::from);
        let (lists, describes) = (
            value.get("manifests").is_some(),
            value.get("config").is_some() || value.get("layers").is_some(),
        );
        if lists && describes {
            // one reader would see an index and another an image under the same digest (CVE-2021-41190)
            return Err(bad("it is both a manifest and an index".to_owned()));
        }
        let is_index = match inside.as_ref().or(media_type) {
            Some(kind) if kind.is_index() => true,
            Some(kind) if kind.is_manifest() => false,
            _ => value.get("manifests").is_some(),
        };
        if is_index {
            let index = oci_spec::image::ImageIndex::from_reader(json).map_err(|e| bad(e.to_string()))?;
            let manifests = index.manifests().iter().map(descriptor).collect::<Result<_, _>>()?;
            let media_type = inside.or_else(|| media_type.cloned()).unwrap_or(MediaType::OciIndex);
            return Ok(Self::Index(Index { schema_version: 2, media_type, manifests }));
        }
        let manifest = oci_spec::image::ImageManifest::from_reader(json).map_err(|e| bad(e.to_string()))?;
        let layers = manifest.layers().iter().map(descriptor).collect::<Result<_, _>>()?;
        let media_type = inside.or_else(|| media_type.cloned()).unwrap_or(MediaType::OciManifest);
        let annotations =
            manifest.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        Ok(Self::Manifest(Manifest {
            schema_version: 2,
            media_type,
            config: descriptor(manifest.config())?,
            layers,
            annotations,
        }))
    }
}

fn descriptor(from: &oci_spec::image::Descriptor) -> Result<Descriptor, ParseError> {
    let digest: Digest = from.digest().to_string().parse()?;
    let mut to = Descriptor::new(from.media_type().to_string().as_str().into(), digest, from.size());
    to.annotations = from.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    to.platform = from.platform().as_ref().map(|platform| {
        let variant = platform.variant().as_deref();
        crate::Platform::normalised(&platform.os().to_string(), &platform.architecture().to_string(), variant)
    });
    Ok(to)
}

fn pretty(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(document).expect("a document of strings and numbers always serialises")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_and_oci_manifests_read_back() {
        for media_type in [MediaType::OciManifest, MediaType::DockerManifest] {
            let config = Descriptor::new(MediaType::DockerConfig, Digest::of(b"c"), 1);
            let manifest = Manifest::new(media_type, config.clone(), vec![config]);
            let read = ManifestOrIndex::from_json(&manifest.to_json(), None).unwrap();
            assert_eq!(read, ManifestOrIndex::Manifest(manifest));
        }
        assert!(ManifestOrIndex::from_json(b"{}", None).is_err());
    }

    #[test]
    fn a_document_is_a_manifest_or_an_index_and_never_both() {
        let config = Descriptor::new(MediaType::OciConfig, Digest::of(b"c"), 1);
        let manifest = Manifest::new(MediaType::OciManifest, config.clone(), vec![config.clone()]);
        let mut both: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
        both["manifests"] = serde_json::json!([]);
        for media_type in [None, Some(MediaType::OciManifest), Some(MediaType::OciIndex)] {
            for inside in [None, Some("application/vnd.oci.image.index.v1+json")] {
                match inside {
                    None => drop(both.as_object_mut().unwrap().remove("mediaType")),
                    Some(name) => both["mediaType"] = name.into(),
                }
                let error = ManifestOrIndex::from_json(both.to_string().as_bytes(), media_type.as_ref());
                assert!(error.unwrap_err().to_string().contains("both a manifest and an index"));
            }
        }
        let index = Index::new(vec![config]).to_json();
        assert!(
            ManifestOrIndex::from_json(&index, Some(&MediaType::OciManifest)).is_ok(),
            "it says what it is"
        );
        let as_index = Some(MediaType::OciIndex);
        let mut unnamed: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
        unnamed.as_object_mut().unwrap().remove("mediaType");
        assert!(ManifestOrIndex::from_json(unnamed.to_string().as_bytes(), as_index.as_ref()).is_err());
    }
}
