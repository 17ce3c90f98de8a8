//! Standard output and standard error: the only place that writes to them. What people read is a [`Shown`]; answers that
//! programs read go out as they are, unless a terminal reads them.

use crate::{
    error::CliError,
    shown::{Color, Shown, StepOutput},
};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Stderr, Stdout, Write};

/// The answer of a command on standard output.
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

/// Writes what moves about on the terminal that standard output is.
pub(crate) fn redraw(sequence: &'static str) -> Result<(), CliError> {
    write(sequence.as_bytes())
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

/// Bytes of a line of a step's output that are shown as one line.
const LONGEST_LINE: u64 = 64 << 10;

/// Writes the output of a step to standard output, after a line with its `heading` if there is one: byte by byte, or, for a
/// terminal, in lines with nothing in them that it would obey but colors.
pub(crate) fn print_step_output(heading: &str, output: impl Read, color: Color) -> Result<(), CliError> {
    let (is_terminal, shown) = (stdout().is_terminal(), log_output(color));
    if !heading.is_empty() {
        print(&format!("{heading}\n"))?;
    }
    let mut output = BufReader::new(output);
    if !is_terminal && heading.is_empty() {
        let mut out = stdout().lock();
        let copied = io::copy(&mut output, &mut out).and_then(|_| out.flush());
        return copied.map_err(|source| CliError::Stream { action: "copy a log to standard output", source });
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = output.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(|source| CliError::Stream { action: "read a log", source })? == 0 {
            return Ok(());
        }
        let mut text = Shown::default();
        text.step_line(line.strip_suffix(b"\n").unwrap_or(&line), shown);
        print_shown(&text)?;
    }
}

/// Writes a line of a step's output to standard output, after a line with its `heading` if there is one.
pub(crate) fn print_log_lines(heading: Option<&str>, line: &[u8], color: Color) -> Result<(), CliError> {
    let mut text =
        heading.map_or_else(Shown::default, |heading| Shown::from(format!("{heading}\n").as_str()));
    text.step_line(line, log_output(color));
    print_shown(&text)
}

/// Writes a piece of a step's output to standard output, which is no terminal.
pub(crate) fn print_raw(bytes: &[u8]) -> Result<(), CliError> {
    write(bytes)
}

/// The treatment of steps' output on standard output.
fn log_output(color: Color) -> StepOutput {
    match color {
        _ if !stdout().is_terminal() => StepOutput::Unchanged,
        Color::On => StepOutput::Colored,
        Color::Off => StepOutput::Plain,
    }
}

/// Writes to standard error. A failure is ignored, because there is no other place to report it.
pub(crate) fn tell(shown: &Shown) {
    let _ = stderr().write_all(shown.as_bytes());
}

/// The treatment of steps' output on standard error.
pub(crate) fn step_output(color: Color) -> StepOutput {
    match color {
        _ if !stderr().is_terminal() => StepOutput::Unchanged,
        Color::On => StepOutput::Colored,
        Color::Off => StepOutput::Plain,
    }
}

/// Standard output, for bytes that are not text: archives, and what a container writes to its own terminal.
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
