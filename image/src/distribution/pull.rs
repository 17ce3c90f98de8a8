//! Pulling an image: it is resolved, all of its layers are fetched, and then it gets its name.

use super::RemoteImages;
use crate::{ImageError, ImageEvent, event::OnEvent};
use rbuild_cache::ImageRecord;
use rbuild_oci::{Digest, Platform, Reference};
use std::sync::Arc;

/// An image that was resolved or pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageRecord,
    /// Digest of what the registry has under the reference, a manifest or an index.
    pub digest: Digest,
}

impl RemoteImages {
    /// Pulls what `reference` names for `platform` and points the reference at it. Must run in a tokio runtime.
    ///
    /// # Errors
    /// As [`RemoteImages::resolve`] and [`RemoteImages::fetch_layers`].
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        on_event: OnEvent<'_>,
    ) -> Result<Pulled, ImageError> {
        let found = self.find(reference, platform, Arc::new(self.store.lease()?)).await?;
        let stack = found.stack();
        for (layer, blob) in stack.iter().zip(&found.blobs) {
            if self.store.remote_layer(layer)?.is_none() {
                on_event(ImageEvent::LayerExists { digest: blob.digest });
            }
        }
        self.fetch_layers(&stack, on_event).await?;
        let pulled = self.record(reference, found).await?;
        on_event(ImageEvent::Manifest { digest: pulled.digest });
        Ok(pulled)
    }
}
