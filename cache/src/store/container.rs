//! Containers: `containers/<id>/` has the record, the container's own changes in `fs` and `work`, what lies between
//! them and the image in `init` and `init-work`, and a lock that is held while its program runs. The record also says
//! what the container needs of the store, so that no collection takes it.
//!
//! A container is made whole in temporary space, with its lock held, and a rename gives it its name; removing it
//! renames it back into temporary space first. The record is on the disk before it has its name, but for that of a container which goes
//! with its program. The running program is
//! noted not there but in the lock's file, without a sync, because no program outlives a power cut. The process that runs the
//! program may keep three files more there: `log`, with what the program writes, `health`, with what its checks have found, and `monitor`,
//! a socket to talk to it.

use super::{
    container_health::ContainerHealth,
    container_lock::{ContainerLock, ContainerProgram},
    container_network::ProgramNetwork,
    container_settings::{ContainerSettings, ContainerStreams},
    volume::VolumesLock,
};
use crate::{
    LayerId, Store, StoreError,
    disk::{
        FileLock, LockMode, OnUnlock, create_private_file, list, make_dirs, make_dirs_with_mode, remove_tree,
        tree_content,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::{ContainerConfig, ImageId, Platform, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The exit code of a program that was killed.
pub(super) const KILLED: i32 = 137;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image, as the user named it.
    pub image: String,
    /// The image.
    pub image_id: ImageId,
    /// The image's layers, lowest first.
    pub layers: Vec<LayerId>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The config it runs with: the image's, with the request's changes.
    pub config: ContainerConfig,
    /// When it was made.
    pub created: Timestamp,
    /// When its program was started.
    pub started: Option<Timestamp>,
    /// When its program ended; while it runs again, when it ended the last time.
    pub finished: Option<Timestamp>,
    /// The pid of its first process, as the host sees it.
    pub pid: Option<i32>,
    /// Its state.
    pub state: ContainerState,
    /// True if it is to be removed when its program ends, for whatever reason.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remove_when_ended: bool,
    /// True if the kernel killed a process of its last program at the limit of its memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
    /// True if its processes are made to stand still, which the kernel knows and no record.
    #[serde(skip)]
    pub paused: bool,
    /// What its health checks have found, which has a file of its own; absent without any.
    #[serde(skip)]
    pub health: Option<ContainerHealth>,
    /// The network that its program has for itself.
    #[serde(skip)]
    pub network: Option<Box<ProgramNetwork>>,
    /// What it is started with beside its config; absent for a container of an older rbuild, which starts nothing twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<ContainerSettings>,
}

impl Container {
    /// The platform of its image, if programs for it are not this machine's own.
    #[must_use]
    pub fn other_platform(&self) -> Option<&Platform> {
        let host = Platform::host();
        let platform = self.settings.as_ref().map(|settings| &settings.platform);
        platform.filter(|own| own.os != host.os || own.architecture != host.architecture)
    }

    /// True if its program has a terminal.
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.streams == ContainerStreams::Terminal)
    }

    /// The same container with what is known of its program.
    pub(super) fn with(mut self, program: &ContainerProgram, state: ContainerState) -> Self {
        self.started = Some(program.started);
        // of one that runs again it is the last end
        self.finished = self.finished.filter(|_| state == ContainerState::Running);
        self.pid = (state == ContainerState::Running).then_some(program.pid);
        self.network = program.network.clone().filter(|_| state == ContainerState::Running);
        self.state = state;
        self
    }
}

/// The outcome of making a container.
#[derive(Debug)]
pub enum NewContainer {
    /// It was made, and this process holds its lock.
    Made(ContainerDirectory, ContainerLock),
    /// It was not made, because the container with this id has its name.
    NameTaken(String),
}

/// What the process that makes a container does with it next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It starts its program. If it is killed before that, a container that is to be removed with its program goes.
    Start,
    /// It leaves it as it is.
    Leave,
}

/// The state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// It was made, but its program was not started.
    Created,
    /// Its program runs.
    Running,
    /// Its program has ended with this exit code; 137 when its supervisor died with it.
    Exited(i32),
}

/// `containers/<id>/`.
#[derive(Clone, Debug)]
pub struct ContainerDirectory {
    path: PathBuf,
    pub(super) store: Store,
}

impl Store {
    /// The directory of the container with this id, which need not be there.
    #[must_use]
    pub fn container(&self, id: &str) -> ContainerDirectory {
        ContainerDirectory { path: self.at("containers").join(id), store: self.clone() }
    }

