//! Makes the files of a store: readable by their owner alone, and only where nothing was before. Sets their mode,
//! because the umask may be anything: 000 would open a store to every user, 777 would close it to rbuild itself.

use nix::fcntl::OFlag;
use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// The mode of every file.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Makes the file `path` with mode 0600, to be read and written. What is there already, a link included, is an error.
///
/// # Errors
/// The system call's error; [`ErrorKind::AlreadyExists`] when something is there.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    create(path, File::options().read(true).write(true))
}

/// Makes the file `path` with mode 0600, to be read and appended to. What is there already, a link included, is an error.
///
/// # Errors
/// The system call's error; [`ErrorKind::AlreadyExists`] when something is there.
pub(crate) fn create_appended_file(path: &Path) -> io::Result<File> {
    create(path, File::options().read(true).append(true))
}

/// Opens the file `path` to be read and appended to; makes it with mode 0600 when it is not there. A link is not followed, and a
/// pipe not waited for.
///
/// # Errors
/// The system call's error.
pub(crate) fn open_private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).append(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
    loop {
        match options.open(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            opened => return opened,
        }
        match create(path, &mut options.clone()) {
            // another process made it first
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            created => return created,
        }
    }
}

fn create(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.create_new(true).mode(FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_is_made_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        symlink(&target, &link).unwrap();
        assert_eq!(create_private_file(&link).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(!target.exists());
    }

    #[test]
    fn nothing_is_opened_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        std::fs::write(&target, "kept").unwrap();
        symlink(&target, &link).unwrap();
        assert!(open_private_file(&link).is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"kept");
    }
}
