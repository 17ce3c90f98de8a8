//! `create`, `start`, `stop`, `kill`, `restart`, `wait`, `rename` and `logs`.

use super::{
    attendance,
    naming::{each, together},
    signals::Signals,
};
use crate::{
    app::App,
    args::{KillArgs, LogsArgs, PauseArgs, RenameArgs, StartArgs, StopArgs, WaitArgs},
    error::{CliError, UsageError},
    monitor::{self, Caller},
    options::{DetachKeys, container_name},
    streams::{self, print},
};
use nix::sys::signal::Signal;
use rbuild::{ContainerState, Force, LogRequest, OutputStream, PauseError, Timestamp, parse_signal};
use rbuild_docker_api::moment;
use std::io::Write;

/// Starts containers that do not run; attached to one, gives its exit code.
pub(super) fn start(app: &App, args: &StartArgs) -> Result<u8, CliError> {
    let keys = DetachKeys::parse(args.detach_keys.as_deref())?;
    if !(args.attach || args.interactive) {
        return each(&args.containers, Force::No, app.environment.color(), |name| {
            let engine = app.engine()?;
            let container = engine.settled_container(name)?;
            if container.paused {
                return Err(rbuild::Error::from(PauseError::Start(container.name)).into());
            }
            if container.state != ContainerState::Running
                && let Err(error) = monitor::start(app, &container, Caller::Leaves)
                // another process may have been faster
                && engine.container(&container.id)?.state != ContainerState::Running
            {
                return Err(error);
            }
            print(&format!("{name}\n"))
        })
        .map(|()| 0);
    }
    let [name] = args.containers.as_slice() else {
        return Err(UsageError::refused("you cannot start and attach multiple containers at once").into());
    };
    let container = app.engine()?.settled_container(name)?;
    if container.state == ContainerState::Running {
        let part = attendance::Part::of(args.interactive, keys);
        return Ok(attendance::attend_running(app, &container, part)?.code());
    }
    let signals = Signals::take()?;
    let caller = if args.interactive { Caller::Types } else { Caller::Watches };
    let attached = monitor::start(app, &container, caller)?;
    let part = attendance::Part::of(args.interactive, keys).for_container(&container);
    Ok(attendance::attend(&attached, &signals, part)?.code())
}

/// Asks containers to stop, and makes those that do not.
pub(super) fn stop(app: &App, args: &StopArgs) -> Result<(), CliError> {
    let signal = args.signal.as_deref().map(signal).transpose()?;
    let engine = app.engine()?;
    together(&args.containers, Force::No, app.environment.color(), |name| {
        Ok(engine.stop_container(name, signal, args.timeout)?)
    })
}

/// Stops containers and starts them again.
pub(super) fn restart(app: &App, args: &StopArgs) -> Result<(), CliError> {
    let signal = args.signal.as_deref().map(signal).transpose()?;
    let engine = app.engine()?;
    together(&args.containers, Force::No, app.environment.color(), |name| {
        let container = engine.container(name)?;
        engine.stop_container(&container.id, signal, args.timeout)?;
        monitor::start(app, &container, Caller::Leaves)?;
        Ok(())
    })
}

/// Sends containers a signal.
pub(super) fn kill(app: &App, args: &KillArgs) -> Result<(), CliError> {
    let signal = signal(&args.signal)?;
    let engine = app.engine()?;
    together(&args.containers, Force::No, app.environment.color(), |name| {
        engine.signal_container(name, signal)?;
        if signal == Signal::SIGKILL as i32 {
            engine.wait_for_container(name).map(drop).or_else(gone)?;
        }
        Ok(())
    })
}

/// Makes containers stand still.
pub(super) fn pause(app: &App, args: &PauseArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    each(&args.containers, Force::No, app.environment.color(), |name| {
        engine.pause_container(name)?;
        print(&format!("{name}\n"))
    })
}

/// Lets paused containers go on.
pub(super) fn unpause(app: &App, args: &PauseArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    each(&args.containers, Force::No, app.environment.color(), |name| {
        engine.unpause_container(name)?;
        print(&format!("{name}\n"))
    })
}

/// Fine for a container that was to be removed with its program.
fn gone(error: rbuild::Error) -> Result<(), CliError> {
    match error {
        rbuild::Error::NoSuchContainer(_) => Ok(()),
        error => Err(error.into()),
    }
}

/// Waits for containers to end and prints their exit codes.
pub(super) fn wait(app: &App, args: &WaitArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    each(&args.containers, Force::No, app.environment.color(), |name| {
        print(&format!("{}\n", engine.wait_for_container(name)?))
    })
}

/// Gives a container another name.
pub(super) fn rename(app: &App, args: RenameArgs) -> Result<(), CliError> {
    if args.container.is_empty() || args.name.is_empty() {
        return Err(UsageError::refused("Neither old nor new names may be empty").into());
    }
    let name = container_name(args.name)?;
    app.engine()?.rename_container(&args.container, &name)?;
    Ok(())
}

/// Shows what a container has written.
pub(super) fn logs(app: &App, args: &LogsArgs) -> Result<(), CliError> {
    let time = |text: &Option<String>| -> Result<Option<Timestamp>, UsageError> {
        let Some(text) = text.as_deref() else { return Ok(None) };
        let found = moment(text, app.environment.now);
        found.map(Some).ok_or_else(|| UsageError::refused(format!("invalid value for a time: {text:?}")))
    };
    let request = LogRequest {
        follow: args.follow,
        // as with docker, what is no number is all
        tail: args.tail.parse().ok(),
        since: time(&args.since)?,
        until: time(&args.until)?,
    };
    let mut failure = None;
    let mut is_new = [true; 2];
    app.engine()?.logs(&args.container, &request, |entry| {
        let is_first = &mut is_new[usize::from(entry.stream == OutputStream::Stderr)];
        let mut bytes = Vec::new();
        if args.timestamps && *is_first {
            bytes.extend_from_slice(full(entry.time).as_bytes());
        }
        if args.details && *is_first {
            // no driver notes anything
            bytes.push(b' ');
        }
        *is_first = entry.ends_line();
        bytes.extend_from_slice(&entry.bytes);
        let written = match entry.stream {
            OutputStream::Stdout => write_all(&mut streams::stdout(), &bytes),
            OutputStream::Stderr => write_all(&mut streams::stderr(), &bytes),
        };
        failure = written.err();
        failure.is_none()
    })?;
    failure.map_or(Ok(()), |error| Err(CliError::stdout(error)))
}

fn write_all(stream: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).and_then(|()| stream.flush())
}

/// A moment with all of its nanoseconds, and a blank.
fn full(time: Timestamp) -> String {
    let seconds = Timestamp::from_seconds(time.seconds()).unwrap_or(time).to_string();
    format!("{}.{:09}Z ", seconds.trim_end_matches('Z'), time.nanoseconds())
}

fn signal(text: &str) -> Result<i32, UsageError> {
    parse_signal(text).ok_or_else(|| UsageError::refused(format!("invalid signal: {text}")))
}
