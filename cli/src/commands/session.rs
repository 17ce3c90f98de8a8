//! The person's side of a running container: signals go in, and with a terminal of its own also keys and window sizes, while
//! its output comes out.
//!
//! The thread that started the container waits for it (its program would be killed with that thread); a second thread carries
//! bytes and signals until the first one says that it is over.

use super::signals::Signals;
use crate::{error::CliError, options::DetachKeys, streams, terminal::RawMode};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        signalfd::SignalFd,
    },
    unistd::{Pid, pipe, read, write},
};
use rbuild::{ContainerStdio, ForegroundContainer};
use rustix::termios::{tcgetwinsize, tcsetwinsize};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

/// Asking as often as this to stop means it.
const PATIENCE: usize = 3;

/// Stays with the container until it ends; gives its exit code.
pub(super) fn attend(container: ForegroundContainer, signals: &Signals) -> Result<i32, CliError> {
    let program = Program { pid: container.pid(), terminal: Ok(None), stdin: ContainerStdio::Null };
    attend_program(program, signals, || Ok(container.wait()?))
}

/// A program in a sandbox, as its person reaches it.
pub(super) struct Program {
    pub(super) pid: i32,
    /// The master side of its terminal.
    pub(super) terminal: io::Result<Option<OwnedFd>>,
    pub(super) stdin: ContainerStdio,
}

/// Stays at the terminal of a program until its `process` has ended; true if the person left it by `keys`.
pub(super) fn attend_terminal(
    program: Program,
    keys: DetachKeys,
    process: BorrowedFd<'_>,
    signals: &Signals,
) -> Result<bool, CliError> {
    let Program { pid, terminal, stdin } = program;
    let terminal =
        terminal.map_err(|source| CliError::Stream { action: "share the program's terminal", source })?;
    let keyboard = (stdin == ContainerStdio::Inherit).then(io::stdin);
    // raw as long as this value lives, whatever happens
    let _raw = keyboard.as_ref().and_then(|stdin| RawMode::enter(stdin.as_fd()).ok());
    let carrier = Carrier {
        pid: Pid::from_raw(pid),
        signals: signals.source(),
        over: process,
        terminal: terminal.as_ref().map(OwnedFd::as_fd),
        keyboard: keyboard.as_ref().map(AsFd::as_fd),
        keys: Some(keys),
        is_left: false,
        typed: Vec::new(),
        asked: 0,
    };
    carrier.pass_window_size();
    Ok(carrier.run())
}

/// Stays with a program until `wait` has seen its end; gives what that returns.
pub(super) fn attend_program(
    program: Program,
    signals: &Signals,
    wait: impl FnOnce() -> Result<i32, CliError>,
) -> Result<i32, CliError> {
    let failed = |action| move |error: io::Error| CliError::Stream { action, source: error };
    let Program { pid, terminal, stdin } = program;
    let terminal = terminal.map_err(failed("share the container's terminal"))?;
    let keyboard = match (&terminal, stdin) {
        (Some(_), ContainerStdio::Inherit) => Some(io::stdin()),
        _ => None,
    };
    // raw as long as this value lives, whatever happens
    let raw = keyboard.as_ref().and_then(|stdin| RawMode::enter(stdin.as_fd()).ok());
    let (over, ended) = pipe().map_err(io::Error::from).map_err(failed("make a pipe"))?;
    let pid = Pid::from_raw(pid);
    let code = thread::scope(|scope| {
        let carrier = Carrier {
            pid,
            signals: signals.source(),
            over: over.as_fd(),
            terminal: terminal.as_ref().map(OwnedFd::as_fd),
            keyboard: keyboard.as_ref().map(AsFd::as_fd),
            keys: None,
            is_left: false,
            typed: Vec::new(),
            asked: 0,
        };
        scope.spawn(move || carrier.run());
        let code = wait();
        drop(ended);
        code
    });
    drop(raw);
    code
}

/// Carries bytes and signals between the person and the container.
struct Carrier<'a> {
    pid: Pid,
    signals: &'a SignalFd,
    /// Hangs up when the container has ended.
    over: BorrowedFd<'a>,
    terminal: Option<BorrowedFd<'a>>,
    keyboard: Option<BorrowedFd<'a>>,
    /// The keys by which the person leaves, where that can be done.
    keys: Option<DetachKeys>,
    /// True once they were typed.
    is_left: bool,
    /// Keys that the container has not taken yet.
    typed: Vec<u8>,
    /// How often it was asked to stop.
    asked: usize,
}

