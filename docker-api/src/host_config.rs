//! What a container is given of the host, as Docker's JSON has it.

use crate::ports::{HostPort, network_names, port_bindings};
use rbuild::{
    Container, ContainerLimits, ContainerMount, ContainerNetwork, ContainerSettings, DeviceOption,
    MissingHostPath, MountOrigin, MountedFrom, masked_paths, read_only_paths,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Bytes of `/dev/shm`, if nothing else was asked for.
const USUAL_SHARED_MEMORY: u64 = 64 << 20;
/// The period in which `--cpus` is expressed, microseconds, and what one of them is in billionths of a processor.
const PERIOD: u64 = 100_000;
const NANO_CPUS: u64 = 1_000_000_000 / PERIOD;

/// The settings of a container that are not its image's, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// What was asked for by `-v`: `SOURCE:TARGET[:OPTIONS]`.
    pub binds: Option<Vec<String>>,
    /// Where its id was written.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// What becomes of its output.
    pub log_config: LogConfig,
    /// Never: nothing starts a container again.
    pub restart_policy: RestartPolicy,
    /// True if it is removed when it ends.
    pub auto_remove: bool,
    /// What people have said of containers whose volumes it has.
    pub volumes_from: Option<Vec<String>>,
    /// What docker has beside this and rbuild has none of.
    #[serde(flatten)]
    pub never: Never,
    /// Capabilities beside the usual ones.
    pub cap_add: Option<Vec<String>>,
    /// Usual capabilities that it does not have.
    pub cap_drop: Option<Vec<String>>,
    /// Whose control groups it sees: its own.
    pub cgroupns_mode: &'static str,
    /// Whose message queues and shared memory it has.
    pub ipc_mode: String,
    /// Whose processes it sees, if not its own.
    pub pid_mode: String,
    /// Whose host name it has, if not its own.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// What starts it.
    pub runtime: &'static str,
    /// Groups beside the user's.
    pub group_add: Option<Vec<String>>,
    /// How soon its processes are killed when the machine has no memory.
    pub oom_score_adj: i32,
    /// Parameters of its kernel.
    pub sysctls: BTreeMap<String, String>,
    /// Notes for other programs.
    pub annotations: BTreeMap<String, String>,
    /// Devices beside the usual ones, by their paths.
    pub devices: Vec<DeviceMapping>,
    /// Every capability, no filter of system calls, nothing of the kernel hidden.
    pub privileged: bool,
    /// True if it may not change its own files.
    pub readonly_rootfs: bool,
    /// `--security-opt`s.
    pub security_opt: Option<Vec<String>>,
    /// `--tmpfs`: options by path.
    pub tmpfs: BTreeMap<String, String>,
    /// Bytes of `/dev/shm`.
    pub shm_size: u64,
    /// Weight among the processes of the machine; 0 is the usual.
    pub cpu_shares: u64,
    /// Bytes of memory; 0 is any number.
    pub memory: u64,
    /// Billionths of a processor, from `--cpus`.
    pub nano_cpus: u64,
    /// The control group below which that of the container is made.
    pub cgroup_parent: String,
    /// Length of a period in microseconds.
    pub cpu_period: u64,
    /// Microseconds of processor time in each period.
    pub cpu_quota: u64,
    /// Processors.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Memory and swap together; -1 is any amount, 0 is not limited.
    pub memory_swap: i64,
    /// Processes and threads at one moment.
    pub pids_limit: Option<u64>,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// What of the kernel shows as empty.
    pub masked_paths: Option<Vec<String>>,
    /// What of the kernel can only be read.
    pub readonly_paths: Option<Vec<String>>,
    /// What was asked for by `--mount`.
    pub mounts: Vec<AskedMount>,
    /// True if its first process is one that hands on signals.
    pub init: Option<bool>,
    /// The kind of its network.
    pub network_mode: String,
    /// The ports that are to be reached through the machine.
    pub port_bindings: BTreeMap<String, Vec<HostPort>>,
    /// True if they are all that its image exposes.
    pub publish_all_ports: bool,
    /// Name servers.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Domains.
    pub dns_search: Vec<String>,
    /// `HOST:ADDRESS`.
    pub extra_hosts: Option<Vec<String>>,
}

