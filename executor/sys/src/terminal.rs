//! The pair of terminals for a container.

use crate::{
    SysError,
    fs::{Resolve, open_below},
    mount::{FilesystemContext, MountAttributes, done, owned},
};
use nix::{
    fcntl::{OFlag, open, openat},
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
    /// The file system that it is in, as a mount.
    pub devices: OwnedFd,
}

/// Opens a pseudo-terminal of the given size, the first one in a new file system for terminals, which is attached nowhere: in a
/// sandbox that gets it, programs find their terminal by its name. All close at exec.
///
/// # Errors
/// [`SysError`].
pub fn open_terminal_pair(size: WindowSize) -> Result<TerminalPair, SysError> {
    let devices = new_terminals()?;
    let fail = |source| SysError::call("open", "a new terminal", source);
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = openat(&devices, "ptmx", flags, Mode::empty()).map_err(|errno| fail(errno.into()))?;
    let slave = slave_of(&master).map_err(fail)?;
    set_window_size(master.as_fd(), size).map_err(fail)?;
    Ok(TerminalPair { master, slave, devices })
}

/// A new file system for terminals.
fn new_terminals() -> Result<OwnedFd, SysError> {
    let mount = |group: bool| {
        let context = FilesystemContext::open(c"devpts")?;
        context.set(c"ptmxmode", c"0666")?;
        context.set(c"mode", c"0620")?;
        if group {
            context.set(c"gid", c"5")?;
        }
        context.mount(MountAttributes::NO_SUID.and(MountAttributes::NO_EXEC))
    };
    // group 5, tty, may have no id in a user namespace
    mount(true).or_else(|_| mount(false))
}

/// The other end of a terminal.
fn slave_of(master: &OwnedFd) -> io::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: the kernel reads one integer.
    done(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the argument is an integer; the result is a new descriptor.
    owned(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// Opens one of the terminals of a sandbox that runs, whose root is `root`: programs there find it by its name. `None` when the
/// sandbox has no file system for them.
///
/// # Errors
/// The kernel's.
pub fn open_terminal_below(root: BorrowedFd<'_>, size: WindowSize) -> io::Result<Option<TerminalPair>> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let found = open_below(root, Path::new("dev/pts/ptmx"), Resolve::BeneathNoSymlinks, flags, Mode::empty());
    let devices = open_below(root, Path::new("dev/pts"), Resolve::BeneathNoSymlinks, flags, Mode::empty());
    let (Ok(found), Ok(devices)) = (found, devices) else { return Ok(None) };
    // anything may lie there, and is not opened before it is known to be harmless
    if fstatfs(&found)?.filesystem_type() != DEVPTS {
        return Ok(None);
    }
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let master = open(path.as_str(), OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?;
    let slave = slave_of(&master)?;
    set_window_size(master.as_fd(), size)?;
    Ok(Some(TerminalPair { master, slave, devices }))
}

fn set_window_size(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one winsize structure.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
}
