//! ADD and COPY.

use std::collections::HashMap;

use crate::flags::{Checked, Flag, Known};
use crate::json::exec_form;
use crate::place::Operands;
use crate::{
    Add, Copy, Heredoc, InstructionProblem, ParseError, Problem, Source, Transfer, Word, heredoc, simple,
};

const COPY_FLAGS: Known =
    Known { single: &["chmod", "chown", "from"], repeated: &["exclude"], boolean: &["link", "parents"] };

const ADD_FLAGS: Known = Known {
    single: &["checksum", "chmod", "chown"],
    repeated: &["exclude"],
    boolean: &["keep-git-dir", "link", "unpack"],
};

pub(crate) fn copy(
    flags: Vec<Flag>,
    operands: &Operands<'_>,
    heredocs: &[Heredoc],
) -> Result<Copy, ParseError> {
    let words = words(operands, "COPY")?;
    let mut flags = Checked::new(flags, COPY_FLAGS)?;
    let from = flags.take("from");
    let parents = flags.truth("parents").unwrap_or(false);
    Ok(Copy { transfer: transfer("COPY", words, flags, heredocs)?, from, parents })
}

pub(crate) fn add(
    flags: Vec<Flag>,
    operands: &Operands<'_>,
    heredocs: &[Heredoc],
) -> Result<Add, ParseError> {
    let words = words(operands, "ADD")?;
    let mut flags = Checked::new(flags, ADD_FLAGS)?;
    let checksum = flags.take("checksum");
    let keep_git_dir = flags.truth("keep-git-dir");
    let unpack = flags.truth("unpack");
    Ok(Add { transfer: transfer("ADD", words, flags, heredocs)?, checksum, keep_git_dir, unpack })
}

/// Sources and destination of either form.
#[derive(Debug)]
struct Paths {
    sources: Vec<Word>,
    destination: Word,
}

fn words(operands: &Operands<'_>, instruction: &'static str) -> Result<Paths, ParseError> {
    let mut words = list(operands)?;
    match words.pop() {
        Some(destination) if !words.is_empty() => Ok(Paths { sources: words, destination }),
        Some(_) | None => Err(ParseError {
            problem: Problem::Instruction(InstructionProblem::NoDestination { instruction }),
            lines: None,
            span: None,
        }),
    }
}

/// A JSON array of strings or the words between white space (ADD, COPY, VOLUME).
pub(crate) fn list(operands: &Operands<'_>) -> Result<Vec<Word>, ParseError> {
    match exec_form(operands)? {
        Some(words) => Ok(words),
        None => Ok(plain_words(operands)),
    }
}

/// The words between white space (also EXPOSE).
pub(crate) fn plain_words(operands: &Operands<'_>) -> Vec<Word> {
    simple::words(operands.text).map(|word| operands.place.word(word)).collect()
}

#[cfg(test)]
pub(crate) fn words_by_grammar(text: &str) -> Vec<&str> {
    use crate::grammar::dockerfile::{DockerfileGrammar, Rule};
    use pest::Parser as _;
    let parsed = DockerfileGrammar::parse(Rule::words, text).unwrap();
    let words = parsed.flat_map(pest::iterators::Pair::into_inner);
    words.filter(|pair| pair.as_rule() == Rule::plain_word).map(|pair| pair.as_str()).collect()
}

fn transfer(
    instruction: &'static str,
    paths: Paths,
    mut flags: Checked,
    heredocs: &[Heredoc],
) -> Result<Transfer, ParseError> {
    if heredoc::marker(&paths.destination.value).is_some() {
        return Err(ParseError {
            problem: Problem::Instruction(InstructionProblem::HeredocDestination { instruction }),
            lines: None,
            span: Some(paths.destination.span),
        });
    }
    // of two with one name the later body counts, as in Docker
    let heredocs: HashMap<&str, &Heredoc> =
        heredocs.iter().map(|heredoc| (heredoc.name.as_str(), heredoc)).collect();
    let sources = paths.sources.into_iter().map(|word| source(word, &heredocs)).collect();
    Ok(Transfer {
        sources,
        destination: paths.destination,
        chown: flags.take("chown"),
        chmod: flags.take("chmod"),
        link: flags.truth("link").unwrap_or(false),
        exclude: flags.take_all("exclude"),
    })
}

/// A source word: an inline file when it is a marker. Of two here-documents with one name the later body counts, and a
/// marker whose body was not looked for, as in the JSON form, is an empty file, both as in Docker.
fn source(word: Word, heredocs: &HashMap<&str, &Heredoc>) -> Source {
    let Some(marker) = heredoc::marker(&word.value) else { return Source::Path(word) };
    match heredocs.get(marker.name.as_str()) {
        Some(heredoc) => Source::Heredoc((*heredoc).clone()),
        None => Source::Heredoc(marker.without_body(word.span)),
    }
}
