//! The process that stays with a container: this program, started once more with arguments of its own that no person types.

use crate::{app::App, environment::Environment, error::CliError, exit, streams, terminal::Size};
use rbuild::{Attached, ClientOptions, Container, Engine, EngineOptions, MonitorMessage, UnmetLimit};
use std::{
    ffi::OsString,
    io,
    os::fd::AsFd,
    process::{Command, ExitCode},
};

/// The first argument; `ps` shows it.
const WORD: &str = "monitor-of-container";

/// This program's file.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// What a caller does with the container that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// It leaves it alone.
    Leaves,
    /// It watches.
    Watches,
    /// It types too.
    Types,
}

/// Starts the program of a container that does not run, with a process that stays with it. Returns a connection that has all that
/// the program writes, unless the caller leaves. A terminal begins with the size of the caller's.
///
/// # Errors
/// [`CliError::NotStarted`] when the program cannot be started.
pub(crate) fn start(app: &App, container: &Container, caller: Caller) -> Result<Attached, CliError> {
    let (attached, socket) = Attached::pair()?;
    match caller {
        Caller::Leaves => {}
        Caller::Watches => attached.watch()?,
        Caller::Types => attached.attach()?,
    }
    if caller != Caller::Leaves && container.has_terminal() {
        let Size { rows, columns } = Size::of(streams::stdout());
        attached.resize(rows, columns)?;
    }
    let mut command = Command::new(OWN_PROGRAM);
    command.arg(WORD).arg(app.root()).arg(&container.id).env_clear();
    command.envs(app.environment.filled("PATH").map(|path| ("PATH", path)));
    rbuild::start_detached(command, socket)?;
    loop {
        match attached.next()? {
            MonitorMessage::Started => return Ok(attached),
            MonitorMessage::Failed { code, reason } => return Err(CliError::NotStarted { code, reason }),
            MonitorMessage::Unmet(UnmetLimit { flags, reason }) => warn_of_limit(&flags, &reason),
            MonitorMessage::NoNetwork(reason) => tell_of_network(&reason),
            MonitorMessage::HealthUnnoted(reason) => {
                exit::warn(&format!(
                    "the health of the container is not shown, because it is noted nowhere: {reason}"
                ));
            }
            MonitorMessage::Gone => {
                let reason = "the process that should stay with the container has ended".to_owned();
                return Err(CliError::NotStarted { code: 125, reason });
            }
            _ => {}
        }
    }
}

/// Warns of a limit that is not in force.
pub(crate) fn warn_of_limit(flags: &str, reason: &str) {
    exit::warn(&format!("no effect of {flags}: {reason}"));
}

/// Says that a container has no network of its own.
pub(crate) fn tell_of_network(reason: &str) {
    exit::tell(&format!(
        "{reason}: the network of the container is the host's, whose local services it can reach; its ports are the host's, \
         where users get none below 1024 (--network host asks for this, without a note)"
    ));
}

/// Stays with a container, if that is what the arguments say.
pub(crate) fn run(words: &[OsString], environment: &Environment) -> Option<ExitCode> {
    let [_, word, root, id] = words else { return None };
    if word != WORD {
        return None;
    }
    let options =
        EngineOptions { root: root.into(), registry: ClientOptions::default(), clock: environment.clock };
    let caller = io::stdin().as_fd().try_clone_to_owned();
    let (Ok(engine), Some(id), Ok(caller)) = (Engine::open(options), id.to_str(), caller) else {
        // who asked for it sees that it has ended
        return Some(ExitCode::FAILURE);
    };
    engine.monitor(id, caller, exit::start_failure);
    Some(ExitCode::SUCCESS)
}
