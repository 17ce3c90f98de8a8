//! The flags that limit what a RUN or a container may use.

use clap::Args;

/// What was typed of them.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LimitFlags {
    /// Memory that its processes may use together (512m)
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,
    /// Memory and swap together, -1 for any amount of swap [default: twice the memory]
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,
    /// Processors that they may use (1.5)
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<String>,
    /// Their weight when processors are busy; 1024 is usual
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) cpu_shares: Option<String>,
    /// Microseconds of processor time that they get in each period
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) cpu_quota: Option<String>,
    /// Length of a period in microseconds [default: 100000]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) cpu_period: Option<String>,
    /// Processors that they run on (0-3,6)
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes that their memory is on (0,1)
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// How many processes and threads there may be, -1 for any number
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) pids_limit: Option<String>,
    /// The control group below which theirs is made
    #[arg(long, value_name = "GROUP")]
    pub(crate) cgroup_parent: Option<String>,
    /// A limit of each process (nofile=1024:2048); may be repeated
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
}
