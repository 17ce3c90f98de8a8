//! Making room: what a store does to stay within its budget. What layers, blobs and cache mounts take counts.

use super::{
    policy::{ImagePrune, MountPrune, PruneOptions, RecordPrune},
    prune::PruneReport,
    space::Limit,
};
use crate::{EvictedBy, Store, StoreError};

/// When room is made, a tenth of the limit more is freed, so that it is not made again at once.
const SLACK: u64 = 10;

/// The outcome of making room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What had to go; none if there was room.
    pub made: Option<PruneReport>,
    /// Bytes by which the store is over its budget nevertheless, because images, containers and running builds need the rest.
    pub lacking: u64,
}

impl Store {
    /// Makes the store fit into its budget with `expected` more bytes: takes images whose names others have got, and then of
    /// the build cache what is cheapest to make again. What a running build, an image or a container needs stays, and so
    /// does the reserved part of the cache.
    ///
    /// # Errors
    /// An I/O error when the store cannot be read or written.
    pub fn make_room(&self, expected: u64) -> Result<Room, StoreError> {
        let budget = self.budget();
        if !budget.is_set() {
            return Ok(Room::default());
        }
        let (excess, limit, by) = self.excess(expected)?;
        if excess == 0 || self.room_is_hopeless(excess) {
            return Ok(Room { made: None, lacking: excess });
        }
        let freeing = Limit::Freeing {
            bytes: excess.saturating_add(limit / SLACK),
            reserved: budget.reserved_space.unwrap_or(0),
        };
        let made = self.prune(&PruneOptions {
            records: RecordPrune::Unused,
            images: ImagePrune::Replaced,
            mounts: MountPrune::Unused,
            limit: Some(freeing),
            by,
            ..PruneOptions::default()
        })?;
        let lacking = self.excess(expected)?.0;
        self.note_lack(lacking);
        Ok(Room { made: Some(made), lacking })
    }

    /// Bytes that have to go before `expected` more are written, and the limit that demands it.
    fn excess(&self, expected: u64) -> Result<(u64, u64, EvictedBy), StoreError> {
        let budget = self.budget();
        let mut excess = (0, 0, EvictedBy::MaxUsedSpace);
        if let Some(most) = budget.max_used_space {
            let over = self.used_bytes()?.saturating_add(expected).saturating_sub(most);
            excess = (over, most, EvictedBy::MaxUsedSpace);
        }
        if let Some(least) = budget.min_free_space {
            let over = least.saturating_add(expected).saturating_sub(self.disk_space()?.free);
            if over > excess.0 {
                excess = (over, least, EvictedBy::MinFreeSpace);
            }
        }
        Ok(excess)
    }
}
