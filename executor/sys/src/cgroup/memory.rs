//! The memory that the control groups of this process leave to it.

use super::hierarchy::Hierarchy;
use crate::read_proc;
use std::path::Path;

/// The files of a group, by the version of the hierarchy.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The line of `memory.stat` with what the kernel gives back before it kills.
    reclaimable: &'static str,
}

const UNIFIED: Files = Files { limit: "memory.max", used: "memory.current", reclaimable: "inactive_file " };
const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file ",
};

/// Bytes that are left before a limit of this process's group, or of one above it; `None` without a limit.
pub(crate) fn memory_headroom() -> Option<u64> {
    let unified = Hierarchy::unified().and_then(|found| tightest(&found, &UNIFIED));
    let version_1 = Hierarchy::version_1("memory").and_then(|found| tightest(&found, &VERSION_1));
    [unified, version_1].into_iter().flatten().min()
}

fn tightest(hierarchy: &Hierarchy, files: &Files) -> Option<u64> {
    hierarchy.directories().filter_map(|group| headroom(&group, files)).min()
}

fn headroom(group: &Path, files: &Files) -> Option<u64> {
    // a group without a limit says `max`, or a number that no machine has
    let number = |name: &str| read_proc(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = number(files.limit).filter(|limit| *limit < 1 << 60)?;
    let stat = read_proc(group.join("memory.stat")).unwrap_or_default();
    let reclaimable = stat.lines().find_map(|line| line.strip_prefix(files.reclaimable)?.trim().parse().ok());
    let used = number(files.used)?.saturating_sub(reclaimable.unwrap_or(0));
    Some(limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_can_be_given_back_is_free() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(headroom(group.path(), &UNIFIED), None);
        write("memory.max", "1000\n");
        assert_eq!(headroom(group.path(), &UNIFIED), Some(300));
        write("memory.stat", "anon 5\ninactive_file 200\n");
        assert_eq!(headroom(group.path(), &UNIFIED), Some(500));
        write("memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(headroom(group.path(), &VERSION_1), None, "no limit in version 1");
    }
}
