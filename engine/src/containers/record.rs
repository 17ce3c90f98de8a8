//! What is kept of a container on disk.

use crate::Error;
use nix::fcntl::{Flock, FlockArg};
use rbuild_cache::{LayerId, Store};
use rbuild_oci::{ContainerConfig, ImageId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image as it was asked for.
    pub image: String,
    /// The image.
    pub image_id: ImageId,
    /// The image's layers, lowest first.
    pub layers: Vec<LayerId>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What it runs with: the image's config with the request's changes.
    pub config: ContainerConfig,
    /// When it was made.
    pub created: Timestamp,
    /// When its program was started.
    pub started: Option<Timestamp>,
    /// When its program ended.
    pub finished: Option<Timestamp>,
    /// Its first process, as the host sees it.
    pub pid: Option<i32>,
    /// Where it stands.
    pub state: ContainerState,
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its program runs.
    Running,
    /// Its program has ended with this exit code; 137 when its supervisor died with it.
    Exited(i32),
}

/// `containers/<id>/`.
#[derive(Clone, Debug)]
pub(crate) struct ContainerDirectory(PathBuf);

/// The exit code of a program that was killed.
const KILLED: i32 = 137;

impl ContainerDirectory {
    pub(crate) fn of(store: &Store, id: &str) -> Self {
        Self(store.containers_dir().join(id))
    }

    pub(crate) fn all(store: &Store) -> Result<Vec<Self>, Error> {
        let path = store.containers_dir();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::Io { action: "list", path, source }),
        };
        Ok(entries.filter_map(Result::ok).map(|entry| Self(entry.path())).collect())
    }

    /// Makes the directory with its parts.
    pub(crate) fn create(&self) -> Result<(), Error> {
        for path in [self.0.clone(), self.fs(), self.work()] {
            fs::create_dir_all(&path).map_err(|source| Error::Io { action: "create", path, source })?;
        }
        // the container's `/`, which must not depend on the user's umask
        let (path, mode) = (self.fs(), fs::Permissions::from_mode(0o755));
        fs::set_permissions(&path, mode).map_err(|source| Error::Io { action: "chmod", path, source })
    }

    pub(crate) fn fs(&self) -> PathBuf {
        self.0.join("fs")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The record; `None` when there is none (yet). A container that should be running and is not has been killed.
    pub(crate) fn read(&self) -> Result<Option<Container>, Error> {
        let path = self.0.join("config.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { action: "read", path, source }),
        };
        let Ok(mut container) = serde_json::from_slice::<Container>(&bytes) else { return Ok(None) };
        if container.state == ContainerState::Running && self.try_lock()?.is_some() {
            container.state = ContainerState::Exited(KILLED);
        }
        Ok(Some(container))
    }

    /// Replaces the record.
    pub(crate) fn write(&self, container: &Container) -> Result<(), Error> {
        let (path, draft) = (self.0.join("config.json"), self.0.join("config.json.new"));
        let json = serde_json::to_vec(container).expect("a record of strings and numbers always serialises");
        fs::write(&draft, json).and_then(|()| fs::rename(&draft, &path)).map_err(|source| Error::Io {
            action: "write",
            path,
            source,
        })
    }

    /// The lock of a running container, when nobody holds it.
    pub(crate) fn try_lock(&self) -> Result<Option<Flock<File>>, Error> {
        let path = self.0.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| Error::Io { action: "open", path: path.clone(), source })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(Error::Io { action: "lock", path, source: error.into() }),
        }
    }

    /// Removes everything.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        Ok(rbuild_cache::remove_tree(&self.0)?)
    }
}
