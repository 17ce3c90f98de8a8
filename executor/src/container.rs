//! `rbuild run`: a command in a sandbox whose changes stay in a directory of its own.

use crate::{
    ContainerNetwork, ContainerVolume, Emulator, ExecutorError, GivenDevices, HostFiles, Isolation,
    Snapshots, container_base,
    container_network::Entrance,
    guest::{Guest, of_container},
    host_files::HostNames,
    mounts::{host_file, shared_memory},
    relay::{Input, Pipes, Relay},
    run::exit_code,
    run_identity,
    snapshot::{RootMount, RootView},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use rbuild_cache::{LayerId, ProcessOptions, Store};
use rbuild_oci::{ContainerConfig, DEFAULT_PATH, ImagePath};
use rbuild_planner::{Access, Security};
use rbuild_sys::{
    SandboxError, SpawnError,
    cgroup::{Freezer, Frozen},
    limits::{Limits, UnmetLimit},
    overlay::{Syncing, Upper},
    privileges::Privileges,
    sandbox::{FirstProcess, Mount, RootAccess, Running},
    spawn,
    terminal::{TerminalPair, WindowSize, open_terminal_pair},
};
use std::{
    ffi::OsString,
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// A container to start.
pub struct ContainerSandbox<'a> {
    /// The store.
    pub store: &'a Store,
    /// How containers are kept apart.
    pub isolation: &'a Isolation,
    /// The image's layers, lowest first.
    pub layers: &'a [LayerId],
    /// Takes what every container has over its image; empty.
    pub init: UpperDirectory<'a>,
    /// Takes the container's changes.
    pub changes: UpperDirectory<'a>,
    /// `--read-only`: access to its own files and to those that it is given of the host's names.
    pub root_access: Access,
    /// The kernel's care for the container's changes.
    pub syncing: Syncing,
    /// Where to note, if its root is a copy of its layers, what that is compared with; for [`collect_running`].
    ///
    /// [`collect_running`]: crate::collect_running
    pub copy: &'a Path,
    /// Program and arguments.
    pub argv: &'a [String],
    /// Environment, user, working directory.
    pub config: &'a ContainerConfig,
    /// Host name inside.
    pub hostname: &'a str,
    /// What it sees beside its image.
    pub volumes: &'a [ContainerVolume],
    /// `/etc/hosts` and `/etc/resolv.conf`.
    pub host_files: &'a HostFiles,
    /// The emulator that its programs need in the root.
    pub emulator: Option<&'a Emulator>,
    /// `--init`.
    pub first: FirstProcess,
    /// `--privileged`.
    pub security: Security,
    /// `--cap-add` and its like.
    pub privileges: &'a Privileges,
    /// Its groups, and what its kernel is told.
    pub process: &'a ProcessOptions,
    /// Its devices.
    pub given: &'a GivenDevices,
    /// What its processes may use.
    pub limits: &'a Limits,
    /// `--shm-size`, bytes; the usual size without one, or 0.
    pub shm_size: Option<u64>,
    /// Its streams.
    pub stdio: Stdio,
}

/// An upper directory of an overlay, and its work directory: empty, on the same file system.
#[derive(Clone, Copy, Debug)]
pub struct UpperDirectory<'a> {
    /// The changes.
    pub fs: &'a Path,
    /// The kernel's.
    pub work: &'a Path,
}

impl<'a> UpperDirectory<'a> {
    fn with(self, syncing: Syncing) -> Upper<'a> {
        Upper { directory: self.fs, work: self.work, syncing }
    }
}

/// Where a container's streams go. Those of this process are carried through pipes: the container never gets the descriptors.
pub enum Stdio {
    /// This process's, all three.
    Own,
    /// This process's output; nothing to read.
    OwnOutput,
    /// A terminal.
    Terminal(ContainerTerminal),
    /// Pipes that the caller reads from and writes to.
    Pipes(GivenPipes),
}

/// A container's end of a terminal.
pub struct ContainerTerminal {
    pub(crate) slave: OwnedFd,
    /// The file system that it is in.
    pub(crate) devices: OwnedFd,
}

impl ContainerTerminal {
    /// The master side of a terminal, and a container's.
    pub(crate) fn of(pair: TerminalPair) -> (OwnedFd, Self) {
        let TerminalPair { master, slave, devices } = pair;
        (master, Self { slave, devices })
    }

