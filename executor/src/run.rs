//! RUN: the command in a sandbox over an overlay whose upper directory becomes the layer.

use crate::{
    Emulator, ExecutorError, GivenDevices, HostFiles, Isolation, PreparedMount, Snapshots,
    emulation::Place,
    guest::Guest,
    host_files::{Addresses, HostNames},
    mounts::{SHARED_MEMORY, shared_memory},
    network::{Networks, StepNetwork},
    run_identity,
    snapshot::RootMount,
    step_limits::{StepLimits, Watch},
};
use nix::{
    fcntl::{FcntlArg, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use rbuild_cache::{Cancel, CommandWrites, LayerDraft, LayerId};
use rbuild_oci::go_quoted;
use rbuild_planner::{Access, RunAction, Security};
use rbuild_sys::{
    SandboxError, SpawnError,
    overlay::{Syncing, Upper},
    privileges::Privileges,
    sandbox::{Confinement, FirstProcess, RootAccess, Running},
    spawn::{Ended, Stdio, Usage},
};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, process::ExitStatusExt},
    },
    path::Path,
    process::ExitStatus,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// With less than this many bytes left a failing command has probably failed for want of space.
const FULL: u64 = 1 << 20;
/// How often a waiting worker looks whether it should give up, in milliseconds.
const CANCEL_CHECK_MS: u16 = 25;

/// The bytes that a command's pipe holds, enough for what it writes in a [`REST`].
const PIPE: i32 = 256 << 10;
/// The time after a read for which a command that writes without a pause may fill its pipe: many small pieces cost it and the build
/// more than few large ones.
const REST: Duration = Duration::from_millis(1);
/// So many reads that come closer upon each other than that make such a command.
const DENSE: u32 = 32;

/// One RUN to carry out.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Makes the root; its store gets the layer.
    pub snapshots: &'a Snapshots,
    /// How containers are kept apart.
    pub isolation: &'a Isolation,
    /// The command, its user and its environment.
    pub action: &'a RunAction,
    /// The layers below, lowest first.
    pub parent: &'a [LayerId],
    /// `--mount`s.
    pub mounts: &'a [PreparedMount],
    /// `/etc/hosts` and `/etc/resolv.conf`.
    pub host_files: &'a HostFiles,
    /// The variables that secrets become, which hide others of the same name.
    pub secret_variables: &'a [(&'a str, &'a [u8])],
    /// Networks for steps.
    pub networks: &'a Networks,
    /// `--shm-size`, bytes.
    pub shm_size: Option<u64>,
    /// The emulator that its programs need in the root.
    pub emulator: Option<&'a Emulator>,
    /// `--cap-add` and its like.
    pub privileges: &'a Privileges,
    /// Its devices.
    pub given: &'a GivenDevices,
    /// What it may use, and how long it may take.
    pub limits: &'a StepLimits,
    /// Takes what its processes have used, also when it fails.
    pub used: &'a OnceLock<Usage>,
    /// When to give up.
    pub cancel: &'a Cancel,
}

/// A RUN that did not succeed.
#[derive(Debug)]
pub struct RunFailure {
    /// Why.
    pub error: Box<ExecutorError>,
    /// The changes of a command that failed, for a person to look into.
    pub changes: Option<LayerDraft>,
}

impl From<ExecutorError> for RunFailure {
    fn from(error: ExecutorError) -> Self {
        Self { error: Box::new(error), changes: None }
    }
}

/// Runs the command, handing its output to `output` as it comes; returns its changes.
///
/// # Errors
/// [`ExecutorError::CommandFailed`], [`ExecutorError::MemoryLimit`] and the like when it fails, [`ExecutorError::TookTooLong`], [`ExecutorError::Sandbox`] when it cannot be started,
/// [`ExecutorError::UnknownUser`], [`ExecutorError::Canceled`].
pub fn run(run: &Run<'_>, output: &mut dyn FnMut(&[u8])) -> Result<LayerDraft, RunFailure> {
    let mut draft = run.snapshots.store().new_layer().map_err(ExecutorError::from)?;
    let ran = run_in(run, &mut draft, output);
    if matches!(ran, Err(ExecutorError::Canceled)) {
        draft.remove_soon();
        return Err(ExecutorError::Canceled.into());
    }
    let (failure, left) = match ran {
        // its root can be looked into
        Err(error @ ExecutorError::CommandNotStarted { source: SandboxError::Spawn(_), .. }) => {
            return Err(RunFailure { error: Box::new(error), changes: Some(draft) });
        }
        ran => ran?,
    };
    let Some(error) = failure else {
        left?;
        return Ok(draft);
    };
    let is_kept = left.is_ok() && !matches!(error, ExecutorError::DiskFull { .. });
    Err(RunFailure { error: Box::new(error), changes: is_kept.then_some(draft) })
}

