//! A container in the foreground of the process that started it, which is its monitor: other processes reach it all the same.

use super::{Monitor, own_streams::OwnStreams};
use crate::{
    Engine, Error,
    containers::{
        process::{Retention, RunningContainer},
        request::{ContainerRequest, ContainerStdio, Terminal},
    },
};
use rbuild_cache::Next;
use rbuild_executor::UnmetLimit;
use rbuild_oci::Platform;

/// A started container whose program reads and writes what this process does. Dropping it kills the program.
pub struct ForegroundContainer {
    engine: Engine,
    monitor: Monitor,
    running: RunningContainer,
}

impl Engine {
    /// Starts a container of an image in the store. Its program ends with this thread at the latest. Other processes reach it as
    /// they reach one with a process of its own, as soon as this one waits for it.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::LayersElsewhere`] for an image that [`Engine::fetch_layers`] has to fetch first;
    /// [`Error::ContainerNameTaken`], [`Error::NoCommand`], [`Error::Executor`] when its program cannot be started.
    pub fn start(&self, request: &ContainerRequest) -> Result<ForegroundContainer, Error> {
        let lease = self.store.lease()?;
        let (container, mounts) = self.new_container(request, &lease)?;
        // first, since another program makes it while this one does the rest; not so for a place in a network with a name, because
        // that is this container's and goes with it
        let early = if container.has_named_networks() { None } else { Some(self.network_of(&container)?) };
        let (container, directory, lock) = self.keep_container(container, mounts, Next::Start)?;
        let started = Monitor::new(&container, &directory).and_then(|(monitor, stdio)| {
            let network = early.map_or_else(|| self.network_of(&container), Ok)?;
            let running = self.launch(container, (directory.clone(), lock), (network, stdio))?;
            if let Terminal::Pty { rows, columns } = request.terminal {
                monitor.session.resize(rows, columns);
            }
            let mut own = OwnStreams::new();
            if request.stdin != ContainerStdio::Null
                && let Some(process) = running.pidfd()
            {
                own.begin_input(process)?;
            }
            let monitor = Monitor { own: Some(own), ..monitor };
            Ok(ForegroundContainer { engine: self.clone(), monitor, running })
        });
        if started.is_err() && request.retention == Retention::Remove {
            directory.remove_with_volumes()?;
        }
        started
    }
}

impl ForegroundContainer {
    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.running.container.id
    }

    /// The platform of its image, if programs for it are not this machine's own.
    #[must_use]
    pub fn other_platform(&self) -> Option<&Platform> {
        self.running.container.other_platform()
    }

    /// The limits that could not be put into force.
    #[must_use]
    pub fn unmet_limits(&self) -> &[UnmetLimit] {
        self.running.unmet_limits()
    }

    /// Why it has the machine's network and none of its own, if that is not what was asked for.
    #[must_use]
    pub fn missing_network(&self) -> Option<&str> {
        self.running.missing_network()
    }

    /// The process id of its program, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.running.pid()
    }

    /// Waits for its program to end, and hands on meanwhile what it and this process write to each other; returns its exit code,
    /// 128 + n when signal n ended it.
    ///
    /// # Errors
    /// [`Error::Executor`] when waiting fails, [`Error::Io`] when the record cannot be written.
    pub fn wait(self) -> Result<i32, Error> {
        Monitor { running: Some(self.running), ..self.monitor }.run(&self.engine)
    }
}
