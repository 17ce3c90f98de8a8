//! Giving up: one flag that a build's workers look at.

use crate::ExecutorError;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Set once, seen by every worker that has a clone.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks everybody to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// An error when somebody asked.
    ///
    /// # Errors
    /// [`ExecutorError::Canceled`].
    pub(crate) fn check(&self) -> Result<(), ExecutorError> {
        if self.is_canceled() { Err(ExecutorError::Canceled) } else { Ok(()) }
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
