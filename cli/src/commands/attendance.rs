//! The person's side of a container that a monitor keeps: keys and signals go in, its output comes out, until it ends or the person
//! leaves it running.

use super::signals::Signals;
use crate::{
    app::App,
    args::AttachArgs,
    error::{CliError, UsageError},
    exit::tell,
    options::DetachKeys,
    streams,
    terminal::RawMode,
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{signal::Signal, signalfd::SignalFd},
    unistd::read,
};
use rbuild::{Attached, Container, ContainerState, MonitorMessage, OutputStream, PauseError};
use rustix::termios::tcgetwinsize;
use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
};

/// The exit code of a container that was killed with the process that stayed with it.
const KILLED: u8 = 137;

/// What a person does with a container beside watching it.
pub(super) struct Part {
    /// Types into it.
    types: bool,
    /// Passes signals on.
    passes_signals: bool,
    /// Is at a terminal of the container.
    has_terminal: bool,
    keys: DetachKeys,
}

impl Part {
    /// The part of a person who types into a container, or only watches it.
    pub(super) fn of(types: bool, keys: DetachKeys) -> Self {
        Self { types, passes_signals: true, has_terminal: false, keys }
    }

    /// The same for a person who passes signals on, or keeps them.
    pub(super) fn passing_signals(self, passes_signals: bool) -> Self {
        Self { passes_signals, ..self }
    }

    /// The same for one with a terminal, if `container` has one.
    pub(super) fn for_container(self, container: &Container) -> Self {
        Self { has_terminal: container.has_terminal(), ..self }
    }
}

/// `attach`.
pub(super) fn attach(app: &App, args: &AttachArgs) -> Result<u8, CliError> {
    let keys = DetachKeys::parse(args.detach_keys.as_deref())?;
    let container = app.engine()?.container(&args.container)?;
    if container.state != ContainerState::Running {
        return Err(is_stopped());
    }
    if container.paused {
        return Err(rbuild::Error::from(PauseError::Attach(container.name)).into());
    }
    let part = Part { passes_signals: args.sig_proxy, ..Part::of(!args.no_stdin, keys) };
    Ok(match attend_running(app, &container, part)? {
        Visited::LeftByKeys => left_by_keys(),
        other => other.code(),
    })
}

/// How a visit to a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visited {
    /// With the container, whose exit code this is.
    Ended(u8),
    /// The person was asked to go, or the terminal went.
    Left,
    /// The person has typed the keys that leave it.
    LeftByKeys,
    /// With the process that stays with the container, which was killed and said nothing.
    Lost,
}

impl Visited {
    /// The exit code of a command that has started the container: it did what it was asked to when the person left.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Ended(code) => code,
            Self::Left | Self::LeftByKeys => 0,
            Self::Lost => KILLED,
        }
    }
}

/// Tells of the end of a command that was only there to stay, as docker does; its exit code.
pub(super) fn left_by_keys() -> u8 {
    tell("read escape sequence");
    1
}

/// Goes to a container that runs.
pub(super) fn attend_running(app: &App, container: &Container, part: Part) -> Result<Visited, CliError> {
    let engine = app.engine()?;
    let attached = match engine.connect(container) {
        Err(rbuild::Error::ContainerNotRunning(_)) => return Err(is_stopped()),
        connected => connected?,
    };
    let part = part.for_container(container);
    let signals = Signals::take()?;
    if part.types {
        attached.attach()?;
    } else {
        attached.watch()?;
    }
    match attend(&attached, &signals, part)? {
        // who was let in hears of an end that is written down: this one came too late
        Visited::Lost if engine.container(&container.id)?.state != ContainerState::Exited(KILLED.into()) => {
            Err(is_stopped())
        }
        visited => Ok(visited),
    }
}

fn is_stopped() -> CliError {
    CliError::Refused("You cannot attach to a stopped container, start it first".to_owned())
}

