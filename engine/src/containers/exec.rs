//! Further programs in containers that run.

use super::{recorded_limits, request::Terminal};
use crate::{
    ContainerStdio, Engine, Error, PauseError,
    guest::{devices, privileges},
};
use rbuild_cache::{Container, ContainerState, PrivilegeOptions};
use rbuild_executor::{CapSet, ContainerProcess, ContainerUse, Executed, Execution, Limits, Stdio};
use std::os::fd::{BorrowedFd, OwnedFd};

/// `exec`.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// `--env`, `NAME=value`, over the container's.
    pub env: Vec<String>,
    /// `--workdir`; the container's when absent.
    pub workdir: Option<String>,
    /// `--user`; the container's when absent.
    pub user: Option<String>,
    /// `--privileged`: every capability, whatever the container has.
    pub privileges: ExecPrivileges,
    /// `--tty`.
    pub terminal: Terminal,
    /// Its streams.
    pub streams: ExecStreams,
}

/// The privileges of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecPrivileges {
    /// The container's.
    Container,
    /// Every capability.
    All,
}

/// The streams of a program without a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecStreams {
    /// The caller's output, and perhaps its input.
    Caller(ContainerStdio),
    /// None (`--detach`).
    None,
}

/// A further program in a container. Dropping it kills the program.
pub struct RunningProgram {
    executed: Executed,
    terminal: Option<OwnedFd>,
}

impl RunningProgram {
    /// Its process id, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.executed.pid()
    }

    /// Its process, readable once it has ended (`poll(2)` on a pidfd).
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.executed.pidfd()
    }

    /// The master side of its terminal, when it has one: bytes in and out.
    #[must_use]
    pub fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref()
    }

    /// Waits for its end, and hands on meanwhile what it writes without a terminal; returns its exit code, 128 + n when signal n
    /// ended it.
    ///
    /// # Errors
    /// [`Error::Executor`].
    pub fn wait(self) -> Result<i32, Error> {
        Ok(self.executed.wait()?)
    }

    /// Lets it go on by itself until its container ends; returns its terminal, which it has as long as that is open.
    #[must_use]
    pub fn leave(self) -> Option<OwnedFd> {
        self.executed.leave();
        self.terminal
    }
}

impl Engine {
    /// Starts a program in a container that runs, with the container's namespaces, control group, capabilities, filter and limits.
    /// It ends with the container at the latest. An ordinary user's process, which must have one thread, becomes root of the
    /// container's user namespace first.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::ContainerNotRunning`], [`Error::Executor`] when the program cannot be started.
    pub fn exec(&self, name: &str, request: &ExecRequest) -> Result<RunningProgram, Error> {
        let container = self.container(name)?;
        let ended = || Error::ContainerNotRunning(container.name.clone());
        if container.state != ContainerState::Running {
            return Err(ended());
        }
        if container.paused {
            return Err(PauseError::Exec(container.name).into());
        }
        let process = self.process_of(&container)?.ok_or_else(ended)?;
        match self.start_beside(&container, &process, request) {
            // no process can be started in what has just ended
            Err(_) if process.is_dying() => Err(ended()),
            started => started,
        }
    }

    fn start_beside(
        &self,
        container: &Container,
        process: &ContainerProcess,
        request: &ExecRequest,
    ) -> Result<RunningProgram, Error> {
        process.enter_user_namespace()?;
        let (terminal, slave) = match request.terminal {
            Terminal::None => (None, None),
            Terminal::Pty { rows, columns } => {
                let (master, slave) = process.open_terminal(rows, columns)?;
                (Some(master), Some(slave))
            }
        };
        let stdio = match (slave, request.streams) {
            (Some(slave), _) => Some(Stdio::Terminal(slave)),
            (None, ExecStreams::None) => None,
            (None, ExecStreams::Caller(ContainerStdio::Null)) => Some(Stdio::OwnOutput),
            (None, ExecStreams::Caller(ContainerStdio::Inherit | ContainerStdio::Open)) => Some(Stdio::Own),
        };
        let executed = self.execute(container, process, request, stdio.as_ref())?;
        Ok(RunningProgram { executed, terminal })
    }

