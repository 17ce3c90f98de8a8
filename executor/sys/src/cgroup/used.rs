//! What the processes of a container have used, as its control groups count it.

use super::{hierarchy::Hierarchy, joined::is_made};
use crate::read_proc;
use std::time::Duration;

/// What a container's groups say; what none of them counts is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupUse {
    /// Time on processors.
    pub processor_time: Option<Duration>,
    /// Bytes of memory, without files that the kernel would let go of first.
    pub memory: Option<u64>,
    /// Bytes that it may have.
    pub memory_limit: Option<u64>,
    /// Bytes read from disks and written to them.
    pub disk: Option<(u64, u64)>,
    /// Processes and threads.
    pub tasks: Option<u64>,
}

impl GroupUse {
    /// What the groups of a container count whose first process has the text `groups` in `/proc/PID/cgroup`.
    #[must_use]
    pub fn of(groups: &str) -> Self {
        let mut found = Self::default();
        let Ok(hierarchies) = Hierarchy::all_of(groups) else { return found };
        for (is_unified, hierarchy) in hierarchies {
            if !is_made(hierarchy.group()) {
                continue;
            }
            let directory = hierarchy.directory();
            let read = |file: &str| read_proc(directory.join(file)).ok();
            if is_unified {
                found.unified(read);
            } else {
                found.version_1(read);
            }
        }
        found
    }

    fn unified(&mut self, read: impl Fn(&str) -> Option<String>) {
        let time = read("cpu.stat").and_then(|text| field(&text, "usage_usec"));
        self.processor_time = time.map(Duration::from_micros);
        self.memory = read("memory.current").and_then(|text| {
            let cached = read("memory.stat").and_then(|text| field(&text, "inactive_file"));
            Some(number(&text)?.saturating_sub(cached.unwrap_or(0)))
        });
        self.memory_limit = read("memory.max").and_then(|text| number(&text));
        self.disk = read("io.stat").map(|text| disk(&text));
        self.tasks = read("pids.current").and_then(|text| number(&text));
    }

    fn version_1(&mut self, read: impl Fn(&str) -> Option<String>) {
        if let Some(used) = read("memory.usage_in_bytes").and_then(|text| number(&text)) {
            let cached = read("memory.stat").and_then(|text| field(&text, "total_inactive_file"));
            self.memory = Some(used.saturating_sub(cached.unwrap_or(0)));
            self.memory_limit = read("memory.limit_in_bytes").and_then(|text| number(&text));
        }
        if let Some(tasks) = read("pids.current").and_then(|text| number(&text)) {
            self.tasks = Some(tasks);
        }
    }
}

/// The sums of `rbytes=` and `wbytes=` of all disks.
fn disk(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let values = text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
        values.sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(name)?))
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_groups_are_understood() {
        let mut found = GroupUse::default();
        found.unified(|file| {
            let text = match file {
                "cpu.stat" => "usage_usec 1500\nuser_usec 1\n",
                "memory.current" => "5000\n",
                "memory.stat" => "anon 1\ninactive_file 1000\n",
                "memory.max" => "max\n",
                "io.stat" => "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n",
                "pids.current" => "3\n",
                _ => return None,
            };
            Some(text.to_owned())
        });
        let expected = GroupUse {
            processor_time: Some(Duration::from_micros(1500)),
            memory: Some(4000),
            memory_limit: None,
            disk: Some((11, 22)),
            tasks: Some(3),
        };
        assert_eq!(found, expected);
    }
}
