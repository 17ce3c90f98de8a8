//! The flags for the first process of a container and its kernel, and those of docker's that rbuild knows and does not do.

use super::known_flags::{
    FlagTable, KnownFlag, KnownFlags,
    Takes::{Switch, Value},
};
use clap::Args;

/// What a container's first process and its kernel are told.
#[derive(Debug, Default, Args)]
pub(crate) struct ProcessFlags {
    /// A group beside the user's, by name or number; may be repeated
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Name of the container's domain
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<String>,
    /// How soon its processes are killed when the machine has no memory (-1000 to 1000)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) oom_score_adj: Option<String>,
    /// A parameter of its own network or its own message queues and shared memory (net.core.somaxconn=1024); may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<String>,
    /// A note for other programs (NAME=VALUE); may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// The streams to stay with: stdin, stdout, stderr
    #[arg(short, long, value_name = "STREAM")]
    pub(crate) attach: Vec<String>,
}

/// Those of docker's flags for containers that were given and are not done.
pub(crate) type UnmetFlags = KnownFlags<ContainerFlags>;

/// Those that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContainerFlags;

impl FlagTable for ContainerFlags {
    const FLAGS: &[KnownFlag] = &[
        ("blkio-weight", None, Value),
        ("blkio-weight-device", None, Value),
        ("cgroupns", None, Value),
        ("cpu-rt-period", None, Value),
        ("cpu-rt-runtime", None, Value),
        ("device-cgroup-rule", None, Value),
        ("device-read-bps", None, Value),
        ("device-read-iops", None, Value),
        ("device-write-bps", None, Value),
        ("device-write-iops", None, Value),
        ("disable-content-trust", None, Switch),
        ("gpus", None, Value),
        ("ipc", None, Value),
        ("isolation", None, Value),
        ("kernel-memory", None, Value),
        ("link", None, Value),
        ("link-local-ip", None, Value),
        ("mac-address", None, Value),
        ("memory-reservation", None, Value),
        ("memory-swappiness", None, Value),
        ("oom-kill-disable", None, Switch),
        ("pid", None, Value),
        ("runtime", None, Value),
        ("storage-opt", None, Value),
        ("use-api-socket", None, Switch),
        ("userns", None, Value),
        ("uts", None, Value),
    ];
}
