//! The build context: its directory, opened once, and what is read of it before a step is: the Dockerfile and the ignore
//! file. Both may be written by strangers, so they are looked up beneath the directory's descriptor. Only a directory of this
//! machine has an ignore file: what comes as an archive or from a repository is taken as it is, as docker does.

mod archive;
mod directory;
mod layout;
mod listing;
mod opened;
mod opening;
mod remote;

use crate::{BuildRequest, ContextSource, DockerfileSource, Engine, Error, urls::without_login};
use nix::errno::Errno;
use opened::Part;
use rbuild_cache::{Cancel, LayerDraft};
use rbuild_executor::{ContextDirectory, DockerfilePlace, ExecutorError, IgnoreRules};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::OnceLock,
};

pub(crate) use layout::check as check_named;
pub use listing::{ContextDecision, ContextListing};
pub(crate) use opened::OpenedContext;
pub(crate) use opening::lock_contexts;
pub(crate) use remote::PinnedFile;
pub use remote::RemoteContext;

/// The main context of a build.
pub(crate) struct Context {
    files: Files,
    dockerfile: Option<DockerfilePlace>,
    /// `None` inside when the file cannot be read.
    rules: OnceLock<Option<IgnoreRules>>,
    /// The named contexts that are on the network.
    named: BTreeMap<String, OpenedContext>,
}

/// The files of a context.
enum Files {
    None,
    Directory(ContextDirectory),
    Archive {
        directory: ContextDirectory,
        /// They go with it.
        _unpacked: LayerDraft,
    },
    Remote(OpenedContext),
}

impl Context {
    /// Opens the context of `request`.
    ///
    /// # Errors
    /// [`Error::ContextMissing`], [`Error::ContextUnreadable`], or that of an archive or of the network.
    pub(crate) fn open(engine: &Engine, request: &BuildRequest, cancel: &Cancel) -> Result<Self, Error> {
        let remote = |remote, part| OpenedContext::new(engine, (remote, part), request, cancel);
        let files = match &request.context {
            ContextSource::Empty => Files::None,
            ContextSource::Directory(path) => Files::Directory(directory::open(path)?),
            ContextSource::Archive(file) => {
                let (directory, unpacked) = archive::open(&engine.store, file, cancel)?;
                Files::Archive { directory, _unpacked: unpacked }
            }
            ContextSource::Remote(main) => Files::Remote(remote(main, Part::Main)?),
        };
        let dockerfile = match (&request.dockerfile, &files) {
            (DockerfileSource::File(path), Files::Directory(open)) => {
                let context = request.context.directory().unwrap_or(Path::new(""));
                Some(directory::place(path, context, open))
            }
            // as in buildx, a whole path is that of a file of this machine
            (DockerfileSource::File(path), Files::Remote(_)) if path.is_absolute() => {
                Some(DockerfilePlace::Elsewhere(path.clone()))
            }
            (DockerfileSource::File(path), Files::Archive { .. } | Files::Remote(_)) => {
                Some(DockerfilePlace::InContext(path.clone()))
            }
            (DockerfileSource::File(path), Files::None) => Some(DockerfilePlace::Elsewhere(path.clone())),
            (DockerfileSource::InContext, Files::None) => None,
            (DockerfileSource::InContext, _) => Some(DockerfilePlace::InContext(PathBuf::from("Dockerfile"))),
            (DockerfileSource::Text(_) | DockerfileSource::Url(_), _) => None,
        };
        let named = request.remote_named_contexts();
        let named = named.map(|(name, context)| Ok((name.to_owned(), remote(context, Part::Named)?)));
        Ok(Self { files, dockerfile, rules: OnceLock::new(), named: named.collect::<Result<_, Error>>()? })
    }

    /// Its directory; `None` is an empty context. The files of one on the network are brought now.
    ///
    /// # Errors
    /// When they cannot be had.
    pub(crate) fn directory(&self) -> Result<Option<ContextDirectory>, Error> {
        match &self.files {
            Files::None => Ok(None),
            Files::Directory(directory) | Files::Archive { directory, .. } => Ok(Some(directory.clone())),
            Files::Remote(remote) => remote.directory().map(Some),
        }
    }

    /// The context on the network that it is.
    pub(crate) fn remote(&self) -> Option<&OpenedContext> {
        match &self.files {
            Files::Remote(remote) => Some(remote),
            Files::None | Files::Directory(_) | Files::Archive { .. } => None,
        }
    }

