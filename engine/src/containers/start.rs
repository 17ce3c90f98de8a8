//! Starting a container.

use super::{
    mounts::NewMounts,
    network::{kept, name_options, noted},
    process::{Retention, RunningContainer},
    recorded_limits,
    request::ContainerRequest,
};
use crate::{
    Engine, Error,
    guest::{devices, emulators, privileges},
    random_id::random_id,
};
use rbuild_cache::{
    Container, ContainerDirectory, ContainerLock, ContainerProgram, ContainerSettings, ContainerState, Lease,
    NewContainer, Next,
};
use rbuild_executor::{
    ContainerNetwork, ContainerSandbox, FirstProcess, HostFiles, Stdio, Syncing, UpperDirectory,
};
use rbuild_oci::Timestamp;
use rbuild_planner::Access;
use std::path::PathBuf;

impl Engine {
    /// Makes a container of an image in the store, and starts nothing.
    ///
    /// # Errors
    /// As [`Engine::start`], but for what its network and its program may cause.
    pub fn create(&self, request: &ContainerRequest) -> Result<Container, Error> {
        let lease = self.store.lease()?;
        let (container, mounts) = self.new_container(request, &lease)?;
        self.keep_container(container, mounts, Next::Leave).map(|(container, ..)| container)
    }

    /// Writes down a container whose layers a lease holds until then.
    pub(super) fn keep_container(
        &self,
        container: Container,
        mounts: NewMounts,
        next: Next,
    ) -> Result<(Container, ContainerDirectory, ContainerLock), Error> {
        let (turn, volumes) = mounts.settle(self)?;
        match self.store.create_container(&container, next, turn)? {
            NewContainer::Made(directory, lock) => {
                volumes.keep();
                Ok((container, directory, lock))
            }
            NewContainer::NameTaken(id) => Err(Error::ContainerNameTaken { name: container.name, id }),
        }
    }

    /// Starts the program of a container that this process has locked.
    pub(super) fn launch(
        &self,
        mut container: Container,
        (directory, lock): (ContainerDirectory, ContainerLock),
        (network, stdio): (ContainerNetwork, Stdio),
    ) -> Result<RunningContainer, Error> {
        let Some(settings) = &container.settings else {
            return Err(Error::Unsupported {
                what: "starting a container of an older rbuild again".to_owned(),
            });
        };
        lock.claim()?;
        let emulator = emulators::of_container(&settings.platform)?;
        let limits = recorded_limits::from_record(&settings.limits);
        let volumes =
            settings.mounts.iter().map(|mount| self.mounted(mount)).collect::<Result<Vec<_>, _>>()?;
        let sandbox = ContainerSandbox {
            store: &self.store,
            isolation: &self.isolation,
            layers: &container.layers,
            init: UpperDirectory { fs: &directory.init(), work: &directory.init_work() },
            changes: UpperDirectory { fs: &directory.fs(), work: &directory.work() },
            root_access: if settings.read_only { Access::ReadOnly } else { Access::ReadWrite },
            // what goes with its program is not written down for ever
            syncing: if container.remove_when_ended { Syncing::Skipped } else { Syncing::Done },
            copy: &directory.copy(),
            argv: &container.command,
            config: &container.config,
            hostname: &self.hostname_of(&container),
            volumes: &volumes,
            host_files: &HostFiles::new(&self.store, name_options(settings)),
            emulator: emulator.as_ref(),
            first: if settings.init { FirstProcess::Init } else { FirstProcess::Command },
            security: privileges::walls(&settings.privileges),
            privileges: &privileges::read_privileges(&settings.privileges)?,
            process: &settings.process,
            given: &devices::of_container(&settings.privileges)?,
            limits: &limits,
            shm_size: settings.shm_size,
            stdio,
        };
        let process = rbuild_executor::start_container(&sandbox, network)?;
        let program = ContainerProgram {
            pid: process.pid(),
            started: self.store.now().into(),
            ticks: process.started_ticks()?,
            network: process.network().and_then(noted),
        };
        lock.note(&program)?;
        let network_news = process.network().map(|network| kept(network, &program, &lock)).transpose()?;
        container.state = ContainerState::Running;
        (container.pid, container.started) = (Some(program.pid), Some(program.started));
        container.network = program.network;
        let store = self.store.clone();
        Ok(RunningContainer { container, directory, process, store, network_news, _lock: lock })
    }

    /// A container of the image, which `lease` holds until the container's record does.
    pub(super) fn new_container(
        &self,
        request: &ContainerRequest,
        lease: &Lease,
    ) -> Result<(Container, NewMounts), Error> {
        let image = self.held_image(&request.image, request.platform.as_ref(), lease)?;
        self.check_layers(&image.stack())?;
        let config = self.image_config(&image.id)?;
        let platform = config.platform();
        // says before anything is made that its programs cannot run here
        emulators::of_container(&platform)?;
        let config = request.applied(config.config);
        let command: Vec<String> =
            config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned().collect();
        if command.is_empty() {
            return Err(Error::NoCommand);
        }
        if let Some(hostname) = &request.hostname {
            rbuild_executor::check_hostname(hostname)?;
        }
        let mounts = self.new_mounts(request, &config, &image.stack())?;
        let id = random_id()?;
        // as good as its id
        let name = request.name.clone().unwrap_or_else(|| format!("c{}", &id[..11]));
        let settings = ContainerSettings {
            network: self.recorded_network(&request.network)?,
            ..request.settings(&platform, mounts.mounts.clone())
        };
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
            oom_killed: false,
            paused: false,
            health: None,
            network: None,
            remove_when_ended: request.retention == Retention::Remove,
            settings: Some(settings),
        };
        Ok((container, mounts))
    }
}

/// The failure to make streams for a container.
pub(super) fn stream_failure(source: std::io::Error) -> Error {
    Error::Io { action: "make streams of", path: PathBuf::from("a container"), source }
}