/// Settings of docker's that rbuild refuses, as docker shows them when nobody has asked for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Never {
    volume_driver: &'static str,
    console_size: [u16; 2],
    cgroup: &'static str,
    links: Option<()>,
    userns_mode: &'static str,
    isolation: &'static str,
    blkio_weight: u16,
    blkio_weight_device: [(); 0],
    blkio_device_read_bps: [(); 0],
    blkio_device_write_bps: [(); 0],
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_iops: [(); 0],
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_iops: [(); 0],
    cpu_realtime_period: u64,
    cpu_realtime_runtime: u64,
    device_cgroup_rules: Option<()>,
    device_requests: Option<()>,
    memory_reservation: u64,
    memory_swappiness: Option<()>,
    oom_kill_disable: bool,
    cpu_count: u64,
    cpu_percent: u64,
    #[serde(rename = "IOMaximumIOps")]
    io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    io_maximum_bandwidth: u64,
}

/// What becomes of the output of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    /// `json-file` or `none`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// `max-size` and `max-file`.
    pub config: BTreeMap<&'static str, String>,
}

/// When a container is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`.
    pub name: &'static str,
    /// 0.
    pub maximum_retry_count: u32,
}

/// A limit of each process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ulimit {
    /// What is limited.
    pub name: String,
    /// What a process may raise it to.
    pub hard: i64,
    /// The limit in force.
    pub soft: i64,
}

/// A mount that was asked for in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AskedMount {
    /// `bind`, `tmpfs` or `volume`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// On the host, or the name of a volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// In the container.
    pub target: String,
    /// May it only be read?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// A device of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeviceMapping {
    /// Its path on the machine.
    pub path_on_host: String,
    /// Its path in the container.
    pub path_in_container: String,
    /// Some of `r`, `w` and `m`.
    pub cgroup_permissions: String,
}

impl DeviceMapping {
    /// A device with a path; `None` for one with a name.
    fn of(text: &str) -> Option<Self> {
        match DeviceOption::read(text).ok()? {
            DeviceOption::Path { source, target, access } => Some(Self {
                path_on_host: source.display().to_string(),
                path_in_container: target,
                cgroup_permissions: access.to_string(),
            }),
            DeviceOption::Name(_) => None,
        }
    }
}

impl From<&Container> for HostConfig {
    fn from(container: &Container) -> Self {
        let known = Self {
            restart_policy: RestartPolicy { name: "no", maximum_retry_count: 0 },
            auto_remove: container.remove_when_ended,
            shm_size: USUAL_SHARED_MEMORY,
            cgroupns_mode: "private",
            ipc_mode: "private".to_owned(),
            runtime: "rbuild",
            network_mode: network_names(container).first().copied().unwrap_or_default().to_owned(),
            port_bindings: port_bindings(container),
            ..Self::default()
        };
        match &container.settings {
            Some(settings) => {
                known.with_settings(settings).with_limits(&settings.limits).with_network(settings)
            }
            None => known,
        }
    }
}

impl HostConfig {
    fn with_settings(self, settings: &ContainerSettings) -> Self {
        let privileges = &settings.privileges;
        let is_masked = !privileges.privileged;
        // as docker has it: nothing for one with every privilege, an empty list for one that asked for that alone
        let is_shown = privileges.security.iter().any(|text| text == "systempaths=unconfined");
        let id_file = settings.id_file.as_ref().map(|path| path.display().to_string());
        let mut asked = Self {
            container_id_file: id_file.unwrap_or_default(),
            volumes_from: some(&settings.volumes_from),
            masked_paths: is_masked.then(|| masked_paths().filter(|_| !is_shown).collect()),
            readonly_paths: is_masked.then(|| read_only_paths().filter(|_| !is_shown).collect()),
            log_config: log(settings),
            group_add: some(&settings.process.groups),
            oom_score_adj: settings.process.memory_score.unwrap_or(0),
            sysctls: settings.process.kernel.clone(),
            annotations: settings.process.annotations.clone(),
            cap_add: some(&privileges.cap_add),
            cap_drop: some(&privileges.cap_drop),
            devices: privileges.devices.iter().filter_map(|text| DeviceMapping::of(text)).collect(),
            privileged: privileges.privileged,
            readonly_rootfs: settings.read_only,
            security_opt: some(&privileges.security),
            shm_size: settings.shm_size.filter(|size| *size > 0).unwrap_or(self.shm_size),
            init: settings.init.then_some(true),
            ..self
        };
        for mount in &settings.mounts {
            asked.add(mount);
        }
        asked
    }

