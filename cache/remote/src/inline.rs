//! A cache that travels in the config of an image: its layers are those of the image.
//!
//! BuildKit's part is its records alone, in the field `moby.buildkit.cache.v0`, and rbuild's stands beside it. Both are JSON in base64.

use crate::{RemoteCacheError, SharedCache, buildkit, document};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rbuild_oci::{Descriptor, RootFs};
use serde::Deserialize;
use std::collections::HashMap;

/// The parts of an image config that say what cache it carries.
#[derive(Deserialize)]
struct Carrier {
    #[serde(rename = "moby.buildkit.cache.v0", default)]
    buildkit: Option<String>,
    #[serde(rename = "rbuild.cache", default)]
    rbuild: Option<String>,
    rootfs: RootFs,
}

impl SharedCache {
    /// What the config of an image whose steps these are carries for BuildKit.
    #[must_use]
    pub fn inline_for_buildkit(&self) -> String {
        BASE64_STANDARD.encode(buildkit::inline_records(self))
    }

    /// What it carries for rbuild.
    #[must_use]
    pub fn inline(&self) -> String {
        BASE64_STANDARD.encode(document::write_inline(self))
    }

    /// The cache that the image `subject` carries in the config `config`, with the layers `layers` of its manifest. Each index in it
    /// leads to a layer.
    ///
    /// # Errors
    /// [`RemoteCacheError::NoInlineCache`], [`RemoteCacheError::Foreign`] for one that only BuildKit can use,
    /// [`RemoteCacheError::Newer`], [`RemoteCacheError::Description`].
    pub fn carried_by(
        (subject, config): (&str, &[u8]),
        layers: &[Descriptor],
    ) -> Result<Self, RemoteCacheError> {
        let bad = |source| RemoteCacheError::Json { subject: subject.to_owned(), source };
        let carrier: Carrier = serde_json::from_slice(config).map_err(bad)?;
        let problem = |problem| RemoteCacheError::Description { subject: subject.to_owned(), problem };
        let decoded = |text: String| {
            BASE64_STANDARD.decode(text).map_err(|_| problem("what its config carries is no base64"))
        };
        let Some(rbuild) = carrier.rbuild else {
            let Some(buildkit) = carrier.buildkit else {
                return Err(RemoteCacheError::NoInlineCache { subject: subject.to_owned() });
            };
            let records: Vec<serde::de::IgnoredAny> =
                serde_json::from_slice(&decoded(buildkit)?).map_err(bad)?;
            return Err(RemoteCacheError::Foreign { subject: subject.to_owned(), records: records.len() });
        };
        let mut cache = document::read_inline(subject, &decoded(rbuild)?)?;
        let diff_ids = carrier.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            return Err(problem("its config and its manifest have different numbers of layers"));
        }
        let blobs: HashMap<_, _> = diff_ids.into_iter().zip(layers).collect();
        for layer in &mut cache.layers {
            let blob = blobs.get(&layer.diff_id).filter(|blob| blob.media_type.layer_compression().is_some());
            layer.blob = blob.map(|blob| Descriptor::new(blob.media_type.clone(), blob.digest, blob.size));
        }
        Ok(cache)
    }
}
