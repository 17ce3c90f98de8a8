//! ONBUILD: an instruction kept for the images built on this one.

use crate::instruction::{Keyword, unknown};
use crate::{Heredoc, InstructionProblem};

/// The trigger's instruction, or the reason for which it may not be a trigger.
pub(crate) fn trigger_keyword(name: &str) -> Result<Keyword, InstructionProblem> {
    match Keyword::from_name(name) {
        Some(Keyword::Onbuild) => Err(InstructionProblem::ChainedOnbuild),
        Some(forbidden @ (Keyword::From | Keyword::Maintainer)) => {
            Err(InstructionProblem::ForbiddenTrigger { trigger: forbidden.name() })
        }
        Some(keyword) => Ok(keyword),
        None => Err(unknown(name)),
    }
}

/// The text an image's config keeps: the line without its `ONBUILD`, then each here-document's body and terminator.
/// Blanks stand before `ONBUILD` when the line before it is empty but for a continuation.
pub(crate) fn trigger_text(line: &str, keyword: &str, heredocs: &[Heredoc]) -> String {
    let mut text = line.trim_start()[keyword.len()..].trim_start().to_owned();
    for heredoc in heredocs {
        text.push('\n');
        text.push_str(&heredoc.body.value);
        text.push_str(&heredoc.name);
    }
    text
}
