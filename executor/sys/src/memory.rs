//! Memory that programs can still take, and what those that run have taken.

use crate::{cgroup::memory_headroom, read_proc};
use nix::unistd::{SysconfVar, sysconf};
use std::{collections::HashMap, fs};

/// Bytes that programs can still take before the machine, or a control group of this process, has none left. `None` where the
/// kernel does not say.
#[must_use]
pub fn available() -> Option<u64> {
    let free = machine(&read_proc("/proc/meminfo").ok()?)?;
    Some(memory_headroom().map_or(free, |headroom| headroom.min(free)))
}

/// How many processes the kernel has killed since the machine began, because there was no memory for them, in control groups
/// or in all; 0 where it does not count them.
#[must_use]
pub fn killed_for_memory() -> u64 {
    let text = read_proc("/proc/vmstat").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn machine(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes of memory that the processes below each of `ancestors` have, by the ancestor's process id. Pages that several of
/// them share count for each.
#[must_use]
pub fn resident_below(ancestors: &[i32]) -> HashMap<i32, u64> {
    let processes: HashMap<i32, Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| Some((pid, process(&read_proc(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect();
    let mut resident: HashMap<i32, u64> = ancestors.iter().map(|pid| (*pid, 0)).collect();
    for process in processes.values() {
        let mut above = Some(process.parent);
        while let Some(pid) = above {
            if let Some(sum) = resident.get_mut(&pid) {
                *sum += process.bytes;
                break;
            }
            above = processes.get(&pid).map(|process| process.parent).filter(|parent| *parent != pid);
        }
    }
    resident
}

fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| size.try_into().ok()).unwrap_or(4096)
}

/// The parent and the memory of a process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    bytes: u64,
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)): the name may hold anything, so fields are counted behind its last parenthesis.
fn process(stat: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let parent = fields.nth(1)?.parse().ok()?;
    let pages: u64 = fields.nth(19)?.parse().ok()?;
    Some(Process { parent, bytes: pages * page_size() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_texts_are_understood() {
        let text = "MemTotal:  10 kB\nMemAvailable:     1234 kB\nBuffers: 1 kB\n";
        assert_eq!(machine(text), Some(1234 * 1024));
        assert_eq!(machine("MemTotal: 1 kB\n"), None);
        let stat = "7 (a) b) S 3 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 900 1000000 25 184 1 1";
        assert_eq!(process(stat), Some(Process { parent: 3, bytes: 25 * page_size() }));
        assert_eq!(process("7"), None);
    }

    #[test]
    fn what_a_child_has_is_counted_for_its_ancestor() {
        let own = std::process::id() as i32;
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        let found = resident_below(&[own, 0x7fff_fffe]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found[&own] > 0 && found[&0x7fff_fffe] == 0, "{found:?}");
        assert!(available().unwrap() > 1 << 20);
    }
}
