//! What is asked of a container that runs, from outside: to stop, to end, to say when it has.

use super::monitor::{Attached, MonitorMessage};
use crate::{ContainerError, Engine, Error};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};
use rbuild_cache::{Container, ContainerState};
use std::{
    os::fd::{AsFd, OwnedFd},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long a container may take to stop by itself.
const PATIENCE: i64 = 10;

/// The first real-time signal that programs may use, and the last.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

impl Engine {
    /// Sends a signal to the first process of a container that runs.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::ContainerNotRunning`], [`ContainerError::SignalRefused`].
    pub fn signal_container(&self, name: &str, signal: i32) -> Result<(), Error> {
        let container = self.container(name)?;
        let monitor = self.connect(&container)?;
        monitor.signal(signal)?;
        loop {
            match monitor.answer(&container.name)? {
                MonitorMessage::Done => return self.wake_for(&container, signal),
                MonitorMessage::Refused(reason) => {
                    return Err(ContainerError::SignalRefused { name: container.name, reason }.into());
                }
                MonitorMessage::Gone => return Err(Error::ContainerNotRunning(container.name)),
                // it ended as the signal came
                MonitorMessage::Ended(_) => return Ok(()),
                MonitorMessage::Started
                | MonitorMessage::Failed { .. }
                | MonitorMessage::Unmet(_)
                | MonitorMessage::NoNetwork(_)
                | MonitorMessage::HealthUnnoted(_)
                | MonitorMessage::Output(..) => {}
            }
        }
    }

    /// Asks a container to stop by its stop signal, or by `signal`, and kills it when it has not done so after `seconds`; for ever
    /// is below zero. Fine when it does not run.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`].
    pub fn stop_container(&self, name: &str, signal: Option<i32>, seconds: Option<i64>) -> Result<(), Error> {
        let container = self.container(name)?;
        if container.state != ContainerState::Running {
            return Ok(());
        }
        let own = || parse_signal(&container.config.stop_signal).unwrap_or(Signal::SIGTERM as i32);
        let signal = signal.unwrap_or_else(own);
        let of_container = container.settings.as_ref().and_then(|settings| settings.stop_timeout);
        let seconds = seconds.or(of_container).unwrap_or(PATIENCE);
        let monitor = match self.connect(&container) {
            Err(Error::ContainerNotRunning(_)) => return Ok(()),
            connected => connected?,
        };
        monitor.signal(signal)?;
        if container.paused {
            self.wake(&container)?;
        }
        let limit = deadline(seconds);
        while has_message(&monitor, limit)? {
            if let MonitorMessage::Ended(_) | MonitorMessage::Gone = monitor.next()? {
                return Ok(());
            }
        }
        monitor.signal(Signal::SIGKILL as i32)?;
        ended(&monitor, &container)
    }

    /// Waits for the end of a container and gives its exit code.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`].
    pub fn wait_for_container(&self, name: &str) -> Result<i32, Error> {
        let container = self.container(name)?;
        let monitor = match self.connect(&container) {
            Ok(monitor) => monitor,
            Err(Error::ContainerNotRunning(_)) => return self.recorded_code(&container),
            Err(error) => return Err(error),
        };
        match exit_code(&monitor)? {
            Some(code) => Ok(code),
            None => self.recorded_code(&container),
        }
    }

    /// The container called `name` when it can be started, or runs: the end of one whose program was killed or has ended is waited for.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`]; [`ContainerError::MonitorStopped`].
    pub fn settled_container(&self, name: &str) -> Result<Container, Error> {
        let container = self.container(name)?;
        let runs = container.state == ContainerState::Running;
        if !runs || container.paused || !self.is_ending(&container)? {
            return Ok(container);
        }
        match self.connect(&container) {
            Ok(monitor) => ended(&monitor, &container)?,
            Err(Error::ContainerNotRunning(_)) => {}
            Err(error) => return Err(error),
        }
        self.container(&container.id)
    }

    /// Lets a paused container go on that has got a signal which is to end it, as docker does.
    fn wake_for(&self, container: &Container, signal: i32) -> Result<(), Error> {
        let stops = match container.config.stop_signal.as_str() {
            "" => true,
            own => signal == Signal::SIGKILL as i32 || parse_signal(own) == Some(signal),
        };
        if stops && container.paused { self.wake(container) } else { Ok(()) }
    }

    /// Lets a paused container go on. It may have ended.
    fn wake(&self, container: &Container) -> Result<(), Error> {
        match self.thaw(container) {
            Err(_) if !self.still_runs(container)? => Ok(()),
            woken => woken,
        }
    }

    fn still_runs(&self, container: &Container) -> Result<bool, Error> {
        match self.container(&container.id) {
            Err(Error::NoSuchContainer(_)) => Ok(false),
            found => Ok(found?.state == ContainerState::Running),
        }
    }

    /// Kills a container that runs.
    pub(super) fn end_container(&self, container: &Container) -> Result<(), Error> {
        if container.paused {
            self.wake(container)?;
        }
        let monitor = match self.connect(container) {
            Ok(monitor) => monitor,
            Err(Error::ContainerNotRunning(_)) => return Ok(()),
            // what it hangs on has no ear
            Err(_) => {
                let directory = self.store.container(&container.id);
                return super::process::kill(&directory, (&container.name, container.pid));
            }
        };
        monitor.signal(Signal::SIGKILL as i32)?;
        match ended(&monitor, container) {
            // the program ends with it
            Err(Error::Container(ContainerError::MonitorStopped { monitor: stopped, .. })) => {
                if let Some(process) = rbuild_executor::open_process(stopped)? {
                    rbuild_executor::kill_process(process.as_fd())?;
                }
                exit_code(&monitor).map(drop)
            }
            killed => killed,
        }
    }

    fn recorded_code(&self, container: &Container) -> Result<i32, Error> {
        Ok(match self.container(&container.id)?.state {
            ContainerState::Exited(code) => code,
            ContainerState::Created | ContainerState::Running => 0,
        })
    }
}

/// The moment in so many seconds; none when it is for ever.
fn deadline(seconds: i64) -> Option<Instant> {
    let seconds = u64::try_from(seconds).ok()?;
    Instant::now().checked_add(Duration::from_secs(seconds))
}

/// True if there is a message before `limit`.
fn has_message(monitor: &Attached, limit: Option<Instant>) -> Result<bool, Error> {
    loop {
        let left = match limit {
            Some(limit) => {
                let left = limit.saturating_duration_since(Instant::now()).as_millis();
                // a wait of several hours is done in parts
                PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX))
            }
            None => PollTimeout::NONE,
        };
        let mut watched = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, left) {
            Ok(0) if limit.is_some_and(|limit| Instant::now() >= limit) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(super::start::stream_failure(errno.into())),
        }
    }
}

