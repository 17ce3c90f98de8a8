//! Which files of a stage or an image made a RUN that mounts it run again. No list of them is kept, because a stage may have any
//! number of files: the layers of then and now are compared, as long as both are here and small enough to be read.

use crate::{build::results::Inputs, lookup::source_files::layer_mounts};
use rbuild_archive::EntryKind;
use rbuild_cache::{CacheRecord, ChangedInput, FileAspect, LayerId, LayerSource, Store};
use rbuild_image::{Change, Difference, FileChange, FileTree, ImageError, layer_tar};
use rbuild_planner::Step;

/// Bytes on the disk of the layers that are read to find the files.
const BYTES: u64 = 32 << 20;
/// Files of one mount that are named.
const NAMED: usize = 100;

/// The files that are different, if the input called `name` is a mount of layers by `step`, and its layers can be compared with those of
/// `record`.
pub(crate) fn of(
    name: &str,
    record: &CacheRecord,
    (step, inputs): (&Step, &Inputs),
    store: &Store,
) -> Option<Vec<ChangedInput>> {
    let mounts = layer_mounts(step);
    let at = mounts.iter().position(|(mount, _)| format!("mount {}", mount.target) == name)?;
    let count = |at: usize| inputs.sources.get(at).map_or(0, |(_, layers)| layers.len());
    let (start, total) = ((0..at).map(count).sum(), inputs.source_layers().len());
    let before = match record.source_layers.len() {
        // as many of each as then
        then if then == total => start..start + count(at),
        then if mounts.len() == 1 => 0..then,
        _ => return None,
    };
    let (before, now) = (record.source_layers.get(before)?, &*inputs.sources.get(at)?.1);
    let common = before.iter().zip(now).take_while(|(before, now)| before == now).count();
    let (before, now) = (&before[common..], &now[common..]);
    if !are_small(store, before.iter().chain(now)) {
        return None;
    }
    // a layer that cannot be read names no file
    let (before, now) = (tree(store, before).ok()?, tree(store, now).ok()?);
    let mut changes = shown(before.changes_to(&now), mounts[at].1.as_str());
    let more = changes.len().saturating_sub(NAMED) as u64;
    changes.truncate(NAMED);
    let mut named: Vec<_> = changes.iter().map(|(path, change)| changed((name, path), change)).collect();
    if more > 0 {
        let aspects = vec![FileAspect::Further { count: more }];
        named.push(ChangedInput { input: name.to_owned(), before: None, now: None, aspects });
    }
    (!named.is_empty()).then_some(named)
}

/// True if all of `layers` are here and take few blocks of the disk, so that they have few files, too.
fn are_small<'a>(store: &Store, layers: impl Iterator<Item = &'a LayerId>) -> bool {
    let bytes = layers.map(|layer| {
        let meta = store.layer_meta(layer).ok()?;
        match meta.source {
            LayerSource::Elsewhere(_) => None,
            LayerSource::Own | LayerSource::Recipe(_) | LayerSource::Blob(_) => meta.disk_bytes,
        }
    });
    bytes.sum::<Option<u64>>().is_some_and(|bytes| bytes <= BYTES)
}

fn tree(store: &Store, layers: &[LayerId]) -> Result<FileTree, ImageError> {
    let mut tree = FileTree::default();
    for (number, layer) in layers.iter().enumerate() {
        tree.add(layer_tar(store, layer)?, number)?;
    }
    Ok(tree)
}

/// Those of `changes` that a mount of `source` shows, by their paths in it. Times do not count, and neither do directories that were added
/// or removed with something in them, because that says it.
fn shown(changes: Vec<FileChange>, source: &str) -> Vec<(String, Change)> {
    let mut shown: Vec<(String, Change)> = Vec::new();
    // from the last one, so that a directory comes after what is in it
    for FileChange { path, change, .. } in changes.into_iter().rev() {
        let path = format!("/{}", String::from_utf8_lossy(&path));
        let Some(path) = path.strip_prefix(source.trim_end_matches('/')) else { continue };
        let is_parent = |(other, other_change): &(String, Change)| {
            let same = std::mem::discriminant(other_change) == std::mem::discriminant(&change);
            same && other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        };
        let counts = match &change {
            Change::Added(_) | Change::Removed => !shown.last().is_some_and(is_parent),
            Change::Changed(differences) => {
                differences.iter().any(|difference| !matches!(difference, Difference::Time))
            }
        };
        if counts && (path.is_empty() || path.starts_with('/')) {
            shown.push((path.to_owned(), change));
        }
    }
    shown.reverse();
    shown
}

fn changed((mount, path): (&str, &str), change: &Change) -> ChangedInput {
    // what is mounted may be a file
    let input = if path.is_empty() { mount.to_owned() } else { format!("{mount}: {path}") };
    let (before, now, aspects) = match change {
        Change::Added(bytes) => (None, Some(format!("{bytes} bytes")), Vec::new()),
        Change::Removed => (Some("there".to_owned()), None, Vec::new()),
        Change::Changed(differences) => {
            let kinds = differences.iter().find_map(kinds);
            let (before, now) = kinds.map(|(before, now)| (before.to_owned(), now.to_owned())).unzip();
            let mut aspects: Vec<FileAspect> = differences.iter().filter_map(aspect).collect();
            aspects.dedup();
            (before, now, aspects)
        }
    };
    ChangedInput { input, before, now, aspects }
}

fn aspect(difference: &Difference) -> Option<FileAspect> {
    match difference {
        Difference::Kind(..) => Some(FileAspect::Kind),
        Difference::Content(..) | Difference::Target(..) | Difference::Device | Difference::Attributes => {
            Some(FileAspect::Content)
        }
        Difference::Mode(before, now) => Some(FileAspect::Mode { before: *before, now: *now }),
        Difference::Owner(before, now) => Some(FileAspect::Owner { before: *before, now: *now }),
        Difference::Time => None,
    }
}

fn kinds(difference: &Difference) -> Option<(&'static str, &'static str)> {
    let Difference::Kind(before, now) = difference else { return None };
    let word = |kind: &EntryKind| match kind {
        EntryKind::File | EntryKind::HardLink => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo | EntryKind::Unknown(_) => "special",
    };
    Some((word(before), word(now)))
}
