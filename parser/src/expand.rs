//! Expansion: turns a word into text by the values of variables.

use std::collections::HashSet;

use crate::glob::{Glob, MAX_MATCHING};
use crate::template::{MAX_EXPANSION, replace_all};
use crate::word;
use crate::word_part::{Matches, Missing, Modifier, Reach, Side, WordMode, WordPart};
use crate::{Escape, WordError, WordProblem};

/// The result of an expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The words; exactly one in [`WordMode::Single`] and [`WordMode::Heredoc`].
    pub words: Vec<String>,
    /// Names that were looked up and not found, each once, in the order met.
    pub unset: Vec<String>,
}

/// Expands a text with the variables `lookup` knows.
///
/// # Errors
/// [`WordError`] when the text is not a word, or needs a value that is missing.
pub fn expand(
    text: &str,
    escape: Escape,
    mode: WordMode,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded, WordError> {
    let special = |c| c == '$' || c == '\\' || c == escape.as_char() || c == '\'' || c == '"';
    if !text.contains(special) {
        return Ok(Expanded { words: plain(text, mode), unset: Vec::new() });
    }
    let (parts, mistake) = word::read(text, escape, mode);
    let mut evaluator = Evaluator { lookup, unset: Vec::new() };
    // the parts before a mistake are expanded first, because Docker reports their errors before it
    let words = match mode {
        WordMode::Single | WordMode::Heredoc => evaluator.word(&parts).map(|word| vec![word]),
        WordMode::List => evaluator.list(&parts),
    };
    let words = match mistake {
        Some(mistake) => words.and(Err(mistake)),
        None => words,
    };
    let mut seen = HashSet::new();
    let mut unset = evaluator.unset;
    unset.retain(|name| seen.insert(name.clone()));
    match words {
        Ok(words) => Ok(Expanded { words, unset }),
        Err(reason) => Err(WordError { word: text.to_owned(), reason, unset }),
    }
}

fn plain(text: &str, mode: WordMode) -> Vec<String> {
    match mode {
        WordMode::Single | WordMode::Heredoc => vec![text.to_owned()],
        WordMode::List => text.split_whitespace().map(str::to_owned).collect(),
    }
}

struct Evaluator<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    unset: Vec<String>,
}

impl Evaluator<'_> {
    fn word(&mut self, parts: &[WordPart]) -> Result<String, WordProblem> {
        let mut out = String::new();
        for part in parts {
            match part {
                WordPart::Literal { text, .. } => out.push_str(text),
                WordPart::Variable { name, modifier, .. } => {
                    out.push_str(&self.variable(name, modifier.as_ref())?);
                }
            }
            if out.len() > MAX_EXPANSION {
                return Err(WordProblem::TooLong);
            }
        }
        Ok(out)
    }

    fn list(&mut self, parts: &[WordPart]) -> Result<Vec<String>, WordProblem> {
        let mut list = List::default();
        for part in parts {
            match part {
                WordPart::Literal { text, quoted: true } => list.push(text),
                WordPart::Literal { text, quoted: false } => list.split(text),
                WordPart::Variable { name, modifier, quoted } => {
                    let value = self.variable(name, modifier.as_ref())?;
                    if *quoted { list.push(&value) } else { list.split(&value) }
                }
            }
            if list.length > MAX_EXPANSION {
                return Err(WordProblem::TooLong);
            }
        }
        list.end_word();
        Ok(list.words)
    }

    fn variable(&mut self, name: &str, modifier: Option<&Modifier>) -> Result<String, WordProblem> {
        let Some(modifier) = modifier else { return Ok(self.value(name).unwrap_or_default()) };
        // as in Docker, a word is expanded before the variable is looked up, even if its result is not needed
        match modifier {
            Modifier::Default { missing, word } => {
                let word = self.word(word)?;
                Ok(present(self.value(name), *missing).unwrap_or(word))
            }
            Modifier::Alternative { missing, word } => {
                let word = self.word(word)?;
                Ok(if present(self.value(name), *missing).is_some() { word } else { String::new() })
            }
            Modifier::Required { missing, message } => {
                let message = self.word(message)?;
                let value = self.value(name);
                let reason = if value.is_none() { "unset" } else { "empty" };
                present(value, *missing).ok_or_else(|| WordProblem::Required {
                    name: name.to_owned(),
                    message: match message.is_empty() {
                        true => format!("is not allowed to be {reason}"),
                        false => message,
                    },
                })
            }
            Modifier::Trim { side, reach, pattern } => {
                let pattern = self.word(pattern)?;
                let value = self.value(name).unwrap_or_default();
                trim(&value, &pattern, *side, *reach)
            }
            Modifier::Replace { matches, pattern, replacement } => {
                let pattern = self.word(pattern)?;
                let replacement = self.word(replacement)?;
                let value = self.value(name).unwrap_or_default();
                replace(value, &pattern, &replacement, *matches)
            }
        }
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        if value.is_none() {
            self.unset.push(name.to_owned());
        }
        value
    }
}

