//! How many records are kept.

use super::{
    build_id::BuildId,
    journal,
    running::Running,
    step_log::{log_directory, logged_builds},
};
use crate::{
    StoreError,
    disk::{remove_tree, tree_size},
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

/// A build whose logs are smaller does not look at those of others: many of them fit into any budget, and the next file of
/// lines that is full makes its build look.
const SMALL: u64 = 64 << 10;

/// How much of the past is remembered. Lines are removed a file of 128 KiB at a time, when a new one is begun, so up to two
/// files' lines more may be kept than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildBudget {
    /// How many builds.
    pub records: usize,
    /// Bytes on the disk, of lines and of logs, each.
    pub bytes: u64,
}

impl Default for BuildBudget {
    fn default() -> Self {
        Self { records: 200, bytes: 256 << 20 }
    }
}

/// Whether a build with these logs has to look after the budget.
pub(super) fn is_large(logs: &Path) -> bool {
    tree_size(logs) >= SMALL
}

/// Removes the oldest lines and logs that are over `budget`, but neither the newest file of lines nor logs of builds that
/// run or of `newest`.
pub(super) fn enforce(
    builds: &Path,
    running: &Path,
    newest: &BuildId,
    budget: &BuildBudget,
) -> Result<(), StoreError> {
    let kept = remove_lines(builds, budget)?;
    let mut logged = logged_builds(builds)?;
    // newest first, and those without a line last
    logged.sort_by_key(|id| kept.get(id).copied().unwrap_or(usize::MAX));
    let mut bytes = 0;
    for id in logged {
        let logs = log_directory(builds, &id);
        bytes += tree_size(&logs);
        let stays = id == *newest || (kept.contains_key(&id) && bytes <= budget.bytes);
        if !stays && !Running::is(running, &id)? {
            remove_tree(&logs)?;
        }
    }
    Ok(())
}

/// Removes the oldest files of lines; returns the builds of the others, numbered from the newest.
fn remove_lines(builds: &Path, budget: &BuildBudget) -> Result<HashMap<BuildId, usize>, StoreError> {
    let mut numbers = journal::numbers(builds)?;
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let mut kept = Vec::new();
    let mut known = HashSet::new();
    let mut bytes = 0;
    for (position, number) in numbers.iter().enumerate() {
        let path = journal::path(builds, *number);
        let is_over = known.len() >= budget.records || bytes > budget.bytes;
        if position > 0 && is_over {
            // another build may have been first
            let _ = fs::remove_file(path);
            continue;
        }
        bytes += tree_size(&path);
        let new = |id: &BuildId| known.insert(id.clone());
        kept.extend(journal::read_ids(&path)?.into_iter().rev().filter(new));
    }
    Ok(kept.into_iter().enumerate().map(|(position, id)| (id, position)).collect())
}
