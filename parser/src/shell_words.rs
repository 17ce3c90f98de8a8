//! Cuts a line into words like a shell, to find the here-documents on it.
//!
//! Quotes group, escapes protect, and both stay in the words; nothing is expanded. White space after an unquoted `<<`
//! does not end the word, so that `<< EOF` is one. The escape character is always `\`.

use pest::Parser as _;
use pest::iterators::Pair;

use crate::grammar::word::{Rule, WordGrammar};
use crate::{Escape, WordMode, WordProblem, word};

/// The words of `line`, as written; none when a quote or a substitution in it cannot be read.
pub(crate) fn shell_words(line: &str) -> Vec<String> {
    if !line.contains("<<") || !is_readable(line) {
        return Vec::new();
    }
    let mut words = Words::default();
    for pair in pieces(line) {
        let written = pair.as_str();
        match pair.as_rule() {
            Rule::text => words.text(written),
            // as in Docker, white space separates even inside a substitution, which it breaks
            Rule::substitution => written.chars().for_each(|c| words.character(c)),
            _ => words.current.push_str(written),
        }
    }
    words.end_word();
    words.found
}

/// One word without its quotes and escapes.
#[derive(Debug)]
pub(crate) struct Unquoted {
    pub(crate) text: String,
    pub(crate) had_quotes: bool,
}

/// `written` without quotes and escapes; `None` when it is not one readable word, or has a substitution with a modifier.
pub(crate) fn unquoted_word(written: &str) -> Option<Unquoted> {
    if !is_readable(written) {
        return None;
    }
    let mut unquoted = Unquoted { text: String::with_capacity(written.len()), had_quotes: false };
    for pair in pieces(written.trim_end()) {
        match pair.as_rule() {
            Rule::text if pair.as_str().contains(char::is_whitespace) => return None,
            Rule::single_quoted | Rule::double_quoted => {
                unquoted.had_quotes = true;
                for inner in pair.into_inner() {
                    push_literally(&inner, &mut unquoted.text)?;
                }
            }
            _ => push_literally(&pair, &mut unquoted.text)?,
        }
    }
    Some(unquoted)
}

/// The text of `pair`, in which variables stand for themselves.
fn push_literally(pair: &Pair<'_, Rule>, out: &mut String) -> Option<()> {
    match pair.as_rule() {
        Rule::escaped | Rule::double_escaped => {
            out.push_str(pair.clone().into_inner().next().map_or("", |character| character.as_str()));
        }
        Rule::substitution => {
            let name = pair.as_str().trim_start_matches(['$', '{']).trim_end_matches('}');
            let is_plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
            is_plain.then(|| out.push_str(pair.as_str()))?;
        }
        _ => out.push_str(pair.as_str()),
    }
    Some(())
}

/// True if every quote and every `${` is closed and known. An unknown modifier as in `${x:=y}` is found only on
/// expansion.
fn is_readable(text: &str) -> bool {
    match word::read(text, Escape::Backslash, WordMode::Single).1 {
        None => true,
        Some(WordProblem::UnsupportedModifier(modifier)) => modifier.starts_with(':'),
        Some(_) => false,
    }
}

fn pieces(text: &str) -> impl Iterator<Item = Pair<'_, Rule>> {
    WordGrammar::parse(Rule::word, text)
        .into_iter()
        .flatten()
        .flat_map(Pair::into_inner)
        .filter(|pair| pair.as_rule() != Rule::EOI)
}

/// Words being cut.
#[derive(Debug, Default)]
struct Words {
    found: Vec<String>,
    current: String,
}

impl Words {
    /// Unquoted text.
    fn text(&mut self, text: &str) {
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("<<") {
            before.chars().for_each(|c| self.character(c));
            let name = after.trim_start_matches([' ', '\t', '\r']);
            self.current.push_str("<<");
            self.current.push_str(&after[..after.len() - name.len()]);
            rest = name;
        }
        rest.chars().for_each(|c| self.character(c));
    }

    fn character(&mut self, c: char) {
        if c.is_whitespace() { self.end_word() } else { self.current.push(c) }
    }

    fn end_word(&mut self) {
        if !self.current.is_empty() {
            self.found.push(std::mem::take(&mut self.current));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_stay() {
        let words = shell_words("a  'b c'\"d\" e\\ f <<  X $Y${Z} <<<W");
        assert_eq!(words, ["a", "'b c'\"d\"", "e\\ f", "<<  X", "$Y${Z}", "<<<W"]);
        assert_eq!(shell_words("<<A 'b"), [""; 0]);
        assert_eq!(shell_words("x ${Y:-a <<E}"), ["x", "${Y:-a", "<<E}"]);
    }

    #[test]
    fn one_word_loses_its_quotes() {
        let text = |written| unquoted_word(written).map(|unquoted| unquoted.text);
        assert_eq!(text("E'O'\"F\"").as_deref(), Some("EOF"));
        assert_eq!(text("a\\ b\"\\$\\c\"").as_deref(), Some("a b$\\c"));
        assert_eq!(text("$A${B}").as_deref(), Some("$A${B}"));
        assert_eq!(text("${B:-c}"), None);
        assert_eq!(text("a b"), None);
    }
}
