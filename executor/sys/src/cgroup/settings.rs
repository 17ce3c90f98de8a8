//! Which file of a control group says what, by controller and version of the hierarchy.

use crate::limits::{Limits, Most};

/// What limits something of a group's processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Controller {
    Memory,
    Cpu,
    Cpuset,
    Pids,
}

/// The version of a hierarchy (cgroups(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    One,
    Two,
}

/// A value for a file of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Setting {
    /// The flag that asks for it.
    pub(super) flag: &'static str,
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Nobody has asked for exactly this.
    pub(super) implied: bool,
}

/// The usual period of `--cpu-quota`, microseconds.
const PERIOD: u64 = 100_000;

impl Controller {
    pub(super) const ALL: [Self; 4] = [Self::Memory, Self::Cpu, Self::Cpuset, Self::Pids];

    /// The kernel's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Pids => "pids",
        }
    }

    /// What it needs to be set to, in the order in which the kernel takes it; nothing when it limits nothing.
    pub(super) fn settings(self, limits: &Limits, version: Version) -> Vec<Setting> {
        let mut settings = Vec::new();
        let mut set = |flag, file, value: String| {
            settings.push(Setting { flag, file, value, implied: false });
        };
        let two = version == Version::Two;
        match self {
            Self::Memory => return memory(limits, version),
            Self::Cpu => {
                if let Some(shares) = limits.cpu_shares {
                    if two {
                        set("--cpu-shares", "cpu.weight", weight(shares).to_string());
                    } else {
                        set("--cpu-shares", "cpu.shares", shares.to_string());
                    }
                }
                let flag = if limits.cpu_quota.is_some() { "--cpu-quota" } else { "--cpu-period" };
                match (limits.cpu_quota, limits.cpu_period) {
                    (None, None) => {}
                    (quota, period) if two => {
                        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
                        set(flag, "cpu.max", format!("{quota} {}", period.unwrap_or(PERIOD)));
                    }
                    (quota, period) => {
                        let period = period.unwrap_or(PERIOD);
                        set("--cpu-period", "cpu.cfs_period_us", period.to_string());
                        if let Some(quota) = quota {
                            set("--cpu-quota", "cpu.cfs_quota_us", quota.to_string());
                        }
                    }
                }
            }
            Self::Cpuset => {
                let lists = [
                    ("--cpuset-cpus", "cpuset.cpus", &limits.cpuset_cpus),
                    ("--cpuset-mems", "cpuset.mems", &limits.cpuset_mems),
                ];
                for (flag, file, list) in lists {
                    if let Some(list) = list {
                        set(flag, file, list.clone());
                    }
                }
            }
            Self::Pids => {
                if let Some(pids) = limits.pids {
                    set("--pids-limit", "pids.max", pids.to_string());
                }
            }
        }
        settings
    }
}

fn memory(limits: &Limits, version: Version) -> Vec<Setting> {
    let Some(memory) = limits.memory else { return Vec::new() };
    let both = limits.memory_and_swap.unwrap_or(Most::Of(memory.saturating_mul(2)));
    let (limit, swap, value) = match (version, both) {
        (Version::One, Most::Of(both)) => {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", both.to_string())
        }
        (Version::One, Most::Unlimited) => {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "-1".to_owned())
        }
        (Version::Two, Most::Of(both)) => {
            ("memory.max", "memory.swap.max", both.saturating_sub(memory).to_string())
        }
        (Version::Two, Most::Unlimited) => ("memory.max", "memory.swap.max", "max".to_owned()),
    };
    let set = |flag, file, value, implied| Setting { flag, file, value, implied };
    vec![
        set("--memory", limit, memory.to_string(), false),
        set("--memory-swap", swap, value, limits.memory_and_swap.is_none()),
    ]
}

/// Shares of version 1, 2 to 262144, as a weight of version 2, 1 to 10000, as runtimes do it.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(limits: &Limits, version: Version) -> String {
        let all = Controller::ALL.iter().flat_map(|controller| controller.settings(limits, version));
        all.map(|setting| format!("{}={}", setting.file, setting.value)).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn each_version_gets_its_own_files() {
        let limits = Limits {
            memory: Some(1000),
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            cpuset_cpus: Some("0-1".to_owned()),
            cpuset_mems: Some("0".to_owned()),
            pids: Some(7),
            ..Limits::default()
        };
        assert_eq!(
            shown(&limits, Version::One),
            "memory.limit_in_bytes=1000; memory.memsw.limit_in_bytes=2000; cpu.shares=1024; cpu.cfs_period_us=100000; \
             cpu.cfs_quota_us=50000; cpuset.cpus=0-1; cpuset.mems=0; pids.max=7"
        );
        assert_eq!(
            shown(&limits, Version::Two),
            "memory.max=1000; memory.swap.max=1000; cpu.weight=39; cpu.max=50000 100000; cpuset.cpus=0-1; \
             cpuset.mems=0; pids.max=7"
        );
        let limits = Limits { memory: Some(9), memory_and_swap: Some(Most::Unlimited), ..Limits::default() };
        assert_eq!(shown(&limits, Version::Two), "memory.max=9; memory.swap.max=max");
        assert_eq!(shown(&limits, Version::One), "memory.limit_in_bytes=9; memory.memsw.limit_in_bytes=-1");
        let limits = Limits { cpu_period: Some(20_000), ..Limits::default() };
        assert_eq!(shown(&limits, Version::Two), "cpu.max=max 20000");
        assert_eq!(shown(&Limits::default(), Version::One), "");
    }

    #[test]
    fn weights_span_their_range() {
        assert_eq!([2, 1024, 262_144, 0].map(weight), [1, 39, 10_000, 1]);
    }
}
