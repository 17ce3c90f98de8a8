//! Who makes a container stand still.

use super::container::ContainerDirectory;
use crate::{
    StoreError,
    disk::{FileLock, LockMode, OnUnlock},
};
use std::os::fd::{AsFd, BorrowedFd};

/// The right to make a container stand still. Ends when dropped, or with the last process that has its descriptor.
#[derive(Debug)]
pub struct PauseLock(FileLock);

impl AsFd for PauseLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file().as_fd()
    }
}

impl ContainerDirectory {
    /// Waits for the right to make it stand still, which one process has at a time; `busy` is called first when another has it.
    ///
    /// # Errors
    /// An I/O error when the lock file cannot be opened.
    pub fn lock_pause(&self, busy: impl FnOnce()) -> Result<PauseLock, StoreError> {
        // not in the container's directory, which may be removed meanwhile
        let path = self.store.at(&format!("locks/pauses/{}", self.id().unwrap_or_default()));
        if let Some(lock) = FileLock::attempt(&path, OnUnlock::Remove)? {
            return Ok(PauseLock(lock));
        }
        busy();
        FileLock::wait(&path, LockMode::Exclusive, OnUnlock::Remove).map(PauseLock)
    }
}
