//! The file of a container's health: `containers/<id>/health`, written by the process that runs its program after each check. It is
//! not synced, because no program outlives a power cut.

use super::{container::ContainerDirectory, container_health::ContainerHealth};
use crate::{
    StoreError,
    disk::whole_file::{self, Durability},
};
use std::path::PathBuf;

impl ContainerDirectory {
    /// What was noted of its health; nothing is known where that is missing or damaged.
    ///
    /// # Errors
    /// An I/O error when it cannot be read.
    pub fn health(&self) -> Result<ContainerHealth, StoreError> {
        let bytes = whole_file::read(&self.health_path())?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Notes its health, unless the container has been removed.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn note_health(&self, health: &ContainerHealth) -> Result<(), StoreError> {
        let json = serde_json::to_vec(health).expect("a health is texts and numbers");
        whole_file::replace(self.store.space(), &self.health_path(), &json, Durability::DiskLater)
    }

    fn health_path(&self) -> PathBuf {
        self.path().join("health")
    }
}
