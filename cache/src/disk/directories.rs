//! Directories: making and listing them.

use crate::StoreError;
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
};

/// Makes a directory (mode 0700) and those above it; one that is there is fine.
pub(crate) fn make_dirs(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StoreError::on("create", path))
}

/// The UTF-8 names in a directory, unsorted; none when it is not there.
pub(crate) fn list(directory: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io("read", directory, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::on("read", directory))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Removes the files in a directory, which stays.
pub(crate) fn remove_files(directory: &Path) -> Result<(), StoreError> {
    for name in list(directory)? {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(StoreError::io("remove", &path, e)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
