//! Which files made a step run again. A step that was carried out leaves a list of the files that it copied or mounted as a
//! blob, so that they can be compared when the older ones are long gone. A build that finds everything never makes a list.

use crate::lookup::keys::Keyed;
use rbuild_cache::{ChangedInput, FileAspect, StepInputs, Store, StoreError};
use rbuild_executor::{FileList, ListDifference, ListedFile, ListedKind, Selection};
use rbuild_planner::{Action, Step};
use std::collections::BTreeSet;

/// The input that stands for the files of a COPY.
const FILES: &str = "files";
/// Files of one step that are named.
const NAMED: usize = 100;

/// A step, and the files that it copies, if it does and they were looked at.
#[derive(Clone, Copy)]
pub(crate) struct StepFiles<'a> {
    pub(crate) step: &'a Step,
    pub(crate) keyed: &'a Keyed,
    pub(crate) selection: Option<&'a Selection>,
}

/// `inputs` with the digest of the files that a COPY copies.
pub(crate) fn with_files(inputs: &StepInputs, selection: &Selection) -> StepInputs {
    let mut inputs = inputs.clone();
    inputs.values.retain(|(name, _)| name != FILES);
    inputs.with(FILES, &selection.digest.hex())
}

/// The inputs of a step that was carried out, with the lists of its files, which are written.
///
/// # Errors
/// When a list cannot be written.
pub(crate) fn recorded(files: &StepFiles<'_>, store: &Store) -> Result<StepInputs, StoreError> {
    let mut inputs = match files.selection {
        Some(selection) => with_files(&files.keyed.description.inputs, selection),
        None => files.keyed.description.inputs.clone(),
    };
    let copied = files.selection.map(|selection| (FILES.to_owned(), selection));
    for (name, selection) in copied.into_iter().chain(mounted(files.keyed, &files.step.action)) {
        let list = store.put_blob(&FileList::of(selection).to_bytes())?;
        inputs.lists.push((name, list));
    }
    Ok(inputs)
}

/// The files that are different, if the input called `name` stands for files, which were compared with those of `before`. When they
/// cannot be, the input alone is named.
pub(crate) fn of(
    name: &str,
    before: &StepInputs,
    files: &StepFiles<'_>,
    store: &Store,
) -> Option<Vec<ChangedInput>> {
    let mounts = || mounted(files.keyed, &files.step.action).find(|(mount, _)| mount == name);
    let now = if name == FILES { files.selection } else { mounts().map(|(_, selection)| selection) };
    let now = FileList::of(now?);
    let unlisted = || one(name, vec![FileAspect::Unlisted]);
    let Some(list) = before.list(name) else { return (name == FILES).then(|| vec![unlisted()]) };
    // a list that is gone or damaged is as good as none
    let old = store.blob(&list).ok().flatten().and_then(|bytes| FileList::parse(&bytes));
    let Some(old) = old else { return Some(vec![unlisted()]) };
    let changes = without_parents(old.changes_to(&now));
    if changes.is_empty() {
        // of a mount something else changed than its files
        return (name == FILES).then(|| vec![one(name, vec![FileAspect::HardLinks])]);
    }
    let more = changes.len().saturating_sub(NAMED) as u64;
    let of = if name == FILES { String::new() } else { format!("{name}: ") };
    let mut named: Vec<ChangedInput> =
        changes.iter().take(NAMED).map(|change| changed(&of, change)).collect();
    if more > 0 {
        named.push(one(name, vec![FileAspect::Further { count: more }]));
    }
    Some(named)
}

/// The files that bind mounts of a context show, by the name of the input.
fn mounted<'a>(keyed: &'a Keyed, action: &'a Action) -> impl Iterator<Item = (String, &'a Selection)> {
    let mounts = match action {
        Action::Run(action) => action.mounts.as_slice(),
        Action::Copy(_) | Action::Workdir(_) => &[],
    };
    let files = mounts.iter().zip(&keyed.mount_files);
    files.filter_map(|(mount, files)| Some((format!("mount {}", mount.target), files.as_deref()?)))
}

/// Without directories that were added or removed with something in them, because that says it.
fn without_parents(changes: Vec<ListDifference>) -> Vec<ListDifference> {
    let direction = |change: &ListDifference| (change.before.is_some(), change.now.is_some());
    let parents: BTreeSet<(String, (bool, bool))> = changes
        .iter()
        .filter(|change| change.before.is_none() || change.now.is_none())
        .filter_map(|change| Some((change.path.rsplit_once('/')?.0.to_owned(), direction(change))))
        .collect();
    let is_parent = |change: &ListDifference| {
        let file = change.before.or(change.now);
        file.is_some_and(|file| file.kind == ListedKind::Directory)
            && parents.contains(&(change.path.clone(), direction(change)))
    };
    changes.into_iter().filter(|change| !is_parent(change)).collect()
}

fn changed(of: &str, change: &ListDifference) -> ChangedInput {
    let aspects = match (&change.before, &change.now) {
        (Some(before), Some(now)) => aspects(before, now),
        (None, _) | (_, None) => Vec::new(),
    };
    ChangedInput {
        input: format!("{of}{}", change.path),
        before: change.before.as_ref().map(text),
        now: change.now.as_ref().map(text),
        aspects,
    }
}

fn aspects(before: &ListedFile, now: &ListedFile) -> Vec<FileAspect> {
    if before.kind != now.kind {
        return vec![FileAspect::Kind];
    }
    let mut aspects = Vec::new();
    if before.content != now.content {
        aspects.push(FileAspect::Content);
    }
    if before.mode != now.mode {
        aspects.push(FileAspect::Mode { before: before.mode, now: now.mode });
    }
    if before.owner != now.owner {
        aspects.push(FileAspect::Owner { before: before.owner, now: now.owner });
    }
    aspects
}

/// A file in one line: `file 0644 0:0 1a2b3c4d5e6f7a8b`.
fn text(file: &ListedFile) -> String {
    let kind = match file.kind {
        ListedKind::File => "file",
        ListedKind::Directory => "directory",
        ListedKind::Symlink => "symlink",
        ListedKind::Special => "special",
    };
    let content = u64::from_be_bytes(file.content);
    format!("{kind} {:04o} {}:{} {content:016x}", file.mode, file.owner.0, file.owner.1)
}

fn one(name: &str, aspects: Vec<FileAspect>) -> ChangedInput {
    ChangedInput { input: name.to_owned(), before: None, now: None, aspects }
}
