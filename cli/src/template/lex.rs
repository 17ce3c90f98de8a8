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
    /// `.A.B` directly behind a closing parenthesis.
    Fields(Vec<String>),
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
    // true directly behind a parenthesis, where fields are those of what it holds
    let mut behind = false;
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
            '.' if behind => match path(rest) {
                (Word::Path(_, fields), taken) => (Word::Fields(fields), taken),
                other => other,
            },
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest)?,
            '.' | '$' => path(rest),
            '\'' => character(rest)?,
            c if c.is_ascii_digit() || matches!(c, '-' | '+') => number(rest)?,
            c if is_word(c) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Word::Name(rest[..end].to_owned()), end)
            }
            c => return Err(bad(&format!("unexpected {c:?} in command"))),
        };
        behind = word == Word::Close && rest[taken..].starts_with('.');
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

/// A number as Go writes one: decimal, hexadecimal, octal or binary, with an exponent, with `_` between digits.
fn number(text: &str) -> Result<(Word, usize), CliError> {
    let mut before = ' ';
    let end = text.char_indices().find(|(at, c)| {
        let sign = matches!(c, '-' | '+') && (*at == 0 || matches!(before, 'e' | 'E'));
        before = *c;
        !sign && !is_word(*c) && *c != '.'
    });
    let end = end.map_or(text.len(), |(end, _)| end);
    let written = text[..end].replace('_', "");
    let (negative, digits) = match written.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, written.trim_start_matches('+')),
    };
    let lower = digits.to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefixed = radix.into_iter().find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)));
    let number = match prefixed {
        Some((digits, radix)) => i64::from_str_radix(digits, radix).ok().map(|number| number as f64),
        None => lower.parse::<f64>().ok().filter(|number| number.is_finite()),
    };
    let number = number.ok_or_else(|| bad(&format!("bad number syntax: {:?}", &text[..end])))?;
    Ok((Word::Number(if negative { -number } else { number }), end))
}

/// A character, which is a number to Go.
fn character(text: &str) -> Result<(Word, usize), CliError> {
    let (content, taken) = unquoted(text, '\'')?;
    let mut characters = content.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Ok((Word::Number(f64::from(u32::from(one))), taken)),
        _ => Err(bad(&format!("malformed character constant: {}", &text[..taken]))),
    }
}

fn quoted(text: &str) -> Result<(Word, usize), CliError> {
    let (content, taken) = unquoted(text, '"')?;
    Ok((Word::Text(content), taken))
}

/// What stands between `text`'s first character, which is `quote`, and the next one, and how long it is as written.
fn unquoted(text: &str, quote: char) -> Result<(String, usize), CliError> {
    let unterminated = match quote {
        '"' => "unterminated quoted string",
        _ => "unterminated character constant",
    };
    let mut content = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            c if c == quote => return Ok((content, at + c.len_utf8())),
            '\\' => {
                let (_, escape) = characters.next().ok_or_else(|| bad(unterminated))?;
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    '0'..='7' => 2,
                    _ => 0,
                };
                let digits: String = characters.by_ref().take(digits).map(|(_, digit)| digit).collect();
                let character =
                    escaped(escape, &digits).ok_or_else(|| bad("invalid syntax in quoted text"))?;
                content.push(character);
            }
            '\n' => return Err(bad(unterminated)),
            c => content.push(c),
        }
    }
    Err(bad(unterminated))
}

/// The character that Go means by `\` and `escape`, which may be followed by `digits`.
fn escaped(escape: char, digits: &str) -> Option<char> {
    let code = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    match escape {
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        '\\' | '"' | '\'' => Some(escape),
        'x' | 'u' | 'U' => code(digits, 16),
        '0'..='7' => code(&format!("{escape}{digits}"), 8),
        _ => None,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn bad(what: &str) -> CliError {
    CliError::Template(format!(":1: {what}"))
}
