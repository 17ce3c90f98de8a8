//! What the health checks of a container have found.

use rbuild_oci::Timestamp;
use serde::{Deserialize, Serialize};

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
