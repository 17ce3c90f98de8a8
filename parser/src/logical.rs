//! Logical lines: an instruction's physical lines joined at their escape characters.

use std::borrow::Cow;

use crate::physical::{PhysicalLine, PhysicalLines};
use crate::place::Piece;
use crate::{Escape, ParseError};

/// An instruction's text with its continuation folded.
#[derive(Debug)]
pub(crate) struct LogicalLine<'a> {
    /// The joined text, left-trimmed, without comments.
    pub(crate) text: Cow<'a, str>,
    /// The places of its pieces in the file; never empty.
    pub(crate) pieces: Vec<Piece>,
    /// The number of its first physical line.
    pub(crate) first: usize,
    /// The number of its last physical line.
    pub(crate) last: usize,
    /// One past its last byte, line ending excluded.
    pub(crate) end: usize,
    /// Blank lines inside the continuation.
    pub(crate) gaps: Gaps,
}

/// Presence of blank lines in a continued instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gaps {
    None,
    Some,
}

/// Joins `line` and the lines that continue it. `None` for a blank line.
pub(crate) fn join<'a>(
    line: PhysicalLine<'a>,
    lines: &mut PhysicalLines<'a>,
    escape: Escape,
) -> Result<Option<LogicalLine<'a>>, ParseError> {
    let trimmed = line.content().trim_start();
    let start = line.content_end() - trimmed.len();
    let (text, mut open) = cut_continuation(trimmed, escape);
    if !open && text.is_empty() {
        return Ok(None);
    }
    lines.check_utf8(&line)?;
    let mut joined = LogicalLine {
        text: Cow::Borrowed(text),
        pieces: vec![Piece { logical: 0, file: start }],
        first: line.number,
        last: line.number,
        end: line.content_end(),
        gaps: Gaps::None,
    };
    while open {
        let Some(next) = lines.next()? else { break };
        joined.last = next.number;
        joined.end = next.content_end();
        if next.is_comment() {
            continue;
        }
        if next.raw.trim_start().is_empty() {
            joined.gaps = Gaps::Some;
            continue;
        }
        lines.check_utf8(&next)?;
        let (text, continues) = cut_continuation(next.content(), escape);
        open = continues;
        if joined.text.is_empty() {
            joined.pieces.clear();
        }
        joined.pieces.push(Piece { logical: joined.text.len(), file: next.start });
        joined.text.to_mut().push_str(text);
    }
    Ok(Some(joined))
}

/// The line without the escape character that continues it, and whether there was one. The escape character must be
/// last but for spaces and tabs, and not preceded by another one.
fn cut_continuation(line: &str, escape: Escape) -> (&str, bool) {
    let escape = escape.as_char();
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(text) if !text.ends_with(escape) => (text, true),
        Some(_) | None => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_last_escape_continues() {
        let cut = |line| cut_continuation(line, Escape::Backslash);
        assert_eq!(cut("a \\"), ("a ", true));
        assert_eq!(cut("a\\ \t"), ("a", true));
        assert_eq!(cut("\\"), ("", true));
        assert_eq!(cut("a \\\\"), ("a \\\\", false));
        assert_eq!(cut("a\\\\\\"), ("a\\\\\\", false));
        assert_eq!(cut("a `"), ("a `", false));
        assert_eq!(cut_continuation("a `", Escape::Backtick), ("a ", true));
    }
}
