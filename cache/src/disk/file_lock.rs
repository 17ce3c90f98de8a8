//! Advisory locks on files (flock(2)). They belong to an open file, so they end with the process that holds it, however
//! it ends. The process that holds a lock exclusively may remove its file: the next process to get the lock of the
//! removed file sees that the file has no name any more, and locks the new file instead.

use super::{create_appended_file, make_dirs, open_private_file};
use crate::StoreError;
use std::{
    fs::{File, TryLockError},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockMode {
    Shared,
    Exclusive,
}

/// The fate of the lock file when the lock ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnUnlock {
    Keep,
    Remove,
}

/// A held lock; dropping it unlocks.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    path: PathBuf,
    on_unlock: OnUnlock,
}

impl FileLock {
    /// Waits for the lock.
    pub(crate) fn wait(path: &Path, mode: LockMode, on_unlock: OnUnlock) -> Result<Self, StoreError> {
        loop {
            let file = open(path)?;
            let locked = match mode {
                LockMode::Shared => file.lock_shared(),
                LockMode::Exclusive => file.lock(),
            };
            match locked {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(StoreError::io("lock", path, e)),
            }
            if has_name(&file, path)? {
                return Ok(Self { file, path: path.to_owned(), on_unlock });
            }
        }
    }

    /// Takes the lock exclusively, or returns `None` when a process holds it.
    pub(crate) fn attempt(path: &Path, on_unlock: OnUnlock) -> Result<Option<Self>, StoreError> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", path, e)),
            }
            if has_name(&file, path)? {
                return Ok(Some(Self { file, path: path.to_owned(), on_unlock }));
            }
        }
    }

    /// Makes the file and takes its lock exclusively; `None` when something is there already, or a process was faster.
    pub(crate) fn create(path: &Path, on_unlock: OnUnlock) -> Result<Option<Self>, StoreError> {
        let file = match create_appended_file(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), make_dirs)?;
                create_appended_file(path)
            }
            created => created,
        };
        let file = match file {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(None),
            created => created.map_err(StoreError::on("create", path))?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", path, e)),
        }
        Ok(has_name(&file, path)?.then(|| Self { file, path: path.to_owned(), on_unlock }))
    }

    /// The locked file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.on_unlock == OnUnlock::Remove {
            // a failure leaves an empty file, which the next collection removes
            let _ = std::fs::remove_file(&self.path);
        }
        // not left to close: a child between fork and exec still shares the open file
        let _ = self.file.unlock();
    }
}

/// Opens a lock file, making it and its directory when they are not there.
fn open(path: &Path) -> Result<File, StoreError> {
    match open_private_file(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                make_dirs(parent)?;
            }
            open_private_file(path).map_err(StoreError::on("open", path))
        }
        opened => opened.map_err(StoreError::on("open", path)),
    }
}

fn has_name(file: &File, path: &Path) -> Result<bool, StoreError> {
    Ok(file.metadata().map_err(StoreError::on("stat", path))?.nlink() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc::channel, thread, time::Duration};

    #[test]
    fn shared_locks_share_and_exclusive_ones_exclude() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/below/lock");
        let first = FileLock::wait(&path, LockMode::Shared, OnUnlock::Keep).unwrap();
        let second = FileLock::wait(&path, LockMode::Shared, OnUnlock::Keep).unwrap();
        assert!(FileLock::attempt(&path, OnUnlock::Keep).unwrap().is_none());
        drop(first);
        assert!(FileLock::attempt(&path, OnUnlock::Keep).unwrap().is_none());
        drop(second);
        assert!(FileLock::attempt(&path, OnUnlock::Keep).unwrap().is_some());
        assert!(path.exists());
    }

    #[test]
    fn a_waiter_gets_the_new_file_when_the_old_one_was_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = FileLock::attempt(&path, OnUnlock::Remove).unwrap().unwrap();
        let (sender, locked) = channel();
        let (waiting, path_of_waiter) = (sender.clone(), path.clone());
        let waiter = thread::spawn(move || {
            let lock = FileLock::wait(&path_of_waiter, LockMode::Exclusive, OnUnlock::Keep).unwrap();
            waiting.send(()).unwrap();
            lock
        });
        assert!(locked.recv_timeout(Duration::from_millis(30)).is_err(), "it is held");
        drop(held);
        let lock = waiter.join().unwrap();
        assert!(path.exists() && has_name(lock.file(), &path).unwrap());
        assert!(
            FileLock::attempt(&path, OnUnlock::Keep).unwrap().is_none(),
            "the name is that of the locked file"
        );
    }
}
