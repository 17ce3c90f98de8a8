//! Temporary space: `tmp/<owner>/`, one directory for each process that needs one, and `locks/owners/<owner>`, locked
//! while that process lives. A directory whose owner's lock is free was left by a dead process. A process that makes a
//! space of its own removes those of the dead meanwhile, so a process that only reads pays nothing for them.

use super::{FileLock, OnUnlock, list, make_dirs, random_id, tree};
use crate::StoreError;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long a process that ends waits for what it removes soon.
const PARTING: Duration = Duration::from_millis(50);

/// One process's temporary space in the store at `root`. Its directory is made with the first temporary thing, so that
/// a process that only reads never makes it; dropping the space removes it.
#[derive(Debug)]
pub(crate) struct TemporarySpace {
    root: PathBuf,
    owned: Mutex<Option<Owned>>,
}

impl TemporarySpace {
    /// A space that has nothing on the disk yet.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), owned: Mutex::new(None) }
    }

    /// A path in it that has not been given out yet.
    pub(crate) fn path(&self, kind: &str) -> Result<PathBuf, StoreError> {
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        if owned.as_ref().is_none_or(Owned::was_removed) {
            *owned = Some(Owned::create(&self.root)?);
        }
        let space = owned.as_ref().expect("the directory was made above");
        Ok(space.path(kind))
    }

    /// Removes a tree in it on a thread, for which the end of the process does not wait: what is left then goes with the next
    /// process that makes a space.
    pub(crate) fn remove_soon(&self, path: &Path) -> Result<(), StoreError> {
        let aside = self.path("gone")?;
        fs::rename(path, &aside).map_err(StoreError::on("remove", path))?;
        let (ended, removing) = channel();
        let remove = move || {
            let _ = tree::remove(&aside);
            // nobody may wait any more
            let _ = ended.send(());
        };
        let started = thread::Builder::new().name("remove".to_owned()).spawn(remove);
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(_), Some(owned)) = (started, &*owned) {
            owned.removing.lock().unwrap_or_else(PoisonError::into_inner).push(removing);
        }
        Ok(())
    }

    /// Removes the spaces of dead processes; returns how many bytes that freed. What cannot be removed (another user's
    /// files) is left.
    pub(crate) fn sweep_dead(&self) -> Result<u64, StoreError> {
        let mut freed = 0;
        for space in dead_spaces(&self.root)? {
            let size = tree::size(&space.directory);
            if tree::remove(&space.directory).is_ok() {
                freed += size;
            }
        }
        Ok(freed)
    }
}

/// A space whose owner is dead, held so that no other process removes it too.
struct DeadSpace {
    directory: PathBuf,
    _lock: FileLock,
}

fn dead_spaces(root: &Path) -> Result<Vec<DeadSpace>, StoreError> {
    let spaces = root.join("tmp");
    let mut dead = Vec::new();
    for space in list(&spaces)? {
        let lock = root.join("locks/owners").join(&space);
        if let Some(lock) = FileLock::attempt(&lock, OnUnlock::Remove)? {
            dead.push(DeadSpace { directory: spaces.join(&space), _lock: lock });
        }
    }
    Ok(dead)
}

/// Removes the spaces of dead processes on a thread, because a killed build can leave gigabytes; `None` when there are
/// none. What cannot be listed or removed stays for `prune`, which reports why.
fn start_sweeping(root: &Path) -> Option<JoinHandle<()>> {
    let dead = dead_spaces(root).ok().filter(|dead| !dead.is_empty())?;
    let sweep = move || {
        for space in dead {
            let _ = tree::remove(&space.directory);
        }
    };
    thread::Builder::new().name("sweep".to_owned()).spawn(sweep).ok()
}

/// The directory of a space and the lock that says its owner lives.
#[derive(Debug)]
struct Owned {
    directory: PathBuf,
    next: AtomicU64,
    sweeping: Option<JoinHandle<()>>,
    /// Where threads say that they have removed something.
    removing: Mutex<Vec<Receiver<()>>>,
    _owner: FileLock,
}

impl Owned {
    fn create(root: &Path) -> Result<Self, StoreError> {
        loop {
            let owner = random_id();
            // the lock first: a directory without a held lock may be swept at any time
            let lock = FileLock::attempt(&root.join("locks/owners").join(&owner), OnUnlock::Remove)?;
            let Some(lock) = lock else { continue };
            let directory = root.join("tmp").join(owner);
            make_dirs(&directory)?;
            let sweeping = start_sweeping(root);
            let (next, removing) = (AtomicU64::new(0), Mutex::default());
            return Ok(Self { directory, next, sweeping, removing, _owner: lock });
        }
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// True if another process has removed the directory (as `rm -r tmp/*` does).
    fn was_removed(&self) -> bool {
        fs::symlink_metadata(&self.directory).is_err()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let removing = self.removing.get_mut().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + PARTING;
        let is_removed = |removing: &Receiver<()>| {
            removing.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok()
        };
        if !removing.iter().all(is_removed) {
            // once the lock is free another process may remove it, and what earlier ones have left as well
            return;
        }
        let _ = tree::remove(&self.directory);
        if let Some(sweeping) = self.sweeping.take() {
            let _ = sweeping.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaces(root: &Path) -> usize {
        list(&root.join("tmp")).unwrap().len()
    }

    #[test]
    fn a_space_is_made_when_it_is_needed_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let space = TemporarySpace::new(root);
        assert_eq!(spaces(root), 0);
        let paths = ["a", "a", "b"].map(|kind| space.path(kind).unwrap());
        assert!(paths[0] != paths[1] && paths.iter().all(|path| !path.exists()));
        fs::write(&paths[0], "x").unwrap();
        // a living owner's is not swept; one that another process has removed is made again
        assert_eq!((space.sweep_dead().unwrap(), spaces(root)), (0, 1));
        tree::remove(&root.join("tmp")).unwrap();
        fs::write(space.path("c").unwrap(), "x").unwrap();
        drop(space);
        assert_eq!((spaces(root), list(&root.join("locks/owners")).unwrap().len()), (0, 0));
    }

    #[test]
    fn a_new_space_sweeps_what_the_dead_left_and_leaves_the_living_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let living = TemporarySpace::new(root);
        fs::write(living.path("kept").unwrap(), "x").unwrap();
        let left = root.join("tmp/0123456789abcdef/scratch-0");
        fs::create_dir_all(&left).unwrap();
        drop(TemporarySpace::new(root));
        assert!(left.exists(), "a process that makes nothing removes nothing");
        let space = TemporarySpace::new(root);
        space.path("a").unwrap();
        drop(space);
        assert!(!left.exists() && spaces(root) == 1);
    }

    #[test]
    fn what_a_dead_owner_left_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let left = directory.path().join("tmp/0123456789abcdef/scratch-0");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("file"), vec![1; 5000]).unwrap();
        let space = TemporarySpace::new(directory.path());
        assert!(space.sweep_dead().unwrap() >= 5000);
        assert_eq!(spaces(directory.path()), 0);
    }

    #[test]
    fn what_is_removed_soon_is_gone_at_once_and_left_to_the_next_process_if_it_is_much() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for files in [3, 20_000] {
            let space = TemporarySpace::new(root);
            let path = space.path("layer").unwrap();
            fs::create_dir(&path).unwrap();
            (0..files).for_each(|file| fs::write(path.join(file.to_string()), "").unwrap());
            space.remove_soon(&path).unwrap();
            assert!(!path.exists());
            drop(space);
        }
        assert!(spaces(root) <= 1);
        TemporarySpace::new(root).path("next").unwrap();
        assert_eq!(spaces(root), 0);
    }
}
