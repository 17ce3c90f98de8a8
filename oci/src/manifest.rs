//! Manifests and indexes (OCI image specification, manifest.md and image-index.md; Docker manifest schema 2).
//!
//! The `oci-spec` crate reads and checks documents. The rest of rbuild uses the small values here, which also cover the
//! Docker family. Written documents have two spaces of indentation and no newline at the end, as BuildKit writes them.

use crate::{Descriptor, Digest, MediaType, ParseError};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
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

    /// Sees that it is the manifest of an image, whose layers are files. Other things are kept in registries too.
    ///
    /// # Errors
    /// [`ParseError::NotAnImage`] with the media type that tells.
    pub fn check_image(&self) -> Result<(), ParseError> {
        let refused = |part, media_type: &MediaType| {
            Err(ParseError::NotAnImage { part, media_type: media_type.to_string() })
        };
        if !self.config.media_type.may_be_config() {
            return refused("config", &self.config.media_type);
        }
        match self.layers.iter().find(|layer| !layer.media_type.may_be_layer()) {
            Some(layer) => refused("layer", &layer.media_type),
            None => Ok(()),
        }
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
    /// Annotations, sorted by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of `manifests`.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: MediaType::OciIndex, manifests, annotations: BTreeMap::new() }
    }

    /// Writes the document.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        pretty(self)
    }
}

/// A document that a reference can lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestOrIndex {
    /// The manifest of one image.
    Manifest(Manifest),
    /// The index of several images.
    Index(Index),
}

impl ManifestOrIndex {
    /// Reads a document. Its fields decide what it is, and neither its `mediaType` nor `media_type`, which a header or
    /// descriptor has stated, may contradict them: one reader would see an image and another something else under the
    /// same digest (CVE-2021-41190).
    ///
    /// # Errors
    /// [`ParseError::Document`] when it is neither a manifest nor an index, or not clearly one of them.
    pub fn from_json(json: &[u8], media_type: Option<&MediaType>) -> Result<Self, ParseError> {
        let bad = |error: &dyn std::fmt::Display| ParseError::Document {
            kind: "manifest",
            reason: error.to_string(),
        };
        if is_array(json) {
            return Err(bad(&"it is an array"));
        }
        let outline: Outline = serde_json::from_slice(json).map_err(|error| bad(&error))?;
        let is_index = outline.is_index(media_type).map_err(|reason| bad(&reason))?;
        let stated = outline.media_type.or_else(|| media_type.cloned());
        if is_index {
            let index: oci_spec::image::ImageIndex =
                serde_json::from_slice(json).map_err(|error| bad(&error))?;
            let manifests = index.manifests().iter().map(descriptor).collect::<Result<_, _>>()?;
            let media_type = stated.unwrap_or(MediaType::OciIndex);
            let annotations =
                index.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
            return Ok(Self::Index(Index { schema_version: 2, media_type, manifests, annotations }));
        }
        let manifest: oci_spec::image::ImageManifest =
            serde_json::from_slice(json).map_err(|error| bad(&error))?;
        let layers = manifest.layers().iter().map(descriptor).collect::<Result<_, _>>()?;
        let annotations =
            manifest.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        Ok(Self::Manifest(Manifest {
            schema_version: 2,
            media_type: stated.unwrap_or(MediaType::OciManifest),
            config: descriptor(manifest.config())?,
            layers,
            annotations,
        }))
    }
}

/// The fields that say what a document is. The others are not kept, so that a long document costs no more than itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a manifest or an index")]
struct Outline {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default, deserialize_with = "is_there")]
    manifests: bool,
    #[serde(default, deserialize_with = "is_there")]
    config: bool,
    #[serde(default, deserialize_with = "is_there")]
    layers: bool,
    /// Only manifests of schema 1 have these.
    #[serde(default, deserialize_with = "is_there")]
    fs_layers: bool,
}

