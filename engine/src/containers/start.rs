//! Starting a container.

use super::process::{Retention, RunningContainer};
use crate::{Engine, Error, emulators};
use rbuild_cache::{
    Container, ContainerDirectory, ContainerLock, ContainerProgram, ContainerState, Lease, NewContainer,
};
use rbuild_executor::{ContainerSandbox, Emulator, HostFiles, Limits, NameOptions, Stdio, UpperDirectory};
use rbuild_oci::{ContainerConfig, ImagePath, Platform, Timestamp};
use rbuild_planner::{Access, Network};
use std::{io::Read, path::PathBuf};

/// `run`.
#[derive(Clone, Debug)]
pub struct ContainerRequest {
    /// The image: a reference or an id.
    pub image: String,
    /// `--platform`; of an image for several platforms the one for this machine when absent.
    pub platform: Option<Platform>,
    /// `--name`; made up when absent.
    pub name: Option<String>,
    /// Arguments after the image; replace its CMD.
    pub command: Vec<String>,
    /// `--entrypoint`; replaces its ENTRYPOINT and CMD.
    pub entrypoint: Option<Vec<String>>,
    /// `--env`, `NAME=value`.
    pub env: Vec<String>,
    /// `--workdir`.
    pub workdir: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// `--volume HOST:PATH`.
    pub volumes: Vec<Volume>,
    /// `--hostname`; the short id when absent.
    pub hostname: Option<String>,
    /// `--network`.
    pub network: Network,
    /// `--memory`, `--ulimit` and their like.
    pub limits: Limits,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--tty`.
    pub terminal: Terminal,
    /// `--interactive`.
    pub stdin: ContainerStdio,
    /// `--rm`.
    pub retention: Retention,
}

/// A directory or file of the host, shown in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// On the host, absolute.
    pub host: PathBuf,
    /// In the container.
    pub target: ImagePath,
    /// May it be written to?
    pub access: Access,
}

/// The choice between a terminal and plain streams for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Its streams are the caller's.
    None,
    /// A new pseudo-terminal of this size; its master side is [`RunningContainer::terminal`].
    Pty {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
}

/// The standard input of a container without a terminal. Its output goes to the caller's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerStdio {
    /// Nothing: `/dev/null`.
    Null,
    /// The caller's standard input.
    Inherit,
}

/// What a container's programs run on.
struct Machine {
    platform: Platform,
    emulator: Option<Emulator>,
}

impl Engine {
    /// Starts a container of an image in the store. Its program ends with this process at the latest.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::LayersElsewhere`] for an image that [`Engine::fetch_layers`] has to fetch first;
    /// [`Error::ContainerNameTaken`], [`Error::NoCommand`], [`Error::Executor`] when its program cannot be started.
    pub fn start(&self, request: &ContainerRequest) -> Result<RunningContainer, Error> {
        let lease = self.store.lease()?;
        let (container, machine) = self.new_container(request, &lease)?;
        let (directory, lock) = match self.store.create_container(&container)? {
            NewContainer::Made(directory, lock) => (directory, lock),
            NewContainer::NameTaken(id) => {
                return Err(Error::ContainerNameTaken { name: container.name, id });
            }
        };
        let started = self.launch(request, (container, machine), (directory.clone(), lock));
        if started.is_err() && request.retention == Retention::Remove {
            directory.remove()?;
        }
        started
    }

    fn launch(
        &self,
        request: &ContainerRequest,
        (mut container, machine): (Container, Machine),
        (directory, lock): (ContainerDirectory, ContainerLock),
    ) -> Result<RunningContainer, Error> {
        let (terminal, stdio) = match request.terminal {
            Terminal::Pty { rows, columns } => {
                let (master, slave) = rbuild_executor::open_terminal(rows, columns)?;
                (Some(master), Stdio::Terminal(slave))
            }
            Terminal::None => match request.stdin {
                ContainerStdio::Null => (None, Stdio::OwnOutput),
                ContainerStdio::Inherit => (None, Stdio::Own),
            },
        };
        let process = rbuild_executor::start_container(&ContainerSandbox {
            store: &self.store,
            isolation: &self.isolation,
            layers: &container.layers,
            init: UpperDirectory { fs: &directory.init(), work: &directory.init_work() },
            changes: UpperDirectory { fs: &directory.fs(), work: &directory.work() },
            copy: &directory.copy(),
            argv: &container.command,
            config: &container.config,
            hostname: request.hostname.as_deref().unwrap_or(&container.id[..12]),
            network: request.network,
            volumes: &request
                .volumes
                .iter()
                .map(|v| (v.host.clone(), v.target.clone(), v.access))
                .collect::<Vec<_>>(),
            host_files: &HostFiles::new(&self.store, NameOptions::default()),
            emulator: machine.emulator.as_ref(),
            limits: &request.limits,
            shm_size: request.shm_size,
            stdio,
        })?;
        let program = ContainerProgram { pid: process.pid(), started: self.store.now().into() };
        lock.note(&program)?;
        container.state = ContainerState::Running;
        (container.pid, container.started) = (Some(program.pid), Some(program.started));
        Ok(RunningContainer {
            container,
            platform: machine.platform,
            directory,
            process,
            terminal,
            retention: request.retention,
            store: self.store.clone(),
            _lock: lock,
        })
    }

    /// A container of the image, which `lease` holds until the container's record does, and what it runs on.
    fn new_container(
        &self,
        request: &ContainerRequest,
        lease: &Lease,
    ) -> Result<(Container, Machine), Error> {
        let image = self.held_image(&request.image, request.platform.as_ref(), lease)?;
        self.check_layers(&image.stack())?;
        let config = self.image_config(&image.id)?;
        let platform = config.platform();
        let machine = Machine { emulator: emulators::of_container(&platform)?, platform };
        let config = configured(config.config, request);
        let command: Vec<String> =
            config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned().collect();
        if command.is_empty() {
            return Err(Error::NoCommand);
        }
        let id = random_id()?;
        // as good as its id
        let name = request.name.clone().unwrap_or_else(|| format!("c{}", &id[..11]));
        let container = Container {
            id,
            name,
            image: request.image.clone(),
            image_id: image.id,
            layers: image.stack(),
            command,
            config,
            created: Timestamp::from(self.store.now()),
            started: None,
            finished: None,
            pid: None,
            state: ContainerState::Created,
            remove_when_ended: request.retention == Retention::Remove,
        };
        Ok((container, machine))
    }
}

/// An image's config with what the request changes.
fn configured(mut config: ContainerConfig, request: &ContainerRequest) -> ContainerConfig {
    if let Some(entrypoint) = &request.entrypoint {
        config.entrypoint = Some(entrypoint.clone());
        (config.cmd, config.args_escaped) = (None, false);
    }
    if !request.command.is_empty() {
        // the mark says how the image's command was written
        (config.cmd, config.args_escaped) = (Some(request.command.clone()), false);
    }
    for pair in &request.env {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        config.set_env(name, value);
    }
    if let Some(workdir) = &request.workdir {
        config.working_dir.clone_from(workdir);
    }
    if let Some(user) = &request.user {
        config.user.clone_from(user);
    }
    config
}

/// 64 random hexadecimal digits.
fn random_id() -> Result<String, Error> {
    let path = PathBuf::from("/dev/urandom");
    let mut raw = [0; 32];
    let read = std::fs::File::open(&path).and_then(|mut file| file.read_exact(&mut raw));
    read.map_err(|source| Error::Io { action: "read", path, source })?;
    Ok(rbuild_oci::Digest::from_bytes(raw).hex())
}
