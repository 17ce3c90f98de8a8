//! Keeping what a failed RUN leaves.

use super::{
    leaks, name,
    record::{FailedStep, Surroundings},
};
use crate::{
    Error, Remains,
    builds::build_record::number,
    guest::secrets::{self, Secrets},
    lookup::{Ready, source_files::MOUNTED},
};
use rbuild_cache::{BuildId, FailedFiles, FailedStepBudget, LayerDraft, PrivilegeOptions, Store};
use rbuild_executor::{NameOptions, PreparedMount};
use rbuild_oci::Platform;
use rbuild_planner::{Action, RunAction};

/// What keeping takes of the engine.
pub(crate) struct Keeping<'a> {
    pub(crate) store: &'a Store,
    pub(crate) budget: &'a FailedStepBudget,
    pub(crate) secrets: &'a Secrets,
    pub(crate) names: &'a NameOptions,
    pub(crate) shm_size: Option<u64>,
    pub(crate) privileges: &'a PrivilegeOptions,
}

/// The files of a RUN that failed.
pub(crate) struct Failed {
    pub(crate) changes: LayerDraft,
    pub(crate) mounts: Vec<PreparedMount>,
}

/// Keeps what `failed` left, for a person to look into. A build says nothing of what cannot be kept: it has failed anyway.
pub(crate) fn keep(
    keeping: &Keeping<'_>,
    (ready, platform): (&Ready<'_>, &Platform),
    build: &BuildId,
    failed: Failed,
) -> Remains {
    match &ready.step.action {
        Action::Run(action) => {
            try_keep(keeping, (ready, action, platform), build, failed).unwrap_or(Remains::Nothing)
        }
        Action::Copy(_) | Action::Workdir(_) => Remains::Nothing,
    }
}

fn try_keep(
    keeping: &Keeping<'_>,
    (ready, action, platform): (&Ready<'_>, &RunAction, &Platform),
    build: &BuildId,
    failed: Failed,
) -> Result<Remains, Error> {
    let Keeping { store, budget, secrets: given, names, shm_size, privileges } = keeping;
    let around = Surroundings {
        inputs: ready.inputs,
        seen: &ready.keyed.mount_contents,
        platform,
        names,
        shm_size: *shm_size,
        privileges,
    };
    let mut record = FailedStep::of(action, &around)?;
    let files = files(action, failed);
    let bytes = files.bytes();
    if bytes > budget.bytes {
        return Ok(Remains::TooLarge { bytes, most: budget.bytes });
    }
    if budget.steps == 0 {
        return Ok(Remains::Nothing);
    }
    let values: Vec<&[u8]> = secrets::values(&action.mounts, given).collect();
    record.left_out = without_secrets(&files.changes, &values)?;
    for (number, draft) in &files.mounts {
        let target = &action.mounts[*number].target;
        let shown = |path: String| path.replacen(MOUNTED, target.as_str(), 1);
        record.left_out.extend(without_secrets(draft, &values)?.into_iter().map(shown));
    }
    let step = number(ready.step.id);
    store.keep_failed_step(&name(build, step), files, &record.write(), budget)?;
    Ok(Remains::Kept { step })
}

/// Removes what holds a secret; returns the paths.
fn without_secrets(draft: &LayerDraft, secrets: &[&[u8]]) -> Result<Vec<String>, Error> {
    let path = draft.fs();
    let removed = leaks::remove(path, secrets);
    removed.map_err(|source| Error::Io { action: "look for secrets in", path: path.to_owned(), source })
}

/// The drafts, each of a mount with the mount's number.
fn files(action: &RunAction, failed: Failed) -> FailedFiles {
    let of_mount = |mount: PreparedMount| {
        let number = action.mounts.iter().rposition(|spec| spec.target == *mount.target())?;
        Some((number, mount.into_draft()?))
    };
    FailedFiles {
        changes: failed.changes,
        mounts: failed.mounts.into_iter().rev().filter_map(of_mount).collect(),
    }
}
