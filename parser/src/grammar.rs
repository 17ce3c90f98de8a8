//! The two pest grammars, and how text is prepared for them.

use std::borrow::Cow;

use crate::Escape;

/// `grammar/dockerfile.pest`.
pub(crate) mod dockerfile {
    #[derive(pest_derive::Parser)]
    #[grammar = "../../grammar/dockerfile.pest"]
    pub(crate) struct DockerfileGrammar;
}

/// `grammar/word.pest`.
pub(crate) mod word {
    #[derive(pest_derive::Parser)]
    #[grammar = "../../grammar/word.pest"]
    pub(crate) struct WordGrammar;
}

/// Text for the grammars, which know only `\`: under `` escape=` `` the two characters change places. Byte offsets stay
/// the same, so the match of a rule is cut out of the original.
pub(crate) fn in_backslashes(text: &str, escape: Escape) -> Cow<'_, str> {
    match escape {
        Escape::Backslash => Cow::Borrowed(text),
        Escape::Backtick => Cow::Owned(
            text.chars()
                .map(|c| match c {
                    '\\' => '`',
                    '`' => '\\',
                    other => other,
                })
                .collect(),
        ),
    }
}

/// Text in which quotes have no meaning, because each is replaced by a control character that no rule knows.
pub(crate) fn without_quotes(text: &str) -> Cow<'_, str> {
    if text.contains(['\'', '"']) {
        Cow::Owned(text.replace(['\'', '"'], "\u{1}"))
    } else {
        Cow::Borrowed(text)
    }
}
