//! Mistakes in Dockerfiles, in Docker's own words.

use crate::{Lines, Span};

/// The longest physical line, newline excluded, in bytes.
pub const MAX_LINE: usize = 65_535;

/// A Dockerfile that cannot be read: the problem and the place.
///
/// Displays as Docker does: problems inside one instruction (as opposed to those of lines and words) are introduced by
/// `dockerfile parse error on line N: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The mistake.
    pub problem: Problem,
    /// The lines of the instruction it was found in; `None` when the file as a whole is wrong.
    pub lines: Option<Lines>,
    /// The bytes to mark; `None` when there is nothing more exact than `lines`.
    pub span: Option<Span>,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(lines), true) = (self.lines, self.problem.is_inside_instruction()) {
            write!(f, "dockerfile parse error on line {}: ", lines.first)?;
        }
        write!(f, "{}", self.problem)
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    pub(crate) fn in_lines(problem: Problem, lines: Lines) -> Self {
        Self { problem, lines: Some(lines), span: None }
    }
}

/// The ways a Dockerfile can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is empty.
    #[error("the Dockerfile cannot be empty")]
    EmptyFile,
    /// The file has only blank lines and comments.
    #[error("file with no instructions")]
    NoInstructions,
    /// The file has only global ARGs.
    #[error("dockerfile contains no stages to build")]
    NoStages,
    /// An instruction other than ARG before the first FROM.
    #[error("no build stage in current context")]
    OutsideStage,
    /// A physical line is longer than [`MAX_LINE`] bytes.
    #[error("dockerfile line greater than max allowed size of {MAX_LINE}")]
    LineTooLong,
    /// Bytes outside comments are not UTF-8.
    #[error("invalid UTF-8 in instruction")]
    NotUtf8,
    /// A parser directive is given twice.
    #[error("only one {key} parser directive can be used")]
    RepeatedDirective {
        /// The directive, lower-cased.
        key: String,
    },
    /// `# escape=` names a character other than the two possible ones.
    #[error("invalid escape token '{token}' does not match ` or \\")]
    InvalidEscape {
        /// The value as written.
        token: String,
    },
    /// The file ends inside a here-document.
    #[error("unterminated heredoc")]
    UnterminatedHeredoc,
    /// A JSON array contains a value that is not a string.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    JsonNotStrings,
    /// The legacy form of ENV or LABEL without a value.
    #[error("{instruction} must have two arguments")]
    MissingValue {
        /// `ENV` or `LABEL`.
        instruction: &'static str,
    },
    /// A later word of ENV or LABEL has no `=`.
    #[error(
        "Syntax error - can't find = in {}. Must be of the form: name=value",
        crate::quote::go_quoted(word)
    )]
    MissingEquals {
        /// The word.
        word: String,
    },
    /// Something is wrong inside one instruction.
    #[error(transparent)]
    Instruction(#[from] InstructionProblem),
}

impl Problem {
    fn is_inside_instruction(&self) -> bool {
        matches!(self, Self::Instruction(_))
    }
}

/// Mistakes inside an instruction whose line could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstructionProblem {
    /// No instruction has that name.
    #[error("unknown instruction: {keyword}{}", DidYouMean(suggestion))]
    UnknownInstruction {
        /// The word as typed.
        keyword: String,
        /// The nearest instruction.
        suggestion: Option<String>,
    },
    /// The instruction has no such flag.
    #[error("unknown flag: --{flag}{}", DidYouMean(suggestion))]
    UnknownFlag {
        /// The flag without dashes.
        flag: String,
        /// The nearest flag of the instruction.
        suggestion: Option<String>,
    },
    /// A flag that takes a value has none.
    #[error("missing a value on flag: --{flag}")]
    MissingFlagValue {
        /// The flag without dashes.
        flag: String,
    },
    /// A flag that may be given once is given again.
    #[error("duplicate flag specified: --{flag}")]
    DuplicateFlag {
        /// The flag without dashes.
        flag: String,
    },
    /// A boolean flag is neither `true` nor `false`.
    #[error("expecting boolean value for flag --{flag}, not: {value}")]
    NotBoolean {
        /// The flag without dashes.
        flag: String,
        /// The value as written.
        value: String,
    },
    /// MAINTAINER, WORKDIR, USER or STOPSIGNAL without its argument.
    #[error("{instruction} requires exactly one argument")]
    ExactlyOneArgument {
        /// The instruction, upper-case.
        instruction: &'static str,
    },
    /// An instruction without arguments that needs some.
    #[error("{instruction} requires at least one argument")]
    AtLeastOneArgument {
        /// The instruction, upper-case.
        instruction: &'static str,
    },
    /// ADD or COPY without a destination.
    #[error(
        "{instruction} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    NoDestination {
        /// `ADD` or `COPY`.
        instruction: &'static str,
    },
    /// FROM is not `FROM image` or `FROM image AS name`.
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    /// A stage's name is not `[a-z][a-z0-9-_.]*`.
    #[error(
        "invalid name for build stage: {}, name can't start with a number or contain symbols",
        crate::quote::go_quoted(name)
    )]
    InvalidStageName {
        /// The name as typed.
        name: String,
    },
    /// SHELL in shell form.
    #[error("SHELL requires the arguments to be in JSON form")]
    ShellNotJson,
    /// A variable's or label's name is empty.
    #[error("{instruction} names can not be blank")]
    BlankName {
        /// `ENV`, `LABEL` or `ARG`.
        instruction: &'static str,
    },
    /// Words after HEALTHCHECK NONE.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNoneArguments,
    /// HEALTHCHECK CMD without a command.
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckNoCommand,
    /// HEALTHCHECK is followed by neither NONE nor CMD.
    #[error("Unknown type {} in HEALTHCHECK (try CMD)", crate::quote::go_quoted(kind))]
    HealthcheckType {
        /// The word, upper-cased.
        kind: String,
    },
    /// A duration of HEALTHCHECK is negative or below a millisecond.
    #[error("Interval {flag:?} cannot be less than 1ms")]
    IntervalTooShort {
        /// The flag without dashes.
        flag: &'static str,
    },
    /// `--retries` is negative.
    #[error("--retries cannot be negative ({retries})")]
    NegativeRetries {
        /// The value as written.
        retries: i64,
    },
    /// `--retries` is not a whole number of 32 bits.
    #[error("strconv.ParseInt: parsing {}: {reason}", crate::quote::go_quoted(value))]
    InvalidRetries {
        /// The value as written.
        value: String,
        /// Go's reason.
        reason: &'static str,
    },
    /// A duration cannot be read.
    #[error("time: {0}")]
    InvalidDuration(#[from] DurationProblem),
    /// VOLUME with an empty string.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// A here-document where the destination should be.
    #[error("{instruction} cannot accept a heredoc as a destination")]
    HeredocDestination {
        /// `ADD` or `COPY`.
        instruction: &'static str,
    },
    /// ONBUILD ONBUILD.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    ChainedOnbuild,
    /// ONBUILD FROM and ONBUILD MAINTAINER.
    #[error("{trigger} isn't allowed as an ONBUILD trigger")]
    ForbiddenTrigger {
        /// The trigger's instruction, upper-case.
        trigger: &'static str,
    },
    /// A trigger kept in an image is not exactly one instruction.
    #[error("onbuild trigger should be a single expression")]
    NotOneTrigger,
}

