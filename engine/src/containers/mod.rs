//! Containers: started from an image, kept when they end, committed to images, removed.
//!
//! A container is a directory of the store ([`rbuild_cache::ContainerDirectory`]): its record, `fs/` and `work/` (the
//! writable overlay layer), and a lock, held by the process that runs it; a container whose lock is free has ended.
//! A detached container is held in the same way by a [`monitor`], a process of its own.

mod changes;
mod commit;
mod config_changes;
mod control;
mod copy;
mod exec;
mod health;
mod log_files;
mod logs;
mod monitor;
mod mounts;
mod network;
mod pause;
mod process;
mod recorded_limits;
mod request;
mod start;
mod update;

pub use changes::{During, Pause};
pub use commit::{CommitLayers, CommitRequest, Committed};
pub(crate) use config_changes::apply_changes;
pub use control::{parse_signal, start_detached};
pub use copy::{ContainerEnd, HostEnd};
pub use exec::{ExecPrivileges, ExecRequest, ExecStreams, RunningProgram};
pub use logs::{LogEntry, LogRequest};
pub use monitor::{Attached, ForegroundContainer, MonitorMessage, OutputStream};
pub use process::Retention;
pub use request::{
    ContainerRequest, ContainerStdio, FirstFiles, MountRequest, RequestedSource, Terminal, UnnamedPorts,
    VolumesFrom,
};

use crate::{ContainerError, Engine, Error, Force, PauseError, UnknownName};
use rbuild_cache::{Container, ContainerDirectory, ContainerState, StoreError};
use rbuild_executor::Snapshots;
use rbuild_image::ImageError;
use rbuild_oci::Timestamp;
use std::{
    io::{self, Write},
    os::fd::AsRawFd,
    path::PathBuf,
};

/// The bytes of a container's regular files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerSizes {
    /// Those it has written.
    pub written: u64,
    /// All of them, its image's among them.
    pub all: u64,
}

/// Where the parts of a container are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFiles {
    /// Its log, if one is kept.
    pub log: Option<PathBuf>,
    /// The directories below its changes, the highest first.
    pub lower: Vec<PathBuf>,
    /// Its changes.
    pub changes: PathBuf,
    /// What the kernel needs beside them.
    pub work: PathBuf,
}

impl Engine {
    /// All containers, newest first.
    ///
    /// # Errors
    /// [`Error::Store`] when the store cannot be read.
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        let mut containers: Vec<Container> = Vec::new();
        for directory in self.store.containers()? {
            match directory.read() {
                // one that is being made or removed at this moment is not listed
                Ok(container) => containers.extend(container),
                Err(StoreError::Document { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for container in &mut containers {
            let pid = container.pid.filter(|_| container.state == ContainerState::Running);
            container.paused = pid.is_some_and(rbuild_executor::is_paused);
            container.health = self.health_of(container)?;
            if container.finished.is_none() && matches!(container.state, ContainerState::Exited(_)) {
                // killed with the process that ran it; on a full disk the next one who looks writes it down
                let now = Timestamp::from(self.store.now());
                container.finished = Some(now);
                let _ = self.store.container(&container.id).note_killed(now);
            }
        }
        containers.sort_by_key(|container| std::cmp::Reverse(container.created));
        Ok(containers)
    }

    /// The container called `name`: its name, its id, or the beginning of its id.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Store`].
    pub fn container(&self, name: &str) -> Result<Container, Error> {
        let all = self.containers()?;
        let exact = all.iter().find(|container| container.name == name || container.id == name);
        let by_prefix = || {
            let mut fitting =
                all.iter().filter(|container| !name.is_empty() && container.id.starts_with(name));
            fitting.next().filter(|_| fitting.next().is_none())
        };
        exact.or_else(by_prefix).cloned().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|container| container.name.as_str()).collect();
            Error::NoSuchContainer(UnknownName::among(name, &names))
        })
    }

    /// Where the parts of a container are.
    #[must_use]
    pub fn container_files(&self, container: &Container) -> ContainerFiles {
        let directory = self.store.container(&container.id);
        let is_kept = container.settings.as_ref().is_none_or(|settings| settings.log.is_kept);
        let layers = container.layers.iter().rev().map(|layer| self.store.layer_fs(layer));
        ContainerFiles {
            log: is_kept.then(|| directory.log()),
            lower: std::iter::once(directory.init()).chain(layers).collect(),
            changes: directory.fs(),
            work: directory.work(),
        }
    }

    /// The bytes of the files that a container has written, and of those together with its image's. A layer whose description is
    /// damaged counts as empty.
    ///
    /// # Errors
    /// [`Error::Store`] when its image cannot be read.
    pub fn container_sizes(&self, container: &Container) -> Result<ContainerSizes, Error> {
        let written = self.store.container(&container.id).written_bytes();
        let of_layer = |layer| match self.store.layer_meta(layer) {
            Err(StoreError::Document { .. } | StoreError::LayerMissing { .. }) => Ok(0),
            meta => Ok::<_, Error>(meta?.size_bytes.unwrap_or(0)),
        };
        let layers = container.layers.iter().map(of_layer).sum::<Result<u64, _>>()?;
        Ok(ContainerSizes { written, all: written + layers })
    }

