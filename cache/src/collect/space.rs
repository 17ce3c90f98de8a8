//! How much of the disk a store takes, which is known without walking it, and how far a collection reduces that.

use super::layer_facts::{LayerFacts, layer_ids};
use crate::{
    Budget, Store, StoreError,
    disk::{Counted, UsageCount, list, tree_size},
};
use nix::sys::statvfs::statvfs;

/// How far a collection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Until the build cache is within a budget of its own.
    Within(Budget),
    /// Until so many bytes of the build cache are gone, but `reserved` of them stay.
    Freeing {
        /// The bytes to free.
        bytes: u64,
        /// The bytes that stay.
        reserved: u64,
    },
}

/// The disk that has a store, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// What the store's user may still write.
    pub free: u64,
}

impl Limit {
    /// Bytes of a build cache of `total` bytes that may stay; `None` when nothing is limited.
    pub(super) fn keep(&self, total: u64, store: &Store) -> Option<u64> {
        let budget = match self {
            Self::Freeing { bytes, reserved } => return Some(total.saturating_sub(*bytes).max(*reserved)),
            Self::Within(budget) => budget,
        };
        let least = budget.min_free_space;
        let excess = least.and_then(|least| Some(least.saturating_sub(store.disk_space().ok()?.free)));
        let allowed = excess.filter(|excess| *excess > 0).map(|excess| total.saturating_sub(excess));
        let most = budget.max_used_space;
        let keep = match (most, allowed) {
            (Some(most), Some(allowed)) => Some(most.min(allowed)),
            (most, allowed) => most.or(allowed),
        };
        match (keep, least, budget.reserved_space) {
            (Some(keep), _, reserved) => Some(keep.max(reserved.unwrap_or(0))),
            // enough of the disk is free
            (None, Some(_), _) => Some(total),
            (None, None, reserved) => reserved,
        }
    }
}

impl Store {
    /// Bytes that layers, blobs and cache mounts take. The first call counts them; after that the count is kept up.
    ///
    /// # Errors
    /// An I/O error when the store cannot be read.
    pub fn used_bytes(&self) -> Result<u64, StoreError> {
        let mounts: u64 = self.mount_usage()?.iter().map(|mount| mount.bytes).sum();
        let counted = self.usage_count().and_then(|mut count| count.read());
        Ok(match counted {
            Some(counted) => counted.bytes,
            None => self.count_bytes()?,
        } + mounts)
    }

    /// The disk that has the store.
    ///
    /// # Errors
    /// An I/O error when it cannot be asked.
    pub fn disk_space(&self) -> Result<DiskSpace, StoreError> {
        let disk =
            statvfs(self.root()).map_err(|e| StoreError::io("stat the disk of", self.root(), e.into()))?;
        let fragment = disk.fragment_size();
        Ok(DiskSpace { total: disk.blocks() * fragment, free: disk.blocks_available() * fragment })
    }

    /// Counts what layers and blobs take, if no other process has done so meanwhile.
    fn count_bytes(&self) -> Result<u64, StoreError> {
        let mut count = UsageCount::open(&self.at("usage"))?;
        if let Some(counted) = count.read() {
            return Ok(counted.bytes);
        }
        let bytes = self.layer_and_blob_bytes()?;
        count.write(Counted { bytes, inherited: 0 })?;
        Ok(bytes)
    }

    /// Counts anew what a process that was killed may have failed to count.
    pub(crate) fn recount_bytes(&self) -> Result<(), StoreError> {
        let Some(mut count) = self.usage_count() else { return Ok(()) };
        let inherited = count.read().unwrap_or_default().inherited;
        count.write(Counted { bytes: self.layer_and_blob_bytes()? + inherited, inherited })
    }

    fn layer_and_blob_bytes(&self) -> Result<u64, StoreError> {
        let layers = LayerFacts::gather(self, &layer_ids(self)?)?.total();
        let directory = self.at("blobs/sha256");
        let blobs: u64 = list(&directory)?.iter().map(|name| tree_size(&directory.join(name))).sum();
        Ok(layers + blobs)
    }
}
