//! What a container is started with, each time, beside the config of its image: a part of its record.

use super::container_mount::ContainerMount;
use super::container_network::{ContainerNames, ContainerNetwork, PublishedPort};
use super::privilege_options::PrivilegeOptions;
use super::process_options::ProcessOptions;
use rbuild_oci::Platform;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The settings of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSettings {
    /// The platform of its programs.
    pub platform: Platform,
    /// Its host name; the short id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its network.
    #[serde(default)]
    pub network: ContainerNetwork,
    /// What the person called the container whose network it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_owner: Option<String>,
    /// The ports of it that are to be reached through the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<PublishedPort>,
    /// True if each port that its image exposes is one of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publish_all: bool,
    /// How names become addresses.
    #[serde(default)]
    pub names: ContainerNames,
    /// What its first three descriptors are.
    #[serde(default)]
    pub streams: ContainerStreams,
    /// When its standard input ends.
    #[serde(default)]
    pub input: ContainerInput,
    /// Volumes, directories and files of the host, and memory that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<ContainerMount>,
    /// The containers whose mounts are among them, as `--volumes-from` named them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<String>,
    /// Seconds between the signal that asks it to stop and the one that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// True if its first process is one that hands on signals and waits for orphans.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// True if it may not change its own files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// What is kept of what it writes.
    #[serde(default)]
    pub log: ContainerLog,
    /// True if it was made for somebody who stays with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
    /// Where its id was written, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_file: Option<PathBuf>,
    /// What its processes may use.
    #[serde(default)]
    pub limits: ContainerLimits,
    /// What its processes may do.
    #[serde(default)]
    pub privileges: PrivilegeOptions,
    /// What its first process and its kernel are told beside that.
    #[serde(default)]
    pub process: ProcessOptions,
    /// Bytes of its shared memory, if not as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
}

/// What is kept of what a container writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerLog {
    /// False if nothing is.
    pub is_kept: bool,
    /// Bytes of a file of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// Files of it; one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u32>,
}

impl Default for ContainerLog {
    fn default() -> Self {
        Self { is_kept: true, max_size: None, max_files: None }
    }
}

/// The limits of a container; nothing is limited by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerLimits {
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Memory and swap together; -1 is any amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_and_swap: Option<i64>,
    /// Weight among the processes of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in each period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<u64>,
    /// Length of a period in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<u64>,
    /// Processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_mems: Option<String>,
    /// Processes and threads at one moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// The control group below which that of the container is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Limits of each process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<ContainerUlimit>,
}

/// A limit of each process of a container; -1 is any number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUlimit {
    /// What is limited, as `--ulimit` names it.
    pub name: String,
    /// The limit in force.
    pub soft: i64,
    /// What a process may raise it to.
    pub hard: i64,
}

/// What a container's first three descriptors are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStreams {
    /// Pipes.
    #[default]
    Pipes,
    /// A terminal.
    Terminal,
}

/// When a container's standard input ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerInput {
    /// At once.
    #[default]
    None,
    /// With the first one who was attached to it.
    Once,
    /// With the container.
    Open,
}
