//! How many steps run at once on one store, over all processes: slots, each a file below `locks/jobs` that a running step holds
//! locked. A build that may have n steps takes the first free one of the first n. A killed process frees its slots.
//!
//! A step that is expected to need much memory writes that into its slot. A process that considers to begin such a step
//! reads what the running ones expect, and holds the file `locks/jobs/memory` until it has decided, so that of two the second
//! sees the first one's expectation.

use crate::{
    Store, StoreError,
    disk::{FileLock, OnUnlock, list},
};
use std::{fs, io::Write as _, path::PathBuf};

/// The right to run a step. Ends when dropped, or with the process.
#[derive(Debug)]
pub struct JobSlot {
    lock: FileLock,
    path: PathBuf,
}

/// The memory that a running step is expected to need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryClaim {
    /// The process that runs the step, above the step's own.
    pub process: i32,
    /// Bytes.
    pub bytes: u64,
}

/// Nobody else decides about memory while this is held.
#[derive(Debug)]
pub struct MemoryTurn {
    _lock: FileLock,
}

const DIRECTORY: &str = "locks/jobs";

impl Store {
    /// Takes a free one of the first `jobs` slots; `None` when all of them are taken.
    ///
    /// # Errors
    /// An I/O error when a lock file cannot be opened.
    pub fn try_job_slot(&self, jobs: usize) -> Result<Option<JobSlot>, StoreError> {
        for number in 0..jobs.max(1) {
            let path = self.at(DIRECTORY).join(number.to_string());
            if let Some(lock) = FileLock::attempt(&path, OnUnlock::Keep)? {
                // that of a step whose process was killed
                let file = lock.file();
                if file.metadata().map_err(StoreError::on("stat", &path))?.len() > 0 {
                    file.set_len(0).map_err(StoreError::on("empty", &path))?;
                }
                return Ok(Some(JobSlot { lock, path }));
            }
        }
        Ok(None)
    }

    /// Takes the turn to decide whether a step may begin that needs much memory; `None` while another process has it.
    ///
    /// # Errors
    /// An I/O error when the lock file cannot be opened.
    pub fn try_memory_turn(&self) -> Result<Option<MemoryTurn>, StoreError> {
        let lock = FileLock::attempt(&self.at(DIRECTORY).join("memory"), OnUnlock::Keep)?;
        Ok(lock.map(|lock| MemoryTurn { _lock: lock }))
    }

    /// What the running steps that need much memory are expected to need.
    ///
    /// # Errors
    /// An I/O error when the slots cannot be listed.
    pub fn memory_claims(&self, _turn: &MemoryTurn) -> Result<Vec<MemoryClaim>, StoreError> {
        let mut claims = Vec::new();
        for name in list(&self.at(DIRECTORY))? {
            if name.parse::<usize>().is_err() {
                continue;
            }
            let path = self.at(DIRECTORY).join(name);
            let text = fs::read_to_string(&path).unwrap_or_default();
            let Some((process, bytes)) = text.trim_end().split_once(' ') else { continue };
            let (Ok(process), Ok(bytes)) = (process.parse(), bytes.parse()) else { continue };
            // a slot that can be taken is that of a killed process
            if FileLock::attempt(&path, OnUnlock::Keep)?.is_none() {
                claims.push(MemoryClaim { process, bytes });
            }
        }
        Ok(claims)
    }
}

impl JobSlot {
    /// Lets others know what the step is expected to need.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn claim(&self, _turn: &MemoryTurn, claim: MemoryClaim) -> Result<(), StoreError> {
        let line = format!("{} {}\n", claim.process, claim.bytes);
        self.lock.file().write_all(line.as_bytes()).map_err(StoreError::on("write to", &self.path))
    }
}

impl Drop for JobSlot {
    fn drop(&mut self) {
        // what stays is ignored, and removed by the next owner
        let _ = self.lock.file().set_len(0);
    }
}
