//! The name of a step, as people see it: the instruction's text with variables replaced.
//!
//! A RUN is not expanded by the builder, so its name is a guess that has to stay readable: a variable that is not set
//! here may be the shell's and stays as it is written, with what is nested in it replaced, and quotes stay. This follows
//! Docker to the letter, because names are compared and searched for in logs.

use crate::env::Env;
use crate::scope::{expand_word, is_literal, special_at};
use rbuild_parser::{Escape, WordMode, expand};

/// The largest depth of substitutions inside each other.
const MAX_NESTING: usize = 100;

/// The name of a COPY, ADD or WORKDIR: its text, expanded when that works, the instruction in capitals.
pub(crate) fn file_step_name(text: &str, escape: Escape, env: &Env) -> String {
    let expanded = expand_word(text, escape, env).map_or_else(|_| text.to_owned(), |word| word.text);
    capitalise(expanded)
}

/// The name of a RUN: known variables replaced, unknown ones and quotes left alone.
pub(crate) fn run_step_name(text: &str, escape: Escape, env: &Env) -> String {
    if is_literal(text, escape) {
        return capitalise(text.to_owned());
    }
    let replaced = Reader { rest: text, escape, env, depth: 0 }.word(None, Escapes::Removed);
    capitalise(replaced.unwrap_or_else(|| text.to_owned()))
}

fn capitalise(mut text: String) -> String {
    let word = text.find(' ').unwrap_or(text.len());
    match text.get_mut(..word) {
        Some(word) if word.is_ascii() => {
            word.make_ascii_uppercase();
            text
        }
        _ => format!("{}{}", text[..word].to_uppercase(), &text[word..]),
    }
}

/// Treatment of escape characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Removed,
    /// In patterns, which have escapes of their own.
    Kept,
}

/// Reads a text from its start. All methods return `None` when the text is not a word of the expansion language, for
/// instance because of an open quote.
struct Reader<'a> {
    rest: &'a str,
    escape: Escape,
    env: &'a Env,
    depth: usize,
}

impl Reader<'_> {
    /// The text up to `stop`, which is read too, or to its end.
    fn word(&mut self, stop: Option<char>, escapes: Escapes) -> Option<String> {
        let mut out = String::new();
        loop {
            if stop.is_none() {
                out.push_str(self.take(special_at(self.rest, self.escape).unwrap_or(self.rest.len())));
            }
            let Some(c) = self.next() else { return stop.is_none().then_some(out) };
            if Some(c) == stop {
                return Some(out);
            }
            match c {
                '$' => out.push_str(&self.variable()?),
                '\'' => {
                    let end = self.rest.find('\'')? + 1;
                    out.push('\'');
                    out.push_str(self.take(end));
                }
                '"' => self.double_quoted(&mut out)?,
                c if c == self.escape.as_char() => {
                    let Some(next) = self.next() else { return stop.is_none().then_some(out) };
                    if escapes == Escapes::Kept {
                        out.push(c);
                    }
                    out.push(next);
                }
                c => out.push(c),
            }
        }
    }

    fn double_quoted(&mut self, out: &mut String) -> Option<()> {
        out.push('"');
        loop {
            match self.next()? {
                '"' => break,
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape.as_char() => {
                    let next = self.next()?;
                    if !matches!(next, '"' | '$') && next != c {
                        out.push(c);
                    }
                    out.push(next);
                }
                c => out.push(c),
            }
        }
        out.push('"');
        Some(())
    }

    /// A variable, whose `$` has been read.
    fn variable(&mut self) -> Option<String> {
        let written = self.rest;
        if !self.rest.starts_with('{') {
            let name = self.take(name_length(self.rest));
            return Some(self.env.get(name).map_or_else(|| format!("${name}"), str::to_owned));
        }
        self.next();
        if self.rest.starts_with(['{', '}', ':']) || self.depth == MAX_NESTING {
            return None;
        }
        let name = self.take(name_length(self.rest));
        self.depth += 1;
        let shown = self.modified(name, written);
        self.depth -= 1;
        shown
    }

    /// The rest of `${name…}`, which begins in `written`.
    fn modified(&mut self, name: &str, written: &str) -> Option<String> {
        let value = self.env.get(name);
        let missing_when_empty = self.rest.starts_with(':');
        if missing_when_empty {
            self.next();
        }
        let operator = self.next()?;
        let colon = if missing_when_empty { ":" } else { "" };
        match operator {
            '}' if !missing_when_empty => Some(value.map_or_else(|| format!("${{{name}}}"), str::to_owned)),
            '-' | '+' | '?' => {
                let word = self.word(Some('}'), Escapes::Removed)?;
                let Some(value) = value else { return Some(format!("${{{name}{colon}{operator}{word}}}")) };
                let is_there = !missing_when_empty || !value.is_empty();
                match (operator, is_there) {
                    ('+', true) | ('-', false) => Some(word),
                    ('+', false) => Some(String::new()),
                    ('?', false) => None,
                    _ => Some(value.to_owned()),
                }
            }
            '#' | '%' if !missing_when_empty => {
                let pattern = self.word(Some('}'), Escapes::Kept)?;
                match value {
                    None => Some(format!("${{{name}{operator}{pattern}}}")),
                    Some(_) => self.expanded(written),
                }
            }
            '/' if !missing_when_empty => {
                if self.rest.starts_with('/') {
                    self.next();
                }
                let pattern = self.word(Some('/'), Escapes::Kept)?;
                let replacement = self.word(Some('}'), Escapes::Kept)?;
                match value {
                    None => Some(format!("${{{name}/{pattern}/{replacement}}}")),
                    Some(_) => self.expanded(written),
                }
            }
            _ => None,
        }
    }

    /// The expansion of the variable that begins in `written` and was just read.
    fn expanded(&self, written: &str) -> Option<String> {
        let text = format!("${}", &written[..written.len() - self.rest.len()]);
        let value = |name: &str| self.env.get(name).map(str::to_owned);
        expand(&text, self.escape, WordMode::Single, &value).ok()?.words.into_iter().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }
}

fn name_length(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    if first.is_ascii_digit() {
        return text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    }
    if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
        return 1;
    }
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}
