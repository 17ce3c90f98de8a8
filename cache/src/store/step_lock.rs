//! One process builds a step, others that need it wait: a lock for each cache key, held from the miss until the record
//! can be seen by all. The lock's file says which build holds it, for those that wait.

use crate::{
    BuildId, CacheKey, Cancel, Store, StoreError,
    disk::{FileLock, OnUnlock, whole_file},
};
use rbuild_oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::{io::Write as _, path::PathBuf, thread, time::Duration};

/// The right to build a step. Ends when dropped, or with the process.
#[derive(Debug)]
pub struct StepLock {
    lock: FileLock,
    path: PathBuf,
}

/// The build that makes a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepHolder {
    /// Its id.
    pub build: BuildId,
    /// Its process.
    pub process: u32,
    /// The names of its image, or its context.
    pub subject: String,
    /// The time at which it began the step.
    pub since: Timestamp,
}

impl Store {
    /// Takes the step's lock, or returns `None` when another build holds it: then say so, wait with
    /// [`Store::wait_step`] and look the key up again.
    ///
    /// # Errors
    /// An I/O error when the lock file cannot be opened.
    pub fn try_lock_step(&self, key: &CacheKey) -> Result<Option<StepLock>, StoreError> {
        let path = self.step_lock_path(key);
        let lock = FileLock::attempt(&path, OnUnlock::Remove)?;
        Ok(lock.map(|lock| StepLock { lock, path }))
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

    /// The build that holds the step's lock, if it has said so yet.
    #[must_use]
    pub fn step_holder(&self, key: &CacheKey) -> Option<StepHolder> {
        let bytes = whole_file::read(&self.step_lock_path(key)).ok()??;
        serde_json::from_slice(bytes.rsplit(|byte| *byte == b'\n').find(|line| !line.is_empty())?).ok()
    }

    fn step_lock_path(&self, key: &CacheKey) -> PathBuf {
        self.at(&format!("locks/steps/{key}"))
    }
}

impl StepLock {
    /// Lets those that wait know who holds it.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn announce(&self, holder: &StepHolder) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(holder).expect("a holder is strings and a number");
        line.push(b'\n');
        // a file that a killed process left has its line, and the last one counts
        self.lock.file().write_all(&line).map_err(StoreError::on("write to", &self.path))
    }
}