    /// Makes a user its owner, as a login does; a container without that user in its user namespace keeps its root.
    pub(crate) fn give_to(&self, uid: u32) {
        let _ = rustix::fs::fchown(&self.slave, Some(rustix::fs::Uid::from_raw(uid)), None);
    }
}

/// A container's ends of pipes.
pub struct GivenPipes {
    /// What it reads; nothing when absent.
    pub stdin: Option<OwnedFd>,
    /// Where its output goes.
    pub stdout: OwnedFd,
    /// Where its messages go.
    pub stderr: OwnedFd,
}

/// How the program of a container ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramEnd {
    /// Its exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// True if the kernel killed a process of the container at the limit of its memory.
    pub killed_for_memory: bool,
}

/// A container's program, running. Dropping it kills the program.
pub struct Sandboxed {
    pid: i32,
    running: Option<Running>,
    relay: Option<Relay>,
    root: Option<RootMount>,
    network: Option<ContainerNetwork>,
}

impl Sandboxed {
    /// What runs in `root`, with what carries its streams.
    pub(crate) fn new(
        running: Running,
        relay: Option<Relay>,
        root: RootMount,
    ) -> Result<Self, ExecutorError> {
        let pid = running.child.pid();
        let pid = pid.map_err(|error| ExecutorError::system("read", b"/proc/self/fdinfo", error))?;
        Ok(Self { pid, running: Some(running), relay, root: Some(root), network: None })
    }

    /// Its network, if it is a container's.
    #[must_use]
    pub fn network(&self) -> Option<&ContainerNetwork> {
        self.network.as_ref()
    }

    /// Its process id, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// When its process started, in clock ticks since the boot; `None` when it has ended already.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn started_ticks(&self) -> Result<Option<u64>, ExecutorError> {
        let identity = spawn::ProcessIdentity::of(self.pid);
        let identity = identity.map_err(|error| ExecutorError::system("read", b"/proc/PID/stat", error))?;
        Ok(identity.map(|identity| identity.ticks()))
    }

    /// Its process, readable once it has ended; `None` after [`Self::wait`].
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.child.pidfd())
    }

    /// The limits that are not in force.
    #[must_use]
    pub fn unmet_limits(&self) -> &[UnmetLimit] {
        self.running.as_ref().map_or(&[], Running::unmet_limits)
    }

    /// Puts other limits into force; returns those that cannot be.
    ///
    /// # Errors
    /// [`ExecutorError::Sandbox`] for a value that the kernel does not take.
    pub fn update(&mut self, old: &Limits, new: &Limits) -> Result<Vec<UnmetLimit>, ExecutorError> {
        let updated = self.running.as_mut().map(|running| running.update(old, new));
        Ok(updated.transpose()?.unwrap_or_default())
    }

    /// Hands on what it writes until its end.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn wait(&mut self) -> Result<ProgramEnd, ExecutorError> {
        let Some(mut running) = self.running.take() else { return Ok(ProgramEnd::default()) };
        if let Some(relay) = self.relay.take() {
            relay.carry()?;
        }
        // what was made to mount on stays, empty, as with docker: a commit shows it
        let status = running.child.wait().map_err(|error| ExecutorError::system("waitid", b"", error))?;
        if let Some(network) = self.network.take() {
            network.end();
        }
        let killed_for_memory = running.memory().is_some_and(|memory| memory.killed > 0);
        if let Some(root) = self.root.take() {
            root.collect()?;
        }
        Ok(ProgramEnd { code: exit_code(status), killed_for_memory })
    }
}

/// A new pseudo-terminal: its master, and the side of a container, which is the first of that container's own terminals.
///
/// # Errors
/// [`ExecutorError::Sandbox`] when the system has none left.
pub fn open_terminal(rows: u16, columns: u16) -> Result<(OwnedFd, ContainerTerminal), ExecutorError> {
    let pair = open_terminal_pair(WindowSize { rows, columns }).map_err(SandboxError::Sys)?;
    Ok(ContainerTerminal::of(pair))
}

/// Tells a terminal its size; one of the wrong size still works.
pub fn resize_terminal(terminal: BorrowedFd<'_>, rows: u16, columns: u16) {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let _ = rustix::termios::tcsetwinsize(terminal, size);
}

/// A process by its number; `None` when there is none.
///
/// # Errors
/// [`ExecutorError::System`].
pub fn open_process(pid: i32) -> Result<Option<OwnedFd>, ExecutorError> {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return Ok(None) };
    match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        Ok(process) => Ok(Some(process)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(errno) => Err(ExecutorError::system("pidfd_open", b"", errno)),
    }
}

