//! What is kept of a container on disk.

use crate::Error;
use nix::fcntl::{Flock, FlockArg};
use rbuild_cache::{LayerId, Store, make_dirs_with_mode, open_private_file};
use rbuild_oci::{ContainerConfig, ImageId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
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
pub(crate) struct ContainerDirectory {
    path: PathBuf,
    store: Store,
}

/// The exit code of a program that was killed.
const KILLED: i32 = 137;

impl ContainerDirectory {
    pub(crate) fn of(store: &Store, id: &str) -> Self {
        Self { path: store.containers_dir().join(id), store: store.clone() }
    }

    pub(crate) fn all(store: &Store) -> Result<Vec<Self>, Error> {
        let path = store.containers_dir();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::Io { action: "list", path, source }),
        };
        let directory = |entry: fs::DirEntry| Self { path: entry.path(), store: store.clone() };
        Ok(entries.filter_map(Result::ok).map(directory).collect())
    }

    /// Makes the directory with its parts.
    pub(crate) fn create(&self) -> Result<(), Error> {
        // `fs` is the container's `/`, which everybody in it may search
        for (path, mode) in [(self.work(), 0o700), (self.fs(), 0o755)] {
            make_dirs_with_mode(&path, mode).map_err(|source| Error::Io {
                action: "create",
                path,
                source,
            })?;
        }
        Ok(())
    }

    pub(crate) fn fs(&self) -> PathBuf {
        self.path.join("fs")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// The record; `None` when there is none (yet). A container that should be running and is not has been killed.
    pub(crate) fn read(&self) -> Result<Option<Container>, Error> {
        let path = self.path.join("config.json");
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
        let json = serde_json::to_vec(container).expect("a record of strings and numbers always serialises");
        Ok(self.store.replace_file(&self.path.join("config.json"), &json)?)
    }

    /// The lock of a running container, when nobody holds it.
    pub(crate) fn try_lock(&self) -> Result<Option<Flock<File>>, Error> {
        let path = self.path.join("lock");
        let file = open_private_file(&path).map_err(|source| Error::Io {
            action: "open",
            path: path.clone(),
            source,
        })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(Error::Io { action: "lock", path, source: error.into() }),
        }
    }

    /// Removes everything.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        Ok(rbuild_cache::remove_tree(&self.path)?)
    }
}
