//! The bytes of the disk that a draft takes, added up while its files are made, so that nothing has to walk over them when
//! they become a layer. A file that is written from its beginning to its end takes its length in whole blocks, and needs no
//! look; where that is not so, or a file that was counted is removed again, the sum is given up. The store hears of them meanwhile,
//! and has the disk begin with what is many.

use rbuild_cache::Store;
use rustix::{
    fs::{AtFlags, Stat, fstatvfs, statat},
    io::Errno,
};
use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// The unit of st_blocks, in bytes (stat(2)).
const SECTOR: u64 = 512;

/// What an inode takes on the disk, in bytes, as ext4 makes them.
const INODE: u64 = 256;

/// A sum that several threads add to.
#[derive(Debug)]
pub(crate) struct Taken {
    block: u64,
    bytes: AtomicU64,
    given_up: AtomicBool,
    store: Store,
    /// Directories of trees were counted.
    has_dirs: AtomicBool,
}

impl Taken {
    /// Nothing yet, beneath `directory` of `store`.
    pub(crate) fn beneath(directory: impl AsFd, store: &Store) -> Self {
        let block = fstatvfs(directory).map_or(0, |system| system.f_frsize);
        Self {
            block,
            bytes: AtomicU64::new(0),
            given_up: AtomicBool::new(block == 0),
            store: store.clone(),
            has_dirs: AtomicBool::new(false),
        }
    }

    /// A file of `length` bytes was written, without a hole.
    pub(crate) fn add_length(&self, length: u64) {
        self.add(length.div_ceil(self.block.max(1)) * self.block);
        self.store.wrote(length);
    }

    /// Something was made that looks like this.
    pub(crate) fn add_stat(&self, stat: &Stat) {
        self.add(stat.st_blocks as u64 * SECTOR);
    }

    /// A directory of a tree looks like this now that everything is in it.
    pub(crate) fn add_dir(&self, stat: &Stat) {
        self.has_dirs.store(true, Ordering::Relaxed);
        self.add_stat(stat);
        self.store.wrote(stat.st_blocks as u64 * SECTOR);
    }

    /// A file of another layer got a name: it takes nothing, but its inode is written.
    pub(crate) fn add_link(&self) {
        self.store.wrote(INODE);
    }

    /// A directory was found in the draft, which counts at the end unless it is one of a tree.
    pub(crate) fn found_dir(&self) {
        if self.has_dirs.load(Ordering::Relaxed) {
            self.give_up();
        }
    }

    /// Something was made at `name` in `directory`.
    pub(crate) fn add_at(&self, directory: impl AsFd, name: &[u8]) -> Result<(), Errno> {
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.add_stat(&stat);
        self.store.wrote(stat.st_blocks as u64 * SECTOR);
        Ok(())
    }

    /// Something happened that the sum does not know.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// The bytes, if they are known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        (!self.given_up.load(Ordering::Relaxed)).then(|| self.bytes.load(Ordering::Relaxed))
    }

    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