/// Mistakes in durations, in the words of Go's `time.ParseDuration`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationProblem {
    /// The text is not a duration, or the duration does not fit into 64 bits of nanoseconds.
    #[error("invalid duration {}", crate::quote::go_quoted(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("missing unit in duration {}", crate::quote::go_quoted(.0))]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("unknown unit {} in duration {}", crate::quote::go_quoted(unit), crate::quote::go_quoted(text))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// The two kinds of quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// `'`
    Single,
    /// `"`
    Double,
}

impl std::fmt::Display for Quote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Single => "single-quote",
            Self::Double => "double-quote",
        })
    }
}

/// A word that cannot be expanded. Displays as `failed to process "WORD": reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {}: {reason}", crate::quote::go_quoted(word))]
pub struct WordError {
    /// The word as written.
    pub word: String,
    /// The mistake in it.
    pub reason: WordProblem,
    /// Names that were looked up and not found before the word failed, each once, in the order met.
    pub unset: Vec<String>,
}

/// Mistakes in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordProblem {
    /// A quote is never closed.
    #[error("unexpected end of statement while looking for matching {0}")]
    Unbalanced(Quote),
    /// `${}`, `${:` or `${{`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${` is never closed.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${v/x}`.
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// `${v^}` and the like; the modifier as written, U+FFFD for the end of the word.
    #[error("unsupported modifier ({0}) in substitution")]
    UnsupportedModifier(String),
    /// A pattern with an escape that has no meaning.
    #[error("invalid pattern ({pattern}) in substitution: invalid escape '\\{escaped}'")]
    InvalidPattern {
        /// The pattern.
        pattern: String,
        /// The character after the backslash, U+FFFD for the end of the pattern.
        escaped: char,
    },
    /// `${v:?message}` without a value.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message, or Docker's default when the word has none.
        message: String,
    },
    /// Replacements make a text of more than [`crate::MAX_EXPANSION`] bytes.
    #[error("the result is too long")]
    TooLong,
    /// A pattern that takes more than [`crate::MAX_MATCHING`] comparisons.
    #[error("the pattern is too long for a value of {0} bytes")]
    TooMuchMatching(usize),
    /// `${a:-${b:-…}}` nested beyond [`crate::MAX_NESTING`].
    #[error("substitutions are nested too deep")]
    TooDeep,
}

/// The value of a `--mount` that is not one line of comma-separated values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The value is empty.
    #[error("EOF")]
    Empty,
    /// A `"` inside a field that has none at its start.
    #[error("parse error on line 1, column {column}: bare \" in non-quoted-field")]
    BareQuote {
        /// The byte of the value, counted from 1.
        column: usize,
    },
    /// A quoted field that is not closed, or goes on after its closing quote.
    #[error("parse error on line 1, column {column}: extraneous or missing \" in quoted-field")]
    OpenQuote {
        /// The byte of the value, counted from 1.
        column: usize,
    },
}

struct DidYouMean<'a>(&'a Option<String>);

impl std::fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(word) => write!(f, " (did you mean {word}?)"),
            None => Ok(()),
        }
    }
}
