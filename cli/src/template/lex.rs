//! Cuts a template into text and actions, and an action into words.

use crate::error::CliError;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Copied as it is.
    Text(String),
    /// The words between `{{` and `}}`.
    Action(Vec<Word>),
}

/// A word of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// `.`, `.A.B`, `$x.A`, `$`: a variable (`.` for the cursor) and the fields behind it.
    Path(String, Vec<String>),
    /// A function or keyword.
    Name(String),
    /// `"…"`, `` `…` ``.
    Text(String),
    /// A number.
    Number(f64),
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `:=` or `=`
    Assign,
    /// `,`
    Comma,
}

/// Cuts `template` at its actions; `{{-` and `-}}` take the white space beside them away, `{{/* */}}` is nothing.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece>, CliError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim_next = false;
    while let Some(start) = rest.find("{{") {
        let mut text = &rest[..start];
        let mut action = &rest[start + 2..];
        if trim_next {
            text = text.trim_start();
        }
        if let Some(inner) = action.strip_prefix("- ") {
            text = text.trim_end();
            action = inner;
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let end =
            end_of_action(action).ok_or_else(|| CliError::Template(":1: unclosed action".to_owned()))?;
        let mut inner = &action[..end];
        rest = &action[end + 2..];
        trim_next = inner.ends_with(" -");
        if trim_next {
            inner = &inner[..inner.len() - 2];
        }
        if !inner.trim_start().starts_with("/*") {
            pieces.push(Piece::Action(words(inner)?));
        }
    }
    let text = if trim_next { rest.trim_start() } else { rest };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(pieces)
}

/// Where `}}` stands outside of quotes.
fn end_of_action(action: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in action.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '`') => quote = Some(c),
            None if action[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

fn words(action: &str) -> Result<Vec<Word>, CliError> {
    let mut words = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, taken) = match first {
            '|' => (Word::Pipe, 1),
            '(' => (Word::Open, 1),
            ')' => (Word::Close, 1),
            ',' => (Word::Comma, 1),
            '=' => (Word::Assign, 1),
            ':' if rest.starts_with(":=") => (Word::Assign, 2),
            '"' => quoted(rest)?,
            '`' => {
                let end = rest[1..].find('`').ok_or_else(|| bad("unterminated raw quoted string"))?;
                (Word::Text(rest[1..=end].to_owned()), end + 2)
            }
            '.' | '$' => path(rest),
            c if c.is_ascii_digit() || c == '-' => number(rest)?,
            c if is_word(c) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Word::Name(rest[..end].to_owned()), end)
            }
            c => return Err(bad(&format!("unexpected {c:?} in command"))),
        };
        words.push(word);
        rest = rest[taken..].trim_start();
    }
    Ok(words)
}

fn path(text: &str) -> (Word, usize) {
    let end = text[1..].find(|c| !is_word(c) && c != '.').map_or(text.len(), |end| end + 1);
    let written = &text[..end];
    let (variable, fields) = match written.strip_prefix('$') {
        Some(_) => written.split_once('.').unwrap_or((written, "")),
        None => (".", &written[1..]),
    };
    let fields = fields.split('.').filter(|field| !field.is_empty()).map(str::to_owned).collect();
    (Word::Path(variable.to_owned(), fields), end)
}

fn number(text: &str) -> Result<(Word, usize), CliError> {
    let end = text[1..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(text.len(), |end| end + 1);
    let number = text[..end].parse().map_err(|_| bad(&format!("bad number syntax: {:?}", &text[..end])))?;
    Ok((Word::Number(number), end))
}

/// A quoted text: JSON's escapes are nearly Go's.
fn quoted(text: &str) -> Result<(Word, usize), CliError> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let closing = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closing
    });
    let (end, _) = end.ok_or_else(|| bad("unterminated quoted string"))?;
    let inner: String =
        serde_json::from_str(&text[..=end]).map_err(|_| bad("bad escape in quoted string"))?;
    Ok((Word::Text(inner), end + 1))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn bad(what: &str) -> CliError {
    CliError::Template(format!(":1: {what}"))
}
