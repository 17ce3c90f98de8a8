//! The monitor's side of health checks: when the next one begins, one that runs, and what it writes. Between two of them there is
//! nothing but a time in the monitor's one wait.

use super::in_full;
use crate::{
    Engine, Error,
    containers::{exec::RunningProgram, health::HealthCheck, start::stream_failure},
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{pipe2, read},
};
use rbuild_cache::{Container, ContainerDirectory, ContainerHealth, HealthResult};
use rbuild_executor::{GivenPipes, Stdio};
use rbuild_oci::Timestamp;
use std::{
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

/// Bytes of what a check writes that are kept.
const KEPT_OUTPUT: usize = 4096;

/// How often it is read without looking at anything else: as often as a pipe is emptied.
const PIECES: usize = 16;

/// The code of a check that has none.
const NO_CODE: i32 = -1;

/// The health of a container that runs.
pub(super) struct Health {
    check: HealthCheck,
    found: ContainerHealth,
    directory: ContainerDirectory,
    unnoted: Option<String>,
    started: Instant,
    /// When the next check begins, or the one that runs has taken too long.
    due: Instant,
    probe: Option<Probe>,
}

/// A check that runs.
struct Probe {
    program: RunningProgram,
    /// Where what it writes can be read, until all of it was.
    output: Option<OwnedFd>,
    written: Vec<u8>,
    began: Timestamp,
    since_start: Duration,
    /// True once it has taken too long.
    is_late: bool,
}

impl Health {
    /// Of a container that is about to be started, if it is to be checked.
    pub(super) fn new(container: &Container, directory: &ContainerDirectory) -> Option<Self> {
        let check = HealthCheck::of(&container.config)?;
        let found = ContainerHealth::default();
        let unnoted = directory.note_health(&found).err().map(|error| in_full(&error.into()));
        let now = Instant::now();
        let due = now + check.pause(found.status, Duration::ZERO);
        let directory = directory.clone();
        Some(Self { check, found, directory, unnoted, started: now, due, probe: None })
    }

    /// Why it cannot be written down, if it could not be at the start.
    pub(super) fn unnoted(&self) -> Option<&str> {
        self.unnoted.as_deref()
    }

    /// What is to be waited for.
    pub(super) fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let output = self.probe.iter().flat_map(|probe| probe.output.iter().map(AsFd::as_fd));
        let process = self.probe.iter().map(|probe| probe.program.pidfd());
        process.chain(output).map(|end| PollFd::new(end, PollFlags::POLLIN))
    }

    /// How long it is to be waited for.
    pub(super) fn patience(&self) -> PollTimeout {
        if self.probe.as_ref().is_some_and(|probe| probe.is_late) {
            // it was killed
            return PollTimeout::NONE;
        }
        let left = self.due.saturating_duration_since(Instant::now());
        // rounded up, so that the time has come when the wait is over; a long wait is done in parts
        let milliseconds = left.as_micros().div_ceil(1000);
        PollTimeout::from(u16::try_from(milliseconds).unwrap_or(u16::MAX))
    }

    /// Does what is to be done now.
    pub(super) fn turn(&mut self, engine: &Engine, container: &Container) {
        let is_due = Instant::now() >= self.due;
        match &mut self.probe {
            None if is_due && is_paused(container) => self.wait_for(self.pause()),
            None if is_due => self.begin(engine, container),
            None => {}
            Some(probe) => {
                probe.read();
                if probe.has_ended() {
                    self.finish(engine);
                } else if is_due && !probe.is_late {
                    if is_paused(container) {
                        return self.wait_for(self.check.timeout);
                    }
                    probe.is_late = true;
                    // one that cannot be killed has ended
                    let _ = rbuild_executor::kill_process(probe.program.pidfd());
                }
            }
        }
    }

    fn wait_for(&mut self, pause: Duration) {
        self.due = Instant::now() + pause;
    }

    fn pause(&self) -> Duration {
        self.check.pause(self.found.status, self.started.elapsed())
    }

    fn begin(&mut self, engine: &Engine, container: &Container) {
        let (began, since_start) = (Timestamp::from(engine.store.now()), self.started.elapsed());
        match start(engine, container, &self.check.command) {
            Ok((program, output)) => {
                let (output, written) = (Some(output), Vec::new());
                self.probe = Some(Probe { program, output, written, began, since_start, is_late: false });
                self.wait_for(self.check.timeout);
            }
            Err(error) => {
                let end = Timestamp::from(engine.store.now());
                let output = in_full(&error);
                let result = HealthResult { start: began, end, exit_code: NO_CODE, output };
                self.count(result, since_start);
            }
        }
    }

    fn finish(&mut self, engine: &Engine) {
        let Some(probe) = self.probe.take() else { return };
        let output = kept_text(&probe.written);
        let code = probe.program.wait().unwrap_or(NO_CODE);
        let (exit_code, output) = if probe.is_late {
            let limit = i64::try_from(self.check.timeout.as_nanos()).unwrap_or(i64::MAX);
            let limit = rbuild_planner::go_duration(limit);
            (NO_CODE, format!("Health check exceeded timeout ({limit}): {output}"))
        } else {
            (code, output)
        };
        let end = Timestamp::from(engine.store.now());
        self.count(HealthResult { start: probe.began, end, exit_code, output }, probe.since_start);
        rbuild_sys::resident::give_code_back();
    }

    fn count(&mut self, result: HealthResult, since_start: Duration) {
        self.check.count(&mut self.found, result, since_start);
        // what cannot be written down on a full disk is with the next result
        let _ = self.directory.note_health(&self.found);
        self.wait_for(self.pause());
    }
}

impl Probe {
    /// Takes what it has written by now; more than is kept is thrown away.
    fn read(&mut self) {
        let mut bytes = [0; KEPT_OUTPUT];
        for _ in 0..PIECES {
            let Some(output) = &self.output else { return };
            match read(output, &mut bytes) {
                Ok(length) if length > 0 => {
                    // one more than is kept says that there was more
                    let room = (KEPT_OUTPUT + 1).saturating_sub(self.written.len());
                    self.written.extend_from_slice(&bytes[..length.min(room)]);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Ok(_) | Err(_) => self.output = None,
            }
        }
    }

    fn has_ended(&self) -> bool {
        let mut look = [PollFd::new(self.program.pidfd(), PollFlags::POLLIN)];
        matches!(poll(&mut look, PollTimeout::ZERO), Ok(1..))
    }
}

fn is_paused(container: &Container) -> bool {
    container.pid.is_some_and(rbuild_executor::is_paused)
}

/// Starts a check; gives with it the end of the pipe that it writes to.
fn start(
    engine: &Engine,
    container: &Container,
    command: &[String],
) -> Result<(RunningProgram, OwnedFd), Error> {
    let failed = |errno: Errno| stream_failure(errno.into());
    let (output, stdout) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
    let stderr = stdout.try_clone().map_err(stream_failure)?;
    let stdio = Stdio::Pipes(GivenPipes { stdin: None, stdout, stderr });
    Ok((engine.probe(container, command, &stdio)?, output))
}

/// What is kept of what was written, as docker marks it.
fn kept_text(written: &[u8]) -> String {
    let kept = String::from_utf8_lossy(&written[..written.len().min(KEPT_OUTPUT)]);
    if written.len() > KEPT_OUTPUT { format!("{kept}...") } else { kept.into_owned() }
}
