//! A context on the network that was found. Its files come when something needs them: texts and selections that an earlier build
//! has seen of the same commit or archive are known without them; see `docs/decisions/0010-identity-before-files.md`.

use super::{
    archive,
    remote::{ContextPin, RemoteContext, RemotePlace},
};
use crate::{
    BuildRequest, Engine, Error, RemoteError,
    git::{Checkout, GitAccess, GitCommit, GitError},
    remote_sources::WebFile,
};
use rbuild_cache::{Cancel, KnownContext, LayerDraft, Lease, ScratchDir, Store, StoreError};
use rbuild_executor::{ContextDirectory, ExecutorError};
use rbuild_oci::Digest;
use rbuild_planner::GitSource;
use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes at the beginning that tell an archive from another file.
const HEAD: u64 = 512;

/// The build argument that keeps `.git` in the main context.
const KEEP_GIT: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// A context on the network that was found. Cheap to clone; its files go with the last clone.
#[derive(Clone)]
pub(crate) struct OpenedContext(Arc<Opened>);

/// What a context on the network is.
enum FoundContext {
    /// A commit of a repository.
    Commit(GitCommit, GitAccess),
    /// An archive.
    Archive(WebFile),
    /// Another file: of the main context the Dockerfile.
    File(WebFile, Part),
}

/// The part that a context has in a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The main one: a file that is no archive is its Dockerfile, which is there as `context`, as docker has it.
    Main,
    /// A named one: such a file is there by its own name.
    Named,
}

struct Opened {
    store: Store,
    /// Its address without a password.
    shown: String,
    found: FoundContext,
    identity: Digest,
    known: Mutex<Known>,
    files: Mutex<Option<Files>>,
    cancel: Cancel,
    /// Holds the bytes of an archive.
    _lease: Lease,
}

#[derive(Default)]
struct Known {
    context: KnownContext,
    is_new: bool,
}

/// The files of a context, which go when this is dropped.
struct Files {
    directory: ContextDirectory,
    _kept: Kept,
}

