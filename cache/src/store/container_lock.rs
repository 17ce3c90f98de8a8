//! What is held while the program of a container runs, and the note of that program in the file that is locked.

use super::container_network::ProgramNetwork;
use crate::{StoreError, disk::FileLock};
use rbuild_oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::{fs::File, io::Write, os::unix::fs::FileExt, path::PathBuf};

/// The program of a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerProgram {
    /// The pid of its first process, as the host sees it.
    pub pid: i32,
    /// When it was started.
    pub started: Timestamp,
    /// The same in clock ticks since the machine's boot: with the pid, it is of no other process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticks: Option<u64>,
    /// The network that it has for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Box<ProgramNetwork>>,
}

/// Held while a container's program runs. Ends when dropped, or with the process.
#[derive(Debug)]
pub struct ContainerLock {
    pub(super) lock: FileLock,
    pub(super) path: PathBuf,
}

impl ContainerLock {
    /// Says that a program is about to be started, which forgets the one before.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn claim(&self) -> Result<(), StoreError> {
        let mut file = self.lock.file();
        // never empty again, because that would be a container whose start was never tried
        let claimed = file.metadata().and_then(|found| match found.len() {
            0 => file.write_all(b"\n"),
            _ => file.set_len(1),
        });
        claimed.map_err(StoreError::on("write", &self.path))
    }

    /// Notes the program that was started, for other processes.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn note(&self, program: &ContainerProgram) -> Result<(), StoreError> {
        let json = serde_json::to_vec(program).expect("a program is numbers");
        self.lock.file().write_all(&json).map_err(StoreError::on("write", &self.path))
    }
}

/// Corrects what was noted of a program, for as long as that runs.
#[derive(Debug)]
pub struct ProgramCorrection {
    file: File,
    path: PathBuf,
}

impl ProgramCorrection {
    /// Notes this instead, which may not be longer.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn note(&mut self, program: &ContainerProgram) -> Result<(), StoreError> {
        let mut json = serde_json::to_vec(program).expect("a program is numbers");
        // in one piece, since others may read it at any moment
        let written = self.file.metadata().and_then(|found| {
            json.resize(json.len().max(usize::try_from(found.len()).unwrap_or(0)), b' ');
            self.file.write_all_at(&json, 0)
        });
        written.map_err(StoreError::on("write", &self.path))
    }
}

impl ContainerLock {
    /// What corrects the note. It does not hold the lock.
    ///
    /// # Errors
    /// An I/O error when it cannot be opened.
    pub fn correction(&self) -> Result<ProgramCorrection, StoreError> {
        // opened anew: a copy of the descriptor would hold the lock
        let file = File::options().write(true).open(&self.path);
        let file = file.map_err(StoreError::on("open", &self.path))?;
        Ok(ProgramCorrection { file, path: self.path.clone() })
    }
}
