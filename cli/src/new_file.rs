//! Files that are written for people. Each has no name before it is whole, replaces what was there in one step, never
//! goes through a link, and has a mode that is set, whatever the umask.

use crate::error::CliError;
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat},
    sys::stat::{Mode, fstat},
    unistd::{UnlinkatFlags, linkat, unlinkat},
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, FileType, Permissions},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// A file that is being written. Dropping it leaves nothing.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    directory: OwnedFd,
    path: PathBuf,
    name: OsString,
    /// Its name meanwhile, on file systems that know no files without one.
    draft: Option<String>,
}

impl NewFile {
    /// A file that will be `path`, with permission bits `mode`.
    ///
    /// # Errors
    /// [`CliError::File`] when something other than a file is there, or when the directory cannot be written to.
    pub(crate) fn at(path: &Path, mode: u32) -> Result<Self, CliError> {
        Self::open(path, mode).map_err(CliError::file("write", path))
    }

    /// Writes `text` and gives the file its name.
    ///
    /// # Errors
    /// [`CliError::File`].
    pub(crate) fn write(mut self, text: &str) -> Result<(), CliError> {
        self.file.write_all(text.as_bytes()).map_err(CliError::file("write", &self.path))?;
        self.finish()
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`CliError::File`].
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        self.give_name().map_err(CliError::file("write", &self.path))
    }

    /// True if `other` would replace this file, or this one `other`.
    pub(crate) fn is_replaced_by(&self, other: &Self) -> bool {
        let place = |file: &Self| fstat(&file.directory).ok().map(|there| (there.st_dev, there.st_ino));
        self.name == other.name && place(self) == place(other)
    }

    /// The path that the file will have.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    fn open(path: &Path, mode: u32) -> io::Result<Self> {
        if let Some(kind) = fs::symlink_metadata(path).ok().and_then(|there| obstacle(there.file_type())) {
            return Err(io::Error::other(format!("cannot write to a {kind}")));
        }
        let name = path.file_name().ok_or(Errno::EISDIR)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let (file, draft) = match openat(&directory, ".", flags | OFlag::O_TMPFILE, private) {
            // what file systems without it answer
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => {
                let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
                let (file, draft) = unused(|draft| openat(&directory, draft, flags, private))?;
                (file, Some(draft))
            }
            unnamed => (unnamed?, None),
        };
        let new = Self { file: file.into(), directory, path: path.to_owned(), name, draft };
        new.file.set_permissions(Permissions::from_mode(mode))?;
        Ok(new)
    }

    fn give_name(&mut self) -> io::Result<()> {
        if self.draft.is_none() {
            let unnamed = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
            let link =
                |name: &OsStr| linkat(AT_FDCWD, &unnamed, &self.directory, name, AtFlags::AT_SYMLINK_FOLLOW);
            match link(&self.name) {
                // only a rename replaces what is there
                Err(Errno::EEXIST) => self.draft = Some(unused(|draft| link(draft.as_ref()))?.1),
                linked => return Ok(linked?),
            }
        }
        if let Some(draft) = &self.draft {
            renameat(&self.directory, draft.as_str(), &self.directory, self.name.as_os_str())?;
            self.draft = None;
        }
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(draft) = &self.draft {
            // why it was not finished is what people should hear of
            let _ = unlinkat(&self.directory, draft.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// The obstacle to a new file, in Docker's words.
fn obstacle(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_symlink() => Some("symbolic link directly"),
        kind if kind.is_dir() => Some("directory"),
        kind if kind.is_fifo() => Some("named pipe (FIFO)"),
        kind if kind.is_socket() => Some("socket"),
        kind if kind.is_char_device() => Some("character device file"),
        kind if kind.is_block_device() => Some("block device file"),
        _ => None,
    }
}

/// Does `make` with unpredictable names until one is free; returns what it made, and the name.
fn unused<T>(mut make: impl FnMut(&str) -> Result<T, Errno>) -> Result<(T, String), Errno> {
    loop {
        let name = format!(".rbuild-{:016x}", RandomState::new().build_hasher().finish());
        match make(&name) {
            Err(Errno::EEXIST) => {}
            made => return made.map(|made| (made, name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn write(path: &Path, text: &str) -> Result<(), CliError> {
        NewFile::at(path, 0o600)?.write(text)
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let entries = || fs::read_dir(directory.path()).unwrap().count();
        let mut new = NewFile::at(&path, 0o640).unwrap();
        new.write_all(b"half").unwrap();
        assert_eq!(entries(), 0, "a killed process would leave nothing");
        drop(new);
        assert_eq!(entries(), 0);
        for text in ["first", "second"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!((fs::metadata(&path).unwrap().mode() & 0o7777, entries()), (0o600, 1));
        }
    }

    #[test]
    fn a_draft_with_a_name_is_removed_or_becomes_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let draft = || {
            let mut new = NewFile::at(&path, 0o600).unwrap();
            fs::write(directory.path().join("draft"), "whole").unwrap();
            new.draft = Some("draft".into());
            new
        };
        drop(draft());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        draft().finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("link"), directory.path().join("target"));
        symlink(&target, &link).unwrap();
        let error =
            |path: &Path| std::error::Error::source(&write(path, "x").unwrap_err()).unwrap().to_string();
        assert_eq!(error(&link), "cannot write to a symbolic link directly");
        assert_eq!(error(directory.path()), "cannot write to a directory");
        assert_eq!(error(Path::new("/dev/zero")), "cannot write to a character device file");
        assert!(!target.exists());
    }
}