/// Stays with a container until it ends, or until the person leaves.
pub(super) fn attend(attached: &Attached, signals: &Signals, part: Part) -> Result<Visited, CliError> {
    let stdin = io::stdin();
    let at_terminal = part.has_terminal && part.types;
    if at_terminal && !stdin.is_terminal() {
        return Err(UsageError::new("the input device is not a TTY").into());
    }
    // raw as long as this value lives, whatever happens
    let _raw = if at_terminal { RawMode::enter(stdin.as_fd()).ok() } else { None };
    let mut visit = Visit { attached, signals: signals.source(), types: part.types, part };
    visit.pass_window_size()?;
    loop {
        let (signaled, spoken, typed) = match visit.wait() {
            Ok(ready) => ready,
            Err(Errno::EINTR) => continue,
            Err(errno) => {
                return Err(CliError::Stream { action: "wait for the container", source: errno.into() });
            }
        };
        if signaled && visit.pass_signals()? {
            return Ok(Visited::Left);
        }
        if spoken && let Some(end) = visit.listen()? {
            return Ok(end);
        }
        if typed && visit.pass_keys()? {
            return Ok(Visited::LeftByKeys);
        }
    }
}

struct Visit<'a> {
    attached: &'a Attached,
    signals: &'a SignalFd,
    part: Part,
    /// There may be more to type.
    types: bool,
}

impl Visit<'_> {
    fn wait(&self) -> Result<(bool, bool, bool), Errno> {
        let stdin = io::stdin();
        let mut watched = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.attached.as_fd(), PollFlags::POLLIN),
        ];
        if self.types {
            watched.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        poll(&mut watched, PollTimeout::NONE)?;
        let happened = |at: usize| watched.get(at).and_then(PollFd::any).unwrap_or(false);
        Ok((happened(0), happened(1), happened(2)))
    }

    /// Hands signals on; true if the person goes: their terminal is gone, or they are asked to end while at a terminal.
    fn pass_signals(&mut self) -> Result<bool, CliError> {
        while let Ok(Some(received)) = self.signals.read_signal() {
            let Ok(signal) = Signal::try_from(received.ssi_signo as i32) else { continue };
            match signal {
                Signal::SIGWINCH => self.pass_window_size()?,
                _ if self.part.has_terminal || !self.part.passes_signals => return Ok(true),
                signal => self.attached.signal(signal as i32)?,
            }
        }
        Ok(false)
    }

    fn pass_window_size(&self) -> Result<(), CliError> {
        if self.part.has_terminal
            && let Ok(size) = tcgetwinsize(streams::stdout())
        {
            self.attached.resize(size.ws_row, size.ws_col)?;
        }
        Ok(())
    }

    /// Shows what the container says; the end of the visit when it has ended.
    fn listen(&mut self) -> Result<Option<Visited>, CliError> {
        let written = match self.attached.next()? {
            MonitorMessage::Output(OutputStream::Stdout, bytes) => show(streams::stdout(), &bytes),
            MonitorMessage::Output(OutputStream::Stderr, bytes) => show(streams::stderr(), &bytes),
            MonitorMessage::Ended(code) => return Ok(Some(Visited::Ended(code.clamp(0, 255) as u8))),
            MonitorMessage::Gone => return Ok(Some(Visited::Lost)),
            MonitorMessage::Started
            | MonitorMessage::Failed { .. }
            | MonitorMessage::Unmet(_)
            | MonitorMessage::NoNetwork(_)
            | MonitorMessage::HealthUnnoted(_)
            | MonitorMessage::Done
            | MonitorMessage::Refused(_) => Ok(()),
        };
        written.map(|()| None).map_err(CliError::stdout)
    }

    /// Hands typed keys on; true if they were those that leave.
    fn pass_keys(&mut self) -> Result<bool, CliError> {
        let mut typed = vec![0; 16 << 10];
        match read(io::stdin().as_fd(), &mut typed) {
            Ok(0) => {
                self.types = false;
                self.attached.end_input()?;
            }
            Ok(length) if self.part.has_terminal => {
                let (passed, leaves) = self.part.keys.take(&typed[..length]);
                self.attached.type_in(&passed)?;
                return Ok(leaves);
            }
            Ok(length) => self.attached.type_in(&typed[..length])?,
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.types = false;
                self.attached.end_input()?;
            }
        }
        Ok(false)
    }
}

fn show(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).and_then(|()| stream.flush())
}
