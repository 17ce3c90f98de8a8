//! The stores below the engine's own that a build looks into (`--cache-ro`): images, and results of steps, that the own store
//! lacks.

use crate::{BuildRequest, Error};
use rbuild_cache::{Index, LayerFiles, LayerId, LowerStore, Store, TarBlob};
use rbuild_oci::Reference;

/// The lower stores of one build, in the order in which they are asked.
pub(crate) struct LowerStores {
    store: Store,
    lower: Vec<LowerStore>,
}

impl LowerStores {
    /// Those that `request` names.
    ///
    /// # Errors
    /// When one of them is not a store that this one can stand on.
    pub(crate) fn open(store: &Store, request: &BuildRequest) -> Result<Self, Error> {
        let lower = request.lower_stores.iter().map(|root| store.lower(root));
        Ok(Self { store: store.clone(), lower: lower.collect::<Result<_, _>>()? })
    }

    /// True if the build has any.
    pub(crate) fn are_there(&self) -> bool {
        !self.lower.is_empty()
    }

    /// Makes the image one of the own store, if one of these has it with whole layers.
    ///
    /// # Errors
    /// When the own store cannot be written.
    pub(crate) fn bring_image(&self, reference: &Reference) -> Result<bool, Error> {
        for lower in &self.lower {
            if self.store.borrow_image(lower, reference, &is_whole)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What `ask` finds in the index of each of them. One that fails is passed over, because a cache is advice.
    pub(crate) fn ask<T>(&self, ask: impl Fn(&Index<'_>) -> T) -> Vec<(&LowerStore, T)> {
        let answer = |lower| self.store.lower_index(lower, |index| Ok(ask(index))).ok();
        self.lower.iter().filter_map(|lower| Some((lower, answer(lower)?))).collect()
    }

    /// Makes `layer` one of the own store; false when `lower` has it no more, or not whole.
    pub(crate) fn take(&self, lower: &LowerStore, layer: &LayerId) -> bool {
        self.store.borrow_layer(lower, layer, &is_whole).unwrap_or(false)
    }
}

/// Compares a layer with the digest of its tar: a copy of a store may have half of it. One that no image has needed yet has no digest.
fn is_whole(store: &Store, layer: &LayerId) -> bool {
    match rbuild_image::examine_layer(store, layer, TarBlob::Whole) {
        LayerFiles::Sound | LayerFiles::Unknown => true,
        LayerFiles::Damaged(_) | LayerFiles::Unseen(_) => false,
    }
}