impl Outline {
    /// True for an index, false for a manifest; the reason when it is neither.
    fn is_index(&self, stated: Option<&MediaType>) -> Result<bool, String> {
        if self.schema_version == Some(1) || self.fs_layers {
            return Err(
                "it has schema version 1, which is read no more: push the image again with a newer tool"
                    .to_owned(),
            );
        }
        if let Some(version) = self.schema_version.filter(|version| *version != 2) {
            return Err(format!("it has schema version {version}, and only 2 is known"));
        }
        let is_index = match (self.manifests, self.config || self.layers) {
            (true, true) => return Err("it is both a manifest and an index".to_owned()),
            (false, false) => return Err("it is neither a manifest nor an index".to_owned()),
            (manifests, _) => manifests,
        };
        for media_type in self.media_type.iter().chain(stated) {
            if is_index && media_type.is_manifest() {
                return Err(format!("it is an index, but its media type is {media_type}"));
            }
            if !is_index && media_type.is_index() {
                return Err(format!("it is a manifest, but its media type is {media_type}"));
            }
        }
        Ok(is_index)
    }
}

/// True for an array, which serde would take for an object's fields in their order.
pub(crate) fn is_array(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"[")
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
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
        let error = ManifestOrIndex::from_json(&index, Some(&MediaType::DockerManifest)).unwrap_err();
        assert!(error.to_string().contains("it is an index, but its media type is "), "{error}");
        let as_index = Some(MediaType::OciIndex);
        let mut unnamed: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
        unnamed.as_object_mut().unwrap().remove("mediaType");
        assert!(ManifestOrIndex::from_json(unnamed.to_string().as_bytes(), as_index.as_ref()).is_err());
    }
    #[test]
    fn what_is_no_manifest_is_refused_with_the_reason() {
        let entry = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"DIGEST","size":1}"#;
        for (document, reason) in [
            ("", "EOF while parsing"),
            ("[]", "it is an array"),
            ("7", "expected a manifest or an index"),
            ("{}", "it is neither a manifest nor an index"),
            (r#"{"schemaVersion":2,"config":CONFIG}"#, "missing field `layers`"),
            (r#"{"config":CONFIG,"layers":[]}"#, "missing field `schemaVersion`"),
            (r#"{"schemaVersion":3,"config":CONFIG,"layers":[]}"#, "schema version 3, and only 2 is known"),
            (r#"{"schemaVersion":1,"name":"a","fsLayers":[]}"#, "push the image again with a newer tool"),
            (r#"{"schemaVersion":2,"config":CONFIG,"layers":[],"layers":[]}"#, "duplicate field `layers`"),
            (r#"{"schemaVersion":2,"manifests":null}"#, "invalid type: null"),
            (r#"{"schemaVersion":2,"manifests":[{"digest":"x:y","size":-1}]}"#, "-1"),
            (r#"{"schemaVersion":2,"mediaType":7,"config":CONFIG,"layers":[]}"#, "invalid type: integer `7`"),
        ] {
            let text = document.replace("CONFIG", &entry.replace("DIGEST", &Digest::of(b"c").to_string()));
            let error = ManifestOrIndex::from_json(text.as_bytes(), None).unwrap_err().to_string();
            assert!(error.contains(reason), "{document}: {error}");
        }
        let sha512 = format!("sha512:{}", "0".repeat(128));
        let config = entry.replace("DIGEST", &sha512);
        let other = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
        let error = ManifestOrIndex::from_json(other.as_bytes(), None).unwrap_err();
        assert_eq!(error, ParseError::Digest(sha512));
    }

    #[test]
    fn charts_attestations_and_encrypted_layers_are_no_images() {
        let manifest = |config: &str, layer: &str| {
            let part = |name: &str| Descriptor::new(name.into(), Digest::of(b"x"), 1);
            Manifest::new(MediaType::OciManifest, part(config), vec![part(layer)]).check_image()
        };
        let (config, layer) =
            ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar");
        for known in [config, "application/vnd.docker.container.image.v1+json", "application/octet-stream"] {
            assert_eq!(manifest(known, layer), Ok(()));
        }
        for known in [
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            "application/octet-stream",
            "application/x-gtar",
        ] {
            assert_eq!(manifest(config, known), Ok(()));
        }
        for (config, layer, refused) in [
            ("application/vnd.cncf.helm.config.v1+json", layer, "config"),
            ("application/vnd.oci.empty.v1+json", layer, "config"),
            (config, "application/vnd.in-toto+json", "layer"),
            (config, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "layer"),
            (config, config, "layer"),
        ] {
            let media_type = if refused == "config" { config } else { layer }.to_owned();
            assert_eq!(manifest(config, layer), Err(ParseError::NotAnImage { part: refused, media_type }));
        }
    }
}
