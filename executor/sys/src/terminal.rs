//! The pair of terminals for a container.

use crate::{
    fs::{Resolve, open_below},
    mount::{done, owned},
};
use nix::{
    fcntl::{OFlag, open},
    pty::{OpenptyResult, openpty},
    sys::{
        stat::Mode,
        statfs::{FsType, fstatfs},
    },
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// `DEVPTS_SUPER_MAGIC`.
const DEVPTS: FsType = FsType(0x1cd1);

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
    set_window_size(pair.master.as_fd(), size)?;
    Ok(pair)
}

/// Opens one of the terminals of a sandbox that runs, whose root is `root`: programs there find it by its name. `None` when the
/// sandbox has no file system for them.
///
/// # Errors
/// The kernel's.
pub fn open_terminal_below(root: BorrowedFd<'_>, size: WindowSize) -> io::Result<Option<TerminalPair>> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let found = open_below(root, Path::new("dev/pts/ptmx"), Resolve::BeneathNoSymlinks, flags, Mode::empty());
    let Ok(found) = found else { return Ok(None) };
    // anything may lie there, and is not opened before it is known to be harmless
    if fstatfs(&found)?.filesystem_type() != DEVPTS {
        return Ok(None);
    }
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let master = open(path.as_str(), OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?;
    let unlocked: libc::c_int = 0;
    // SAFETY: the kernel reads one integer.
    done(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the argument is an integer; the result is a new descriptor.
    let slave = owned(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())?;
    set_window_size(master.as_fd(), size)?;
    Ok(Some(TerminalPair { master, slave }))
}

fn set_window_size(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one winsize structure.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
}
