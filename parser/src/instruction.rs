//! The instructions: from keyword, flags and operands to the syntax tree.

use pest::Parser as _;

use crate::command::command_line;
use crate::flags::{Checked, Flag, FlagError, Known};
use crate::grammar::dockerfile::{DockerfileGrammar, Rule};
use crate::healthcheck::healthcheck;
use crate::json::exec_form;
use crate::place::Operands;
use crate::transfer::{add, copy, list, plain_words};
use crate::{From, Heredoc, Instruction, InstructionProblem, ParseError, Problem, Run, Word, pairs};

/// An instruction by its keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
}

impl Keyword {
    /// Commonest first: of two equally near suggestions the first is taken.
    const ALL: [(Self, &'static str); 18] = [
        (Self::Run, "RUN"),
        (Self::Copy, "COPY"),
        (Self::From, "FROM"),
        (Self::Env, "ENV"),
        (Self::Arg, "ARG"),
        (Self::Workdir, "WORKDIR"),
        (Self::Cmd, "CMD"),
        (Self::Entrypoint, "ENTRYPOINT"),
        (Self::Label, "LABEL"),
        (Self::Expose, "EXPOSE"),
        (Self::User, "USER"),
        (Self::Add, "ADD"),
        (Self::Volume, "VOLUME"),
        (Self::Healthcheck, "HEALTHCHECK"),
        (Self::Shell, "SHELL"),
        (Self::Stopsignal, "STOPSIGNAL"),
        (Self::Onbuild, "ONBUILD"),
        (Self::Maintainer, "MAINTAINER"),
    ];

    /// The instruction of that name, whatever its case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(keyword, _)| *keyword)
    }

    /// The upper-case name.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(keyword, _)| *keyword == self).map_or("", |(_, name)| name)
    }

    /// True if its line may announce here-documents.
    pub(crate) fn takes_heredocs(self) -> bool {
        matches!(self, Self::Add | Self::Copy | Self::Run)
    }
}

/// The error for a word that is not an instruction; the suggestion is in lower case if anything in the word is.
pub(crate) fn unknown(name: &str) -> InstructionProblem {
    let names = Keyword::ALL.iter().map(|(_, known)| *known);
    let suggestion = crate::suggest(&name.to_uppercase(), names).map(|known| {
        if name.chars().any(char::is_lowercase) { known.to_lowercase() } else { known.to_owned() }
    });
    InstructionProblem::UnknownInstruction { keyword: name.to_owned(), suggestion }
}

impl std::convert::From<FlagError> for ParseError {
    fn from(error: FlagError) -> Self {
        Self { problem: Problem::Instruction(error.problem), lines: None, span: Some(error.span) }
    }
}

fn wrong<T>(problem: InstructionProblem) -> Result<T, ParseError> {
    Err(ParseError { problem: Problem::Instruction(problem), lines: None, span: None })
}

/// A FROM.
pub(crate) fn from(flags: Vec<Flag>, operands: &Operands<'_>) -> Result<From, ParseError> {
    let Ok(parsed) = DockerfileGrammar::parse(Rule::from, operands.text) else {
        return wrong(InstructionProblem::FromArguments);
    };
    let (mut image, mut name) = ("", None);
    for pair in parsed.flat_map(pest::iterators::Pair::into_inner) {
        match pair.as_rule() {
            Rule::image => image = pair.as_str(),
            Rule::stage_name => name = Some(pair.as_str()),
            _ => {}
        }
    }
    if let Some(name) = name
        && DockerfileGrammar::parse(Rule::valid_stage_name, &name.to_lowercase()).is_err()
    {
        let problem = InstructionProblem::InvalidStageName { name: name.to_owned() };
        let span = Some(operands.place.span(name));
        return Err(ParseError { problem: Problem::Instruction(problem), lines: None, span });
    }
    let mut flags = Checked::new(flags, Known { single: &["platform"], ..Known::default() })?;
    Ok(From {
        image: operands.place.word(image),
        platform: flags.take("platform"),
        name: name.map(|name| operands.place.word_from(name.to_lowercase(), name)),
    })
}

