//! From pieces to a tree.

use super::lex::{Piece, Word, pieces};
use crate::error::CliError;
use serde_json::Value;
use std::collections::BTreeMap;

/// A template that has been read.
#[derive(Debug)]
pub(crate) struct Template {
    pub(super) nodes: Vec<Node>,
    /// Those of `{{define}}` and `{{block}}`, by name.
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`, `{{$x := pipeline}}`
    Action(Pipeline),
    /// `{{if}} … {{else}} … {{end}}`
    If(Pipeline, Vec<Node>, Vec<Node>),
    /// `{{with}} … {{else}} … {{end}}`
    With(Pipeline, Vec<Node>, Vec<Node>),
    /// `{{range $key, $value := pipeline}} … {{else}} … {{end}}`
    Range(Pipeline, Vec<Node>, Vec<Node>),
    /// `{{template "name" pipeline}}`
    Template(String, Option<Pipeline>),
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// Commands, each fed with the result of the one before, and the variables that get the last result.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A word of a command.
#[derive(Debug)]
pub(super) enum Operand {
    Path(String, Vec<String>),
    Literal(Value),
    Function(String),
    /// A pipeline in parentheses, and the fields behind them.
    Nested(Pipeline, Vec<String>),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`CliError::Template`] with what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let pieces = pieces(text)?;
        let mut reader = Reader { rest: &pieces, loops: 0, defined: BTreeMap::new() };
        let (nodes, end) = reader.block()?;
        match end {
            Stop::End => Err(bad("unexpected {{end}}")),
            Stop::Else(_) => Err(bad("unexpected {{else}}")),
            Stop::Finished => Ok(Self { nodes, defined: reader.defined }),
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

struct Reader<'a> {
    rest: &'a [Piece],
    /// How many `range` are open.
    loops: usize,
    defined: BTreeMap<String, Vec<Node>>,
}

impl<'a> Reader<'a> {
    fn block(&mut self) -> Result<(Vec<Node>, Stop<'a>), CliError> {
        let mut nodes = Vec::new();
        while let Some((piece, tail)) = self.rest.split_first() {
            self.rest = tail;
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
                    nodes.push(self.control(name, head)?);
                }
                [Word::Name(name), head @ ..] if matches!(name.as_str(), "define" | "block" | "template") => {
                    nodes.extend(self.named(name, head)?);
                }
                [Word::Name(name)] if matches!(name.as_str(), "break" | "continue") => {
                    if self.loops == 0 {
                        return Err(bad(&format!("{{{{{name}}}}} outside {{{{range}}}}")));
                    }
                    nodes.push(if name == "break" { Node::Break } else { Node::Continue });
                }
                words => nodes.push(Node::Action(pipeline(words)?)),
            }
        }
        Ok((nodes, Stop::Finished))
    }

    fn control(&mut self, name: &str, head: &'a [Word]) -> Result<Node, CliError> {
        let condition = pipeline(head)?;
        let in_loop = usize::from(name == "range");
        self.loops += in_loop;
        let (body, stop) = self.block()?;
        self.loops -= in_loop;
        let otherwise = match stop {
            Stop::End => Vec::new(),
            Stop::Else([]) => self.up_to_end()?,
            // `{{else if x}}` closes with the one `{{end}}` of the outer `if`
            Stop::Else([Word::Name(inner), head @ ..]) if matches!(inner.as_str(), "if" | "with") => {
                vec![self.control(inner, head)?]
            }
            Stop::Else(_) => return Err(bad("unexpected word in {{else}}")),
            Stop::Finished => return Err(bad("unexpected EOF")),
        };
        Ok(match name {
            "if" => Node::If(condition, body, otherwise),
            "with" => Node::With(condition, body, otherwise),
            _ => Node::Range(condition, body, otherwise),
        })
    }

    /// `define`, which is no node, `block` and `template`.
    fn named(&mut self, action: &str, head: &'a [Word]) -> Result<Option<Node>, CliError> {
        let [Word::Text(name), argument @ ..] = head else {
            return Err(bad(&format!("unexpected word in {action} clause")));
        };
        let argument = if argument.is_empty() { None } else { Some(pipeline(argument)?) };
        match (action, &argument) {
            ("define", Some(_)) => return Err(bad("unexpected word in define clause")),
            ("block", None) => return Err(bad("missing value for block clause")),
            _ => {}
        }
        if action != "template" {
            let outer = std::mem::take(&mut self.loops);
            let body = self.up_to_end()?;
            self.loops = outer;
            self.defined.insert(name.clone(), body);
        }
        Ok((action != "define").then(|| Node::Template(name.clone(), argument)))
    }

    fn up_to_end(&mut self) -> Result<Vec<Node>, CliError> {
        match self.block()? {
            (nodes, Stop::End) => Ok(nodes),
            (_, Stop::Else(_)) => Err(bad("unexpected {{else}}")),
            (_, Stop::Finished) => Err(bad("unexpected EOF")),
        }
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
    let (variables, mut rest) = assigned(words)?;
    let commands = commands(&mut rest)?;
    if rest.is_empty() { Ok(Pipeline { variables, commands }) } else { Err(bad("unexpected right paren")) }
}

fn commands(rest: &mut &[Word]) -> Result<Vec<Vec<Operand>>, CliError> {
    let mut commands = vec![Vec::new()];
    while let Some((word, tail)) = rest.split_first() {
        if *word == Word::Close {
            break;
        }
        *rest = tail;
        let operand = match word {
            Word::Pipe => {
                commands.push(Vec::new());
                continue;
            }
            Word::Open => nested(rest)?,
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
            Word::Assign | Word::Comma | Word::Close | Word::Fields(_) => {
                return Err(bad("unexpected \",\" or \":=\" in operand"));
            }
        };
        if let Some(last) = commands.last_mut() {
            last.push(operand);
        }
    }
    if commands.iter().any(Vec::is_empty) {
        return Err(bad("missing value for command"));
    }
    if commands.iter().any(|command| matches!(command.as_slice(), [Operand::Literal(Value::Null)])) {
        return Err(bad("nil is not a command"));
    }
    Ok(commands)
}

fn nested(rest: &mut &[Word]) -> Result<Operand, CliError> {
    let commands = commands(rest)?;
    let Some((Word::Close, tail)) = rest.split_first() else { return Err(bad("unclosed left paren")) };
    *rest = tail;
    let mut fields = Vec::new();
    if let Some((Word::Fields(behind), tail)) = rest.split_first() {
        (fields, *rest) = (behind.clone(), tail);
    }
    Ok(Operand::Nested(Pipeline { variables: Vec::new(), commands }, fields))
}

fn bad(what: &str) -> CliError {
    CliError::Template(format!(":1: {what}"))
}
