//! The directory of a build context, opened once. What is read of it is looked up beneath this descriptor, so that no
//! link leads out of it: contexts are written by strangers.

use crate::{
    ExecutorError, MAX_DEFINITION,
    rooted::{FileType, Last, Rooted, Space, file_type, is_dir, resolve},
    select::Owner,
};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// An open context directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ContextDirectory {
    /// `None` when the directory goes with this build, so that nothing of it is worth remembering.
    place: Option<PathBuf>,
    root: Rooted,
    owner: Owner,
}

impl ContextDirectory {
    /// Opens the directory `path`.
    ///
    /// # Errors
    /// [`ExecutorError::ContextNotFound`] when there is no such directory.
    pub fn open(path: &Path) -> Result<Self, ExecutorError> {
        Self::open_with(path, OFlags::RDONLY)
    }

    /// Opens the directory `path` of which files are read whose names are known. It may be one that this user may search and not list.
    ///
    /// # Errors
    /// As [`ContextDirectory::open`].
    pub fn open_to_search(path: &Path) -> Result<Self, ExecutorError> {
        Self::open_with(path, OFlags::PATH)
    }

    fn open_with(path: &Path, access: OFlags) -> Result<Self, ExecutorError> {
        let missing = |source| ExecutorError::ContextNotFound { path: path.to_owned(), source };
        let place = path.canonicalize().map_err(missing)?;
        let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, &place, flags, Mode::empty()).map_err(|errno| missing(errno.into()))?;
        Ok(Self { place: Some(place), root: Rooted::new(fd), owner: Owner::Root })
    }

    /// Opens the directory `path`, which goes with this build: later builds are not to look for what was read of it.
    ///
    /// # Errors
    /// As [`ContextDirectory::open`].
    pub fn open_temporary(path: &Path) -> Result<Self, ExecutorError> {
        Ok(Self { place: None, ..Self::open(path)? })
    }

    /// The same directory, whose files belong to whom they belong to here instead of to root: those of an archive.
    #[must_use]
    pub fn with_owners(self) -> Self {
        Self { owner: Owner::Kept, ..self }
    }

    /// The directory's own path, without links; `None` for a temporary one.
    #[must_use]
    pub fn place(&self) -> Option<&Path> {
        self.place.as_deref()
    }

    /// The directory at `path` below this one, links followed as if this one were the root of all files; `None` when there is
    /// none.
    ///
    /// # Errors
    /// [`ExecutorError::System`] when it cannot be opened.
    pub fn below(&self, path: &Path) -> Result<Option<Self>, ExecutorError> {
        let found = resolve(&self.root, path.as_os_str().as_bytes(), Last::Follow)?;
        if !found.found.as_ref().is_some_and(is_dir) {
            return Ok(None);
        }
        let root = Rooted::new(self.root.open_dir(&found.path)?);
        let place = self.place.as_ref().map(|place| place.join(OsStr::from_bytes(&found.path)));
        Ok(Some(Self { place, root, owner: self.owner }))
    }

    /// True if something is at `path`, which is relative to the directory; a link at its end is not followed.
    ///
    /// # Errors
    /// [`ExecutorError::System`] when it cannot be looked up.
    pub fn has(&self, path: &Path) -> Result<bool, ExecutorError> {
        Ok(self.root.find(path.as_os_str().as_bytes())?.is_some())
    }

    /// The content of the file at `path`, which is relative to the directory; `None` when nothing has that name. Links are
    /// followed as if the directory were the root of all files.
    ///
    /// # Errors
    /// [`ExecutorError::LinkOutside`] for a link to what is not in the directory, [`ExecutorError::System`] for a file that
    /// cannot be read, [`ExecutorError::DefinitionTooLong`].
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, ExecutorError> {
        let name = path.as_os_str().as_bytes();
        let Some(fd) = self.root.open_file_following(name)? else {
            return self.first_link(path)?.map_or(Ok(None), Err);
        };
        read_definition(File::from(fd), path).map(Some)
    }

    /// The error for the first link on the way to `path`, which leads nowhere.
    fn first_link(&self, path: &Path) -> Result<Option<ExecutorError>, ExecutorError> {
        let mut ancestors: Vec<&Path> =
            path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()).collect();
        ancestors.reverse();
        for ancestor in ancestors {
            let name = ancestor.as_os_str().as_bytes();
            let Some(found) = self.root.find(name)? else { return Ok(None) };
            if file_type(&found) == FileType::Symlink {
                let target = String::from_utf8_lossy(&self.root.link_target(name)?).into_owned();
                return Ok(Some(ExecutorError::LinkOutside { path: ancestor.display().to_string(), target }));
            }
        }
        Ok(None)
    }

    pub(crate) fn root(&self) -> &Rooted {
        &self.root
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }
}

/// All of `source`, a Dockerfile or an ignore file that is known as `path`.
///
/// # Errors
/// [`ExecutorError::DefinitionTooLong`] beyond [`MAX_DEFINITION`]; [`ExecutorError::System`] when it cannot be read.
pub fn read_definition(source: impl Read, path: &Path) -> Result<Vec<u8>, ExecutorError> {
    // nearly all are shorter, and read in one piece then
    let mut content = Vec::with_capacity(8 << 10);
    let read = source.take(MAX_DEFINITION + 1).read_to_end(&mut content);
    read.map_err(|error| ExecutorError::system("read", path.as_os_str().as_bytes(), error))?;
    if content.len() as u64 > MAX_DEFINITION {
        return Err(ExecutorError::DefinitionTooLong { path: path.to_owned() });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn links_stay_in_the_directory() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "hidden").unwrap();
        let directory = outside.path().join("context");
        fs::create_dir_all(directory.join("sub")).unwrap();
        fs::write(directory.join("sub/file"), "seen").unwrap();
        symlink("/sub/file", directory.join("inside")).unwrap();
        symlink("../secret", directory.join("relative")).unwrap();
        symlink(outside.path().join("secret"), directory.join("absolute")).unwrap();
        symlink("..", directory.join("up")).unwrap();
        let context = ContextDirectory::open(&directory).unwrap();
        let read = |path: &str| context.read(Path::new(path)).map_err(|error| error.to_string());
        assert_eq!(read("inside").unwrap().unwrap(), b"seen");
        assert_eq!(read("sub/file").unwrap().unwrap(), b"seen");
        assert_eq!(read("nothing").unwrap(), None);
        assert_eq!(read("sub/file/below").unwrap(), None);
        assert_eq!(
            read("relative").unwrap_err(),
            "relative is a symbolic link to ../secret, which is not in the build context"
        );
        assert!(read("absolute").unwrap_err().contains("secret, which is not in the build context"));
        assert_eq!(
            read("up/secret").unwrap_err(),
            "up is a symbolic link to .., which is not in the build context"
        );
    }
}