    /// Makes a container: its directories, its record and its lock get their name together. Hold its layers by a lease
    /// until then; afterwards no collection takes them until the container is removed. `turn` does the same for its volumes.
    /// Also removes containers that were to be removed with their programs and whose programs have ended.
    ///
    /// # Errors
    /// An I/O error when something of it cannot be made.
    pub fn create_container(
        &self,
        container: &Container,
        next: Next,
        turn: Option<VolumesLock>,
    ) -> Result<NewContainer, StoreError> {
        let draft = ContainerDirectory { path: self.space().path("container")?, store: self.clone() };
        draft.create()?;
        if container.remove_when_ended && matches!(next, Next::Start) {
            let mark = draft.passing();
            create_private_file(&mark).map_err(StoreError::on("create", &mark))?;
        }
        draft.write(container)?;
        let lock = FileLock::wait(&draft.lock_path(), LockMode::Exclusive, OnUnlock::Keep)?;
        let directory = self.container(&container.id);
        let lock = ContainerLock { lock, path: directory.lock_path() };
        match next {
            Next::Start => lock.claim()?,
            Next::Leave => {}
        }
        {
            let _naming = self.lock_container_names()?;
            if let Some(other) = self.container_named(&container.name)? {
                return Ok(NewContainer::NameTaken(other.id));
            }
            whole_file::rename(&draft.path, &directory.path)?;
        }
        drop(turn);
        self.remove_dead_containers()?;
        Ok(NewContainer::Made(directory, lock))
    }

    /// Gives a container another name; the id of the container that has the name, if there is one.
    ///
    /// # Errors
    /// An I/O error, or [`StoreError::Document`] when the record is damaged.
    pub fn rename_container(&self, id: &str, name: &str) -> Result<Option<String>, StoreError> {
        let _naming = self.lock_container_names()?;
        if let Some(other) = self.container_named(name)? {
            return Ok(Some(other.id));
        }
        let directory = self.container(id);
        if let Some(container) = directory.recorded()? {
            directory.write(&Container { name: name.to_owned(), ..container })?;
        }
        Ok(None)
    }

