//! Standard output and standard error: the only place that writes to them. What people read is a [`Shown`]; answers that
//! programs read go out as they are, unless a terminal reads them.

use crate::{
    error::CliError,
    shown::{Color, Shown, StepOutput},
};
use std::io::{self, IsTerminal, Stderr, Stdout, Write};

/// What a command answers on standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// For people: tables and messages.
    Text(String),
    /// For programs: JSON, and what a template makes.
    Data(String),
}

/// Writes `answer` to standard output.
pub(crate) fn answer(answer: &Answer) -> Result<(), CliError> {
    match answer {
        Answer::Text(text) => print(text),
        Answer::Data(data) => print_data(data),
    }
}

/// Writes `text` for people to standard output.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    print_shown(&Shown::from(text))
}

/// Writes `shown` to standard output.
pub(crate) fn print_shown(shown: &Shown) -> Result<(), CliError> {
    write(shown.as_bytes())
}

/// Writes what programs read to standard output.
pub(crate) fn print_data(text: &str) -> Result<(), CliError> {
    if stdout().is_terminal() { print(text) } else { write(text.as_bytes()) }
}

/// Writes to standard error. When it is gone nobody can be told.
pub(crate) fn tell(shown: &Shown) {
    let _ = stderr().write_all(shown.as_bytes());
}

/// What standard error makes of the output of steps.
pub(crate) fn step_output(color: Color) -> StepOutput {
    match color {
        _ if !stderr().is_terminal() => StepOutput::Unchanged,
        Color::On => StepOutput::Colored,
        Color::Off => StepOutput::Plain,
    }
}

/// Standard output, for bytes that are no text: archives, and what a container writes to its own terminal.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub(crate) fn stdout() -> Stdout {
    io::stdout()
}

/// Standard error, to ask what it is.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub(crate) fn stderr() -> Stderr {
    io::stderr()
}

fn write(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(CliError::stdout)
}
