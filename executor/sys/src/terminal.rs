//! Terminals: a pair for a container, raw mode for the one people sit at, window sizes.

use crate::mount::done;
use nix::{
    pty::{OpenptyResult, openpty},
    sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

/// Size of a terminal in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct TerminalPair {
    /// The end rbuild reads and writes.
    pub master: OwnedFd,
    /// The end that becomes the container's terminal.
    pub slave: OwnedFd,
}

/// A terminal in raw mode; dropping it puts the mode back.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

/// Opens a pseudo-terminal of the given size; both ends close at exec.
///
/// # Errors
/// The kernel's.
pub fn open_terminal_pair(size: WindowSize) -> io::Result<TerminalPair> {
    let OpenptyResult { master, slave } = openpty(None, None)?;
    for fd in [&master, &slave] {
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    let pair = TerminalPair { master, slave };
    set_window_size(std::os::fd::AsFd::as_fd(&pair.master), size)?;
    Ok(pair)
}

impl RawMode {
    /// Passes every key through unread and unechoed until the value is dropped (cfmakeraw(3)).
    ///
    /// # Errors
    /// The kernel's; `ENOTTY` if it is no terminal.
    pub fn enter(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(terminal, SetArg::TCSANOW, &raw)?;
        Ok(Self { terminal: terminal.try_clone_to_owned()?, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone; there is nobody left to tell.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}

/// The size of a terminal.
///
/// # Errors
/// The kernel's; `ENOTTY` if it is no terminal.
pub fn window_size(terminal: BorrowedFd<'_>) -> io::Result<WindowSize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one winsize structure.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the size of a terminal; its foreground processes get `SIGWINCH`.
///
/// # Errors
/// The kernel's; `ENOTTY` if it is no terminal.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one winsize structure.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
}