    /// Removes what no command lists or ends any more: containers that were to go with their programs and whose
    /// supervisor was killed, and directories without a record.
    pub(crate) fn remove_dead_containers(&self) -> Result<(), StoreError> {
        for directory in self.containers()? {
            match directory.recorded() {
                Ok(Some(container)) if !container.remove_when_ended => {}
                Ok(None) => {
                    if let Some(_ended) = directory.try_lock()? {
                        directory.remove()?;
                    }
                }
                // its record is damaged, so what it needs is unknown: it is left for `rm`
                Err(StoreError::Document { .. }) => {}
                Err(error) => return Err(error),
                Ok(Some(_)) => {
                    if directory.was_claimed()?
                        && let Some(_ended) = directory.try_lock()?
                    {
                        directory.remove_with_volumes()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn lock_container_names(&self) -> Result<FileLock, StoreError> {
        FileLock::wait(&self.at("locks/containers"), LockMode::Exclusive, OnUnlock::Keep)
    }

    fn container_named(&self, name: &str) -> Result<Option<Container>, StoreError> {
        for directory in self.containers()? {
            match directory.read() {
                Ok(Some(container)) if container.name == name => return Ok(Some(container)),
                Ok(_) | Err(StoreError::Document { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The directories of all containers.
    ///
    /// # Errors
    /// An I/O error when they cannot be listed.
    pub fn containers(&self) -> Result<Vec<ContainerDirectory>, StoreError> {
        let mut ids = list(&self.at("containers"))?;
        ids.sort();
        Ok(ids.iter().map(|id| self.container(id)).collect())
    }
}

impl ContainerDirectory {
    /// The container's id.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.path.file_name().and_then(|name| name.to_str())
    }

    fn create(&self) -> Result<(), StoreError> {
        make_dirs(&self.work())?;
        make_dirs(&self.init_work())?;
        // the container's `/`, which every user in it may search
        for root in [self.init(), self.fs()] {
            make_dirs_with_mode(&root, 0o755).map_err(StoreError::on("create", &root))?;
        }
        Ok(())
    }

    /// The directory for what every container has over its image and `commit` leaves out, such as mount points.
    #[must_use]
    pub fn init(&self) -> PathBuf {
        self.path.join("init")
    }

    /// The work directory of the overlay in which `init` is made.
    #[must_use]
    pub fn init_work(&self) -> PathBuf {
        self.path.join("init-work")
    }

    /// The upper directory of the container's overlay: what it has changed.
    #[must_use]
    pub fn fs(&self) -> PathBuf {
        self.path.join("fs")
    }

    /// The sum of the lengths of the files that the container has written.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        tree_content(&self.fs())
    }

    /// The work directory of the container's overlay.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Where the process that runs it notes what its root, if that is a copy, is compared with.
    #[must_use]
    pub fn copy(&self) -> PathBuf {
        self.path.join("copy")
    }

    /// The file with what its program has written, when it was kept.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The socket of the process that runs its program.
    #[must_use]
    pub fn monitor(&self) -> PathBuf {
        self.path.join("monitor")
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The record; `None` when there is none, or when the container was to be removed with its program and that has
    /// ended. A program that was noted later than the record was written runs as long as the lock is held; if the lock is free,
    /// the state is `Exited(137)`: the program was killed with the process that ran it.
    ///
    /// # Errors
    /// [`StoreError::Document`] when the record is damaged, or an I/O error.
    pub fn read(&self) -> Result<Option<Container>, StoreError> {
        let Some(container) = self.recorded()? else { return Ok(None) };
        let program = self.program()?;
        let is_newer = |program: &ContainerProgram, container: &Container| {
            container.state == ContainerState::Running || container.started != Some(program.started)
        };
        let Some(program) = program.filter(|program| is_newer(program, &container)) else {
            if container.state == ContainerState::Running && self.is_free()? {
                return Ok(Some(Container { state: ContainerState::Exited(KILLED), ..container }));
            }
            let is_gone = container.remove_when_ended && self.was_claimed()? && self.is_free()?;
            return Ok((!is_gone).then_some(container));
        };
        if !self.is_free()? {
            return Ok(Some(container.with(&program, ContainerState::Running)));
        }
        // the record is written before the lock is let go of, perhaps since it was read
        let Some(container) = self.recorded()?.filter(|container| !container.remove_when_ended) else {
            return Ok(None);
        };
        let killed = is_newer(&program, &container);
        Ok(Some(if killed { container.with(&program, ContainerState::Exited(KILLED)) } else { container }))
    }

    /// True if no process runs it.
    fn is_free(&self) -> Result<bool, StoreError> {
        Ok(self.try_lock()?.is_some())
    }

    /// True if its program was started, or was about to be, at any time.
    fn was_claimed(&self) -> Result<bool, StoreError> {
        Ok(whole_file::read(&self.lock_path())?.is_some_and(|bytes| !bytes.is_empty()))
    }

    /// The program that was noted last; `None` as well when a power cut has emptied the file.
    ///
    /// # Errors
    /// An I/O error when it cannot be read.
    pub fn program(&self) -> Result<Option<ContainerProgram>, StoreError> {
        let bytes = whole_file::read(&self.lock_path())?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The mark of a container that was made for one program and goes with it.
    fn passing(&self) -> PathBuf {
        self.path.join("passing")
    }

    fn is_passing(&self) -> bool {
        self.passing().exists()
    }

    /// The record as it was written.
    pub(crate) fn recorded(&self) -> Result<Option<Container>, StoreError> {
        let path = self.path.join("config.json");
        let Some(bytes) = whole_file::read(&path)? else { return Ok(None) };
        // by a power cut, which no program outlives; nothing is lost of one that has written nothing
        if bytes.is_empty() && self.is_passing() && self.is_free()? && list(&self.fs())?.is_empty() {
            return Ok(None);
        }
        let damaged = |source| StoreError::Document { path: path.clone(), source };
        let container: Container = serde_json::from_slice(&bytes).map_err(damaged)?;
        // the id is part of paths
        if self.id() != Some(container.id.as_str()) {
            return Err(damaged(serde::de::Error::custom("it is another container's")));
        }
        Ok(Some(container))
    }

    /// Replaces the record; it is on the disk before it has its name, unless the container goes with the program that it was made for.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn write(&self, container: &Container) -> Result<(), StoreError> {
        let json = serde_json::to_vec(container).expect("a container's record is strings and numbers");
        let durability = if self.is_passing() { Durability::DiskLater } else { Durability::DiskFirst };
        whole_file::write(self.store.space(), &self.path.join("config.json"), &json, durability)
    }

    /// Changes the record, unless the container has been removed. No other process changes it meanwhile.
    ///
    /// # Errors
    /// As [`Self::write`], or [`StoreError::Document`] when the record is damaged.
    pub fn update(&self, change: impl FnOnce(&mut Container)) -> Result<(), StoreError> {
        let _naming = self.store.lock_container_names()?;
        let Some(mut container) = self.recorded()? else { return Ok(()) };
        change(&mut container);
        self.write(&container)
    }

    /// Takes the lock that is held while the program runs; `None` when another process holds it.
    ///
    /// # Errors
    /// An I/O error when the lock file cannot be opened.
    pub fn try_lock(&self) -> Result<Option<ContainerLock>, StoreError> {
        let path = self.lock_path();
        Ok(FileLock::attempt(&path, OnUnlock::Keep)?.map(|lock| ContainerLock { lock, path }))
    }

    /// Removes everything but volumes.
    ///
    /// # Errors
    /// An I/O error when something of it cannot be removed.
    pub fn remove(&self) -> Result<(), StoreError> {
        let gone = self.store.space().path("gone")?;
        match fs::rename(&self.path, &gone) {
            // another process removed it first
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(StoreError::on("remove", &self.path))?,
        }
        remove_tree(&gone)
    }
}
