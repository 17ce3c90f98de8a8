//! The answer of `info`. What only a daemon has (an id, a swarm, runtimes) is there as docker has it where there is none.

use rbuild::{Container, ContainerState, Machine, Platform};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};

/// What there is and what it is on, by docker's names as far as docker has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// A daemon's id.
    #[serde(rename = "ID")]
    pub id: &'static str,
    /// The machine's name.
    pub name: String,
    /// How many containers there are.
    pub containers: usize,
    /// How many run.
    pub containers_running: usize,
    /// How many are made to stand still.
    pub containers_paused: usize,
    /// How many do not run.
    pub containers_stopped: usize,
    /// How many images there are.
    pub images: usize,
    /// `overlayfs`, or `copies` where that cannot be used.
    pub driver: &'static str,
    /// What docker's driver says of its directory, in pairs.
    pub driver_status: [[String; 2]; 0],
    /// What becomes of the output of a container.
    pub logging_driver: &'static str,
    /// What makes control groups: rbuild itself, as docker's driver of this name does.
    pub cgroup_driver: &'static str,
    /// The version of the machine's control groups.
    pub cgroup_version: String,
    /// True if control groups limit memory.
    pub memory_limit: bool,
    /// The release of the kernel.
    pub kernel_version: String,
    /// The name of the system.
    pub operating_system: String,
    /// GOOS.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// GOARCH.
    pub architecture: String,
    /// Processors.
    #[serde(rename = "NCPU")]
    pub ncpu: usize,
    /// Bytes of memory.
    pub mem_total: u64,
    /// The registry of names without one.
    pub index_server_address: &'static str,
    /// The store.
    pub docker_root_dir: String,
    /// A daemon's labels.
    pub labels: [String; 0],
    /// Other programs that run containers, by name.
    pub runtimes: BTreeMap<String, String>,
    /// That of them which is used.
    pub default_runtime: &'static str,
    /// A swarm that the machine is in.
    pub swarm: Swarm,
    /// The version of rbuild.
    pub server_version: String,
    /// What keeps containers apart beside namespaces.
    pub security_options: Vec<&'static str>,
    /// What is missing, and what to do about it.
    pub warnings: Vec<String>,
    /// Whose programs run here.
    pub platforms: Vec<String>,
    /// What rbuild needs beside a kernel.
    pub features: Vec<Feature>,
}

/// A machine's part in a swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Swarm {
    /// Its id there.
    #[serde(rename = "NodeID")]
    pub node_id: &'static str,
    /// `inactive` for none.
    pub local_node_state: &'static str,
    /// True if it leads.
    pub control_available: bool,
}

/// Something of rbuild that needs more than a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// True if all is there.
    pub present: bool,
    /// What is missing, and what to do about it.
    pub missing: String,
}

impl Info {
    /// The answer of rbuild `version` with a store of so many `images`, on `machine`, for root or an ordinary user.
    #[must_use]
    pub fn new(
        version: &str,
        (store, images, containers): (&Path, usize, &[Container]),
        (machine, is_root): (&Machine, bool),
        (host, platforms): (&Platform, &[Platform]),
    ) -> Self {
        let running = || containers.iter().filter(|one| one.state == ContainerState::Running);
        let paused = running().filter(|one| one.paused).count();
        let features: Vec<Feature> = machine
            .features
            .iter()
            .map(|one| Feature {
                name: one.name,
                present: one.missing.is_none(),
                missing: one.missing.clone().unwrap_or_default(),
            })
            .collect();
        let lacks = |feature: &Feature| format!("WARNING: No {}: {}", feature.name, feature.missing);
        Self {
            id: "",
            name: machine.name.clone(),
            containers: containers.len(),
            containers_running: running().count() - paused,
            containers_paused: paused,
            containers_stopped: containers.len() - running().count(),
            images,
            driver: if machine.has_overlays { "overlayfs" } else { "copies" },
            driver_status: [],
            logging_driver: "json-file",
            cgroup_driver: "cgroupfs",
            cgroup_version: machine.cgroup_version.to_string(),
            memory_limit: machine.limits_memory,
            kernel_version: machine.kernel.clone(),
            operating_system: machine.system.clone(),
            os_type: host.os.clone(),
            architecture: host.architecture.clone(),
            ncpu: machine.processors,
            mem_total: machine.memory,
            index_server_address: "https://index.docker.io/v1/",
            docker_root_dir: store.display().to_string(),
            labels: [],
            runtimes: BTreeMap::new(),
            default_runtime: "",
            swarm: Swarm { node_id: "", local_node_state: "inactive", control_available: false },
            server_version: version.to_owned(),
            security_options: if is_root {
                vec!["name=seccomp,profile=builtin"]
            } else {
                vec!["name=seccomp,profile=builtin", "name=rootless"]
            },
            warnings: features.iter().filter(|feature| !feature.present).map(lacks).collect(),
            platforms: platforms.iter().map(Platform::to_string).collect(),
            features,
        }
    }
}
