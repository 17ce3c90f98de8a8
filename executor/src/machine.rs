//! What rbuild finds on this machine, for people who want to know it before something is missing.

use crate::{
    Isolation, Overlays, Snapshots, emulation::is_emulated, named_network::check_network_programs, pasta,
    runnable_platforms,
};
use rbuild_cache::Store;
use std::{fs, path::Path};

/// This machine, as far as rbuild works with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The release of the kernel.
    pub kernel: String,
    /// Its name.
    pub name: String,
    /// The name of the system.
    pub system: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// 2 if all control groups are in the one hierarchy of version 2, else 1.
    pub cgroup_version: u8,
    /// True if control groups limit the memory of what root runs here.
    pub limits_memory: bool,
    /// True if roots are overlays, and no copies.
    pub has_overlays: bool,
    /// What may be missing.
    pub features: Vec<MachineFeature>,
}

/// Something of rbuild that needs more than a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineFeature {
    /// Its name.
    pub name: &'static str,
    /// What is missing, and what to do about that; nothing when it is there.
    pub missing: Option<String>,
}

impl Machine {
    /// Looks at this machine.
    #[must_use]
    pub fn look(store: &Store, isolation: &Isolation) -> Self {
        let overlays = Snapshots::new(store).overlays();
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.trim_matches(|c: char| c == '"' || c.is_whitespace()).to_owned())
        };
        let memory = field(&file("/proc/meminfo"), "MemTotal:");
        let kilobytes = memory.and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
        let is_there = |path: &str| Path::new(path).exists();
        let controllers = file("/sys/fs/cgroup/cgroup.controllers");
        let has_memory =
            controllers.split_whitespace().any(|name| name == "memory") || is_there("/sys/fs/cgroup/memory");
        Self {
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            name: file("/proc/sys/kernel/hostname").trim().to_owned(),
            system: field(&file("/etc/os-release"), "PRETTY_NAME=").unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kilobytes.unwrap_or(0) * 1024,
            cgroup_version: if is_there("/sys/fs/cgroup/cgroup.controllers") { 2 } else { 1 },
            limits_memory: isolation.is_root() && has_memory,
            has_overlays: overlays == Overlays::Writable,
            features: features(overlays, isolation),
        }
    }
}

fn features(overlays: Overlays, isolation: &Isolation) -> Vec<MachineFeature> {
    let copies = "roots are copies of their layers; give a store that is not on overlayfs or NFS, and Linux 6.8 or newer";
    let overlays = match overlays {
        Overlays::Writable => None,
        Overlays::ReadOnly => Some(format!("it takes no changes in this store: {copies}")),
        Overlays::Refused => Some(format!("it is refused: {copies}")),
    };
    let private = pasta::check().err().map(|error| pasta::reason(&error));
    let named = match isolation.is_root() {
        true => check_network_programs(false).err().map(|error| error.to_string()),
        false => Some("they need root".to_owned()),
    };
    let others = runnable_platforms().iter().any(is_emulated);
    let emulators =
        "none is registered: install the package qemu-user-static, or run the image tonistiigi/binfmt";
    vec![
        MachineFeature { name: "overlayfs", missing: overlays },
        MachineFeature { name: "private networks", missing: private },
        MachineFeature { name: "networks with names", missing: named },
        MachineFeature { name: "emulators", missing: (!others).then(|| emulators.to_owned()) },
    ]
}
