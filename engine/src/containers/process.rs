//! A container's program while it runs.

use super::recorded_limits::from_record;
use crate::Error;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use rbuild_cache::{Container, ContainerDirectory, ContainerLimits, ContainerLock, ContainerState, Store};
use rbuild_executor::{ContainerNetwork, ProgramEnd, Sandboxed, UnmetLimit};
use rbuild_oci::Timestamp;
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    thread,
    time::Duration,
};

/// How often, and how far apart, a container is looked at that was killed or has ended.
pub(super) const KILL_CHECKS: u32 = 500;
pub(super) const KILL_PAUSE: Duration = Duration::from_millis(20);

/// The policy for a container that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// It stays, until it is removed.
    Keep,
    /// It is removed at once.
    Remove,
}

/// A started container. Dropping it kills its program.
pub(crate) struct RunningContainer {
    pub(crate) container: Container,
    pub(crate) directory: ContainerDirectory,
    pub(crate) process: Sandboxed,
    pub(crate) store: Store,
    /// Lines of what becomes of its network.
    pub(crate) network_news: Option<OwnedFd>,
    pub(crate) _lock: ContainerLock,
}

impl RunningContainer {
    /// The limits that could not be put into force.
    pub(super) fn unmet_limits(&self) -> &[UnmetLimit] {
        self.process.unmet_limits()
    }

    /// Why it has the machine's network and none of its own, if that is not what was asked for.
    pub(super) fn missing_network(&self) -> Option<&str> {
        self.process.network().and_then(ContainerNetwork::missing)
    }

    /// Lines of text of what becomes of its network, as long as it runs; can be taken once.
    pub(super) fn take_network_news(&mut self) -> Option<OwnedFd> {
        self.network_news.take()
    }

    /// The process id of its program, as the host sees it.
    pub(super) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Its program, readable once it has ended (`poll(2)` on a pidfd); `None` when it has been waited for.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.process.pidfd()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`Error::Io`] when it has ended already.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Error> {
        signal::kill(Pid::from_raw(self.pid()), signal).map_err(|errno| Error::Io {
            action: "signal",
            path: PathBuf::from(format!("/proc/{}", self.pid())),
            source: errno.into(),
        })
    }

    /// Puts other limits into force; returns those that cannot be.
    pub(super) fn limit(&mut self, limits: ContainerLimits) -> Result<Vec<UnmetLimit>, Error> {
        let Some(settings) = &mut self.container.settings else { return Ok(Vec::new()) };
        let (old, new) = (from_record(&settings.limits), from_record(&limits));
        let unmet = self.process.update(&old, &new)?;
        settings.limits = limits;
        Ok(unmet)
    }

    /// Waits for its program to end, and records that; returns its exit code, 128 + n when signal n ended it.
    ///
    /// # Errors
    /// [`Error::Executor`] when waiting fails, [`Error::Io`] when the record cannot be written.
    pub(super) fn wait(mut self) -> Result<i32, Error> {
        let ProgramEnd { code, killed_for_memory } = self.process.wait()?;
        if self.container.remove_when_ended {
            self.directory.remove_with_volumes()?;
        } else {
            let finished = Timestamp::from(self.store.now());
            self.directory.update(|container| {
                container.state = ContainerState::Exited(code);
                container.oom_killed = killed_for_memory;
                (container.started, container.finished) = (self.container.started, Some(finished));
                container.pid = None;
            })?;
        }
        Ok(code)
    }
}

/// Kills the program `pid` of the container called `name`, which another process runs, and waits until that process has let go of
/// it.
pub(crate) fn kill(directory: &ContainerDirectory, (name, pid): (&str, Option<i32>)) -> Result<(), Error> {
    let Some(pid) = pid else { return Ok(()) };
    // the process is pinned before the lock is tested, because the kernel may reuse the number for another process
    let process = rbuild_executor::open_process(pid)?;
    for _ in 0..KILL_CHECKS {
        if directory.try_lock()?.is_some() {
            return Ok(());
        }
        if let Some(process) = &process {
            rbuild_executor::kill_process(process.as_fd())?;
        }
        thread::sleep(KILL_PAUSE);
    }
    Err(Error::ContainerRunning(name.to_owned()))
}