    fn with_network(self, settings: &ContainerSettings) -> Self {
        let names = settings.names.clone();
        let hosts = names.add_hosts.iter().map(|(host, address)| format!("{host}:{address}"));
        let hosts: Vec<String> = hosts.collect();
        Self {
            network_mode: match &settings.network {
                ContainerNetwork::Container(id) => format!("container:{id}"),
                ContainerNetwork::Private
                | ContainerNetwork::Host
                | ContainerNetwork::None
                | ContainerNetwork::Named(_) => self.network_mode,
            },
            publish_all_ports: settings.publish_all,
            dns: names.servers,
            dns_options: names.options,
            dns_search: names.searches,
            extra_hosts: some(&hosts),
            ..self
        }
    }

    fn add(&mut self, mount: &ContainerMount) {
        let asked = |kind, source| AskedMount {
            kind,
            source,
            target: mount.target.clone(),
            read_only: mount.read_only,
        };
        let bind = |source: &str| {
            let options = match (mount.options.as_str(), mount.read_only) {
                ("", true) => ":ro".to_owned(),
                ("", false) => String::new(),
                (options, _) => format!(":{options}"),
            };
            format!("{source}:{}{options}", mount.target)
        };
        match &mount.from {
            // what was asked for is that container
            _ if mount.origin == MountOrigin::Container => {}
            MountedFrom::Volume { volume, anonymous, .. } if mount.origin == MountOrigin::Mount => {
                let name = if *anonymous { String::new() } else { volume.to_string() };
                self.mounts.push(asked("volume", name));
            }
            // `-v PATH`, and what the image says, are in the config
            MountedFrom::Volume { anonymous: true, .. } => {}
            MountedFrom::Volume { volume, .. } => {
                self.binds.get_or_insert_default().push(bind(&volume.to_string()));
            }
            MountedFrom::Host { source, missing: MissingHostPath::Made, .. } => {
                self.binds.get_or_insert_default().push(bind(&source.to_string_lossy()));
            }
            MountedFrom::Host { source, .. } => {
                self.mounts.push(asked("bind", source.to_string_lossy().into_owned()));
            }
            MountedFrom::Tmpfs { tmpfs } if tmpfs.by_flag => {
                self.tmpfs.insert(mount.target.clone(), mount.options.clone());
            }
            MountedFrom::Tmpfs { .. } => self.mounts.push(asked("tmpfs", String::new())),
        }
    }

    fn with_limits(self, limits: &ContainerLimits) -> Self {
        let memory = limits.memory.unwrap_or(0);
        // docker's default is as much swap as memory
        let twice = i64::try_from(memory.saturating_mul(2)).unwrap_or(i64::MAX);
        let (nano_cpus, cpu_period, cpu_quota) = match (limits.cpu_period, limits.cpu_quota) {
            (Some(PERIOD), Some(quota)) => (quota.saturating_mul(NANO_CPUS), 0, 0),
            (period, quota) => (0, period.unwrap_or(0), quota.unwrap_or(0)),
        };
        let ulimit = |limit: &rbuild::ContainerUlimit| Ulimit {
            name: limit.name.clone(),
            hard: limit.hard,
            soft: limit.soft,
        };
        let ulimits: Vec<_> = limits.ulimits.iter().map(ulimit).collect();
        Self {
            cpu_shares: limits.cpu_shares.unwrap_or(0),
            memory,
            nano_cpus,
            cgroup_parent: limits.parent.clone().unwrap_or_default(),
            cpu_period,
            cpu_quota,
            cpuset_cpus: limits.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: limits.cpuset_mems.clone().unwrap_or_default(),
            memory_swap: limits.memory_and_swap.unwrap_or(twice),
            pids_limit: limits.pids,
            ulimits,
            ..self
        }
    }
}

fn log(settings: &ContainerSettings) -> LogConfig {
    let log = settings.log;
    let size = log.max_size.map(|size| ("max-size", size.to_string()));
    let files = log.max_files.map(|files| ("max-file", files.to_string()));
    LogConfig {
        kind: if log.is_kept { "json-file" } else { "none" },
        config: size.into_iter().chain(files).collect(),
    }
}

fn some(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}
