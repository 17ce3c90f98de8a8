//! Opening what files are copied from: a context with the ignore file that belongs to it, layers, nothing.

use crate::{ContextDirectory, ContextRoot, ExecutorError, IgnoreRules, RootView, SourceRoot};
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
    pub fn empty(store: &Store) -> Result<Self, ExecutorError> {
        Ok(Self::Layers(RootView::open(store, &[])?))
    }

    /// The files of `layers`, lowest first.
    ///
    /// # Errors
    /// [`ExecutorError::View`] when they cannot be mounted.
    pub fn open_layers(store: &Store, layers: &[LayerId]) -> Result<Self, ExecutorError> {
        Ok(Self::Layers(RootView::open(store, layers)?))
    }

    /// The context `directory`. Its ignore file is `<dockerfile>.dockerignore` when that exists, else `.dockerignore`
    /// in its root.
    ///
    /// # Errors
    /// [`ExecutorError::ContextNotFound`], or an error of the ignore file.
    pub fn open_context(
        store: &Store,
        directory: &Path,
        dockerfile: Option<&Path>,
    ) -> Result<Self, ExecutorError> {
        let rules = IgnoreRules::of_context(directory, dockerfile)?;
        Ok(Self::Context(ContextRoot::open(store, directory, rules, SystemTime::now())?))
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

impl IgnoreRules {
    /// The rules of a build context: those of `DOCKERFILE.dockerignore` if there is one, else of its own `.dockerignore`.
    ///
    /// # Errors
    /// [`ExecutorError`] for a file that cannot be read, or has a pattern that is none.
    pub fn of_context(directory: &Path, dockerfile: Option<&Path>) -> Result<Self, ExecutorError> {
        let beside = dockerfile.map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        let own = match beside {
            Some(path) => read_if_there(&path)?,
            None => None,
        };
        let text = match own {
            Some(text) => Some(text),
            None => read_if_there(&directory.join(".dockerignore"))?,
        };
        text.map_or_else(|| Ok(Self::none()), |text| Self::parse_file(&text))
    }
}

/// The file at `path`, looked up beneath its directory; `None` when it is not there.
fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, ExecutorError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match ContextDirectory::open(directory) {
        Ok(directory) => directory.read(Path::new(name)),
        Err(ExecutorError::ContextNotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
