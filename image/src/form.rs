//! The form in which an image leaves the store: how its layers are packed, the family of its media types, its annotations.

use crate::layer::Packing;
use rbuild_oci::{Compression, Descriptor, Index, Manifest, MediaType, Platform};
use std::collections::BTreeMap;

/// How an image is written for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageForm {
    /// The packing of its layers.
    pub packing: Packing,
    /// The family of its media types.
    pub media_types: MediaTypes,
    /// Annotations of its manifests.
    pub annotations: ImageAnnotations,
    /// Annotations of the descriptors that lead to the manifests, where there are some.
    pub descriptor_annotations: ImageAnnotations,
    /// Annotations of the index of an image for several platforms.
    pub index_annotations: BTreeMap<String, String>,
    /// Annotations of the descriptor that leads to that index, where there is one.
    pub index_descriptor_annotations: BTreeMap<String, String>,
}

/// Annotations of the images for several platforms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageAnnotations {
    of_all: BTreeMap<String, String>,
    of_one: BTreeMap<Platform, BTreeMap<String, String>>,
}

impl ImageAnnotations {
    /// Adds one, of the image for `platform`, or of all.
    pub fn insert(&mut self, platform: Option<Platform>, key: String, value: String) {
        let annotations = match platform {
            Some(platform) => self.of_one.entry(platform).or_default(),
            None => &mut self.of_all,
        };
        annotations.insert(key, value);
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of_all.is_empty() && self.of_one.is_empty()
    }

    /// The platforms whose images have some of their own.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.of_one.keys()
    }

    /// Those of the image for `platform`, whose own ones come before those of all.
    #[must_use]
    pub fn of(&self, platform: Option<&Platform>) -> BTreeMap<String, String> {
        let own = platform.and_then(|platform| self.of_one.get(platform));
        let pairs = self.of_all.iter().chain(own.into_iter().flatten());
        pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// A family of media types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaTypes {
    /// Those of the OCI image specification.
    #[default]
    Oci,
    /// Docker's, for readers of old. They have no annotations.
    Docker,
}

impl ImageForm {
    /// The form in which layers are packed as `packing` says, and everything else is as usual.
    #[must_use]
    pub fn packed(packing: Packing) -> Self {
        Self { packing, ..Self::default() }
    }

    /// True if a manifest that the image came with may stand for one in this form.
    pub(crate) fn keeps_manifests(&self) -> bool {
        self.media_types == MediaTypes::Oci && self.annotations.is_empty()
    }

    /// The manifest of the image for `platform` with `config` and `layers`, whose own families do not matter: its media type and
    /// its bytes.
    pub(crate) fn manifest(
        &self,
        config: &Descriptor,
        layers: &[Descriptor],
        platform: Option<&Platform>,
    ) -> (MediaType, Vec<u8>) {
        let (manifest_type, config_type) = match self.media_types {
            MediaTypes::Oci => (MediaType::OciManifest, MediaType::OciConfig),
            MediaTypes::Docker => (MediaType::DockerManifest, MediaType::DockerConfig),
        };
        let config = Descriptor::new(config_type, config.digest, config.size);
        let layers = layers.iter().map(|layer| self.layer(layer)).collect();
        let mut manifest = Manifest::new(manifest_type.clone(), config, layers);
        manifest.annotations = self.annotations.of(platform);
        (manifest_type, manifest.to_json())
    }

    /// The index of `entries`, images for several platforms: its media type and its bytes.
    pub(crate) fn index(&self, mut entries: Vec<Descriptor>) -> (MediaType, Vec<u8>) {
        for entry in &mut entries {
            entry.annotations = self.descriptor_annotations.of(entry.platform.as_ref());
        }
        let mut index = Index::new(entries);
        index.media_type = match self.media_types {
            MediaTypes::Oci => MediaType::OciIndex,
            MediaTypes::Docker => MediaType::DockerManifestList,
        };
        index.annotations.clone_from(&self.index_annotations);
        (index.media_type.clone(), index.to_json())
    }

    /// A layer's descriptor: its compression is kept, its family is not.
    fn layer(&self, layer: &Descriptor) -> Descriptor {
        let of_family = |compression: Compression| match self.media_types {
            MediaTypes::Oci => MediaType::OciLayer(compression),
            MediaTypes::Docker => MediaType::DockerLayer(compression),
        };
        let media_type =
            layer.media_type.layer_compression().map_or_else(|| layer.media_type.clone(), of_family);
        Descriptor::new(media_type, layer.digest, layer.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild_oci::{Digest, ManifestOrIndex};

    #[test]
    fn a_manifest_is_of_one_family() {
        let config = Descriptor::new(MediaType::OciConfig, Digest::of(b"c"), 1);
        let layers = [MediaType::DockerLayer(Compression::Gzip), MediaType::OciLayer(Compression::Zstd)]
            .map(|media_type| Descriptor::new(media_type, Digest::of(b"l"), 2));
        let types = |form: &ImageForm| {
            let (media_type, bytes) = form.manifest(&config, &layers, None);
            let Ok(ManifestOrIndex::Manifest(manifest)) = ManifestOrIndex::from_json(&bytes, None) else {
                panic!("no manifest")
            };
            assert_eq!((manifest.media_type, manifest.annotations), (media_type, form.annotations.of(None)));
            let layers = manifest.layers.into_iter().map(|layer| layer.media_type.to_string());
            [manifest.config.media_type.to_string()].into_iter().chain(layers).collect::<Vec<_>>()
        };
        let mut annotations = ImageAnnotations::default();
        annotations.insert(None, "a".to_owned(), "b".to_owned());
        let oci = ImageForm { annotations, ..ImageForm::default() };
        assert_eq!(
            types(&oci),
            [
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
                "application/vnd.oci.image.layer.v1.tar+zstd"
            ]
        );
        let docker = ImageForm { media_types: MediaTypes::Docker, ..ImageForm::default() };
        assert_eq!(
            types(&docker),
            [
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "application/vnd.docker.image.rootfs.diff.tar.zstd"
            ]
        );
    }

    #[test]
    fn an_image_has_the_annotations_of_its_platform_and_those_of_all() {
        let [arm, amd] =
            ["arm64", "amd64"].map(|architecture| Platform::normalised("linux", architecture, None));
        let mut annotations = ImageAnnotations::default();
        for (platform, key, value) in
            [(None, "a", "all"), (Some(arm.clone()), "a", "arm"), (Some(arm.clone()), "b", "arm")]
        {
            annotations.insert(platform, key.to_owned(), value.to_owned());
        }
        let of = |platform| annotations.of(platform).into_values().collect::<Vec<_>>();
        assert_eq!(
            (of(Some(&arm)), of(Some(&amd)), of(None)),
            (vec!["arm".into(), "arm".into()], vec!["all".into()], vec!["all".into()])
        );
    }
}