/// Runs the command in a root whose changes go to `draft`; says why it failed, if it did, and whether all of its changes are there.
fn run_in(
    run: &Run<'_>,
    draft: &mut LayerDraft,
    output: &mut dyn FnMut(&[u8]),
) -> Result<(Option<ExecutorError>, Result<(), ExecutorError>), ExecutorError> {
    let upper = Upper { directory: draft.fs(), work: draft.work(), syncing: Syncing::Skipped };
    let place = run.emulator.map(|emulator| Place::over(run.parent, emulator, run.snapshots)).transpose()?;
    let root = run.snapshots.writable(run.parent, place.as_ref().map(Place::top), upper)?;
    let (reader, writer) = pipe()?;
    let network = run.networks.of_step(run.action.network);
    let stdio = Stdio { stdin: None, stdout: writer.as_fd(), stderr: writer.as_fd() };
    let environment = environment(run);
    let mut running = launch(run, &root, &network, Streams { environment, terminal: None, stdio })?;
    drop(writer);
    let namespace = running.hold_mounts();
    run.limits.note_unmet(&running);
    let watch = run.limits.watch(run.action, run.cancel);
    let mut writes = run.snapshots.store().command_writes();
    pump((&running, reader), (&watch, &mut writes), output)?;
    let ended = wait(&mut running, (&watch, &mut writes))?;
    run.used.get_or_init(|| ended.usage);
    let failure = (!ended.status.success()).then(|| failed(run, exit_code(ended.status), &running));
    let settle = || {
        let work = draft.give_work();
        root.collect_and_leave(run.snapshots, draft.fs(), running.mount_points, (namespace, work))?;
        place.map_or(Ok(()), |place| place.leave(draft.fs()))
    };
    Ok((failure, settle()))
}

/// The error of a command that failed. It names a full disk, because few programs report ENOSPC, and want of memory, because a
/// program that is killed reports nothing.
fn failed(run: &Run<'_>, code: i32, running: &Running) -> ExecutorError {
    let command = go_quoted(&run.action.argv.join(" "));
    if let Some(error) = run.limits.out_of_memory((&command, code), running.memory()) {
        return error;
    }
    let store = run.snapshots.store().root();
    let room = rustix::fs::statvfs(store).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize);
    if room < FULL {
        return ExecutorError::DiskFull { command, code, store: store.to_owned() };
    }
    ExecutorError::CommandFailed { command, code }
}

/// How a command of a step is reached: its variables, and where its streams go.
pub(crate) struct Streams<'a> {
    pub(crate) environment: Vec<OsString>,
    pub(crate) terminal: Option<BorrowedFd<'a>>,
    pub(crate) stdio: Stdio<'a>,
}

/// Starts the command of `run` in `root`.
pub(crate) fn launch(
    run: &Run<'_>,
    root: &RootMount,
    network: &StepNetwork<'_>,
    streams: Streams<'_>,
) -> Result<Running, ExecutorError> {
    let action = run.action;
    let command = || go_quoted(&action.argv.join(" "));
    let identity = run_identity(root.view(), &action.user)
        .map_err(|source| ExecutorError::CommandUser { command: command(), source: Box::new(source) })?;
    let mut mounts = crate::mounts::scripts(run.host_files, &action.scripts)?;
    mounts.extend(run.emulator.map(Emulator::mount).transpose()?);
    mounts.extend(run.mounts.iter().map(PreparedMount::to_mount).collect::<Result<Vec<_>, _>>()?);
    // a size of 0 asks for the usual one, as with Docker
    if let Some(size) = run.shm_size.filter(|size| *size > 0) {
        mounts.retain(|mount| mount.target != Path::new(SHARED_MEMORY));
        mounts.push(shared_memory(size)?);
    }
    let guest = Guest {
        isolation: run.isolation,
        command: &action.argv,
        environment: streams.environment,
        identity: &identity,
        first: FirstProcess::Command,
        directory: &action.cwd,
        names: HostNames { host: &action.hostname, domain: None },
        kernel: &BTreeMap::new(),
        memory_score: None,
        network: network.as_sandbox(),
        addresses: Addresses::default(),
        host_files: run.host_files,
        root_access: RootAccess::ReadWrite,
        host_file_access: Access::ReadOnly,
        mounts,
        confinement: match action.security {
            Security::Sandbox => Confinement::Default,
            Security::Insecure => Confinement::Insecure,
        },
        privileges: run.privileges,
        given: run.given,
        limits: &run.limits.limits,
        terminal: streams.terminal,
        gate: None,
        stdio: streams.stdio,
    };
    guest.start(root).map_err(|error| match error {
        // a program that is not there is the command's failure, as a shell would report it; so is a mount that does not fit
        ExecutorError::Sandbox(
            source @ (SandboxError::Spawn(
                SpawnError::NotInPath { .. } | SpawnError::NotFound { .. } | SpawnError::Exec { .. },
            )
            | SandboxError::MountPoint { .. }),
        ) => ExecutorError::CommandNotStarted { command: command(), code: start_code(&source), source },
        other => other,
    })
}

