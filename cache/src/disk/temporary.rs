//! Temporary space: `tmp/<owner>/`, one directory for each process that needs one, and `locks/owners/<owner>` beside it,
//! locked while that process lives. A directory whose owner's lock is free is a dead process's leftovers.

use super::{FileLock, OnUnlock, list, make_dirs, random_id, tree};
use crate::StoreError;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

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

    /// Removes the spaces of dead processes; returns how many bytes that freed. What cannot be removed (another user's
    /// files) is left.
    pub(crate) fn sweep_dead(&self) -> Result<u64, StoreError> {
        let spaces = self.root.join("tmp");
        let mut freed = 0;
        for space in list(&spaces)? {
            let lock = self.root.join("locks/owners").join(&space);
            if let Some(_dead) = FileLock::attempt(&lock, OnUnlock::Remove)? {
                let path = spaces.join(&space);
                let size = tree::size(&path);
                if tree::remove(&path).is_ok() {
                    freed += size;
                }
            }
        }
        Ok(freed)
    }
}

/// The directory of a space and the lock that says its owner lives.
#[derive(Debug)]
struct Owned {
    directory: PathBuf,
    next: AtomicU64,
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
            return Ok(Self { directory, next: AtomicU64::new(0), _owner: lock });
        }
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Whether another process has removed the directory (as `rm -r tmp/*` does).
    fn was_removed(&self) -> bool {
        fs::symlink_metadata(&self.directory).is_err()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = tree::remove(&self.directory);
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
    fn what_a_dead_owner_left_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let left = directory.path().join("tmp/0123456789abcdef/scratch-0");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("file"), vec![1; 5000]).unwrap();
        let space = TemporarySpace::new(directory.path());
        assert!(space.sweep_dead().unwrap() >= 5000);
        assert_eq!(spaces(directory.path()), 0);
    }
}
