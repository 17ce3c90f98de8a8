//! Reads the simple words, flags and substitutions without a grammar, because most files consist of them.
//!
//! Files are read on every build, and nine of ten words are simple. Each function returns `None` at the first character
//! that needs the grammar. Any other result is the one that the grammar gives, which the tests check.

use crate::Escape;
use crate::word_part::{Missing, Modifier, WordMode, WordPart};

/// `quoted_words` of the grammar, in a text without escapes.
pub(crate) fn quoted_words(text: &str, escape: Escape) -> Option<Vec<&str>> {
    if text.contains(escape.as_char()) {
        return None;
    }
    let mut words = Vec::new();
    let (mut start, mut open) = (None, None);
    for (at, c) in text.char_indices() {
        match open {
            Some(quote) if c == quote => open = None,
            Some(_) => {}
            None if c.is_whitespace() => words.extend(start.take().map(|start| &text[start..at])),
            None => {
                start = start.or(Some(at));
                open = matches!(c, '\'' | '"').then_some(c);
            }
        }
    }
    words.extend(start.map(|start| &text[start..]));
    Some(words)
}

/// `words` of the grammar.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\u{b}', '\u{c}', '\r']).filter(|word| !word.is_empty())
}

/// The strings of `exec_form` of the grammar, with their quotes, when none has an escape.
pub(crate) fn strings(text: &str) -> Option<Vec<&str>> {
    const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
    let mut strings = Vec::new();
    let mut rest = text.strip_prefix('[')?;
    loop {
        rest = rest.trim_start_matches(BLANKS);
        let inside = rest.strip_prefix('"')?;
        let end = inside.find(|c| c == '"' || c == '\\' || c < ' ')?;
        let after = inside[end..].strip_prefix('"')?;
        strings.push(&rest[..rest.len() - after.len()]);
        rest = after.trim_start_matches(BLANKS);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    rest.strip_prefix(']')?.trim_start_matches(BLANKS).is_empty().then_some(strings)
}

/// `flags` of the grammar, none of them with quotes or escapes: each whole, and what follows them.
pub(crate) fn flags(text: &str, escape: Escape) -> Option<(Vec<&str>, &str)> {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (word, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        if word == "--" {
            return Some((flags, after.trim()));
        }
        if word.contains(['\'', '"', escape.as_char()]) {
            return None;
        }
        flags.push(word);
        rest = after.trim_start();
    }
    Some((flags, rest.trim_end()))
}

/// `word` of the word grammar without escapes, mistakes and words in words.
pub(crate) fn word(text: &str, escape: Escape, mode: WordMode) -> Option<Vec<WordPart>> {
    let special = [escape.as_char(), '$', '\'', '"'];
    let special = if mode == WordMode::Heredoc { &special[..2] } else { &special[..] };
    let literal = |text: &str, quoted| WordPart::Literal { text: text.to_owned(), quoted };
    let (mut parts, mut rest, mut quoted) = (Vec::new(), text, false);
    let mut before_quote = 0;
    loop {
        // single quotes have no meaning in double ones
        let next = rest.find(|c| special.contains(&c) && !(quoted && c == '\'')).unwrap_or(rest.len());
        if next > 0 {
            parts.push(literal(&rest[..next], quoted));
        }
        rest = &rest[next..];
        if let Some(after) = rest.strip_prefix('$') {
            let (variable, after) = substitution(after, escape, quoted)?;
            parts.push(variable);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('"') {
            if quoted && parts.len() == before_quote {
                parts.push(literal("", true));
            }
            (quoted, before_quote, rest) = (!quoted, parts.len(), after);
        } else if let Some(after) = rest.strip_prefix('\'') {
            let (inside, after) = after.split_once('\'')?;
            parts.push(literal(inside, true));
            rest = after;
        } else {
            return (rest.is_empty() && !quoted).then_some(parts);
        }
    }
}

/// `NAME`, `{NAME}`, or `{NAME}` with a default or an alternative that is only text; and what follows it.
fn substitution(text: &str, escape: Escape, quoted: bool) -> Option<(WordPart, &str)> {
    let braced = text.strip_prefix('{');
    let start = braced.unwrap_or(text);
    let ascii = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, after) = start.split_at(start.find(|c| !ascii(c)).unwrap_or(start.len()));
    // names of other letters are left to the grammar
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let variable = |modifier| WordPart::Variable { name: name.to_owned(), modifier, quoted };
    if braced.is_none() {
        return after.chars().next().is_none_or(|c| c.is_ascii()).then(|| (variable(None), after));
    }
    let (inside, rest) = after.split_once('}')?;
    if inside.is_empty() {
        return Some((variable(None), rest));
    }
    let (missing, operator) = match inside.strip_prefix(':') {
        Some(operator) => (Missing::UnsetOrEmpty, operator),
        None => (Missing::Unset, inside),
    };
    let operand =
        operator.get(1..).filter(|text| !text.contains(['\'', '"', '$', '\\', escape.as_char()]))?;
    let word = match operand {
        "" => Vec::new(),
        text => vec![WordPart::Literal { text: text.to_owned(), quoted: false }],
    };
    match operator.as_bytes()[0] {
        b'-' => Some((variable(Some(Modifier::Default { missing, word })), rest)),
        b'+' => Some((variable(Some(Modifier::Alternative { missing, word })), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "a",
            "B_1",
            "=",
            " ",
            "\t",
            "\u{a0}",
            "é",
            "'",
            "\"",
            "\"\"",
            "''",
            "$",
            "$a",
            "${a}",
            "${",
            "}",
            ":-",
            "-",
            "+",
            ":",
            "?",
            "${a:-b c}",
            "${a+}",
            "--",
            "--x=y ",
            "--x ",
            "-- ",
            "\\",
            "`",
            "\n",
            "1",
            "#",
            "/",
        ];
        prop::collection::vec(prop::sample::select(PIECES), 0..10).prop_map(|pieces| pieces.concat())
    }

    fn escape() -> impl Strategy<Value = Escape> {
        prop_oneof![Just(Escape::Backslash), Just(Escape::Backtick)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn plain_words_are_those_of_the_grammar(text in "[a\"\\\\é \t\u{b}\u{c}\r\u{a0}]{0,12}") {
            prop_assert_eq!(words(&text).collect::<Vec<_>>(), crate::transfer::words_by_grammar(&text));
        }

        #[test]
        fn strings_are_those_of_the_grammar(text in "\\[?[\"a\\\\,\\[\\] \té\n]{0,10}\\]? ?") {
            if let Some(strings) = strings(&text) {
                prop_assert_eq!(Some(strings), crate::json::strings_by_grammar(&text));
            }
        }

        #[test]
        fn words_are_those_of_the_grammar(text in text(), escape in escape()) {
            if let Some(words) = quoted_words(&text, escape) {
                prop_assert_eq!(words, crate::pairs::words_by_grammar(&text, escape));
            }
        }

        #[test]
        fn flags_are_those_of_the_grammar(text in text(), escape in escape()) {
            if let Some((flags, operands)) = flags(&text, escape) {
                let place = crate::place::Place::whole(&text);
                let (known, rest) = crate::flags::split_by_grammar(&text, &place, escape);
                let known: Vec<_> = known.iter().map(|flag| &text[flag.span.start..flag.span.end]).collect();
                prop_assert_eq!((flags, operands), (known, rest));
            }
        }

        #[test]
        fn parts_are_those_of_the_grammar(
            text in text(),
            escape in escape(),
            mode in prop_oneof![Just(WordMode::Single), Just(WordMode::List), Just(WordMode::Heredoc)],
        ) {
            let escape = if mode == WordMode::Heredoc { Escape::Backslash } else { escape };
            if let Some(parts) = word(&text, escape, mode) {
                prop_assert_eq!((parts, None), crate::word::read_by_grammar(&text, escape, mode));
            }
        }
    }

    /// The common forms do not need the grammar. If they did, the other tests would check nothing.
    #[test]
    fn ordinary_text_is_simple() {
        let escape = Escape::Backslash;
        assert!(quoted_words("A=b C=\"d e\" F='g'", escape).is_some());
        assert!(flags("--chown=a:b --link x y", escape).is_some());
        assert_eq!(strings("[ \"a b\",\"\" , \"c\" ] "), Some(vec!["\"a b\"", "\"\"", "\"c\""]));
        assert_eq!(strings("[\"a\\n\"]"), None);
        for text in ["$A", "${A}/b", "\"$A b\"", "'$A'", "a:${B:-c}", "\"${B+c}\""] {
            assert!(word(text, escape, WordMode::Single).is_some(), "{text}");
        }
        assert_eq!(word("\\$A", escape, WordMode::Single), None);
    }
}
