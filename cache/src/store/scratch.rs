//! Temporary directories for users of the store.

use crate::{
    Store, StoreError,
    disk::{make_dirs, remove_tree},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A directory in temporary space; dropping it removes it.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    /// Keeps the space alive.
    _store: Store,
}

impl ScratchDir {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // most are empty by then
        if fs::remove_dir(&self.path).is_err() {
            let _ = remove_tree(&self.path);
        }
    }
}

impl Store {
    /// A new empty directory (mode 0700) on the store's file system, swept when this process dies.
    ///
    /// # Errors
    /// An I/O error when it cannot be made.
    pub fn scratch_dir(&self) -> Result<ScratchDir, StoreError> {
        let path = self.space().path("scratch")?;
        make_dirs(&path)?;
        Ok(ScratchDir { path, _store: self.clone() })
    }

    /// Removes the temporary space of dead processes, and what broken downloads and killed builds left; returns how many bytes that freed. What cannot be removed
    /// (another user's files) is left.
    ///
    /// # Errors
    /// An I/O error when `tmp` cannot be listed or a lock cannot be opened.
    pub fn sweep(&self) -> Result<u64, StoreError> {
        let unfinished = self.sweep_partial_blobs()? + self.sweep_open_uploads()?;
        Ok(self.space().sweep_dead()? + unfinished + self.sweep_unmade_mounts()?)
    }
}
