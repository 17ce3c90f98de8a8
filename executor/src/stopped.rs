//! The root of a container that does not run, for files that are read from it and written to it.

use crate::{ExecutorError, Snapshots, Syncing, UpperDirectory, snapshot::RootMount};
use rbuild_cache::{LayerId, Store};
use rbuild_sys::overlay::Upper;
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// A container that nobody starts meanwhile.
#[derive(Debug)]
pub struct StoppedContainer<'a> {
    /// The store.
    pub store: &'a Store,
    /// The image's layers, lowest first.
    pub layers: &'a [LayerId],
    /// What every container has over its image.
    pub init: &'a Path,
    /// The container's changes.
    pub changes: UpperDirectory<'a>,
    /// The kernel's care for them.
    pub syncing: Syncing,
}

/// Its root, mounted and attached nowhere.
pub struct StoppedRoot(RootMount);

/// Mounts the root of a container that does not run.
///
/// # Errors
/// [`ExecutorError::View`] when the kernel refuses it.
pub fn stopped_root(container: &StoppedContainer<'_>) -> Result<StoppedRoot, ExecutorError> {
    let StoppedContainer { store, layers, init, changes, syncing } = container;
    let upper = Upper { directory: changes.fs, work: changes.work, syncing: *syncing };
    Snapshots::new(store).writable(layers, Some(init), upper).map(StoppedRoot)
}

impl StoppedRoot {
    /// The root directory.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn open(&self) -> Result<OwnedFd, ExecutorError> {
        let own = self.0.as_fd().try_clone_to_owned();
        own.map_err(|error| ExecutorError::system("dup", b"the root of the container", error))
    }

    /// Sees that all changes are the container's.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn close(self) -> Result<(), ExecutorError> {
        self.0.collect()
    }
}
