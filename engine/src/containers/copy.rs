//! Copying files between a container, running or not, and the host.

use crate::{Engine, Error};
use rbuild_cache::{Container, ContainerLock, ContainerState, Lease, MountedFrom, Store};
use rbuild_executor::{ContainerProcess, StoppedContainer, StoppedRoot, Syncing, UpperDirectory};
use rbuild_image::{
    CopiedOwner, CopyDestination, CopyError, CopyPath, CopyRoot, CopySource, CopyTar, LastLink,
    extract_archive, extract_copy,
};
use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    os::fd::OwnedFd,
    path::Path,
};

/// The end of a copy that is not in a container.
pub enum HostEnd<'a> {
    /// A path of the host, absolute.
    Path(&'a Path),
    /// A tar that is read.
    ReadTar(&'a mut dyn Read),
    /// A tar that is written.
    WriteTar(&'a mut dyn Write),
}

/// The end of a copy in a container.
#[derive(Clone, Copy, Debug)]
pub struct ContainerEnd<'a> {
    /// The container's name or id.
    pub container: &'a str,
    /// The path in it.
    pub path: &'a str,
}

/// The root of a container for as long as files are copied.
struct OpenContainer {
    root: CopyRoot,
    path: CopyPath,
    held: Held,
}

/// What must stay meanwhile, and what is to be done then.
enum Held {
    Running {
        _process: ContainerProcess,
    },
    /// Nobody starts it.
    Stopped {
        root: Box<StoppedRoot>,
        _lock: ContainerLock,
        _lease: Lease,
    },
    /// One of its mounts.
    Mount,
}

impl Engine {
    /// Copies files out of a container; returns the bytes of their tar. They belong to this process. An ordinary user's process,
    /// which must have one thread, is in a user namespace already, or enters that of a container that runs.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Copy`], [`Error::Executor`].
    pub fn copy_out(&self, from: ContainerEnd<'_>, to: HostEnd<'_>, last: LastLink) -> Result<u64, Error> {
        let container = self.opened_container(from)?;
        let source = container.root.source(&container.path, last)?;
        let copied = match to {
            HostEnd::Path(path) => {
                place(&source, (&host()?, &host_path(path)), &path.to_string_lossy(), CopiedOwner::Process)?
            }
            HostEnd::WriteTar(out) => {
                let mut tar = source.tar(source.name())?;
                let written = io::copy(&mut tar, out).and_then(|_| out.flush());
                written.map_err(|error| failed("write", "the tar", error))?;
                tar.count()
            }
            HostEnd::ReadTar(_) => return Err(failed("write", "a tar that is read", invalid()).into()),
        };
        container.close()?;
        Ok(copied)
    }

    /// Copies files into a container; returns the bytes of their tar, if they came from files. They keep their owners' numbers.
    ///
    /// # Errors
    /// As [`Self::copy_out`].
    pub fn copy_in(&self, from: HostEnd<'_>, to: ContainerEnd<'_>, last: LastLink) -> Result<u64, Error> {
        let shown = format!("{}:{}", to.container, to.path);
        self.check_writable(&to)?;
        let copied = match from {
            HostEnd::Path(path) => {
                let source = host()?.source(&host_path(path), last)?;
                let container = self.opened_container(to)?;
                let owner = CopiedOwner::Kept;
                let copied = place(&source, (&container.root, &container.path), &shown, owner)?;
                container.close()?;
                copied
            }
            HostEnd::ReadTar(tar) => {
                let container = self.opened_container(to)?;
                let found = container.root.destination(&container.path);
                let Ok(CopyDestination::Directory(directory)) = found else {
                    return Err(CopyError::NeedsDirectory { path: shown }.into());
                };
                extract_archive(tar, directory, CopiedOwner::Kept).map_err(|error| below(&shown, error))?;
                container.close()?;
                0
            }
            HostEnd::WriteTar(_) => return Err(failed("read", "a tar that is written", invalid()).into()),
        };
        Ok(copied)
    }

    /// Refuses what would change the own files of a container that may not.
    fn check_writable(&self, end: &ContainerEnd<'_>) -> Result<(), Error> {
        let container = self.container(end.container)?;
        let Some(settings) = container.settings.filter(|settings| settings.read_only) else { return Ok(()) };
        let path = CopyPath::new(end.path.as_bytes());
        if settings.mounts.iter().any(|mount| within(&path, &mount.target).is_some()) {
            return Ok(());
        }
        Err(CopyError::ReadOnlyRoot.into())
    }

    fn opened_container(&self, end: ContainerEnd<'_>) -> Result<OpenContainer, Error> {
        let container = self.container(end.container)?;
        let path = CopyPath::new(end.path.as_bytes());
        if container.state == ContainerState::Running {
            let process = self.process_of(&container)?;
            let process = process.ok_or_else(|| Error::ContainerNotRunning(container.name.clone()))?;
            process.enter_user_namespace()?;
            let root = CopyRoot::new(process.open_root()?, Some(end.container));
            return Ok(OpenContainer { root, path, held: Held::Running { _process: process } });
        }
        if let Some((root, path)) = mounted(&self.store, &container, &path)? {
            return Ok(OpenContainer {
                root: CopyRoot::new(root, Some(end.container)),
                path,
                held: Held::Mount,
            });
        }
        let directory = self.store.container(&container.id);
        let lock = directory.try_lock()?.ok_or_else(|| Error::ContainerRunning(container.name.clone()))?;
        let lease = self.store.lease()?;
        if !lease.hold(&container.layers, &[])?.is_empty() {
            return Err(Error::ImageDamaged(container.image));
        }
        let stopped = rbuild_executor::stopped_root(&StoppedContainer {
            store: &self.store,
            layers: &container.layers,
            init: &directory.init(),
            changes: UpperDirectory { fs: &directory.fs(), work: &directory.work() },
            syncing: Syncing::Done,
        })?;
        let root = CopyRoot::new(stopped.open()?, Some(end.container));
        let held = Held::Stopped { root: Box::new(stopped), _lock: lock, _lease: lease };
        Ok(OpenContainer { root, path, held })
    }
}

impl OpenContainer {
    fn close(self) -> Result<(), Error> {
        match self.held {
            Held::Running { .. } | Held::Mount => Ok(()),
            Held::Stopped { root, .. } => Ok(root.close()?),
        }
    }
}

/// The mount of a container that does not run in which `path` is, and the path in it.
fn mounted(
    store: &Store,
    container: &Container,
    path: &CopyPath,
) -> Result<Option<(OwnedFd, CopyPath)>, Error> {
    let mounts = container.settings.iter().flat_map(|settings| &settings.mounts);
    let found = mounts.filter_map(|mount| Some((mount, within(path, &mount.target)?)));
    let Some((mount, rest)) = found.max_by_key(|(mount, _)| mount.target.len()) else { return Ok(None) };
    let (source, rest) = match &mount.from {
        MountedFrom::Host { source, .. } => (source.clone(), rest),
        // the part of it may lie behind links, which are followed inside the volume
        MountedFrom::Volume { volume, subpath: Some(part), .. } => {
            (store.volume_data(volume), [b"/", part.as_bytes(), rest.as_slice()].concat())
        }
        MountedFrom::Volume { volume, subpath: None, .. } => (store.volume_data(volume), rest),
        // its files went with the program
        MountedFrom::Tmpfs { .. } => return Ok(None),
    };
    if !source.is_dir() {
        return Ok(None);
    }
    let root = File::open(&source).map_err(|error| failed("open", &source.to_string_lossy(), error))?;
    Ok(Some((root.into(), path.within(&rest))))
}

/// What of `path` lies below `target`.
fn within(path: &CopyPath, target: &str) -> Option<Vec<u8>> {
    let rest = path.as_bytes().strip_prefix(target.trim_end_matches('/').as_bytes())?;
    (rest.is_empty() || rest.starts_with(b"/")).then(|| rest.to_vec())
}

/// Copies `source` to a path below a root.
fn place(
    source: &CopySource,
    (root, path): (&CopyRoot, &CopyPath),
    shown: &str,
    owner: CopiedOwner,
) -> Result<u64, Error> {
    let whole = shown.trim_end_matches('/');
    let above = whole.rsplit_once('/').map_or(whole, |(above, _)| above);
    let destination = root.destination(path)?;
    let base = if matches!(destination, CopyDestination::Directory(_)) { whole } else { above };
    let (directory, name) = match (source.is_directory(), destination) {
        (_, CopyDestination::Directory(directory)) => (directory, source.name().to_vec()),
        (true, CopyDestination::File(..)) => {
            return Err(CopyError::DirectoryOverFile { path: shown.to_owned() }.into());
        }
        (false, CopyDestination::File(..) | CopyDestination::New(..)) if path.is_directory() => {
            return Err(CopyError::NoDirectory { path: shown.to_owned() }.into());
        }
        (false, CopyDestination::File(parent, name)) | (_, CopyDestination::New(parent, name)) => {
            (parent, name)
        }
    };
    let mut tar: CopyTar = source.tar(&name)?;
    let made = extract_copy(BufReader::new(&mut tar), directory, owner);
    made.map_err(|error| below(base, error))?;
    Ok(tar.count())
}

/// The same error of a file below the directory that the person calls `directory`.
fn below(directory: &str, error: CopyError) -> CopyError {
    match error {
        CopyError::Io { action, path, source } if !path.starts_with('/') => {
            CopyError::Io { action, path: format!("{directory}/{path}"), source }
        }
        error => error,
    }
}

/// The root of the host.
fn host() -> Result<CopyRoot, CopyError> {
    let root = File::open("/").map_err(|error| failed("open", "/", error))?;
    Ok(CopyRoot::new(root.into(), None))
}

fn host_path(path: &Path) -> CopyPath {
    CopyPath::new(path.as_os_str().as_encoded_bytes())
}

fn failed(action: &'static str, path: &str, source: io::Error) -> CopyError {
    CopyError::Io { action, path: path.to_owned(), source }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}