/// The variables of the command of `run`.
pub(crate) fn environment(run: &Run<'_>) -> Vec<OsString> {
    let hidden = |pair: &String| {
        let name = pair.split_once('=').map_or(pair.as_str(), |(name, _)| name);
        run.secret_variables.iter().any(|(secret, _)| *secret == name)
    };
    let (own, proxies) = (run.action.env.pairs(), &run.action.proxy_env);
    let own = own.iter().chain(proxies).filter(|pair| !hidden(pair)).map(OsString::from);
    let secrets = run.secret_variables.iter().map(|(name, value)| {
        let mut pair = OsString::from(format!("{name}="));
        pair.push(OsStr::from_bytes(value));
        pair
    });
    own.chain(secrets).collect()
}

fn pipe() -> Result<(OwnedFd, OwnedFd), ExecutorError> {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
        .map_err(|errno| ExecutorError::system("pipe2", b"", errno))?;
    // a user may have used up what all pipes may hold
    let _ = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(PIPE));
    Ok((reader, writer))
}

/// Passes the command's output on until every process that could write has closed it.
fn pump(
    (running, reader): (&Running, OwnedFd),
    (watch, writes): (&Watch<'_>, &mut CommandWrites<'_>),
    output: &mut dyn FnMut(&[u8]),
) -> Result<(), ExecutorError> {
    let mut buffer = vec![0; 64 << 10];
    let mut reader = File::from(reader);
    let (mut last, mut close) = (Instant::now(), 0);
    loop {
        let is_ready = poll_once(reader.as_fd())?;
        watch.check(running)?;
        writes.look();
        if !is_ready {
            continue;
        }
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                output(&buffer[..count]);
                close = if last.elapsed() < REST { close + 1 } else { 0 };
                // what has come is not all that the pipe holds
                if close >= DENSE && count < buffer.len() {
                    thread::sleep(REST);
                }
                last = Instant::now();
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ExecutorError::system("read", b"the command's output", error)),
        }
    }
}

fn wait(
    running: &mut Running,
    (watch, writes): (&Watch<'_>, &mut CommandWrites<'_>),
) -> Result<Ended, ExecutorError> {
    loop {
        let pidfd = running.child.pidfd();
        let ended = poll_once(pidfd)?;
        if ended {
            return running
                .child
                .wait_measured()
                .map_err(|error| ExecutorError::system("waitid", b"", error));
        }
        watch.check(running)?;
        writes.look();
    }
}

fn poll_once(file: BorrowedFd<'_>) -> Result<bool, ExecutorError> {
    match poll(&mut [PollFd::new(file, PollFlags::POLLIN)], PollTimeout::from(CANCEL_CHECK_MS)) {
        Ok(count) => Ok(count > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(errno) => Err(ExecutorError::system("poll", b"", errno)),
    }
}

/// The exit code as shells report it: 128 + n for signal n.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// 127 when the program is not there, 126 when it cannot be executed.
pub(crate) fn start_code(error: &SandboxError) -> i32 {
    match error {
        SandboxError::Spawn(SpawnError::NotInPath { .. } | SpawnError::NotFound { .. }) => 127,
        _ => 126,
    }
}
