//! The budget of a store, as the process that opened it has it.

use crate::Store;
use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

/// For so long after room was made in vain it is not tried again, unless more is lacking.
const PAUSE: Duration = Duration::from_secs(1);

/// Limits in bytes on what a store keeps. Without any of them it keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The store may take so many.
    pub max_used_space: Option<u64>,
    /// So many have to stay free on the disk that has it.
    pub min_free_space: Option<u64>,
    /// So many of the build cache stay nevertheless.
    pub reserved_space: Option<u64>,
}

/// Room that could not be made.
#[derive(Debug)]
pub(super) struct Lack {
    bytes: u64,
    when: Instant,
}

impl Budget {
    /// True if it limits anything.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.max_used_space.is_some() || self.min_free_space.is_some()
    }
}

impl Store {
    /// The same store, kept within a budget from now on by everything that writes to it through this handle or its clones.
    #[must_use]
    pub fn within(self, budget: Budget) -> Self {
        *self.inner.budget.lock().unwrap_or_else(PoisonError::into_inner) = budget;
        self
    }

    /// Its budget.
    #[must_use]
    pub fn budget(&self) -> Budget {
        *self.inner.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes by how many bytes the store is over its budget although room was made.
    pub(crate) fn note_lack(&self, bytes: u64) {
        let lack = (bytes > 0).then(|| Lack { bytes, when: Instant::now() });
        *self.inner.lack.lock().unwrap_or_else(PoisonError::into_inner) = lack;
    }

    /// True if room for as many bytes was sought in vain just now.
    pub(crate) fn room_is_hopeless(&self, bytes: u64) -> bool {
        let lack = self.inner.lack.lock().unwrap_or_else(PoisonError::into_inner);
        lack.as_ref().is_some_and(|lack| bytes <= lack.bytes && lack.when.elapsed() < PAUSE)
    }
}
