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
    path::{Path, PathBuf},
};

/// A build whose logs take fewer bytes does not check the logs of others, because many such logs fit into any budget,
/// and the next build that begins a file of lines checks them.
const SMALL: u64 = 64 << 10;

/// The limits on the records that are kept. Lines are removed one file of 128 KiB at a time, when a new file is begun,
/// so the lines of up to two more files may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildBudget {
    /// The number of builds.
    pub records: usize,
    /// Bytes on the disk: lines may take this many, and logs as many again.
    pub bytes: u64,
}

impl Default for BuildBudget {
    fn default() -> Self {
        Self { records: 200, bytes: 256 << 20 }
    }
}

/// True if these logs are so large that their build has to enforce the budget.
pub(super) fn is_large(logs: &Path) -> bool {
    tree_size(logs) >= SMALL
}

/// Removes the oldest lines and logs that are over `budget`, but keeps the newest file of lines, the logs of running
/// builds and the logs of `newest`.
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

/// The directories of the logs of all builds that do not run, each with its bytes.
pub(super) fn ended_logs(builds: &Path, running: &Path) -> Result<Vec<(PathBuf, u64)>, StoreError> {
    let mut ended = Vec::new();
    for id in logged_builds(builds)? {
        if !Running::is(running, &id)? {
            let logs = log_directory(builds, &id);
            let bytes = tree_size(&logs);
            ended.push((logs, bytes));
        }
    }
    Ok(ended)
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
            // another build may have removed it first
            let _ = fs::remove_file(path);
            continue;
        }
        bytes += tree_size(&path);
        let new = |id: &BuildId| known.insert(id.clone());
        kept.extend(journal::read_ids(&path)?.into_iter().rev().filter(new));
    }
    Ok(kept.into_iter().enumerate().map(|(position, id)| (id, position)).collect())
}
