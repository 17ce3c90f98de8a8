//! Operands that are a command, in shell form or exec form.

use crate::json::exec_form;
use crate::place::Operands;
use crate::{CommandLine, ParseError};

/// The command of RUN, CMD, ENTRYPOINT or HEALTHCHECK CMD. No text at all is a shell form of nothing.
pub(crate) fn command_line(operands: &Operands<'_>) -> Result<CommandLine, ParseError> {
    Ok(match exec_form(operands)? {
        Some(words) => CommandLine::Exec(words.into_iter().map(|word| word.value).collect()),
        None => CommandLine::Shell(operands.place.word(operands.text)),
    })
}
