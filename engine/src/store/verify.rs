//! Verifying the store: see [`Store::verify`](rbuild_cache::Store::verify).

use crate::{Engine, Error};
use rbuild_cache::{Repair, Verified};

impl Engine {
    /// Looks at everything in the store, and repairs it if that is wanted. The second value are remarks on what was found and
    /// mended before that, such as a damaged index.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be read or written.
    pub fn verify(&self, repair: Repair) -> Result<(Verified, Vec<String>), Error> {
        let store = &self.store;
        let _reserve = store.reserve();
        let verified =
            store.verify(&|layer, blob| rbuild_image::examine_layer(store, layer, blob), repair)?;
        let mended = store.take_warnings().iter().map(ToString::to_string).collect();
        Ok((verified, mended))
    }
}
