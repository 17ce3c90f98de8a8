//! What the processes of a container may use: plain data, which [`crate::cgroup`] and [`crate::sandbox`] put into force.

use crate::CapSet;
use std::{fmt, io};

/// Limits of a container; nothing is limited by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory (`--memory`).
    pub memory: Option<u64>,
    /// Memory and swap together (`--memory-swap`); twice the memory when only that is limited.
    pub memory_and_swap: Option<Most>,
    /// Weight among the processes of the machine, 1024 being the usual one (`--cpu-shares`).
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in each period (`--cpu-quota`).
    pub cpu_quota: Option<u64>,
    /// Length of a period in microseconds (`--cpu-period`); 100 ms when only the quota is limited.
    pub cpu_period: Option<u64>,
    /// Processors, as `0-2,5` (`--cpuset-cpus`).
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as `0,1` (`--cpuset-mems`).
    pub cpuset_mems: Option<String>,
    /// Processes and threads at one moment (`--pids-limit`).
    pub pids: Option<u64>,
    /// The control group below which that of the container is made (`--cgroup-parent`), from the root of its hierarchy.
    pub parent: Option<String>,
    /// Limits of each process (`--ulimit`).
    pub ulimits: Vec<Ulimit>,
}

/// A limit that may be lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Most {
    /// So many.
    Of(u64),
    /// Any number.
    Unlimited,
}

/// A limit of each process (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit in force.
    pub soft: Most,
    /// What a process may raise it to.
    pub hard: Most,
}

/// Something that a process has a limit of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    name: &'static str,
    number: u32,
}

/// A limit that cannot be put into force, by its flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetLimit {
    /// The flags that ask for it, with their dashes.
    pub flags: String,
    /// What is missing, and how to get it.
    pub reason: String,
}

/// Adds one, to those of which the same is missing.
pub(crate) fn add_unmet(unmet: &mut Vec<UnmetLimit>, flag: &str, reason: &str) {
    match unmet.iter_mut().find(|known| known.reason == reason) {
        Some(known) => known.flags = format!("{}, {flag}", known.flags),
        None => unmet.push(UnmetLimit { flags: flag.to_owned(), reason: reason.to_owned() }),
    }
}

/// Docker's names, by number (asm-generic/resource.h).
const RESOURCES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

impl Resource {
    /// The resource of a name that `--ulimit` takes.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let found = (0..).zip(RESOURCES).find(|(_, known)| *known == name);
        found.map(|(number, name)| Self { name, number })
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    pub(crate) fn number(self) -> u32 {
        self.number
    }
}

impl Most {
    /// The number as setrlimit(2) wants it.
    pub(crate) fn as_rlimit(self) -> u64 {
        match self {
            Self::Of(number) => number,
            Self::Unlimited => libc::RLIM_INFINITY,
        }
    }
}

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(number) => number.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// As `--ulimit` takes it.
impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.resource.name, self.soft, self.hard)
    }
}

impl Limits {
    /// The limits of each process that this one may set, and those that it has to lower, because only the machine's root
    /// may raise a limit.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn possible_ulimits(&self, own: CapSet) -> io::Result<(Vec<Ulimit>, Vec<UnmetLimit>)> {
        const SYS_RESOURCE: u32 = 24;
        let mut possible = self.ulimits.clone();
        let mut unmet = Vec::new();
        if own.contains(SYS_RESOURCE) {
            return Ok((possible, unmet));
        }
        for limit in &mut possible {
            let most = own_hard_limit(limit.resource)?;
            if limit.hard.as_rlimit() <= most {
                continue;
            }
            let asked = limit.to_string();
            limit.hard = Most::Of(most);
            limit.soft = Most::Of(limit.soft.as_rlimit().min(most));
            let reason = format!("only root may raise this limit, and yours is {most}, which it stays");
            add_unmet(&mut unmet, &format!("--ulimit {asked}"), &reason);
        }
        Ok((possible, unmet))
    }
}

fn own_hard_limit(resource: Resource) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit structure to the place given.
    crate::mount::done(unsafe { libc::getrlimit(resource.number as _, &raw mut limit) }.into())?;
    Ok(limit.rlim_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_root_raises_a_limit() {
        let limit = |soft, hard| Ulimit { resource: Resource::by_name("nofile").unwrap(), soft, hard };
        let own = own_hard_limit(Resource::by_name("nofile").unwrap()).unwrap();
        let (low, high) = (limit(Most::Of(5), Most::Of(9)), limit(Most::Unlimited, Most::Unlimited));
        let limits = Limits { ulimits: vec![low, high], ..Limits::default() };
        let (root, none) = limits.possible_ulimits(CapSet::ALL).unwrap();
        assert_eq!((root, none.len()), (limits.ulimits.clone(), 0));
        let (user, unmet) = limits.possible_ulimits(CapSet::EMPTY).unwrap();
        assert_eq!(user, [low, limit(Most::Of(own), Most::Of(own))]);
        assert_eq!(unmet[0].flags, "--ulimit nofile=unlimited:unlimited");
    }
}
