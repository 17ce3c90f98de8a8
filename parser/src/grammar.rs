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

/// Text for the grammars, which know `\` only: under `` escape=` `` the two characters trade places. Byte offsets stay
/// the same, so what a rule matched is cut out of the original.
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

/// Text in which quotes mean nothing: each is masked by a control character, which no rule knows.
pub(crate) fn without_quotes(text: &str) -> Cow<'_, str> {
    if text.contains(['\'', '"']) {
        Cow::Owned(text.replace(['\'', '"'], "\u{1}"))
    } else {
        Cow::Borrowed(text)
    }
}
