//! The way of what is written to the disk. A store's file system is synced as a whole ([`Store::sync`]); what is written in large
//! amounts goes there before that, while other work goes on, so that the sync has little to wait for.

use crate::{Store, StoreError};
use nix::{errno::Errno, sys::statvfs::fstatvfs};
use std::{
    fs::File,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Bytes that are worth a sync before the one at the end, while more are written.
const MANY: u64 = 64 << 20;

/// Bytes that are worth one while nothing is written.
const MANY_AT_REST: u64 = 8 << 20;

/// The same of a command, which may remove again what it writes.
const MANY_OF_A_COMMAND: u64 = 128 << 20;

/// What a handle and its clones have to write.
#[derive(Debug, Default)]
pub(super) struct WriteBack {
    /// A directory of the file system, open since before the first bytes: the kernel tells of a failure those who had something open
    /// when it happened (syncfs(2)).
    root: OnceLock<File>,
    /// The first failure, which the kernel tells once. Locked while a sync is under way.
    failed: Mutex<Option<Errno>>,
    /// Bytes that came after the last sync began.
    unwritten: AtomicU64,
    /// A thread syncs.
    at_work: AtomicBool,
}

/// What a command leaves on the disk while it runs, as far as that can be seen from the room that is left.
#[derive(Debug)]
pub struct CommandWrites<'a> {
    store: &'a Store,
    free: u64,
}

impl Store {
    /// States that `bytes` were written to the store. When they are many, a thread has the disk take them while others go on.
    pub fn wrote(&self, bytes: u64) {
        if self.write_back().unwritten.fetch_add(bytes, Ordering::Relaxed) + bytes >= MANY {
            self.begin_sync();
        }
    }

    /// States that what comes next reads rather than writes, so that the disk is free for what was written.
    pub fn writing_rests(&self) {
        if self.write_back().unwritten.load(Ordering::Relaxed) >= MANY_AT_REST {
            self.begin_sync();
        }
    }

    fn begin_sync(&self) {
        let state = self.write_back();
        if state.root.get().is_none() || state.at_work.swap(true, Ordering::Relaxed) {
            return;
        }
        // no clone of the handle, which would keep its temporary space
        let own = Arc::clone(state);
        let work = move || {
            own.sync();
            while own.unwritten.load(Ordering::Relaxed) >= MANY {
                own.sync();
            }
            own.at_work.store(false, Ordering::Relaxed);
        };
        if thread::Builder::new().name("write-back".to_owned()).spawn(work).is_err() {
            // the sync at the end waits for all of it
            state.at_work.store(false, Ordering::Relaxed);
        }
    }

    /// Begins to look at what a command writes.
    #[must_use]
    pub fn command_writes(&self) -> CommandWrites<'_> {
        CommandWrites { store: self, free: self.write_back().free() }
    }

    /// Waits until all that was written is on the disk.
    pub(super) fn write_all_back(&self) -> Result<(), StoreError> {
        self.expect_writes()?;
        let written = self.write_back().sync();
        written.map_or(Ok(()), |errno| Err(StoreError::io("sync", self.root(), errno.into())))
    }

    /// Begins to watch for failures of the disk.
    pub(super) fn expect_writes(&self) -> Result<(), StoreError> {
        self.write_back().watch(self.root())
    }
}

impl CommandWrites<'_> {
    /// Has the disk begin with it, if it has become much since the last time. One system call.
    pub fn look(&mut self) {
        let free = self.store.write_back().free();
        let taken = self.free.saturating_sub(free);
        if taken >= MANY_OF_A_COMMAND {
            self.store.wrote(taken);
        }
        if taken >= MANY_OF_A_COMMAND || free > self.free {
            self.free = free;
        }
    }
}

impl WriteBack {
    /// The bytes that are free on the file system; with those that have no place yet it is right, too.
    fn free(&self) -> u64 {
        let looked = self.root.get().map(fstatvfs);
        looked.and_then(Result::ok).map_or(0, |disk| disk.blocks_free() * disk.fragment_size())
    }

    fn watch(&self, root: &Path) -> Result<(), StoreError> {
        if self.root.get().is_none() {
            // another thread may open it too: the second one is closed
            let _ = self.root.set(File::open(root).map_err(StoreError::on("open", root))?);
        }
        Ok(())
    }

    /// Syncs the file system that is watched; the failure of this sync or an earlier one.
    fn sync(&self) -> Option<Errno> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        self.unwritten.store(0, Ordering::Relaxed);
        if let (None, Some(root)) = (*failed, self.root.get()) {
            *failed = nix::unistd::syncfs(root).err();
        }
        *failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;
    use std::{process::Command, time::Duration};

    fn store(root: &Path) -> Store {
        Store::open(&root.join("s"), &Writer::Root, Clock::new(now)).unwrap()
    }

    /// True if all that was stated is on the disk, or soon is.
    fn is_written(store: &Store) -> bool {
        (0..500).any(|_| {
            let state = store.write_back();
            let done = !state.at_work.load(Ordering::Relaxed) && state.unwritten.load(Ordering::Relaxed) == 0;
            if !done {
                thread::sleep(Duration::from_millis(10));
            }
            done
        })
    }

    #[test]
    fn much_is_written_at_once_and_little_waits_for_the_sync() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let draft = store.new_layer().unwrap();
        store.wrote(MANY - 1);
        assert!(!store.write_back().at_work.load(Ordering::Relaxed));
        store.clone().wrote(1);
        assert!(is_written(&store));
        store.wrote(5);
        store.sync().unwrap();
        assert!(is_written(&store));
        store.wrote(MANY_AT_REST - 1);
        store.writing_rests();
        assert!(!store.write_back().at_work.load(Ordering::Relaxed));
        store.wrote(1);
        store.writing_rests();
        assert!(is_written(&store));
        drop(draft);
        drop(store);
        let left = std::fs::read_dir(directory.path().join("s/tmp")).unwrap().count();
        assert_eq!(left, 0, "a thread has kept the temporary space");
    }

    #[test]
    fn what_a_command_leaves_is_seen_from_the_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=400m", "none"]).arg(path).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("SKIPPED: a tmpfs cannot be mounted here");
            return;
        }
        let result = std::panic::catch_unwind(|| {
            let store = store(path);
            let _draft = store.new_layer().unwrap();
            let taken = |name: &str, bytes: u64| {
                let file = File::create(path.join(name)).unwrap();
                nix::fcntl::posix_fallocate(&file, 0, bytes as i64).unwrap();
            };
            let mut writes = store.command_writes();
            // something that was stated shows whether it was told to the disk
            store.wrote(5);
            taken("passing", MANY_OF_A_COMMAND / 2);
            writes.look();
            std::fs::remove_file(path.join("passing")).unwrap();
            taken("little", MANY_OF_A_COMMAND / 2);
            writes.look();
            assert_eq!(store.write_back().unwritten.load(Ordering::Relaxed), 5);
            taken("much", MANY_OF_A_COMMAND / 2);
            writes.look();
            assert!(is_written(&store));
        });
        // lazily: a child that another test is just starting may have inherited a file of it
        assert!(Command::new("umount").arg("--lazy").arg(path).status().unwrap().success());
        result.unwrap();
    }
}
