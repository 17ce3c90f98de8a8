//! Directories: making and listing them.

use super::remove_tree;
use crate::StoreError;
use nix::{
    fcntl::AT_FDCWD,
    sys::stat::{FchmodatFlags, Mode, fchmodat},
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

/// The mode of every directory but those that are shown to containers.
pub(crate) const DIRECTORY_MODE: u32 = 0o700;

/// Makes a directory (mode 0700) and those above it; one that is there is fine.
pub(crate) fn make_dirs(path: &Path) -> Result<(), StoreError> {
    make_dirs_with_mode(path, DIRECTORY_MODE).map_err(StoreError::on("create", path))
}

/// Makes the directory `path` and those above it that are missing, all with this mode, whatever the umask. One that is
/// there stays as it is.
///
/// # Errors
/// The system call's error.
pub fn make_dirs_with_mode(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        // usually the umask has taken no bits away
        Ok(()) if has_mode(path, mode) => Ok(()),
        // without following a link that another user has put in the new directory's place
        Ok(()) => fchmodat(AT_FDCWD, path, Mode::from_bits_truncate(mode), FchmodatFlags::NoFollowSymlink)
            .map_err(io::Error::from),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // file systems of the kernel say so although the parent is there
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir());
            make_dirs_with_mode(parent.ok_or(e)?, mode)?;
            make_dirs_with_mode(path, mode)
        }
        Err(e) => Err(e),
    }
}

fn has_mode(directory: &Path, mode: u32) -> bool {
    fs::symlink_metadata(directory).is_ok_and(|found| found.is_dir() && found.mode() & 0o7777 == mode)
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

/// Removes what is in a directory of files, which stays.
pub(crate) fn remove_files(directory: &Path) -> Result<(), StoreError> {
    for name in list(directory)? {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => remove_tree(&path)?,
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(StoreError::io("remove", &path, e)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn directories_are_made_with_their_parents_and_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let deep = directory.path().join("a/b");
        make_dirs_with_mode(&deep, 0o755).unwrap();
        make_dirs(&deep).unwrap();
        let modes = [directory.path(), &directory.path().join("a"), &deep].map(mode);
        assert_eq!(modes, [0o750, 0o755, 0o755]);
    }

    #[test]
    fn whatever_is_in_the_place_of_a_file_goes_with_the_files() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("strange/below")).unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        remove_files(directory.path()).unwrap();
        assert_eq!(list(directory.path()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn no_directory_is_made_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        symlink(&target, &link).unwrap();
        assert!(make_dirs(&link).is_err());
        assert!(!target.exists());
    }
}
