//! What failed steps leave for a person to look into: `failed/<name>`, with the changes of the command in overlay form (`fs`), the
//! files that some of its mounts showed (`mounts/<n>`), and a description (`step.json`) that the engine writes and reads.
//!
//! They are few and small, and nothing depends on them: a new one takes the place of the oldest, and a collection of the build
//! cache that has to take something takes them all. One that a shell looks into is locked, and stays.

use super::LayerDraft;
use crate::{
    Store, StoreError,
    disk::{
        FileLock, LockMode, OnUnlock, create_private_file, list, make_dirs, remove_tree, tree_size,
        whole_file,
    },
};
use rbuild_oci::Timestamp;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How much of failed steps is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedStepBudget {
    /// The number of steps; 0 keeps nothing.
    pub steps: usize,
    /// Bytes on the disk, of all of them.
    pub bytes: u64,
}

impl Default for FailedStepBudget {
    fn default() -> Self {
        Self { steps: 3, bytes: 1 << 30 }
    }
}

/// The files of a failed step.
#[derive(Debug)]
pub struct FailedFiles {
    /// The changes of its command.
    pub changes: LayerDraft,
    /// What its mounts showed, each with its number.
    pub mounts: Vec<(usize, LayerDraft)>,
}

impl FailedFiles {
    /// Bytes on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let mounts = self.mounts.iter().map(|(_, draft)| tree_size(draft.fs()));
        tree_size(self.changes.fs()) + mounts.sum::<u64>()
    }
}

/// A failed step that is kept as long as this value lives.
#[derive(Debug)]
pub struct FailedStepFiles {
    directory: PathBuf,
    _lock: FileLock,
}

impl FailedStepFiles {
    /// The changes of the command, an upper directory of an overlay.
    #[must_use]
    pub fn changes(&self) -> PathBuf {
        self.directory.join("fs")
    }

    /// What the mount with this number showed.
    #[must_use]
    pub fn mount(&self, number: usize) -> PathBuf {
        self.directory.join(format!("mounts/{number}"))
    }

    /// The description.
    ///
    /// # Errors
    /// An I/O error when it cannot be read.
    pub fn description(&self) -> Result<Vec<u8>, StoreError> {
        Ok(whole_file::read(&description(&self.directory))?.unwrap_or_default())
    }
}

impl Store {
    /// Keeps what a failed step left, under a name of its own; the oldest ones go that are over `budget`.
    ///
    /// # Errors
    /// An I/O error when it cannot be written; nothing is kept then.
    pub fn keep_failed_step(
        &self,
        name: &str,
        files: FailedFiles,
        text: &[u8],
        budget: &FailedStepBudget,
    ) -> Result<(), StoreError> {
        let FailedFiles { changes, mounts } = files;
        let directory = changes.directory();
        for (number, draft) in &mounts {
            whole_file::rename(draft.fs(), &directory.join(format!("mounts/{number}")))?;
        }
        let path = description(directory);
        create_private_file(&path)
            .and_then(|mut file| file.write_all(text))
            .map_err(StoreError::on("write", &path))?;
        make_dirs(&self.failed_dir())?;
        whole_file::rename(directory, &self.failed_dir().join(name))?;
        self.enforce(budget)
    }

    /// The failed step of this name; `None` when it is not there any more.
    ///
    /// # Errors
    /// An I/O error when it cannot be locked.
    pub fn failed_step(&self, name: &str) -> Result<Option<FailedStepFiles>, StoreError> {
        let directory = self.failed_dir().join(name);
        if !directory.exists() {
            return Ok(None);
        }
        let lock = FileLock::wait(&self.failed_lock(name), LockMode::Shared, OnUnlock::Keep)?;
        // a collection may have been faster
        Ok(directory.exists().then_some(FailedStepFiles { directory, _lock: lock }))
    }

    /// The names of the steps that failed before `before`, of all of them without such a time, but of those that a shell looks into;
    /// each with the bytes that it left.
    ///
    /// # Errors
    /// An I/O error when they cannot be listed or locked.
    pub fn failed_steps(&self, before: Option<Timestamp>) -> Result<Vec<(String, u64)>, StoreError> {
        let mut found = Vec::new();
        for (name, failed) in self.failed_names()? {
            let is_old = before.is_none_or(|before| Timestamp::from(failed) < before);
            if is_old && FileLock::attempt(&self.failed_lock(&name), OnUnlock::Remove)?.is_some() {
                let bytes = tree_size(&self.failed_dir().join(&name));
                found.push((name, bytes));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Removes what a failed step left, unless a shell looks into it; returns how many bytes that frees.
    ///
    /// # Errors
    /// An I/O error when something cannot be removed.
    pub fn remove_failed_step(&self, name: &str) -> Result<u64, StoreError> {
        let Some(_lock) = FileLock::attempt(&self.failed_lock(name), OnUnlock::Remove)? else {
            return Ok(0);
        };
        let directory = self.failed_dir().join(name);
        let bytes = tree_size(&directory);
        // in temporary space a killed process leaves what others sweep
        let aside = self.space().path("failed")?;
        match fs::rename(&directory, &aside) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            renamed => renamed.map_err(StoreError::on("remove", &directory))?,
        }
        remove_tree(&aside)?;
        Ok(bytes)
    }

    /// Bytes of what failed steps left.
    pub(crate) fn failed_bytes(&self) -> u64 {
        tree_size(&self.failed_dir())
    }

    /// Removes what is over the budget, the oldest first.
    fn enforce(&self, budget: &FailedStepBudget) -> Result<(), StoreError> {
        let mut names = self.failed_names()?;
        names.sort_by(|(_, a), (_, b)| b.cmp(a));
        let mut bytes = 0;
        for (kept, (name, _)) in names.iter().enumerate() {
            bytes += tree_size(&self.failed_dir().join(name));
            if kept >= budget.steps || (kept > 0 && bytes > budget.bytes) {
                self.remove_failed_step(name)?;
            }
        }
        Ok(())
    }

    /// The names, each with the time at which its step failed.
    fn failed_names(&self) -> Result<Vec<(String, SystemTime)>, StoreError> {
        let time = |name: String| {
            let failed = fs::symlink_metadata(description(&self.failed_dir().join(&name)));
            let failed = failed.and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            (name, failed)
        };
        Ok(list(&self.failed_dir())?.into_iter().map(time).collect())
    }

    fn failed_dir(&self) -> PathBuf {
        self.at("failed")
    }

    fn failed_lock(&self, name: &str) -> PathBuf {
        self.at("locks/failed").join(name)
    }
}

fn description(directory: &Path) -> PathBuf {
    directory.join("step.json")
}
