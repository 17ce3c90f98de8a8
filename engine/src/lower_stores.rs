//! The stores below the engine's own that a build looks into (`--cache-ro`): images, and results of steps, that the own store
//! lacks.

use crate::{BuildRequest, Error};
use rbuild_cache::{CacheKey, CacheRecord, Index, Lookup, LowerStore, Store};
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

    /// Makes the image one of the own store, if one of these has it.
    ///
    /// # Errors
    /// When the own store cannot be written.
    pub(crate) fn bring_image(&self, reference: &Reference) -> Result<bool, Error> {
        for lower in &self.lower {
            if self.store.borrow_image(lower, reference)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Calls `ask` once for each of them, with a function that finds the record of a key there and makes its layer one of the
    /// own store. A lower store that fails is passed over, because a cache is advice.
    pub(crate) fn look_up(&self, mut ask: impl FnMut(&mut dyn FnMut(&CacheKey) -> Option<CacheRecord>)) {
        for lower in &self.lower {
            // the transaction has no result that could be lost
            let _ = self.store.lower_index(lower, |index| {
                ask(&mut |key| self.borrowed(lower, index, key));
                Ok(())
            });
        }
    }

    fn borrowed(&self, lower: &LowerStore, index: &Index<'_>, key: &CacheKey) -> Option<CacheRecord> {
        let Lookup::Hit(record) = index.lookup(key) else { return None };
        let there = self.store.borrow_layer(lower, &record.layer).ok()?;
        // written in another boot than this store's, or on another machine
        there.then_some(CacheRecord { stamp: None, ..*record })
    }
}