    /// Writes the files of a container, its image's among them, as a tar.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::ImageDamaged`] when its layers are gone, [`Error::Image`] when they cannot be read
    /// or `out` fails.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<(), Error> {
        let container = self.container(name)?;
        let lease = self.store.lease()?;
        let (draft, _) = self.held_changes(&container, &lease, (Pause::Nothing, &mut || {}))?;
        let view = Snapshots::new(&self.store).view_under(&container.layers, draft.fs())?;
        let root = PathBuf::from(format!("/proc/self/fd/{}", view.fd().as_raw_fd()));
        let mut tar = rbuild_image::directory_tar(&self.store, &root)?;
        let copied = io::copy(&mut tar, out).and_then(|_| out.flush());
        copied.map_err(|source| Error::Image(ImageError::ArchiveWrite(source)))
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`ContainerError::NameUnchanged`], [`Error::ContainerNameTaken`].
    pub fn rename_container(&self, container: &str, name: &str) -> Result<(), Error> {
        let container = self.container(container)?;
        if container.name == name {
            return Err(ContainerError::NameUnchanged.into());
        }
        match self.store.rename_container(&container.id, name)? {
            None => self.rename_in_networks(&container, name),
            Some(id) => Err(Error::ContainerNameTaken { name: name.to_owned(), id }),
        }
    }

    /// Removes a container whose program could not be started.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn discard(&self, container: &Container) -> Result<(), Error> {
        Ok(self.store.container(&container.id).remove_with_volumes()?)
    }

    /// Removes a container that has ended, or a running one by force; returns its id. Its volumes stay.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::ContainerRunning`], [`Error::Store`].
    pub fn remove_container(&self, name: &str, force: Force) -> Result<String, Error> {
        self.remove_ended_container(name, force, ContainerDirectory::remove)
    }

    /// The same, with the volumes that were made for it and that no other container has.
    ///
    /// # Errors
    /// As [`Engine::remove_container`].
    pub fn remove_container_and_volumes(&self, name: &str, force: Force) -> Result<String, Error> {
        self.remove_ended_container(name, force, ContainerDirectory::remove_with_volumes)
    }

    fn remove_ended_container(
        &self,
        name: &str,
        force: Force,
        remove: impl FnOnce(&ContainerDirectory) -> Result<(), StoreError>,
    ) -> Result<String, Error> {
        let _reserve = self.store.reserve();
        // what stands still is not ended by the end of its monitor
        self.isolation.end_left_behind();
        let container = match self.container(name) {
            Err(missing @ Error::NoSuchContainer(_)) => {
                return self.remove_damaged_container(name, force)?.ok_or(missing);
            }
            found => found?,
        };
        if container.state == ContainerState::Running {
            match force {
                Force::No if container.paused => return Err(PauseError::StillThere(container.name).into()),
                Force::No => return Err(Error::ContainerRunning(container.name)),
                Force::Yes => self.end_container(&container)?,
            }
        }
        remove(&self.store.container(&container.id))?;
        if container.has_named_networks() {
            self.clear_networks();
        }
        Ok(container.id)
    }

    /// The ids of containers whose records are damaged. Nothing is known of them but that, so that only their removal is possible.
    ///
    /// # Errors
    /// [`Error::Store`] when the store cannot be read.
    pub fn damaged_containers(&self) -> Result<Vec<String>, Error> {
        let directories = self.store.containers()?;
        let damaged = directories.iter().filter(|directory| is_damaged(directory));
        Ok(damaged.filter_map(ContainerDirectory::id).map(str::to_owned).collect())
    }

    /// Removes the container with this id, or beginning of an id, if its record is damaged.
    fn remove_damaged_container(&self, id: &str, force: Force) -> Result<Option<String>, Error> {
        let all = self.damaged_containers()?;
        let mut fitting = all.into_iter().filter(|damaged| !id.is_empty() && damaged.starts_with(id));
        let (Some(id), None) = (fitting.next(), fitting.next()) else { return Ok(None) };
        let directory = self.store.container(&id);
        if directory.try_lock()?.is_none() {
            match force {
                Force::No => return Err(Error::ContainerRunning(id)),
                Force::Yes => {
                    let pid = directory.program()?.map(|program| program.pid);
                    process::kill(&directory, (&id, pid))?;
                }
            }
        }
        directory.remove()?;
        Ok(Some(id))
    }
}

fn is_damaged(directory: &ContainerDirectory) -> bool {
    matches!(directory.read(), Err(StoreError::Document { .. }))
}