/// Kills a process; fine when it has ended.
///
/// # Errors
/// [`ExecutorError::System`].
pub fn kill_process(process: BorrowedFd<'_>) -> Result<(), ExecutorError> {
    match rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(ExecutorError::system("pidfd_send_signal", b"", errno)),
    }
}

/// True if the process has ended.
///
/// # Errors
/// [`ExecutorError::System`].
pub fn has_ended(process: BorrowedFd<'_>) -> Result<bool, ExecutorError> {
    let mut look = [PollFd::new(process, PollFlags::POLLIN)];
    loop {
        match poll(&mut look, PollTimeout::ZERO) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(ExecutorError::system("poll", b"a process", errno)),
        }
    }
}

/// A container whose processes stand still. They go on when it is dropped, or when this process ends, however it ends.
#[derive(Debug)]
pub struct PausedContainer {
    _frozen: Frozen,
}

/// Makes the container stand still whose first process is `pid`; `lock` stays held until it goes on. `None` when it has no
/// control group, or one that this process may not freeze.
///
/// # Errors
/// [`ExecutorError::Pause`] when its processes do not stop.
pub fn pause_container(pid: i32, lock: BorrowedFd<'_>) -> Result<Option<PausedContainer>, ExecutorError> {
    let frozen = Frozen::of(pid, lock).map_err(|source| ExecutorError::Pause { source })?;
    Ok(frozen.map(|frozen| PausedContainer { _frozen: frozen }))
}

/// True if the container whose first process is `pid` was made to stand still.
#[must_use]
pub fn is_paused(pid: i32) -> bool {
    Freezer::of_process(pid).is_some_and(|freezer| freezer.is_frozen())
}

/// Starts a container on `network`.
///
/// # Errors
/// [`ExecutorError::Sandbox`], [`ExecutorError::UnknownUser`].
pub fn start_container(
    container: &ContainerSandbox<'_>,
    network: ContainerNetwork,
) -> Result<Sandboxed, ExecutorError> {
    let ContainerSandbox { store, layers, init, changes, .. } = container;
    let snapshots = Snapshots::new(store);
    prepare_base(container, &snapshots)?;
    let root = snapshots.writable(layers, Some(init.fs), changes.with(container.syncing))?;
    root.note_copy(container.copy)?;
    let identity = run_identity(root.view(), &container.config.user)?;
    let identity = identity.with_groups(root.view(), &container.process.groups)?;
    let directory = ImagePath::root().join(&container.config.working_dir);
    let terminal = match &container.stdio {
        Stdio::Terminal(terminal) => {
            terminal.give_to(identity.uid);
            Some(terminal.devices.as_fd())
        }
        Stdio::Own | Stdio::OwnOutput | Stdio::Pipes(_) => None,
    };
    let names = HostNames { host: container.hostname, domain: container.process.domain.as_deref() };
    let mounts = own_mounts(container, root.view(), names)?;
    let streams = Streams::new(&container.stdio)?;
    // a file system of terminals can be in one sandbox, so there is no second try with another network
    let network = if terminal.is_some() { network.ready()? } else { network };
    network.check_parameters(&container.process.kernel)?;
    let start = |Entrance { network, addresses, gate }: Entrance<'_>| {
        let guest = Guest {
            isolation: container.isolation,
            command: container.argv,
            environment: environment(container.config, container.hostname, terminal.is_some()),
            identity: &identity,
            directory: &directory,
            first: container.first,
            names,
            kernel: &container.process.kernel,
            memory_score: container.process.memory_score,
            network,
            addresses,
            host_files: container.host_files,
            root_access: root_access(container.root_access),
            host_file_access: container.root_access,
            mounts,
            confinement: of_container(container.security),
            privileges: container.privileges,
            given: container.given,
            limits: container.limits,
            terminal,
            gate,
            stdio: streams.stdio(),
        };
        guest.start(&root).map_err(not_started)
    };
    match network.start(start, |addresses| container.host_files.complete_hosts(names, addresses))? {
        (Some(running), network) => {
            let relay = streams.relay(running.child.pidfd())?;
            Ok(Sandboxed { network: Some(network), ..Sandboxed::new(running, relay, root)? })
        }
        (None, network) => {
            // what is mounted on its changes goes first
            drop((streams, root));
            forget_skipped_syncing(changes)?;
            start_container(container, network)
        }
    }
}