fn present(value: Option<String>, missing: Missing) -> Option<String> {
    value.filter(|value| missing == Missing::Unset || !value.is_empty())
}

fn trim(value: &str, pattern: &str, side: Side, reach: Reach) -> Result<String, WordProblem> {
    let sign = match side {
        Side::Prefix => '#',
        Side::Suffix => '%',
    };
    // the second sign may come out of an expansion
    let (pattern, reach) = match (reach, pattern.strip_prefix(sign)) {
        (Reach::Shortest, Some(pattern)) => (pattern, Reach::Longest),
        (reach, _) => (pattern, reach),
    };
    match (Glob::new(pattern), side) {
        (Ok(glob), _) => {
            check_length(&glob, value)?;
            Ok(glob.trim(value, side, reach).to_owned())
        }
        (Err(escaped), Side::Prefix) => {
            Err(WordProblem::InvalidPattern { pattern: pattern.to_owned(), escaped })
        }
        (Err(_), Side::Suffix) => Err(backwards(pattern)),
    }
}

/// The error for the pattern of a suffix. Docker matches suffixes backwards, so it reports the reversed pattern and the
/// first mistake in that.
fn backwards(pattern: &str) -> WordProblem {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let width =
            c.len_utf8() + if c == '\\' { rest[1..].chars().next().map_or(0, char::len_utf8) } else { 0 };
        pieces.push(&rest[..width]);
        rest = &rest[width..];
    }
    pieces.reverse();
    let pattern = pieces.concat();
    let escaped = Glob::new(&pattern).err().unwrap_or(char::REPLACEMENT_CHARACTER);
    WordProblem::InvalidPattern { pattern, escaped }
}

fn replace(value: String, pattern: &str, replacement: &str, matches: Matches) -> Result<String, WordProblem> {
    let glob = glob(pattern)?;
    check_length(&glob, &value)?;
    match matches {
        Matches::All => replace_all(&value, &glob, replacement).ok_or(WordProblem::TooLong),
        Matches::First => {
            let Some(found) = glob.find(&value, 0) else { return Ok(value) };
            let mut value = value;
            value.replace_range(found, replacement);
            Ok(value)
        }
    }
}

fn check_length(glob: &Glob, value: &str) -> Result<(), WordProblem> {
    let is_short = glob.comparisons(value) <= MAX_MATCHING;
    is_short.then_some(()).ok_or(WordProblem::TooMuchMatching(value.len()))
}

fn glob(pattern: &str) -> Result<Glob, WordProblem> {
    Glob::new(pattern).map_err(|escaped| WordProblem::InvalidPattern { pattern: pattern.to_owned(), escaped })
}

/// Words being cut at white space.
#[derive(Debug, Default)]
struct List {
    words: Vec<String>,
    current: String,
    /// Number of bytes of all parts so far.
    length: usize,
}

impl List {
    fn push(&mut self, text: &str) {
        self.length += text.len();
        self.current.push_str(text);
    }

    fn split(&mut self, text: &str) {
        self.length += text.len();
        for c in text.chars() {
            if c.is_whitespace() { self.end_word() } else { self.current.push(c) }
        }
    }

    fn end_word(&mut self) {
        if !self.current.is_empty() {
            self.words.push(std::mem::take(&mut self.current));
        }
    }
}
