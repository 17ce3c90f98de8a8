//! Opening what files are copied from: a context with the ignore file that belongs to it, layers, nothing.

use crate::{ContextDirectory, ContextRoot, ExecutorError, IgnoreRules, Snapshots, SourceRoot};
use rbuild_cache::{LayerId, Store};
use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

impl SourceRoot {
    /// Nothing at all: for a COPY of here-documents only.
    ///
    /// # Errors
    /// [`ExecutorError::System`] when the store's empty directory cannot be opened.
    pub fn empty(snapshots: &Snapshots) -> Result<Self, ExecutorError> {
        Ok(Self::Layers(snapshots.view(&[])?))
    }

    /// The files of `layers`, lowest first.
    ///
    /// # Errors
    /// [`ExecutorError::View`] when they cannot be mounted.
    pub fn open_layers(snapshots: &Snapshots, layers: &[LayerId]) -> Result<Self, ExecutorError> {
        Ok(Self::Layers(snapshots.view(layers)?))
    }

    /// The context `directory`, without what `rules` leave out; see [`ContextRoot::open`].
    #[must_use]
    pub fn open_context(
        store: &Store,
        directory: &ContextDirectory,
        rules: IgnoreRules,
        now: SystemTime,
    ) -> Self {
        Self::Context(ContextRoot::in_directory(store, directory, rules, now))
    }

    /// True if the context's stat index has changed since it was written.
    #[must_use]
    pub fn has_unsaved_index(&self) -> bool {
        match self {
            Self::Context(context) => context.is_unsaved(),
            Self::Layers(_) => false,
        }
    }

    /// Writes the context's stat index, if it changed.
    ///
    /// # Errors
    /// [`ExecutorError::Store`] when it cannot be written.
    pub fn save_index(&self) -> Result<(), ExecutorError> {
        match self {
            Self::Context(context) => context.save(),
            Self::Layers(_) => Ok(()),
        }
    }
}

/// Where a Dockerfile lies, to which an ignore file may belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerfilePlace {
    /// In the context, at this path below it.
    InContext(PathBuf),
    /// Outside of it, where the user said.
    Elsewhere(PathBuf),
}

impl IgnoreRules {
    /// The rules of a build context: those of `DOCKERFILE.dockerignore` if there is one, else of its own `.dockerignore`.
    ///
    /// # Errors
    /// [`ExecutorError`] for a file that cannot be read, or has a pattern that is not valid.
    pub fn of_context(
        directory: &ContextDirectory,
        dockerfile: Option<&DockerfilePlace>,
    ) -> Result<Self, ExecutorError> {
        let own = match dockerfile {
            Some(DockerfilePlace::InContext(path)) => {
                directory.read(&beside(path))?.map(|text| (text, beside(path)))
            }
            Some(DockerfilePlace::Elsewhere(path)) => {
                read_if_there(&beside(path))?.map(|text| (text, beside(path)))
            }
            None => None,
        };
        let usual = Path::new(".dockerignore");
        let found = match own {
            Some(own) => Some(own),
            None => directory.read(usual)?.map(|text| (text, usual.to_owned())),
        };
        match found {
            Some((text, file)) => Ok(Self::parse_file(&text)?.of_file(&file)),
            None => Ok(Self::none()),
        }
    }
}

fn beside(dockerfile: &Path) -> PathBuf {
    let mut name = dockerfile.as_os_str().to_owned();
    name.push(".dockerignore");
    PathBuf::from(name)
}

/// The file at `path`, looked up beneath its directory; `None` when it is not there.
fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, ExecutorError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match ContextDirectory::open_to_search(directory) {
        Ok(directory) => directory.read(Path::new(name)),
        Err(ExecutorError::ContextNotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
