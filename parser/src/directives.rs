//! Parser directives: `# key=value` comments at the top of the file.

use pest::Parser as _;

use crate::grammar::dockerfile::{DockerfileGrammar, Rule};
use crate::physical::PhysicalLine;
use crate::{Directives, Escape, Lines, ParseError, Problem, Span, Spanned};

/// Reads directives until the first line that is not a directive.
#[derive(Debug, Default)]
pub(crate) struct DirectiveReader {
    found: Directives,
    escape_seen: bool,
    over: bool,
}

impl DirectiveReader {
    /// A reader for text that has no directives but a known escape character.
    pub(crate) fn without_directives(escape: Escape) -> Self {
        Self { found: Directives { escape, ..Directives::default() }, escape_seen: false, over: true }
    }

    /// Takes `line` if it is a directive. The first other line ends the directives for good.
    pub(crate) fn take(&mut self, line: &PhysicalLine<'_>) -> Result<Taken, ParseError> {
        if self.over {
            return Ok(Taken::No);
        }
        let Some((key, value)) = read(line) else {
            self.over = true;
            return Ok(Taken::No);
        };
        let lines = Lines { first: line.number, last: line.number };
        let error = |problem| ParseError { problem, lines: Some(lines), span: Some(value.span) };
        let repeated = || error(Problem::RepeatedDirective { key: key.clone() });
        match key.as_str() {
            "syntax" if self.found.syntax.is_some() => return Err(repeated()),
            "check" if self.found.check.is_some() => return Err(repeated()),
            "escape" if self.escape_seen => return Err(repeated()),
            "syntax" => self.found.syntax = Some(value),
            "check" => self.found.check = Some(value),
            "escape" => {
                self.escape_seen = true;
                self.found.escape = match value.value.as_str() {
                    "\\" => Escape::Backslash,
                    "`" => Escape::Backtick,
                    token => return Err(error(Problem::InvalidEscape { token: token.to_owned() })),
                };
            }
            _ => {
                self.over = true;
                return Ok(Taken::No);
            }
        }
        Ok(Taken::Yes)
    }

    pub(crate) fn escape(&self) -> Escape {
        self.found.escape
    }

    pub(crate) fn finish(self) -> Directives {
        self.found
    }
}

/// The result of offering a line as a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    No,
}

/// The lower-cased key and the value of a line in the form of a directive.
fn read(line: &PhysicalLine<'_>) -> Option<(String, Spanned<String>)> {
    let text = line.content().trim_start();
    if !text.starts_with('#') {
        return None;
    }
    let start = line.content_end() - text.len();
    let directive = DockerfileGrammar::parse(Rule::directive, text).ok()?.next()?;
    let (mut key, mut value) = (String::new(), None);
    for pair in directive.into_inner() {
        match pair.as_rule() {
            Rule::directive_key => key = pair.as_str().to_ascii_lowercase(),
            Rule::directive_value => value = Some((pair.as_str(), start + pair.as_span().start())),
            _ => {}
        }
    }
    let (whole, start) = value?;
    let trimmed = whole.trim_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if trimmed.is_empty() {
        // a value of blanks only becomes one blank, which only `escape` refuses
        return Some((
            key,
            Spanned { value: " ".to_owned(), span: Span { start, end: start + whole.len() } },
        ));
    }
    let start = start + (trimmed.as_ptr() as usize - whole.as_ptr() as usize);
    Some((key, Spanned { value: trimmed.to_owned(), span: Span { start, end: start + trimmed.len() } }))
}
