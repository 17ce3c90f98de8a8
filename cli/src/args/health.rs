//! The flags of health checks.

use super::flag::Switch;
use clap::Args;

/// What was typed of them.
#[derive(Debug, Default, Args)]
pub(crate) struct HealthFlags {
    /// Check with this command, which a shell runs
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// Time between two checks (30s)
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) health_interval: Option<String>,
    /// Time after which a check has failed (30s)
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) health_timeout: Option<String>,
    /// Failures in a row that make it unhealthy (3)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) health_retries: Option<String>,
    /// Time after the start in which failures do not count (0s)
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) health_start_period: Option<String>,
    /// Time between two checks in that time (5s)
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) health_start_interval: Option<String>,
    /// Do not check, whatever the image says
    #[arg(long, switch = false)]
    pub(crate) no_healthcheck: bool,
}
