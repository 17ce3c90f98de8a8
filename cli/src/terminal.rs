//! The terminal that a person sits at: its size, and raw mode.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Lines.
    pub(crate) rows: u16,
    /// Characters in a line.
    pub(crate) columns: u16,
}

impl Size {
    /// The size of `terminal`; 80 × 24 when it is not a terminal, or does not know its size.
    pub(crate) fn of(terminal: impl AsFd) -> Self {
        let found = tcgetwinsize(terminal).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
        found.map_or(Self { rows: 24, columns: 80 }, |size| Self { rows: size.ws_row, columns: size.ws_col })
    }
}

/// A terminal in raw mode; dropping it puts the mode back.
pub(crate) struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Passes every key through unread and unechoed until the value is dropped (cfmakeraw(3)).
    ///
    /// # Errors
    /// The kernel's; `ENOTTY` if it is not a terminal.
    pub(crate) fn enter(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal: terminal.try_clone_to_owned()?, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // the terminal may be gone, and then there is no mode to put back
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
