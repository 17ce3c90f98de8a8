//! The health of a container: `containers/<id>/health`, written by the process that runs its program after each check. It is not
//! synced, because no program outlives a power cut.

use super::container::ContainerDirectory;
use crate::{
    StoreError,
    disk::whole_file::{self, Durability},
};
use rbuild_oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the health checks of a container have found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerHealth {
    /// What they mean together.
    pub status: HealthStatus,
    /// How many have failed one after another.
    pub failing_streak: u32,
    /// The last ones, the oldest first.
    pub log: Vec<HealthResult>,
}

/// How a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No check has succeeded, and not too many have failed.
    #[default]
    Starting,
    /// A check has succeeded.
    Healthy,
    /// As many as count have failed.
    Unhealthy,
}

/// What came of one health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its exit code; -1 when it took too long or could not be started.
    pub exit_code: i32,
    /// What it wrote.
    pub output: String,
}

impl HealthStatus {
    /// Docker's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

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
