//! Operands that are a command, in shell form or exec form.

use crate::json::exec_form;
use crate::place::Operands;
use crate::{CommandLine, ParseError};

/// The command of RUN, CMD, ENTRYPOINT or HEALTHCHECK CMD. Without any text it is an empty shell form.
pub(crate) fn command_line(operands: &Operands<'_>) -> Result<CommandLine, ParseError> {
    Ok(match exec_form(operands)? {
        Some(words) => CommandLine::Exec(words.into_iter().map(|word| word.value).collect()),
        None => CommandLine::Shell(operands.place.word(operands.text)),
    })
}
