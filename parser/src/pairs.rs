//! ENV, LABEL and ARG: words in which quotes group, cut at their first `=`.

use pest::Parser as _;

use crate::grammar::dockerfile::{DockerfileGrammar, Rule};
use crate::grammar::in_backslashes;
use crate::place::Operands;
use crate::{
    ArgDeclaration, Escape, InstructionProblem, Pairs, PairsForm, ParseError, Problem, Span, simple,
};

/// The pairs of ENV or LABEL (`instruction`), in either form.
pub(crate) fn pairs(operands: &Operands<'_>, instruction: &'static str) -> Result<Pairs, ParseError> {
    let words = quoted_words(operands);
    let error = |problem, span| Err(ParseError { problem, lines: None, span });
    let Some(first) = words.first() else {
        return error(InstructionProblem::AtLeastOneArgument { instruction }.into(), None);
    };
    if !first.contains('=') {
        return legacy(operands, instruction);
    }
    let mut pairs = Vec::with_capacity(words.len());
    let mut blank = None;
    for word in words {
        let span = operands.place.span(word);
        let Some((key, value)) = word.split_once('=') else {
            return error(Problem::MissingEquals { word: word.to_owned() }, Some(span));
        };
        if key.is_empty() {
            blank = blank.or(Some(span));
        }
        pairs.push((operands.place.word(key), operands.place.word(value)));
    }
    match blank {
        Some(span) => error(InstructionProblem::BlankName { instruction }.into(), Some(span)),
        None => Ok(Pairs { pairs, form: PairsForm::Equals }),
    }
}

/// `KEY value`: the value is the rest of the line, as it is.
fn legacy(operands: &Operands<'_>, instruction: &'static str) -> Result<Pairs, ParseError> {
    let Ok(mut parsed) = DockerfileGrammar::parse(Rule::legacy_pair, operands.text) else {
        let span = Some(operands.place.span(operands.text));
        return Err(ParseError { problem: Problem::MissingValue { instruction }, lines: None, span });
    };
    let (mut key, mut value) = ("", "");
    for pair in parsed.next().into_iter().flat_map(pest::iterators::Pair::into_inner) {
        match pair.as_rule() {
            Rule::legacy_key => key = pair.as_str(),
            Rule::legacy_value => value = pair.as_str(),
            _ => {}
        }
    }
    let pairs = vec![(operands.place.word(key), operands.place.word(value))];
    Ok(Pairs { pairs, form: PairsForm::Legacy })
}

/// The declarations of an ARG.
pub(crate) fn declarations(
    operands: &Operands<'_>,
) -> Result<Vec<ArgDeclaration>, (InstructionProblem, Option<Span>)> {
    let words = quoted_words(operands);
    if words.is_empty() {
        return Err((InstructionProblem::AtLeastOneArgument { instruction: "ARG" }, None));
    }
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => {
                let span = operands.place.span(word);
                Err((InstructionProblem::BlankName { instruction: "ARG" }, Some(span)))
            }
            Some((name, default)) => Ok(ArgDeclaration {
                name: operands.place.word(name),
                default: Some(operands.place.word(default)),
            }),
            None => Ok(ArgDeclaration { name: operands.place.word(word), default: None }),
        })
        .collect()
}

fn quoted_words<'a>(operands: &Operands<'a>) -> Vec<&'a str> {
    simple::quoted_words(operands.text, operands.escape)
        .unwrap_or_else(|| words_by_grammar(operands.text, operands.escape))
}

pub(crate) fn words_by_grammar(text: &str, escape: Escape) -> Vec<&str> {
    let shadow = in_backslashes(text, escape);
    let Ok(mut parsed) = DockerfileGrammar::parse(Rule::quoted_words, &shadow) else { return Vec::new() };
    let words = parsed.next().into_iter().flat_map(pest::iterators::Pair::into_inner);
    words
        .filter(|pair| pair.as_rule() == Rule::quoted_word)
        .map(|pair| {
            // an escape character at the very end protects nothing and is not part of the word
            let span = pair.as_span();
            let dangling = pair.into_inner().find(|inner| inner.as_rule() == Rule::dangling);
            let end = dangling.map_or(span.end(), |dangling| dangling.as_span().start());
            &text[span.start()..end]
        })
        .collect()
}
