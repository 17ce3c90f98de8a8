//! Temporary space: `tmp/<owner>/`, one directory for each process that needs one, and `locks/owners/<owner>` beside it,
//! locked while that process lives. A directory whose owner's lock is free is a dead process's leftovers.

use crate::{
    CacheError, Store,
    file_lock::{Afterwards, FileLock},
    store::make_dirs,
    tree,
};
use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// 16 hexadecimal digits nobody has used before. Short, because overlayfs gets many of them in one string.
pub(crate) fn random_id() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// One process's temporary space; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Temporary {
    directory: PathBuf,
    next: AtomicU64,
    _owner: FileLock,
}

impl Temporary {
    pub(crate) fn create(root: &Path) -> Result<Self, CacheError> {
        loop {
            let owner = random_id();
            // the lock first: a directory without a held lock may be swept at any time
            let lock = FileLock::attempt(&root.join("locks/owners").join(&owner), Afterwards::Remove)?;
            let Some(lock) = lock else { continue };
            let directory = root.join("tmp").join(owner);
            make_dirs(&directory)?;
            return Ok(Self { directory, next: AtomicU64::new(0), _owner: lock });
        }
    }

    /// A path in it that has not been given out yet.
    pub(crate) fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Whether someone has removed the directory from outside (as `rm -r tmp/*` does).
    pub(crate) fn was_removed(&self) -> bool {
        fs::symlink_metadata(&self.directory).is_err()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = tree::remove(&self.directory);
    }
}

/// A directory in temporary space for whoever needs one; dropping it removes it.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    /// Keeps the space alive.
    _store: Store,
}

impl ScratchDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let _ = tree::remove(&self.path);
    }
}

impl Store {
    /// A new empty directory (mode 0700) on the store's file system, swept when this process dies.
    ///
    /// # Errors
    /// An I/O error when it cannot be made.
    pub fn scratch_dir(&self) -> Result<ScratchDir, CacheError> {
        let path = self.temporary_path("scratch")?;
        make_dirs(&path)?;
        Ok(ScratchDir { path, _store: self.clone() })
    }

    /// Removes the temporary space of dead processes; returns how many bytes that freed. What cannot be removed
    /// (another user's files) is left.
    ///
    /// # Errors
    /// An I/O error when `tmp` cannot be listed or a lock not be opened.
    pub fn sweep(&self) -> Result<u64, CacheError> {
        let spaces = self.at("tmp");
        let mut freed = 0;
        for space in list(&spaces)? {
            let lock = self.at("locks/owners").join(&space);
            if let Some(_dead) = FileLock::attempt(&lock, Afterwards::Remove)? {
                let path = spaces.join(&space);
                let size = tree::size(&path).bytes;
                if tree::remove(&path).is_ok() {
                    freed += size;
                }
            }
        }
        Ok(freed)
    }
}

/// The UTF-8 names in a directory, unsorted; none when it is not there.
pub(crate) fn list(directory: &Path) -> Result<Vec<String>, CacheError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(CacheError::io("read", directory, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(CacheError::on("read", directory))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}
