//! JSON arrays of strings: the exec form.

use pest::Parser as _;

use crate::grammar::dockerfile::{DockerfileGrammar, Rule};
use crate::place::Operands;
use crate::{ParseError, Problem, Word, simple};

/// The strings of operands in exec form, each with its place; `None` when the operands are not a JSON array, which
/// makes them the other form of their instruction.
///
/// # Errors
/// [`Problem::JsonNotStrings`] when they are a JSON array of something else.
pub(crate) fn exec_form(operands: &Operands<'_>) -> Result<Option<Vec<Word>>, ParseError> {
    if !operands.text.starts_with('[') {
        return Ok(None);
    }
    if let Some(strings) = simple::strings(operands.text) {
        let word =
            |written: &str| operands.place.word_from(written[1..written.len() - 1].to_owned(), written);
        return Ok(Some(strings.into_iter().map(word).collect()));
    }
    let Some(strings) = strings_by_grammar(operands.text) else {
        return match serde_json::from_str::<serde_json::Value>(operands.text) {
            Ok(serde_json::Value::Array(_)) => Err(ParseError {
                problem: Problem::JsonNotStrings,
                lines: None,
                span: Some(operands.place.span(operands.text)),
            }),
            Ok(_) | Err(_) => Ok(None),
        };
    };
    let word = |written: &str| operands.place.word_from(unescape(&written[1..written.len() - 1]), written);
    Ok(Some(strings.into_iter().map(word).collect()))
}

/// The strings, as they are written, with their quotes.
pub(crate) fn strings_by_grammar(text: &str) -> Option<Vec<&str>> {
    let mut parsed = DockerfileGrammar::parse(Rule::exec_form, text).ok()?;
    let strings = parsed.next().into_iter().flat_map(pest::iterators::Pair::into_inner);
    let strings = strings.filter(|pair| pair.as_rule() == Rule::json_string);
    Some(strings.map(|pair| pair.as_str().trim_end()).collect())
}

/// The characters a JSON string stands for. A surrogate without its other half becomes U+FFFD, as in Go.
fn unescape(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let kind = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or("");
        match kind {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let (character, after) = code_point(rest);
                out.push(character);
                rest = after;
            }
            other => out.push(char::from(other)),
        }
    }
    out.push_str(rest);
    out
}

/// The character of four hexadecimal digits, or of eight with `\u` between them (a pair of surrogates), and what follows
/// it.
fn code_point(digits: &str) -> (char, &str) {
    let unit = |text: &str| text.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let Some(first) = unit(digits) else { return (char::REPLACEMENT_CHARACTER, digits) };
    let rest = &digits[4..];
    if (0xD800..0xDC00).contains(&first)
        && let Some(second) = rest.strip_prefix("\\u").and_then(unit)
        && (0xDC00..0xE000).contains(&second)
    {
        let joined = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER), &rest[6..]);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_json() {
        assert_eq!(unescape(r#"a\"b\\c\/\n\t"#), "a\"b\\c/\n\t");
        assert_eq!(unescape(r"\u00e9\ud83d\ude00"), "é😀");
        assert_eq!(unescape(r"\ud83dx"), "\u{fffd}x");
        assert_eq!(unescape(r"\ude00"), "\u{fffd}");
    }
}
