//! Room that a store keeps to itself. On a disk without a free block nothing can be removed from a store, because the index
//! cannot be opened and no lock can be made; the file `reserve`, which holds nothing, is given up for that.

use crate::{Store, disk::create_private_file};
use std::fs;

/// What a removal needs: a segment of the index, a few locks and a snapshot.
const BYTES: u64 = 4 << 20;

/// The room that a removal may use on a full disk. When this is dropped, the store keeps room to itself again.
#[must_use]
#[derive(Debug)]
pub struct Reserve<'a> {
    store: &'a Store,
}

impl Store {
    /// Gives up the store's reserve if the disk is full, so that something can be removed.
    pub fn reserve(&self) -> Reserve<'_> {
        if self.disk_space().is_ok_and(|disk| disk.free < BYTES) {
            let _ = fs::remove_file(self.at("reserve"));
        }
        Reserve { store: self }
    }

    /// Sees that there is a reserve, if the disk has as much room again. A store without one works.
    pub(super) fn keep_reserve(&self) {
        let path = self.at("reserve");
        if path.exists() || self.disk_space().is_ok_and(|disk| disk.free < 2 * BYTES) {
            return;
        }
        let made = create_private_file(&path).map(|file| {
            let length = BYTES.cast_signed();
            nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, length)
        });
        if !matches!(made, Ok(Ok(()))) {
            let _ = fs::remove_file(&path);
        }
    }
}

impl Drop for Reserve<'_> {
    fn drop(&mut self) {
        self.store.keep_reserve();
    }
}
