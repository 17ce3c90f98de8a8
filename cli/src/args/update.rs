//! The flags of `update`.

use super::{LimitFlags, UnmetFlags};
use clap::Args;

/// What was typed after `update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
    /// Memory that its processes may use together (512m)
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// Memory and swap together, -1 for any amount of swap
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Processors that they may use (1.5)
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// Their weight when processors are busy; 1024 is usual
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    cpu_shares: Option<String>,
    /// Microseconds of processor time that they get in each period
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    /// Length of a period in microseconds
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    cpu_period: Option<String>,
    /// Processors that they run on (0-3,6)
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes that their memory is on (0,1)
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// How many processes and threads there may be, -1 for any number
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<String>,
    /// When it is started again: only no
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<String>,
    #[command(flatten)]
    pub(crate) unmet: UnmetFlags,
}

impl UpdateArgs {
    /// The flags for limits.
    pub(crate) fn limits(&self) -> LimitFlags {
        LimitFlags {
            memory: self.memory.clone(),
            memory_swap: self.memory_swap.clone(),
            cpus: self.cpus.clone(),
            cpu_shares: self.cpu_shares.clone(),
            cpu_quota: self.cpu_quota.clone(),
            cpu_period: self.cpu_period.clone(),
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids_limit: self.pids_limit.clone(),
            cgroup_parent: None,
            ulimit: Vec::new(),
        }
    }
}
