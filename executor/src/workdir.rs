//! WORKDIR: makes the directory and what is missing above it; a layer even when nothing is missing (`spec` §4.6).

use crate::{
    ExecutorError, Snapshots,
    draft::{Destination, NewDir},
    rooted::{Last, resolve},
    users,
};
use rbuild_cache::{LayerDraft, LayerId};
use rbuild_planner::WorkdirAction;
use std::time::SystemTime;

/// Makes the directory of `action` on the layers `parent`, lowest first.
///
/// # Errors
/// [`ExecutorError::ParentNotADirectory`] when something else has its name, [`ExecutorError::BelowAFile`] when something
/// else has that of a parent.
pub fn workdir(
    snapshots: &Snapshots,
    action: &WorkdirAction,
    parent: &[LayerId],
    now: SystemTime,
) -> Result<LayerDraft, ExecutorError> {
    let view = snapshots.view(parent)?;
    let owner = if action.user.is_empty() { (0, 0) } else { users::chown_owner(&view, &action.user)? };
    let draft = snapshots.store().new_layer()?;
    let mut destination = Destination::new(&draft, &view, now)?;
    let target = resolve(&destination, action.path.as_str().as_bytes(), Last::Follow)?;
    let made = destination.make_dirs_if_missing(&target, NewDir { mode: 0o755, owner });
    made.map_err(|error| below_a_file(error, &target.path))?;
    Ok(draft.counted(destination.finish()?))
}

/// Docker names the path below a file that is in the way, and the file itself only when that is what is asked for.
fn below_a_file(error: ExecutorError, wanted: &[u8]) -> ExecutorError {
    let ExecutorError::ParentNotADirectory { path } = error else { return error };
    let wanted = String::from_utf8_lossy(wanted);
    let below = wanted.strip_prefix(path.trim_start_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    match below.and_then(|rest| rest.split('/').next()) {
        Some(first) => ExecutorError::BelowAFile { path: format!("{path}/{first}") },
        None => ExecutorError::ParentNotADirectory { path },
    }
}
