//! Builder flags: the `--name[=value]` words that stand before an instruction's operands.

use pest::Parser as _;

use crate::grammar::dockerfile::{DockerfileGrammar, Rule};
use crate::grammar::in_backslashes;
use crate::place::Place;
use crate::{Escape, InstructionProblem, Span, Word, simple, suggest};

/// One flag as written, quotes and escapes removed.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: String,
    /// The text after `=`.
    pub(crate) value: Option<Word>,
    pub(crate) span: Span,
}

/// The flags of an instruction, by the values that they take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// Flags with a value that may be given once.
    pub(crate) single: &'static [&'static str],
    /// Flags with a value that may be repeated.
    pub(crate) repeated: &'static [&'static str],
    /// Boolean flags, which are `true` without a value.
    pub(crate) boolean: &'static [&'static str],
}

/// A flag that is wrong, and where it stands.
#[derive(Debug)]
pub(crate) struct FlagError {
    pub(crate) problem: InstructionProblem,
    pub(crate) span: Span,
}

/// Splits `text`, everything after the keyword, into its flags and the operands.
pub(crate) fn split<'a>(text: &'a str, place: &Place<'_>, escape: Escape) -> (Vec<Flag>, &'a str) {
    if !text.trim_start().starts_with("--") {
        return (Vec::new(), text.trim());
    }
    let Some((flags, operands)) = simple::flags(text, escape) else {
        return split_by_grammar(text, place, escape);
    };
    let flags = flags.into_iter().map(|whole| {
        let (name, value) = match whole[2..].split_once('=') {
            Some((name, value)) => (name, Some(place.word(value))),
            None => (&whole[2..], None),
        };
        Flag { name: name.to_owned(), value, span: place.span(whole) }
    });
    (flags.collect(), operands)
}

pub(crate) fn split_by_grammar<'a>(text: &'a str, place: &Place<'_>, escape: Escape) -> (Vec<Flag>, &'a str) {
    let shadow = in_backslashes(text, escape);
    let Ok(parsed) = DockerfileGrammar::parse(Rule::flags, &shadow) else { return (Vec::new(), text.trim()) };
    let mut flags = Vec::new();
    let mut operands = "";
    for pair in parsed.flat_map(pest::iterators::Pair::into_inner) {
        match pair.as_rule() {
            Rule::flag => flags.push(read(&pair, text, place, escape)),
            Rule::operands_start => operands = text[pair.as_span().start()..].trim(),
            _ => {}
        }
    }
    (flags, operands)
}

fn read(pair: &pest::iterators::Pair<'_, Rule>, text: &str, place: &Place<'_>, escape: Escape) -> Flag {
    let whole = &text[pair.as_span().start()..pair.as_span().end()];
    let mut flag = Flag { name: String::new(), value: None, span: place.span(whole) };
    for part in pair.clone().into_inner() {
        let written = &text[part.as_span().start()..part.as_span().end()];
        match part.as_rule() {
            Rule::flag_name => flag.name = unquote(written, escape),
            Rule::flag_value => flag.value = Some(place.word_from(unquote(written, escape), written)),
            _ => {}
        }
    }
    flag
}

/// Removes both kinds of quotes; the escape character protects the next one, also inside quotes.
fn unquote(written: &str, escape: Escape) -> String {
    let mut out = String::with_capacity(written.len());
    let mut open = None;
    let mut characters = written.chars();
    while let Some(c) = characters.next() {
        if c == escape.as_char() {
            out.extend(characters.next());
        } else if open == Some(c) {
            open = None;
        } else if open.is_none() && (c == '\'' || c == '"') {
            open = Some(c);
        } else {
            out.push(c);
        }
    }
    out
}

/// An instruction's flags, checked against those it has.
#[derive(Debug)]
pub(crate) struct Checked {
    flags: Vec<Flag>,
}

impl Checked {
    /// Refuses unknown, repeated and ill-formed flags.
    pub(crate) fn new(flags: Vec<Flag>, known: Known) -> Result<Self, FlagError> {
        for (index, flag) in flags.iter().enumerate() {
            let name = flag.name.as_str();
            let error = |problem| Err(FlagError { problem, span: flag.span });
            let flag_name = || name.to_owned();
            let boolean = known.boolean.contains(&name);
            let repeatable = known.repeated.contains(&name);
            if !boolean && !repeatable && !known.single.contains(&name) {
                return error(unknown(name, known));
            }
            if !repeatable && flags[..index].iter().any(|earlier| earlier.name == name) {
                return error(InstructionProblem::DuplicateFlag { flag: flag_name() });
            }
            match &flag.value {
                None if boolean => {}
                None => return error(InstructionProblem::MissingFlagValue { flag: flag_name() }),
                Some(value) if boolean && value.value.is_empty() => {
                    return error(InstructionProblem::MissingFlagValue { flag: flag_name() });
                }
                Some(value) if boolean && truth(&value.value).is_none() => {
                    let value = value.value.clone();
                    return error(InstructionProblem::NotBoolean { flag: flag_name(), value });
                }
                Some(_) => {}
            }
        }
        Ok(Self { flags })
    }

    /// Takes the value of a flag that may be given once. An empty value counts as none.
    pub(crate) fn take(&mut self, name: &str) -> Option<Word> {
        self.take_even_empty(name).filter(|value| !value.value.is_empty())
    }

    /// Takes the value of a flag that must not be empty.
    pub(crate) fn take_even_empty(&mut self, name: &str) -> Option<Word> {
        let index = self.flags.iter().position(|flag| flag.name == name)?;
        self.flags.remove(index).value
    }

    /// Takes the values of a flag that may be repeated.
    pub(crate) fn take_all(&mut self, name: &str) -> Vec<Word> {
        self.flags.extract_if(.., |flag| flag.name == name).filter_map(|flag| flag.value).collect()
    }

    /// The value of a boolean flag, `None` when it is not given.
    pub(crate) fn truth(&self, name: &str) -> Option<bool> {
        let flag = self.flags.iter().find(|flag| flag.name == name)?;
        match &flag.value {
            None => Some(true),
            Some(value) => truth(&value.value),
        }
    }
}

fn truth(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn unknown(name: &str, known: Known) -> InstructionProblem {
    let mut candidates: Vec<&str> = [known.single, known.repeated, known.boolean].concat();
    // ties are broken by name, so that the answer is always the same
    candidates.sort_unstable();
    let suggestion = suggest(name, candidates).map(str::to_owned);
    InstructionProblem::UnknownFlag { flag: name.to_owned(), suggestion }
}