    /// Starts a program in a container whose monitor this process is, with its user, variables and directory.
    pub(super) fn probe(
        &self,
        container: &Container,
        command: &[String],
        stdio: &Stdio,
    ) -> Result<RunningProgram, Error> {
        let process = self.process_of(container)?;
        let process = process.ok_or_else(|| Error::ContainerNotRunning(container.name.clone()))?;
        let request = ExecRequest {
            command: command.to_vec(),
            env: Vec::new(),
            workdir: None,
            user: None,
            privileges: ExecPrivileges::Container,
            terminal: Terminal::None,
            streams: ExecStreams::None,
        };
        let executed = self.execute(container, &process, &request, Some(stdio))?;
        Ok(RunningProgram { executed, terminal: None })
    }

    fn execute(
        &self,
        container: &Container,
        process: &ContainerProcess,
        request: &ExecRequest,
        stdio: Option<&Stdio>,
    ) -> Result<Executed, Error> {
        let mut config = container.config.clone();
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
        let settings = container.settings.as_ref();
        let limits = settings.map_or_else(Limits::default, |own| recorded_limits::from_record(&own.limits));
        let usual = PrivilegeOptions::default();
        let asked = settings.map_or(&usual, |own| &own.privileges);
        let mut groups = settings.map_or_else(Vec::new, |own| own.process.groups.clone());
        if request.user.is_none() && !asked.devices.is_empty() {
            // the container's user has the groups of its devices as well, another one has not, as with Docker
            groups.extend(devices::of_container(asked)?.groups.iter().map(u32::to_string));
        }
        let mut privileges = privileges::read_privileges(asked)?;
        if request.privileges == ExecPrivileges::All {
            (privileges.add, privileges.drop) = (CapSet::ALL, CapSet::EMPTY);
        }
        Ok(process.execute(&Execution {
            store: &self.store,
            isolation: &self.isolation,
            argv: &request.command,
            config: &config,
            groups: &groups,
            hostname: &self.hostname_of(container),
            security: privileges::walls(asked),
            privileges: &privileges,
            limits: &limits,
            stdio,
        })?)
    }

    /// The numbers of the processes of a container that runs, as the host sees them.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::ContainerNotRunning`], [`Error::Executor`].
    pub fn container_processes(&self, name: &str) -> Result<Vec<i32>, Error> {
        let container = self.container(name)?;
        let process =
            if container.state == ContainerState::Running { self.process_of(&container)? } else { None };
        Ok(process.ok_or(Error::ContainerNotRunning(container.name))?.pids()?)
    }

    /// What a container has used since it was started; `None` when it does not run.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn container_use(&self, container: &Container) -> Result<Option<ContainerUse>, Error> {
        if container.state != ContainerState::Running {
            return Ok(None);
        }
        // it may end while it is looked at
        Ok(self.process_of(container)?.and_then(|process| process.used().ok()))
    }

    /// True if the first process of a container that runs ends, or has, which its monitor has not written down yet.
    pub(super) fn is_ending(&self, container: &Container) -> Result<bool, Error> {
        let is_started =
            self.store.container(&container.id).program()?.is_some_and(|own| own.ticks.is_some());
        Ok(is_started && self.process_of(container)?.is_none_or(|process| process.is_dying()))
    }

    /// The first process of a container that runs; `None` when it has ended.
    pub(super) fn process_of(&self, container: &Container) -> Result<Option<ContainerProcess>, Error> {
        let program = self.store.container(&container.id).program()?;
        match program.and_then(|program| Some((program.pid, program.ticks?))) {
            Some((pid, ticks)) => Ok(ContainerProcess::open(pid, ticks)?),
            None => Ok(None),
        }
    }
}
