//! The processes of a container that runs, and what they have used.

use crate::{ContainerProcess, ExecutorError};
use rbuild_sys::{cgroup::GroupUse, read_proc};
use std::time::Duration;

/// Clock ticks a second in `/proc` (`USER_HZ`), the same on every processor that rbuild is built for.
const TICKS: u64 = 100;

/// What a container has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerUse {
    /// Time on processors.
    pub processor_time: Duration,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes that it may have; the machine's without a limit.
    pub memory_limit: u64,
    /// Bytes received from its own network and sent to it; none when it has the machine's.
    pub network: (u64, u64),
    /// Bytes read from disks and written to them.
    pub disk: (u64, u64),
    /// Processes and threads.
    pub tasks: u64,
}

/// What the files of one process in `/proc` say.
#[derive(Clone, Copy, Debug, Default)]
struct ProcessUse {
    ticks: u64,
    memory: u64,
    disk: (u64, u64),
    threads: u64,
}

impl ContainerProcess {
    /// What the container has used. Its control groups are asked first; what they do not count is the sum of its processes.
    ///
    /// # Errors
    /// [`ExecutorError::System`] when its processes cannot be listed.
    pub fn used(&self) -> Result<ContainerUse, ExecutorError> {
        let groups = GroupUse::of(&self.text("cgroup")?);
        let mut sum = ProcessUse::default();
        for pid in self.pids()? {
            let one = ProcessUse::of(pid);
            sum.ticks += one.ticks;
            sum.memory += one.memory;
            sum.disk = (sum.disk.0 + one.disk.0, sum.disk.1 + one.disk.1);
            sum.threads += one.threads;
        }
        let machine = read_proc("/proc/meminfo").ok().and_then(|text| kilobytes(&text, "MemTotal:"));
        let machine = machine.unwrap_or(0);
        let own_network = self.has_own_network()?;
        let network = if own_network { network(&self.text("net/dev")?) } else { (0, 0) };
        Ok(ContainerUse {
            processor_time: groups.processor_time.unwrap_or(Duration::from_millis(sum.ticks * 1000 / TICKS)),
            memory: groups.memory.unwrap_or(sum.memory),
            memory_limit: groups.memory_limit.map_or(machine, |limit| limit.min(machine)),
            network,
            disk: groups.disk.unwrap_or(sum.disk),
            tasks: groups.tasks.unwrap_or(sum.threads),
        })
    }
}

impl ProcessUse {
    /// What can be read of it; it may have ended, or be another user's.
    fn of(pid: i32) -> Self {
        let read = |name: &str| read_proc(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (stat, status) = (read("stat"), read("status"));
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        // utime, stime, and those of children that were waited for: fields 14 to 17
        let times = fields.split_whitespace().skip(11).take(4);
        let shared = kilobytes(&read("smaps_rollup"), "Pss:");
        let io = read("io");
        let bytes = |name| field(&io, name).unwrap_or(0);
        Self {
            ticks: times.filter_map(|time| time.parse::<u64>().ok()).sum(),
            memory: shared.or_else(|| kilobytes(&status, "VmRSS:")).unwrap_or(0),
            disk: (bytes("read_bytes:"), bytes("write_bytes:")),
            threads: field(&status, "Threads:").unwrap_or(0),
        }
    }
}

/// Bytes received and sent by all interfaces but the loopback (proc_pid_net(5)).
fn network(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        if name.trim() != "lo" {
            let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            sum.0 += numbers.first().unwrap_or(&0);
            sum.1 += numbers.get(8).unwrap_or(&0);
        }
    }
    sum
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_understood() {
        let text = "head\nhead\n    lo: 5 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0\n  eth0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n";
        assert_eq!(network(text), (10, 20));
        assert_eq!(kilobytes("MemTotal:       16 kB\n", "MemTotal:"), Some(16 << 10));
        let own = ProcessUse::of(std::process::id() as i32);
        assert!(own.memory > 100_000 && own.threads > 0, "{own:?}");
    }
}
