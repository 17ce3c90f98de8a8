//! A context that is a directory of this machine, and where a Dockerfile lies that may be in it.

use crate::Error;
use rbuild_executor::{ContextDirectory, DockerfilePlace, ExecutorError};
use std::path::{Component, Path, PathBuf};

/// Opens the directory `path`.
///
/// # Errors
/// [`Error::ContextMissing`], [`Error::ContextUnreadable`].
pub(super) fn open(path: &Path) -> Result<ContextDirectory, Error> {
    ContextDirectory::open(path).map_err(|error| match error {
        ExecutorError::ContextNotFound { path, source } => Error::context(path, source),
        other => Error::Executor(other),
    })
}

/// Where the Dockerfile `path` lies. It is in the context when its path says so, or when its directory is: what is outside
/// is the user's own choice of a path.
pub(super) fn place(path: &Path, context: &Path, directory: &ContextDirectory) -> DockerfilePlace {
    let plain =
        |path: &Path| -> PathBuf { path.components().filter(|part| *part != Component::CurDir).collect() };
    let goes_up = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    let below = match plain(path).strip_prefix(plain(context)) {
        // an empty context path is the working directory, in which absolute paths are not
        Ok(below) if below.is_relative() && !goes_up(below) => Some(below.to_owned()),
        Ok(_) | Err(_) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new(".")).canonicalize().ok();
            let parent = parent.as_ref().and_then(|parent| parent.strip_prefix(directory.place()?).ok());
            parent.zip(path.file_name()).map(|(parent, name)| parent.join(name))
        }
    };
    below.map_or_else(|| DockerfilePlace::Elsewhere(path.to_owned()), DockerfilePlace::InContext)
}
