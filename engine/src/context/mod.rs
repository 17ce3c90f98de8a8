//! The build context: its directory, opened once, and what is read of it before a step is: the Dockerfile and the ignore
//! file. Both may be written by strangers, so they are looked up beneath the directory's descriptor.

mod archive;
mod directory;
mod layout;
mod remote;

use crate::{BuildRequest, ContextSource, DockerfileSource, Error};
use nix::errno::Errno;
use rbuild_cache::{Cancel, LayerDraft, Store};
use rbuild_executor::{ContextDirectory, DockerfilePlace, ExecutorError, IgnoreRules};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::OnceLock,
};

pub(crate) use layout::check as check_named;

/// The main context of a build.
pub(crate) struct Context {
    directory: Option<ContextDirectory>,
    dockerfile: Option<DockerfilePlace>,
    /// `None` inside when the file cannot be read.
    rules: OnceLock<Option<IgnoreRules>>,
    /// The files of an archive.
    unpacked: Option<LayerDraft>,
}

impl Context {
    /// Opens the context of `request`.
    ///
    /// # Errors
    /// [`Error::ContextMissing`], [`Error::ContextUnreadable`], [`Error::Unsupported`], or that of an archive.
    pub(crate) fn open(store: &Store, request: &BuildRequest, cancel: &Cancel) -> Result<Self, Error> {
        let (directory, unpacked) = match &request.context {
            ContextSource::Empty => (None, None),
            ContextSource::Directory(path) => (Some(directory::open(path)?), None),
            ContextSource::Archive(file) => {
                let (directory, unpacked) = archive::open(store, file, cancel)?;
                (Some(directory), Some(unpacked))
            }
            ContextSource::Remote(place) => place.identify()?,
        };
        let dockerfile = match (&request.dockerfile, &request.context, &directory) {
            (DockerfileSource::File(path), ContextSource::Directory(context), Some(open)) => {
                Some(directory::place(path, context, open))
            }
            (DockerfileSource::File(path), ContextSource::Archive(_) | ContextSource::Remote(_), _) => {
                Some(DockerfilePlace::InContext(path.clone()))
            }
            (DockerfileSource::File(path), ContextSource::Empty | ContextSource::Directory(_), _) => {
                Some(DockerfilePlace::Elsewhere(path.clone()))
            }
            (DockerfileSource::InContext, _, Some(_)) => {
                Some(DockerfilePlace::InContext(PathBuf::from("Dockerfile")))
            }
            (DockerfileSource::InContext, _, None) | (DockerfileSource::Text(_), ..) => None,
        };
        Ok(Self { directory, dockerfile, rules: OnceLock::new(), unpacked })
    }

    /// Its directory; `None` is an empty context.
    pub(crate) fn directory(&self) -> Option<&ContextDirectory> {
        self.directory.as_ref()
    }

    /// The bytes of the Dockerfile of `request`.
    ///
    /// # Errors
    /// [`Error::DockerfileUnreadable`], or that of a link out of the context.
    pub(crate) fn read_dockerfile(&self, request: &BuildRequest) -> Result<Vec<u8>, Error> {
        match (&request.dockerfile, &self.dockerfile) {
            (DockerfileSource::Text(bytes), _) => Ok(bytes.clone()),
            (DockerfileSource::File(path), place) => self.read_file(path, place.as_ref()),
            (DockerfileSource::InContext, _) => {
                let context = request.context.directory().unwrap_or(Path::new(""));
                let shown = context.join("Dockerfile");
                for name in ["Dockerfile", "dockerfile"] {
                    if let Some(bytes) = self.read(Path::new(name), &context.join(name))? {
                        return Ok(bytes);
                    }
                }
                Err(not_found(&shown))
            }
        }
    }

    /// The Dockerfile at `path`, which the caller names. It may be a pipe; a link to a file is followed within the context,
    /// or within the file's own directory when that is elsewhere.
    fn read_file(&self, path: &Path, place: Option<&DockerfilePlace>) -> Result<Vec<u8>, Error> {
        let unreadable = |source| Error::DockerfileUnreadable { path: path.to_owned(), source };
        if self.unpacked.is_some() {
            return self.read(path, path)?.ok_or_else(|| not_found(path));
        }
        let is_file = fs::metadata(path).map_err(unreadable)?.is_file();
        // a pipe that the caller names is the caller's; what a context has is a stranger's
        if !is_file && !matches!(place, Some(DockerfilePlace::InContext(_))) {
            let pipe = File::open(path).map_err(unreadable)?;
            return rbuild_executor::read_definition(pipe, path).map_err(|error| unreadable_at(path, error));
        }
        let found = match place {
            Some(DockerfilePlace::InContext(below)) => self.read(below, path)?,
            Some(DockerfilePlace::Elsewhere(_)) | None => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let directory = ContextDirectory::open(parent.unwrap_or(Path::new(".")))?;
                directory.read(Path::new(path.file_name().unwrap_or(path.as_os_str())))?
            }
        };
        found.ok_or_else(|| not_found(path))
    }

    /// The file at `below` in the context; errors call it `shown`.
    fn read(&self, below: &Path, shown: &Path) -> Result<Option<Vec<u8>>, Error> {
        let Some(directory) = &self.directory else { return Ok(None) };
        directory.read(below).map_err(|error| unreadable_at(shown, error))
    }

    /// The rules of the ignore file; it is read at the first call, because a Dockerfile that copies nothing needs none.
    ///
    /// # Errors
    /// When the file cannot be read or has a bad pattern.
    pub(crate) fn rules(&self) -> Result<IgnoreRules, ExecutorError> {
        if let Some(Some(rules)) = self.rules.get() {
            return Ok(rules.clone());
        }
        let rules = match &self.directory {
            Some(directory) => IgnoreRules::of_context(directory, self.dockerfile.as_ref()),
            None => Ok(IgnoreRules::none()),
        };
        let _ = self.rules.set(rules.as_ref().ok().cloned());
        rules
    }

    /// True if a build would not find `path`, cleaned, in its context. An unreadable ignore file leaves nothing
    /// out here: the build reports it when it opens the context.
    pub(crate) fn leaves_out(&self, path: &str) -> bool {
        if self.rules.get().is_none() {
            // the result is remembered either way
            let _ = self.rules();
        }
        self.rules.get().and_then(Option::as_ref).is_some_and(|rules| rules.excludes(path))
    }

    /// Why the ignore file could not be read, if something asked for it and it could not.
    pub(crate) fn ignore_failure(&self) -> Option<Error> {
        match self.rules.get() {
            Some(None) => self.rules().err().map(Error::Executor),
            Some(Some(_)) | None => None,
        }
    }
}

/// Why the Dockerfile at `path` could not be read.
fn unreadable_at(path: &Path, error: ExecutorError) -> Error {
    match error {
        ExecutorError::System { source, .. } => Error::DockerfileUnreadable { path: path.to_owned(), source },
        other => Error::Executor(other),
    }
}

fn not_found(path: &Path) -> Error {
    let source = Errno::ENOENT.into();
    Error::DockerfileUnreadable { path: path.to_owned(), source }
}
