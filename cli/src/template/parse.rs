//! From pieces to a tree.

use super::lex::{Piece, Word, pieces};
use crate::error::CliError;
use serde_json::Value;

/// A template that has been read.
#[derive(Debug)]
pub(crate) struct Template {
    pub(super) nodes: Vec<Node>,
}

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`, `{{$x := pipeline}}`
    Action(Vec<String>, Pipeline),
    /// `{{if}} … {{else}} … {{end}}`
    If(Pipeline, Vec<Node>, Vec<Node>),
    /// `{{with}} … {{else}} … {{end}}`
    With(Pipeline, Vec<Node>, Vec<Node>),
    /// `{{range $key, $value := pipeline}} … {{else}} … {{end}}`
    Range(Vec<String>, Pipeline, Vec<Node>, Vec<Node>),
}

/// Commands, each fed with the result of the one before.
#[derive(Debug)]
pub(super) struct Pipeline(pub(super) Vec<Vec<Operand>>);

/// A word of a command.
#[derive(Debug)]
pub(super) enum Operand {
    Path(String, Vec<String>),
    Literal(Value),
    Function(String),
    Nested(Pipeline),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`CliError::Template`] with what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let pieces = pieces(text)?;
        let mut rest = pieces.as_slice();
        let (nodes, end) = block(&mut rest)?;
        match end {
            Stop::End => Err(bad("unexpected {{end}}")),
            Stop::Else(_) => Err(bad("unexpected {{else}}")),
            Stop::Finished => Ok(Self { nodes }),
        }
    }
}

/// The action that ended a block.
enum Stop<'a> {
    Finished,
    End,
    /// With the words after `else`.
    Else(&'a [Word]),
}

fn block<'a>(rest: &mut &'a [Piece]) -> Result<(Vec<Node>, Stop<'a>), CliError> {
    let mut nodes = Vec::new();
    while let Some((piece, tail)) = rest.split_first() {
        *rest = tail;
        let words = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text.clone()));
                continue;
            }
            Piece::Action(words) => words.as_slice(),
        };
        match words {
            [Word::Name(name)] if name == "end" => return Ok((nodes, Stop::End)),
            [Word::Name(name), more @ ..] if name == "else" => return Ok((nodes, Stop::Else(more))),
            [Word::Name(name), head @ ..] if matches!(name.as_str(), "if" | "with" | "range") => {
                nodes.push(control(name, head, rest)?);
            }
            words => {
                let (variables, words) = assigned(words)?;
                nodes.push(Node::Action(variables, pipeline(words)?));
            }
        }
    }
    Ok((nodes, Stop::Finished))
}

fn control(name: &str, head: &[Word], rest: &mut &[Piece]) -> Result<Node, CliError> {
    let (variables, words) = assigned(head)?;
    let condition = pipeline(words)?;
    let (body, stop) = block(rest)?;
    let otherwise = match stop {
        Stop::End => Vec::new(),
        Stop::Else([]) => match block(rest)? {
            (nodes, Stop::End) => nodes,
            _ => return Err(bad("unexpected EOF")),
        },
        // `{{else if x}}` closes with the one `{{end}}` of the outer `if`
        Stop::Else([Word::Name(inner), head @ ..]) => vec![control(inner, head, rest)?],
        Stop::Else(_) => return Err(bad("unexpected word in {{else}}")),
        Stop::Finished => return Err(bad("unexpected EOF")),
    };
    match name {
        "if" => Ok(Node::If(condition, body, otherwise)),
        "with" => Ok(Node::With(condition, body, otherwise)),
        "range" => Ok(Node::Range(variables, condition, body, otherwise)),
        other => Err(bad(&format!("unexpected {other:?} in {{{{else}}}}"))),
    }
}

/// The variables before `:=`, and what they get.
fn assigned(words: &[Word]) -> Result<(Vec<String>, &[Word]), CliError> {
    let Some(at) = words.iter().position(|word| *word == Word::Assign) else {
        return Ok((Vec::new(), words));
    };
    let names = words[..at].iter().filter(|word| **word != Word::Comma).map(|word| match word {
        Word::Path(name, fields) if name.starts_with('$') && fields.is_empty() => Ok(name.clone()),
        _ => Err(bad("expected variable before :=")),
    });
    Ok((names.collect::<Result<_, _>>()?, &words[at + 1..]))
}

fn pipeline(words: &[Word]) -> Result<Pipeline, CliError> {
    let mut rest = words;
    let parsed = commands(&mut rest)?;
    if rest.is_empty() { Ok(parsed) } else { Err(bad("unexpected right paren")) }
}

fn commands(rest: &mut &[Word]) -> Result<Pipeline, CliError> {
    let mut commands = vec![Vec::new()];
    while let Some((word, tail)) = rest.split_first() {
        let operand = match word {
            Word::Close => break,
            Word::Pipe => {
                *rest = tail;
                commands.push(Vec::new());
                continue;
            }
            Word::Open => {
                *rest = tail;
                let inner = commands_in_parentheses(rest)?;
                Operand::Nested(inner)
            }
            Word::Path(variable, fields) => Operand::Path(variable.clone(), fields.clone()),
            Word::Text(text) => Operand::Literal(Value::from(text.as_str())),
            Word::Number(number) if number.fract() == 0.0 => Operand::Literal(Value::from(*number as i64)),
            Word::Number(number) => Operand::Literal(Value::from(*number)),
            Word::Name(name) => match name.as_str() {
                "true" => Operand::Literal(Value::Bool(true)),
                "false" => Operand::Literal(Value::Bool(false)),
                "nil" => Operand::Literal(Value::Null),
                _ => Operand::Function(name.clone()),
            },
            Word::Assign | Word::Comma => return Err(bad("unexpected \",\" or \":=\" in operand")),
        };
        if !matches!(word, Word::Open) {
            *rest = tail;
        }
        if let Some(last) = commands.last_mut() {
            last.push(operand);
        }
    }
    if commands.iter().any(Vec::is_empty) {
        return Err(bad("missing value for command"));
    }
    Ok(Pipeline(commands))
}

fn commands_in_parentheses(rest: &mut &[Word]) -> Result<Pipeline, CliError> {
    let inner = commands(rest)?;
    match rest.split_first() {
        Some((Word::Close, tail)) => {
            *rest = tail;
            Ok(inner)
        }
        _ => Err(bad("unclosed left paren")),
    }
}

fn bad(what: &str) -> CliError {
    CliError::Template(format!(":1: {what}"))
}