/// Any instruction but FROM and ONBUILD, which the caller reads.
pub(crate) fn instruction(
    keyword: Keyword,
    flags: Vec<Flag>,
    operands: &Operands<'_>,
    heredocs: Vec<Heredoc>,
) -> Result<Instruction, ParseError> {
    Ok(match keyword {
        Keyword::Add => Instruction::Add(add(flags, operands, &heredocs)?),
        Keyword::Copy => Instruction::Copy(copy(flags, operands, &heredocs)?),
        Keyword::Run => Instruction::Run(run(flags, operands, heredocs)?),
        Keyword::Cmd => {
            let command = command_line(operands)?;
            without_flags(flags)?;
            Instruction::Cmd(command)
        }
        Keyword::Entrypoint => {
            let command = command_line(operands)?;
            without_flags(flags)?;
            Instruction::Entrypoint(command)
        }
        Keyword::Shell => Instruction::Shell(shell(flags, operands)?),
        Keyword::Healthcheck => Instruction::Healthcheck(healthcheck(flags, operands)?),
        Keyword::Env => Instruction::Env(key_values(flags, operands, "ENV")?),
        Keyword::Label => Instruction::Label(key_values(flags, operands, "LABEL")?),
        Keyword::Arg => {
            // as in Docker, flags of ARG are ignored
            let declarations = pairs::declarations(operands);
            Instruction::Arg(declarations.map_err(|(problem, span)| ParseError {
                problem: Problem::Instruction(problem),
                lines: None,
                span,
            })?)
        }
        Keyword::Expose => Instruction::Expose(expose(flags, operands)?),
        Keyword::Volume => Instruction::Volume(volume(flags, operands)?),
        Keyword::Maintainer => Instruction::Maintainer(one_word("MAINTAINER", flags, operands)?),
        // as in Docker, flags of STOPSIGNAL are ignored
        Keyword::Stopsignal => Instruction::Stopsignal(one_word("STOPSIGNAL", Vec::new(), operands)?),
        Keyword::User => Instruction::User(one_word("USER", flags, operands)?),
        Keyword::Workdir => Instruction::Workdir(one_word("WORKDIR", flags, operands)?),
        Keyword::From | Keyword::Onbuild => return wrong(InstructionProblem::NotOneTrigger),
    })
}

/// Refuses any flag.
pub(crate) fn without_flags(flags: Vec<Flag>) -> Result<(), ParseError> {
    Checked::new(flags, Known::default())?;
    Ok(())
}

fn run(flags: Vec<Flag>, operands: &Operands<'_>, heredocs: Vec<Heredoc>) -> Result<Run, ParseError> {
    const FLAGS: Known =
        Known { single: &["network", "security"], repeated: &["device", "mount"], boolean: &[] };
    let command = command_line(operands)?;
    let mut flags = Checked::new(flags, FLAGS)?;
    Ok(Run {
        command,
        heredocs,
        mounts: flags.take_all("mount"),
        network: flags.take_even_empty("network"),
        security: flags.take_even_empty("security"),
        devices: flags.take_all("device"),
    })
}

fn key_values(
    flags: Vec<Flag>,
    operands: &Operands<'_>,
    instruction: &'static str,
) -> Result<crate::Pairs, ParseError> {
    let pairs = pairs::pairs(operands, instruction);
    // a line that cannot be read comes first, then the flags, then the rest
    if matches!(&pairs, Ok(_) | Err(ParseError { problem: Problem::Instruction(_), .. })) {
        without_flags(flags)?;
    }
    pairs
}

fn shell(flags: Vec<Flag>, operands: &Operands<'_>) -> Result<Vec<String>, ParseError> {
    let words = exec_form(operands)?;
    without_flags(flags)?;
    match words {
        Some(words) if !words.is_empty() => Ok(words.into_iter().map(|word| word.value).collect()),
        None if !operands.text.is_empty() => wrong(InstructionProblem::ShellNotJson),
        Some(_) | None => wrong(InstructionProblem::AtLeastOneArgument { instruction: "SHELL" }),
    }
}

fn expose(flags: Vec<Flag>, operands: &Operands<'_>) -> Result<Vec<Word>, ParseError> {
    let ports = plain_words(operands);
    if ports.is_empty() {
        return wrong(InstructionProblem::AtLeastOneArgument { instruction: "EXPOSE" });
    }
    without_flags(flags)?;
    Ok(ports)
}

fn volume(flags: Vec<Flag>, operands: &Operands<'_>) -> Result<Vec<Word>, ParseError> {
    let mut paths = list(operands)?;
    if paths.is_empty() {
        return wrong(InstructionProblem::AtLeastOneArgument { instruction: "VOLUME" });
    }
    without_flags(flags)?;
    for path in &mut paths {
        let trimmed = path.value.trim();
        if trimmed.is_empty() {
            let problem = Problem::Instruction(InstructionProblem::EmptyVolume);
            return Err(ParseError { problem, lines: None, span: Some(path.span) });
        }
        if trimmed.len() < path.value.len() {
            path.value = trimmed.to_owned();
        }
    }
    Ok(paths)
}

fn one_word(
    instruction: &'static str,
    flags: Vec<Flag>,
    operands: &Operands<'_>,
) -> Result<Word, ParseError> {
    if operands.text.is_empty() {
        return wrong(InstructionProblem::ExactlyOneArgument { instruction });
    }
    without_flags(flags)?;
    Ok(operands.place.word(operands.text))
}
