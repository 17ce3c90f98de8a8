//! Repositories that were fetched: a bare one for each remote, which has what builds have asked for and no more.

use crate::{
    Cancel, Store, StoreError,
    disk::{FileLock, OnUnlock, list, make_dirs, whole_file},
};
use rbuild_oci::{Digest, Timestamp};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

const DIRECTORY: &str = "sources/git";

/// The time between two attempts of a build that waits for a repository.
const PAUSE: Duration = Duration::from_millis(10);

/// The place of a repository. While this is there, no other process fetches into it or removes it.
#[derive(Debug)]
pub struct GitRepository {
    path: PathBuf,
    _lock: FileLock,
}

impl GitRepository {
    /// Its directory, which is not there before the first fetch.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// The place of the repository of `remote`, for this process alone; `None` when `cancel` was called while another one
    /// had it.
    ///
    /// # Errors
    /// An I/O error when it cannot be locked.
    pub fn git_repository(&self, remote: &str, cancel: &Cancel) -> Result<Option<GitRepository>, StoreError> {
        let (path, lock) = self.git_paths(remote);
        make_dirs(&self.at(DIRECTORY))?;
        loop {
            if let Some(lock) = FileLock::attempt(&lock, OnUnlock::Keep)? {
                // its time is that of its last use
                if path.exists() {
                    whole_file::refresh(&path);
                }
                return Ok(Some(GitRepository { path, _lock: lock }));
            }
            if cancel.is_canceled() {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
    }

    /// The repositories that were last used before `limit` and that no process uses, each with the lock that keeps others
    /// out of it; `None` means all.
    pub(crate) fn old_git_repositories(
        &self,
        limit: Option<Timestamp>,
    ) -> Result<Vec<(PathBuf, FileLock)>, StoreError> {
        let mut old = Vec::new();
        for name in list(&self.at(DIRECTORY))? {
            let path = self.at(DIRECTORY).join(&name);
            let used = fs::metadata(&path).and_then(|file| file.modified()).map(Timestamp::from);
            if limit.is_none_or(|limit| used.is_ok_and(|used| used < limit))
                && let Some(lock) = FileLock::attempt(&self.at("locks/git").join(&name), OnUnlock::Remove)?
            {
                old.push((path, lock));
            }
        }
        Ok(old)
    }

    /// The name does not show the remote, which may contain a login.
    fn git_paths(&self, remote: &str) -> (PathBuf, PathBuf) {
        let name = Digest::of(remote.as_bytes()).hex();
        (self.at(DIRECTORY).join(&name), self.at("locks/git").join(&name))
    }
}
