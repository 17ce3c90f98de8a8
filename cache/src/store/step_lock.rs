//! One process builds a step, others that need it wait: a lock for each cache key, held from the miss until the record
//! can be seen by all.

use crate::{
    CacheKey, Cancel, Store, StoreError,
    disk::{FileLock, OnUnlock},
};
use std::{path::PathBuf, thread, time::Duration};

/// The right to build a step. Ends when dropped, or with the process.
#[derive(Debug)]
pub struct StepLock {
    _lock: FileLock,
}

impl Store {
    /// Takes the step's lock, or returns `None` when another build holds it: then say so, wait with
    /// [`Store::wait_step`] and look the key up again.
    ///
    /// # Errors
    /// An I/O error when the lock file cannot be opened.
    pub fn try_lock_step(&self, key: &CacheKey) -> Result<Option<StepLock>, StoreError> {
        let lock = FileLock::attempt(&self.step_lock_path(key), OnUnlock::Remove)?;
        Ok(lock.map(|lock| StepLock { _lock: lock }))
    }

    /// Waits for the step's lock; `None` when `cancel` was called meanwhile.
    ///
    /// # Errors
    /// An I/O error when the lock file cannot be opened.
    pub fn wait_step(&self, key: &CacheKey, cancel: &Cancel) -> Result<Option<StepLock>, StoreError> {
        let mut pause = Duration::from_micros(500);
        loop {
            if let Some(lock) = self.try_lock_step(key)? {
                return Ok(Some(lock));
            }
            if cancel.is_canceled() {
                return Ok(None);
            }
            // flock(2) cannot be given up after a time, so a canceled build could not stop waiting in it
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    fn step_lock_path(&self, key: &CacheKey) -> PathBuf {
        self.at(&format!("locks/steps/{key}"))
    }
}
