//! Whether anything moves between a client and its registries, for those who would not wait for one that is stuck.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What an answer counts for, in bytes.
const ANSWER: u64 = 64 << 10;

/// A count of what clients sent and were answered. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The bytes of blobs that were handed to the network so far, and 64 KiB for each answer.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self) {
        self.sent(ANSWER);
    }
}