/// The next thing to do.
struct Ready {
    signals: bool,
    over: bool,
    output: bool,
    room: bool,
    keys: bool,
}

impl Carrier<'_> {
    /// Carries until the container has ended, or the person leaves it: that is true.
    fn run(mut self) -> bool {
        let mut buffer = vec![0; 16 * 1024];
        while !self.is_left {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(Errno::EINTR) => continue,
                Err(_) => return false,
            };
            if ready.signals {
                self.pass_signals();
            }
            if ready.room {
                self.type_into_container();
            }
            if ready.keys {
                self.read_keys(&mut buffer);
            }
            if ready.output {
                // all of it, before the end is looked at
                self.show_output(&mut buffer);
            } else if ready.over {
                return false;
            }
        }
        true
    }

    fn wait(&self) -> Result<Ready, Errno> {
        let mut watched = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.over, PollFlags::POLLIN),
        ];
        let mut terminal_events = PollFlags::POLLIN;
        if !self.typed.is_empty() {
            terminal_events |= PollFlags::POLLOUT;
        }
        watched.extend(self.terminal.map(|terminal| PollFd::new(terminal, terminal_events)));
        // keys are read only when the container has taken those before
        let keyboard = self.keyboard.filter(|_| self.typed.is_empty());
        watched.extend(keyboard.map(|keyboard| PollFd::new(keyboard, PollFlags::POLLIN)));
        poll(&mut watched, PollTimeout::NONE)?;
        let events = |at: usize| watched.get(at).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let terminal = if self.terminal.is_some() { events(2) } else { PollFlags::empty() };
        let keys = if keyboard.is_some() { events(watched.len() - 1) } else { PollFlags::empty() };
        Ok(Ready {
            signals: !events(0).is_empty(),
            over: !events(1).is_empty(),
            output: terminal.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR),
            room: terminal.contains(PollFlags::POLLOUT),
            keys: !keys.is_empty(),
        })
    }

    fn pass_signals(&mut self) {
        while let Ok(Some(received)) = self.signals.read_signal() {
            let Ok(signal) = Signal::try_from(received.ssi_signo as i32) else { continue };
            if signal == Signal::SIGWINCH {
                self.pass_window_size();
                continue;
            }
            let stopping = matches!(signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP);
            self.asked += usize::from(stopping);
            let signal = if self.asked >= PATIENCE { Signal::SIGKILL } else { signal };
            // it may have ended in this moment
            let _ = kill(self.pid, signal);
        }
    }

    fn pass_window_size(&self) {
        if let (Some(terminal), Ok(size)) = (self.terminal, tcgetwinsize(streams::stdout())) {
            // a terminal of the wrong size still works
            let _ = tcsetwinsize(terminal, size);
        }
    }

    fn type_into_container(&mut self) {
        let Some(terminal) = self.terminal else { return };
        match write(terminal, &self.typed) {
            Ok(taken) => drop(self.typed.drain(..taken)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.typed.clear(),
        }
    }

    fn read_keys(&mut self, buffer: &mut [u8]) {
        let Some(keyboard) = self.keyboard else { return };
        match read(keyboard, buffer) {
            Ok(0) => self.keyboard = None,
            Ok(length) => match &mut self.keys {
                None => self.typed.extend_from_slice(&buffer[..length]),
                Some(keys) => {
                    let (typed, is_left) = keys.take(&buffer[..length]);
                    self.typed.extend(typed);
                    self.is_left = is_left;
                }
            },
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.keyboard = None,
        }
    }

    fn show_output(&mut self, buffer: &mut [u8]) {
        let Some(terminal) = self.terminal else { return };
        match read(terminal, buffer) {
            Ok(length) if length > 0 => {
                let mut shown = &buffer[..length];
                while !shown.is_empty() {
                    match write(streams::stdout(), shown) {
                        Ok(taken) => shown = &shown[taken..],
                        Err(Errno::EINTR) => {}
                        Err(_) => return,
                    }
                }
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // EIO: the last program that had the terminal open is gone
            Ok(_) | Err(_) => self.terminal = None,
        }
    }
}
