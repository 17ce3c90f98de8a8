//! The documents of a cache, in each of its forms.

use crate::{SharedCache, buildkit, document};
use rbuild_image::{MediaTypes, Packing};
use rbuild_oci::{Compression, Descriptor, Digest, Index, Manifest, ManifestOrIndex, MediaType};

/// The form of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheForm {
    /// How its layers are compressed.
    pub packing: Packing,
    /// The family of its media types.
    pub media_types: MediaTypes,
    /// The document that leads to it.
    pub container: CacheContainer,
}

/// The document that leads to a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheContainer {
    /// The manifest of an image, whose config is the description.
    #[default]
    Manifest,
    /// An index of the layers, whose last entry is the description (`image-manifest=false`).
    Index,
}

impl Default for CacheForm {
    fn default() -> Self {
        Self {
            packing: Packing::default(),
            media_types: MediaTypes::Oci,
            container: CacheContainer::default(),
        }
    }
}

/// The documents of a cache.
pub(crate) struct Documents {
    pub(crate) config: Descriptor,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) manifest: Descriptor,
    pub(crate) manifest_bytes: Vec<u8>,
}

impl Documents {
    /// Describes `cache` in `form`.
    pub(crate) fn of(cache: &SharedCache, form: &CacheForm) -> Self {
        let described = |media_type: MediaType, bytes: &[u8]| {
            Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
        };
        let config_bytes = cache.describe();
        let config = described(document::CACHE_CONFIG.into(), &config_bytes);
        let of_family = |compression: Compression| match form.media_types {
            MediaTypes::Oci => MediaType::OciLayer(compression),
            MediaTypes::Docker => MediaType::DockerLayer(compression),
        };
        let mut layers = buildkit::descriptors(cache);
        for layer in &mut layers {
            if let Some(compression) = layer.media_type.layer_compression() {
                layer.media_type = of_family(compression);
            }
        }
        let (media_type, manifest_bytes) = match (form.container, form.media_types) {
            (CacheContainer::Manifest, family) => {
                let media_type = match family {
                    MediaTypes::Oci => MediaType::OciManifest,
                    MediaTypes::Docker => MediaType::DockerManifest,
                };
                let manifest = Manifest::new(media_type.clone(), config.clone(), layers);
                (media_type, manifest.to_json())
            }
            (CacheContainer::Index, family) => {
                layers.push(config.clone());
                let mut index = Index::new(layers);
                if family == MediaTypes::Docker {
                    index.media_type = MediaType::DockerManifestList;
                }
                (index.media_type.clone(), index.to_json())
            }
        };
        let manifest = described(media_type, &manifest_bytes);
        Self { config, config_bytes, manifest, manifest_bytes }
    }
}

/// The descriptor of the description in the manifest or index of a cache.
pub(crate) fn description(document: &ManifestOrIndex) -> Option<Descriptor> {
    let is_description = |blob: &Descriptor| blob.media_type.as_str() == document::CACHE_CONFIG;
    match document {
        ManifestOrIndex::Manifest(manifest) => {
            Some(&manifest.config).filter(|blob| is_description(blob)).cloned()
        }
        ManifestOrIndex::Index(index) => {
            index.manifests.iter().rev().find(|blob| is_description(blob)).cloned()
        }
    }
}
