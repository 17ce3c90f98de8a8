//! The pair of terminals for a container.

use crate::mount::done;
use nix::pty::{OpenptyResult, openpty};
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

fn set_window_size(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one winsize structure.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
}
