//! Single layers, sent to a repository as blobs: those of a build cache belong to no image.

use super::{PushedAs, RemoteImages, push::Pushing};
use crate::{
    ImageError, assemble,
    event::OnEvent,
    form::ImageForm,
    layer::{LayerCompression, Packing, recall_compressed, remember_compressed},
};
use rbuild_cache::{LayerId, Store};
use rbuild_oci::{Descriptor, ImageName};
use rbuild_registry::Client;
use std::{collections::HashMap, sync::OnceLock};

/// The blob as which `layer` leaves the store if it is packed as `packing` says, as far as that is known without packing it:
/// the one that it came as, or the one that it was packed to before. Its DiffId must be known.
///
/// # Errors
/// When the layer is not in the store.
pub fn known_blob(
    store: &Store,
    layer: &LayerId,
    packing: &Packing,
) -> Result<Option<Descriptor>, ImageError> {
    let layer = assemble::image_layer(store, layer)?;
    match layer.blob {
        Some(kept) if packing.keeps(&kept) => Ok(Some(kept)),
        Some(_) | None => {
            let mut memo = recall_compressed(store, std::slice::from_ref(&layer), packing.compression);
            Ok(memo.remove(&layer.diff_id))
        }
    }
}

/// Remembers that `layer` was packed to `blob`, for [`known_blob`].
///
/// # Errors
/// When the layer is not in the store, or the index cannot be written: packing it again is all that it costs.
pub fn remember_blob(
    store: &Store,
    layer: &LayerId,
    compression: LayerCompression,
    blob: &Descriptor,
) -> Result<(), ImageError> {
    remember_compressed(store, &assemble::image_layer(store, layer)?, blob, compression)
}

impl RemoteImages {
    /// Sees that the repository of `name` has `layer` as a blob, packed as `packing` says: one that is there is not sent, and
    /// one that was packed before is not packed to find that out. Its DiffId must be known. Must run in a tokio runtime.
    ///
    /// # Errors
    /// As [`RemoteImages::push`].
    pub async fn send_layer(
        &self,
        layer: &LayerId,
        (name, packing): (&ImageName, &Packing),
        on_event: OnEvent<'_>,
    ) -> Result<Descriptor, ImageError> {
        let layer = assemble::image_layer(&self.store, layer)?;
        let form = ImageForm::packed(*packing);
        let pushing = Pushing {
            store: &self.store,
            client: &self.client,
            name,
            reference: name.as_reference(),
            place: PushedAs::Tag,
            form: &form,
            on_event,
            memo: recall_compressed(&self.store, std::slice::from_ref(&layer), packing.compression),
            // what other repositories have is not looked for, because that would read all names of the store
            repositories: OnceLock::from(HashMap::new()),
        };
        pushing.layer(&layer).await
    }

    /// The client that reaches the registries.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}