/// Where the files of a context are.
enum Kept {
    Checkout(#[expect(dead_code, reason = "its files go with it")] Checkout),
    Unpacked(#[expect(dead_code, reason = "its files go with it")] LayerDraft),
    Single(#[expect(dead_code, reason = "its file goes with it")] ScratchDir),
}

impl FoundContext {
    /// What its files are known by: equal ones have equal files.
    fn identity(&self) -> Digest {
        let text = match self {
            Self::Commit(commit, _) => format!("repository: {:?}", commit.identity()),
            Self::Archive(file) => format!("archive: {}", file.digest()),
            Self::File(file, name) => format!("file: {:?} {name:?}", file.identity()),
        };
        Digest::of(text.as_bytes())
    }
}

impl OpenedContext {
    /// The context `remote` of `request`, as it was found.
    ///
    /// # Errors
    /// When nothing has looked for it, or its bytes have gone since then.
    pub(super) fn new(
        engine: &Engine,
        (remote, part): (&RemoteContext, Part),
        request: &BuildRequest,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let (store, shown) = (&engine.store, remote.to_string());
        let lease = store.lease()?;
        let found = match (&remote.place, &remote.pin) {
            (RemotePlace::Git(address), Some(ContextPin::Commit(commit))) => {
                let source = repository(address, part, request).map_err(|error| failed(error, &shown))?;
                let git = engine.git_access(request, cancel);
                FoundContext::Commit(GitCommit::locked(source, commit.clone()), git)
            }
            (RemotePlace::Http(_), Some(ContextPin::File(file))) => {
                if !lease.hold(&[], &[file.digest])?.is_empty() {
                    return Err(StoreError::BlobDamaged { digest: file.digest }.into());
                }
                let unreadable = |source| Error::ContextUnreadable { path: shown.clone().into(), source };
                let is_archive = is_archive(&store.blob_path(&file.digest)).map_err(unreadable)?;
                let file = WebFile::pinned(file);
                if is_archive { FoundContext::Archive(file) } else { FoundContext::File(file, part) }
            }
            (RemotePlace::Git(_) | RemotePlace::Http(_), _) => return Err(not_looked_for(&shown)),
        };
        let identity = found.identity();
        let context = store.known_context(&identity).unwrap_or_default();
        Ok(Self(Arc::new(Opened {
            store: store.clone(),
            shown,
            identity,
            found,
            known: Mutex::new(Known { context, is_new: false }),
            files: Mutex::default(),
            cancel: cancel.clone(),
            _lease: lease,
        })))
    }

    /// True if an earlier build has learned something of `commit`.
    pub(super) fn is_known(commit: &GitCommit, access: &GitAccess, store: &Store) -> bool {
        let identity = FoundContext::Commit(commit.clone(), access.clone()).identity();
        store.known_context(&identity).is_some()
    }

    /// The Dockerfile that it is, when it is no more than that.
    ///
    /// # Errors
    /// When its bytes are damaged or too many.
    pub(super) fn definition(&self) -> Result<Option<Vec<u8>>, Error> {
        let FoundContext::File(file, Part::Main) = &self.0.found else { return Ok(None) };
        let file = file.open(&self.0.store)?;
        let unreadable =
            |source| Error::DockerfileUnreadable { path: self.0.shown.clone().into(), meant: None, source };
        let bytes = File::open(&file.bytes).map_err(unreadable)?;
        Ok(Some(rbuild_executor::read_definition(bytes, Path::new(&self.0.shown))?))
    }

    /// Its time in seconds since 1970: of the commit, or of the file.
    ///
    /// # Errors
    /// When the commit cannot be had.
    pub(super) fn time(&self) -> Result<Option<i64>, Error> {
        match &self.0.found {
            FoundContext::Commit(commit, access) => {
                commit.time(access).map(Some).map_err(|error| self.failed(error))
            }
            FoundContext::Archive(file) | FoundContext::File(file, _) => Ok(file.time(&self.0.store)),
        }
    }

    /// The content of the file at `path`; `None` when nothing has that name.
    ///
    /// # Errors
    /// When it cannot be had, or is a link that leads out.
    pub(super) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let name = path.to_string_lossy();
        if let Some(text) = self.known().context.text(&name) {
            return Ok(Some(text.as_bytes().to_vec()));
        }
        let of_commit = match &self.0.found {
            FoundContext::Commit(commit, access) => {
                commit.file(access, path).map_err(|error| self.failed(error))?
            }
            FoundContext::Archive(_) | FoundContext::File(..) => None,
        };
        let content = match of_commit {
            Some(content) => Some(content),
            // links are followed among the files
            None => self.directory()?.read(path)?,
        };
        if let Some(content) = &content {
            let mut known = self.known();
            known.context.add_text(&name, content);
            known.is_new = true;
        }
        Ok(content)
    }

    /// The digest of the files that what has the digest `by` selects, if an earlier build has selected it.
    pub(crate) fn selection(&self, by: &Digest) -> Option<Digest> {
        self.known().context.selection(by)
    }

    /// Remembers a selection.
    pub(crate) fn add_selection(&self, by: Digest, files: Digest) {
        let mut known = self.known();
        known.context.add_selection(by, files);
        known.is_new = true;
    }

    /// Its files, which are brought at the first call. May block.
    ///
    /// # Errors
    /// When they cannot be had.
    pub(crate) fn directory(&self) -> Result<ContextDirectory, Error> {
        let mut files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &*files {
            return Ok(files.directory.clone());
        }
        let brought = match &self.0.found {
            FoundContext::Commit(commit, access) => {
                let checkout = Checkout::of(commit, access).map_err(|error| self.failed(error))?;
                Files { directory: checkout.directory().clone(), _kept: Kept::Checkout(checkout) }
            }
            FoundContext::Archive(file) => {
                let bytes = file.open(&self.0.store)?.bytes;
                let unreadable =
                    |source| Error::ContextUnreadable { path: self.0.shown.clone().into(), source };
                let bytes = File::open(bytes).map_err(unreadable)?;
                let (directory, unpacked) = archive::open(&self.0.store, &bytes, &self.0.cancel)?;
                Files { directory, _kept: Kept::Unpacked(unpacked) }
            }
            FoundContext::File(file, part) => self.single(file, *part)?,
        };
        Ok(files.insert(brought).directory.clone())
    }

    /// A directory with the file alone, as ADD would copy it.
    fn single(&self, file: &WebFile, part: Part) -> Result<Files, Error> {
        let file = file.open(&self.0.store)?;
        let scratch = self.0.store.scratch_dir()?;
        let name = match part {
            Part::Named => OsStr::from_bytes(&file.name),
            Part::Main => "context".as_ref(),
        };
        let path = scratch.path().join(name);
        let written = fs::copy(&file.bytes, &path).and_then(|_| {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            let modified = std::time::UNIX_EPOCH
                + std::time::Duration::from_secs(u64::try_from(file.modified).unwrap_or(0));
            File::options().write(true).open(&path)?.set_modified(modified)
        });
        written.map_err(|source| Error::ContextUnreadable { path: self.0.shown.clone().into(), source })?;
        let directory = ContextDirectory::open_temporary(scratch.path())?;
        Ok(Files { directory, _kept: Kept::Single(scratch) })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // it is whole whatever happened to another holder
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: GitError) -> Error {
        failed(error, &self.0.shown)
    }
}

/// The repository at `address`. A build argument keeps `.git` in the main context, as with docker.
pub(super) fn repository(address: &str, part: Part, request: &BuildRequest) -> Result<GitSource, GitError> {
    let is_short = address.starts_with("github.com/");
    let address = if is_short { format!("https://{address}") } else { address.to_owned() };
    let mut source = GitSource::parse(&address)?;
    let is_true = |value: &str| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True");
    let keeps = |(name, value): &(String, String)| name == KEEP_GIT && is_true(value);
    if part == Part::Main && request.build_args.iter().any(keeps) {
        source.keep_git_dir = source.keep_git_dir.or(Some(true));
    }
    Ok(source)
}

/// The error for the context or Dockerfile `shown`, of which nothing is known.
pub(super) fn not_looked_for(shown: &str) -> Error {
    Error::Worker(format!(
        "nothing has looked for {shown}: a preview needs the request of Engine::open_contexts"
    ))
}

/// The error for a context at `shown` that cannot be had.
pub(super) fn failed(error: impl Into<RemoteError>, shown: &str) -> Error {
    match error.into() {
        RemoteError::Git(GitError::Executor(error @ ExecutorError::Canceled)) => Error::Executor(error),
        error => Error::Source { url: shown.to_owned(), source: Box::new(error), diagnostic: None },
    }
}

fn is_archive(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(rbuild_archive::begins_archive(&head))
}

impl fmt::Debug for OpenedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenedContext").field(&self.0.shown).finish()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        if known.is_new {
            // losing it costs the next build looking at the files
            let _ = self.store.put_known_context(&self.identity, &known.context);
        }
    }
}
