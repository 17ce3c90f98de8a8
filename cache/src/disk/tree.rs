//! Directory trees as a whole: removing them whatever their modes, and adding up what they hold.

use crate::StoreError;
use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Removes the tree at `path`; one that is not there is fine. Directories that their owner may not search (a build can
/// leave them) are opened first. Nothing is followed.
///
/// # Errors
/// An I/O error when something of it cannot be removed.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(path);
            fs::remove_dir_all(path)
        }
        other => other,
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            fs::remove_file(path).map_err(StoreError::on("remove", path))
        }
        other => other.map_err(StoreError::on("remove", path)),
    }
}

/// Bytes and number of files in a tree; a file with several links counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeSize {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// Adds up the tree at `path`. What cannot be read counts as nothing, for this is only ever shown.
pub(crate) fn size(path: &Path) -> TreeSize {
    let mut total = TreeSize::default();
    let mut linked: HashSet<(u64, u64)> = HashSet::new();
    let mut pending: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if metadata.nlink() == 1 || linked.insert((metadata.dev(), metadata.ino())) {
                total.files += 1;
                total.bytes += if metadata.is_file() { metadata.len() } else { 0 };
            }
        }
    }
    total
}

fn open_directories(path: &Path) {
    let mut pending = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        let _ = fs::set_permissions(&directory, fs::Permissions::from_mode(0o700));
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
}