    /// The named context `name`, if it is on the network.
    pub(crate) fn remote_named(&self, name: &str) -> Option<&OpenedContext> {
        self.named.get(name)
    }

    /// The time of the main context (`context`) or of a named one, in seconds since 1970: of the commit, or of the file. What
    /// is on this machine has none.
    ///
    /// # Errors
    /// When the commit cannot be had.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Error> {
        let context = if name == "context" { self.remote() } else { self.remote_named(name) };
        Ok(context.map(OpenedContext::time).transpose()?.flatten())
    }

    /// True if it is a directory of this machine, and no archive or commit.
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.files, Files::Directory(_))
    }

    /// The bytes of the Dockerfile of `request`.
    ///
    /// # Errors
    /// [`Error::DockerfileUnreadable`], or that of a link out of the context.
    pub(crate) fn read_dockerfile(&self, request: &BuildRequest) -> Result<Vec<u8>, Error> {
        match (&request.dockerfile, &self.dockerfile) {
            (DockerfileSource::Text(bytes), _) => Ok(bytes.clone()),
            (DockerfileSource::Url(url), _) => Err(opened::not_looked_for(&without_login(url))),
            (DockerfileSource::File(path), place) => {
                let read = self.read_file(path, place.as_ref());
                read.map_err(|error| self.looked_for_beneath(error, request.context.directory()))
            }
            (DockerfileSource::InContext, _) => {
                if let Some(text) = self.remote().map(OpenedContext::definition).transpose()?.flatten() {
                    return Ok(text);
                }
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

    /// `error`, and whether the Dockerfile that is missing is in the context: its path is read from the working directory.
    fn looked_for_beneath(&self, mut error: Error, context: Option<&Path>) -> Error {
        if let (Error::DockerfileUnreadable { path, meant, .. }, Some(context)) = (&mut error, context)
            && path.is_relative()
            && matches!(self.read(path, path), Ok(Some(_)))
        {
            *meant = Some(context.join(&*path));
        }
        error
    }

    /// The Dockerfile at `path`, which the caller names. It may be a pipe; a link to a file is followed within the context,
    /// or within the file's own directory when that is elsewhere.
    fn read_file(&self, path: &Path, place: Option<&DockerfilePlace>) -> Result<Vec<u8>, Error> {
        let unreadable = |source| Error::DockerfileUnreadable { path: path.to_owned(), meant: None, source };
        match (&self.files, place) {
            (Files::Remote(remote), Some(DockerfilePlace::InContext(_)))
                if remote.definition()?.is_some() =>
            {
                return Err(Error::TwoDockerfiles { path: path.to_owned() });
            }
            (Files::Archive { .. } | Files::Remote(_), Some(DockerfilePlace::InContext(below))) => {
                return self.read(below, path)?.ok_or_else(|| not_found(path));
            }
            _ => {}
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
                let directory = ContextDirectory::open_to_search(parent.unwrap_or(Path::new(".")))?;
                directory.read(Path::new(path.file_name().unwrap_or(path.as_os_str())))?
            }
        };
        found.ok_or_else(|| not_found(path))
    }

    /// The file at `below` in the context; errors call it `shown`.
    fn read(&self, below: &Path, shown: &Path) -> Result<Option<Vec<u8>>, Error> {
        match &self.files {
            Files::None => Ok(None),
            Files::Directory(directory) | Files::Archive { directory, .. } => {
                directory.read(below).map_err(|error| unreadable_at(shown, error))
            }
            Files::Remote(remote) => remote.read(below),
        }
    }

    /// The rules of the ignore file; it is read at the first call, because a Dockerfile that copies nothing needs none.
    ///
    /// # Errors
    /// When the file cannot be read or has a bad pattern.
    pub(crate) fn rules(&self) -> Result<IgnoreRules, ExecutorError> {
        if let Some(Some(rules)) = self.rules.get() {
            return Ok(rules.clone());
        }
        let rules = match &self.files {
            Files::Directory(directory) => IgnoreRules::of_context(directory, self.dockerfile.as_ref()),
            Files::None | Files::Archive { .. } | Files::Remote(_) => Ok(IgnoreRules::none()),
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
        ExecutorError::System { source, .. } => {
            Error::DockerfileUnreadable { path: path.to_owned(), meant: None, source }
        }
        other => Error::Executor(other),
    }
}

fn not_found(path: &Path) -> Error {
    let source = Errno::ENOENT.into();
    Error::DockerfileUnreadable { path: path.to_owned(), meant: None, source }
}
