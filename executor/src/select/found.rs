//! One look into a source root, past links, without what the ignore file leaves out.

use crate::{
    ExecutorError, SourceRoot,
    ignore::Verdict,
    rooted::{FileType, Last, Resolved, Space as _, is_dir, join, resolve},
};
use rustix::fs::{RawDir, Stat};

/// A file that was found.
pub(super) struct Found {
    /// Canonical, links followed.
    pub(super) path: Vec<u8>,
    pub(super) stat: Stat,
    pub(super) verdict: Verdict,
}

/// Follows `path` through links that the ignore file leaves in.
pub(super) fn follow(root: &SourceRoot, path: &[u8], last: Last) -> Result<Option<Found>, ExecutorError> {
    let Resolved { path, found, links } = resolve(root.rooted(), path, last)?;
    let Some(stat) = found else { return Ok(None) };
    let verdict = root.verdict(&path);
    let hidden = links.iter().any(|link| root.verdict(link) == Verdict::Excluded);
    if hidden || (verdict == Verdict::Excluded && !is_dir(&stat)) {
        return Ok(None);
    }
    Ok(Some(Found { path, stat, verdict }))
}

/// Names in a directory, sorted, with whether each is a directory, without what the ignore file hides.
pub(super) fn list(root: &SourceRoot, dir: &[u8]) -> Result<Vec<(Vec<u8>, bool)>, ExecutorError> {
    let fd = root.rooted().open_dir(dir)?;
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut listing = RawDir::new(&fd, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry.map_err(|errno| ExecutorError::system("getdents", dir, errno))?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let is_dir = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => root.rooted().find(&join(dir, name))?.is_some_and(|stat| is_dir(&stat)),
            _ => false,
        };
        if is_dir || root.verdict(&join(dir, name)) == Verdict::Kept {
            names.push((name.to_vec(), is_dir));
        }
    }
    names.sort_unstable();
    Ok(names)
}
