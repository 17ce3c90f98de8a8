//! The process that keeps the terminal of a program of `exec` that was left running: this program, started once more with an
//! argument that no person types. It reads what the program writes, which nobody sees, until the program has ended.

use crate::error::CliError;
use std::{
    ffi::OsString,
    io::{self, Read},
    os::fd::OwnedFd,
    process::{Command, ExitCode},
};

/// The only argument; `ps` shows it.
const WORD: &str = "keeper-of-terminal";

/// This program's file.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Keeps the master side of a terminal open until all programs have let go of it.
///
/// # Errors
/// [`CliError::Engine`] when the process cannot be started.
pub(crate) fn keep(terminal: OwnedFd) -> Result<(), CliError> {
    let mut command = Command::new(OWN_PROGRAM);
    command.arg(WORD).env_clear();
    Ok(rbuild::start_detached(command, terminal)?)
}

/// Keeps the terminal that is standard input, if that is what the arguments say.
pub(crate) fn run(words: &[OsString]) -> Option<ExitCode> {
    let [_, word] = words else { return None };
    if word != WORD {
        return None;
    }
    let (mut terminal, mut read) = (io::stdin().lock(), [0; 4096]);
    loop {
        match terminal.read(&mut read) {
            Ok(length) if length > 0 => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // EIO: the last program that had it open is gone
            Ok(_) | Err(_) => return Some(ExitCode::SUCCESS),
        }
    }
}
