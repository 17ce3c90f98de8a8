//! HEALTHCHECK.

use pest::Parser as _;

use crate::command::command_line;
use crate::duration::nanoseconds;
use crate::flags::{Checked, Flag, Known};
use crate::grammar::dockerfile::{DockerfileGrammar, Rule};
use crate::place::Operands;
use crate::{CommandLine, Healthcheck, InstructionProblem, ParseError, Problem, Span, Word};

const FLAGS: Known = Known {
    single: &["interval", "timeout", "start-period", "start-interval", "retries"],
    repeated: &[],
    boolean: &[],
};

/// The shortest duration that is not zero, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

pub(crate) fn healthcheck(flags: Vec<Flag>, operands: &Operands<'_>) -> Result<Healthcheck, ParseError> {
    let Some((kind, rest)) = split(operands.text) else {
        return wrong(InstructionProblem::AtLeastOneArgument { instruction: "HEALTHCHECK" }, None);
    };
    let command = command_line(&Operands { text: rest, ..*operands })?;
    if kind.eq_ignore_ascii_case("NONE") {
        let empty = rest.is_empty() || command == CommandLine::Exec(Vec::new());
        // as in Docker, flags of NONE are ignored
        return if empty {
            Ok(Healthcheck::None)
        } else {
            wrong(InstructionProblem::HealthcheckNoneArguments, Some(operands.place.span(rest)))
        };
    }
    let mut flags = Checked::new(flags, FLAGS)?;
    if !kind.eq_ignore_ascii_case("CMD") {
        let problem = InstructionProblem::HealthcheckType { kind: kind.to_uppercase() };
        return wrong(problem, Some(operands.place.span(kind)));
    }
    if rest.is_empty() || command == CommandLine::Exec(Vec::new()) {
        return wrong(InstructionProblem::HealthcheckNoCommand, Some(operands.place.span(kind)));
    }
    Ok(Healthcheck::Check {
        command,
        interval: duration(&mut flags, "interval")?,
        timeout: duration(&mut flags, "timeout")?,
        start_period: duration(&mut flags, "start-period")?,
        start_interval: duration(&mut flags, "start-interval")?,
        retries: retries(flags.take("retries"))?,
    })
}

/// The type and what follows it.
fn split(text: &str) -> Option<(&str, &str)> {
    let parsed = DockerfileGrammar::parse(Rule::healthcheck, text).ok()?;
    let (mut kind, mut rest) = ("", "");
    for pair in parsed.flat_map(pest::iterators::Pair::into_inner) {
        match pair.as_rule() {
            Rule::healthcheck_type => kind = pair.as_str(),
            Rule::operands_start => rest = &text[pair.as_span().start()..],
            _ => {}
        }
    }
    Some((kind, rest))
}

fn duration(flags: &mut Checked, name: &'static str) -> Result<i64, ParseError> {
    let Some(word) = flags.take(name) else { return Ok(0) };
    match nanoseconds(&word.value) {
        Ok(0) => Ok(0),
        Ok(duration) if duration < SHORTEST => {
            wrong(InstructionProblem::IntervalTooShort { flag: name }, Some(word.span))
        }
        Ok(duration) => Ok(duration),
        Err(problem) => wrong(problem.into(), Some(word.span)),
    }
}

/// A number of 32 bits as Go's `strconv.ParseInt` reads it.
fn retries(word: Option<Word>) -> Result<i64, ParseError> {
    let Some(word) = word else { return Ok(0) };
    let digits = word.value.strip_prefix(['+', '-']).unwrap_or(&word.value);
    let reason = if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        "invalid syntax"
    } else {
        match word.value.parse::<i32>() {
            Ok(number) if number < 0 => {
                return wrong(
                    InstructionProblem::NegativeRetries { retries: number.into() },
                    Some(word.span),
                );
            }
            Ok(number) => return Ok(number.into()),
            Err(_) => "value out of range",
        }
    };
    wrong(InstructionProblem::InvalidRetries { value: word.value, reason }, Some(word.span))
}

fn wrong<T>(problem: InstructionProblem, span: Option<Span>) -> Result<T, ParseError> {
    Err(ParseError { problem: Problem::Instruction(problem), lines: None, span })
}