/// What is mounted in it beside `/etc/hosts` and `/etc/resolv.conf`.
fn own_mounts(
    container: &ContainerSandbox<'_>,
    view: &RootView,
    names: HostNames<'_>,
) -> Result<Vec<Mount>, ExecutorError> {
    let volumes = container.volumes.iter().map(|volume| volume.to_mount(view));
    let emulator = container.emulator.map(Emulator::mount);
    let shared = container.shm_size.filter(|size| *size > 0).map(shared_memory);
    let hostname = container.host_files.hostname(&names.whole())?;
    let hostname = host_file(&hostname, "/etc/hostname", container.root_access);
    std::iter::once(hostname).chain(emulator).chain(shared).chain(volumes).collect()
}

fn root_access(access: Access) -> RootAccess {
    match access {
        Access::ReadOnly => RootAccess::ReadOnly,
        Access::ReadWrite => RootAccess::ReadWrite,
    }
}

/// Makes what the container has over its image.
fn prepare_base(container: &ContainerSandbox<'_>, snapshots: &Snapshots) -> Result<(), ExecutorError> {
    forget_skipped_syncing(&container.init)?;
    let base = snapshots.writable(container.layers, None, container.init.with(Syncing::Skipped))?;
    container_base::prepare(&base)?;
    if let Some(emulator) = container.emulator {
        emulator.make_place(&base)?;
    }
    base.collect()
}

/// A program that is not there or cannot be executed is the caller's.
pub(crate) fn not_started(error: ExecutorError) -> ExecutorError {
    match error {
        ExecutorError::Sandbox(SandboxError::Spawn(
            program @ (SpawnError::NotInPath { .. } | SpawnError::NotFound { .. } | SpawnError::Exec { .. }),
        )) => ExecutorError::ProgramNotStarted(program),
        other => other,
    }
}

/// Lets `directory` be mounted once more: no program has written to it, and what rbuild makes in it is made anew, so that nothing is lost
/// if the machine went down meanwhile.
fn forget_skipped_syncing(directory: &UpperDirectory<'_>) -> Result<(), ExecutorError> {
    let mark = directory.work.join("work/incompat");
    match fs::remove_dir_all(&mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ExecutorError::system("remove", mark.as_os_str().as_encoded_bytes(), error))
        }
        _ => Ok(()),
    }
}

/// What the container has of itself, and over it the config's variables, in Docker's order.
pub(crate) fn environment(config: &ContainerConfig, hostname: &str, has_terminal: bool) -> Vec<OsString> {
    let mut shown = ContainerConfig::default();
    shown.set_env("PATH", DEFAULT_PATH);
    shown.set_env("HOSTNAME", hostname);
    if has_terminal {
        shown.set_env("TERM", "xterm");
    }
    for pair in &config.env {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        shown.set_env(name, value);
    }
    shown.env.into_iter().map(OsString::from).collect()
}

/// A container's ends of its streams.
pub(crate) enum Streams<'a> {
    Terminal(BorrowedFd<'a>),
    Given(&'a GivenPipes),
    Pipes(Pipes),
}

impl<'a> Streams<'a> {
    pub(crate) fn new(stdio: &'a Stdio) -> Result<Self, ExecutorError> {
        Ok(match stdio {
            Stdio::Terminal(terminal) => Self::Terminal(terminal.slave.as_fd()),
            Stdio::Pipes(pipes) => Self::Given(pipes),
            Stdio::Own => Self::Pipes(Pipes::new(Input::Own)?),
            Stdio::OwnOutput => Self::Pipes(Pipes::new(Input::None)?),
        })
    }

    pub(crate) fn stdio(&self) -> spawn::Stdio<'_> {
        match self {
            Self::Terminal(slave) => spawn::Stdio { stdin: Some(*slave), stdout: *slave, stderr: *slave },
            Self::Given(GivenPipes { stdin, stdout, stderr }) => spawn::Stdio {
                stdin: stdin.as_ref().map(AsFd::as_fd),
                stdout: stdout.as_fd(),
                stderr: stderr.as_fd(),
            },
            Self::Pipes(pipes) => pipes.stdio(),
        }
    }

    pub(crate) fn relay(self, process: BorrowedFd<'_>) -> Result<Option<Relay>, ExecutorError> {
        match self {
            Self::Terminal(_) | Self::Given(_) => Ok(None),
            Self::Pipes(pipes) => pipes.relay(process).map(Some),
        }
    }
}
