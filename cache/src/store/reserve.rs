//! Room that a store keeps to itself. On a disk without a free block nothing can be removed from a store, because the index
//! cannot be opened and no lock can be made; the file `reserve`, which holds nothing, is given up for that.

use crate::{Store, disk::create_private_file};
use std::fs;

/// What a removal needs: a segment of the index, a few locks and a snapshot.
const BYTES: u64 = 4 << 20;
/// What is worth keeping when there is not so much.
const LEAST: u64 = 256 << 10;

/// The room that a removal may use on a full disk. When this is dropped, the store keeps room to itself again: as much as is
/// left of it, at least, because a removal that freed little must not be the last one.
#[must_use]
#[derive(Debug)]
pub struct Reserve<'a> {
    store: &'a Store,
    is_given_up: bool,
}

impl Store {
    /// Gives up the store's reserve if the disk is full, so that something can be removed.
    pub fn reserve(&self) -> Reserve<'_> {
        let is_full = self.disk_space().is_ok_and(|disk| disk.free < BYTES);
        let is_given_up = is_full && fs::remove_file(self.at("reserve")).is_ok();
        Reserve { store: self, is_given_up }
    }

    /// Sees that there is a reserve, if the disk has as much room again. A store without one works.
    pub(super) fn keep_reserve(&self) {
        let path = self.at("reserve");
        if !path.exists() && self.disk_space().is_ok_and(|disk| disk.free >= 2 * BYTES) {
            self.make_reserve(BYTES);
        }
    }

    /// Makes a reserve of `bytes`; returns true if there is one now.
    fn make_reserve(&self, bytes: u64) -> bool {
        let path = self.at("reserve");
        let made = create_private_file(&path).map(|file| {
            let length = bytes.cast_signed();
            nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, length)
        });
        let is_made = matches!(made, Ok(Ok(())));
        if !is_made {
            let _ = fs::remove_file(&path);
        }
        is_made
    }
}

impl Drop for Reserve<'_> {
    fn drop(&mut self) {
        if self.is_given_up {
            let lengths = std::iter::successors(Some(BYTES), |length| Some(length / 2));
            lengths.take_while(|length| *length >= LEAST).any(|length| self.store.make_reserve(length));
        } else {
            self.store.keep_reserve();
        }
    }
}