/// Waits for the end of a container whose program ends.
fn ended(monitor: &Attached, container: &Container) -> Result<(), Error> {
    loop {
        if let MonitorMessage::Ended(_) | MonitorMessage::Gone = monitor.answer(&container.name)? {
            return Ok(());
        }
    }
}

/// Waits for the end; `None` when the monitor was killed.
fn exit_code(monitor: &Attached) -> Result<Option<i32>, Error> {
    loop {
        match monitor.next()? {
            MonitorMessage::Ended(code) => return Ok(Some(code)),
            MonitorMessage::Gone => return Ok(None),
            _ => {}
        }
    }
}

/// The number of a signal: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
#[must_use]
pub fn parse_signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=*REAL_TIME.end()).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let (base, offset) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => (*REAL_TIME.start(), rest),
        (_, Some(rest)) => (*REAL_TIME.end(), rest),
        _ => return format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32),
    };
    let offset = if offset.is_empty() { 0 } else { offset.parse::<i32>().ok()? };
    let number = base.checked_add(offset)?;
    REAL_TIME.contains(&number).then_some(number)
}

/// Starts `command` as a process of its own, with `socket` as its standard input and nothing else of this one: a program that calls
/// [`Engine::monitor`].
///
/// # Errors
/// [`Error::Io`] when it cannot be started.
pub fn start_detached(mut command: Command, socket: OwnedFd) -> Result<(), Error> {
    command.stdin(socket).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    rbuild_sys::host_program::detach(&mut command);
    let program = command.get_program().into();
    // not waited for: it outlives this process, or ends with the container that this one waits for
    command.spawn().map(drop).map_err(|source| Error::Io { action: "execute", path: program, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("TERM", Some(15)),
            ("sigkill", Some(9)),
            ("15", Some(15)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMIN", Some(34)),
            ("0", None),
            ("65", None),
            ("", None),
            ("nothing", None),
            ("RTMIN+40", None),
        ] {
            assert_eq!(parse_signal(text), number, "{text}");
        }
    }
}
