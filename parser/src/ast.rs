//! The syntax tree: the text as written, with words unexpanded, and with the place of every node.

use crate::{Lines, Lint, Span, Spanned};

/// A word as written, quotes, escapes and `$` still in it; see [`crate::parse_word`].
pub type Word = Spanned<String>;

/// A whole Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// Parser directives.
    pub directives: Directives,
    /// `ARG`s before the first `FROM`, in order.
    pub global_args: Vec<Node<Vec<ArgDeclaration>>>,
    /// The stages, in order; never empty.
    pub stages: Vec<Stage>,
    /// Findings of the checks that need only the text.
    pub lints: Vec<Lint>,
}

/// Parser directives at the top of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`.
    pub syntax: Option<Word>,
    /// `# escape=`; `\` when there is none.
    pub escape: Escape,
    /// `# check=`.
    pub check: Option<Word>,
}

/// The escape character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// `\`.
    #[default]
    Backslash,
    /// `` ` ``.
    Backtick,
}

impl Escape {
    /// The character itself.
    #[must_use]
    pub fn as_char(self) -> char {
        match self {
            Self::Backslash => '\\',
            Self::Backtick => '`',
        }
    }
}

/// One instruction with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<T> {
    /// The parsed instruction.
    pub value: T,
    /// The instruction word as typed.
    pub keyword: Word,
    /// First to last byte, heredoc bodies included.
    pub span: Span,
    /// First to last line, heredoc terminators included.
    pub lines: Lines,
    /// The instruction's joined text after continuation (instruction word included, heredoc bodies not); progress
    /// lines and ONBUILD are made from it.
    pub text: String,
    /// The comment lines directly above, without `#`.
    pub comments: Vec<Word>,
}

/// `FROM` up to the next `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The FROM instruction.
    pub from: Node<From>,
    /// The instructions below it.
    pub instructions: Vec<Node<Instruction>>,
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The image as written.
    pub image: Word,
    /// `--platform`.
    pub platform: Option<Word>,
    /// The stage's name, lower-cased; the span points at what was typed.
    pub name: Option<Word>,
}

/// Everything that may stand inside a stage. `FROM` is [`From`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// ADD
    Add(Add),
    /// ARG
    Arg(Vec<ArgDeclaration>),
    /// CMD
    Cmd(CommandLine),
    /// COPY
    Copy(Copy),
    /// ENTRYPOINT
    Entrypoint(CommandLine),
    /// ENV
    Env(Pairs),
    /// EXPOSE, as written (sorting and expansion are the planner's)
    Expose(Vec<Word>),
    /// HEALTHCHECK
    Healthcheck(Healthcheck),
    /// LABEL
    Label(Pairs),
    /// MAINTAINER
    Maintainer(Word),
    /// ONBUILD
    Onbuild(Onbuild),
    /// RUN
    Run(Run),
    /// SHELL
    Shell(Vec<String>),
    /// STOPSIGNAL
    Stopsignal(Word),
    /// USER
    User(Word),
    /// VOLUME
    Volume(Vec<Word>),
    /// WORKDIR
    Workdir(Word),
}

/// One `NAME[=default]` of an ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name, as written (quotes removed only by expansion).
    pub name: Word,
    /// The text after `=`; `None` when there is no `=`.
    pub default: Option<Word>,
}

/// The pairs of an ENV or LABEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// Key and value, unexpanded.
    pub pairs: Vec<(Word, Word)>,
    /// The form in which the pairs are written.
    pub form: PairsForm,
}

/// The two ways to write ENV and LABEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairsForm {
    /// `KEY=value …`.
    Equals,
    /// `KEY value`.
    Legacy,
}

/// A command in shell or exec form (RUN, CMD, ENTRYPOINT).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// Text for the shell, continuations folded; may be empty.
    Shell(Word),
    /// A JSON array.
    Exec(Vec<String>),
}

/// A here-document: `<<[-]NAME` and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The name, unquoted.
    pub name: String,
    /// Digits before `<<`, as written.
    pub descriptor: String,
    /// The body as written, line endings kept, terminator excluded.
    pub body: Word,
    /// Expansion of `$` in the body, which quotes around the name turn off.
    pub expansion: Expansion,
    /// Treatment of leading tabs, which `<<-` removes.
    pub tabs: Tabs,
}

/// Expansion of a here-document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// Variables are expanded.
    Active,
    /// The body is literal.
    Literal,
}

/// Treatment of the leading tabs of a here-document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tabs {
    /// They stay.
    Kept,
    /// They are removed.
    Stripped,
}

impl Heredoc {
    /// The body after `<<-` has removed leading tabs.
    #[must_use]
    pub fn content(&self) -> String {
        match self.tabs {
            Tabs::Kept => self.body.value.clone(),
            Tabs::Stripped => {
                self.body.value.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
            }
        }
    }
}

/// RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub command: CommandLine,
    /// Its here-documents, in order.
    pub heredocs: Vec<Heredoc>,
    /// Each `--mount` value as written.
    pub mounts: Vec<Word>,
    /// `--network`.
    pub network: Option<Word>,
    /// `--security`.
    pub security: Option<Word>,
    /// Each `--device` value as written.
    pub devices: Vec<Word>,
}

/// A source operand of COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path (or, for ADD, a URL), unexpanded.
    Path(Word),
    /// An inline file.
    Heredoc(Heredoc),
}

/// The operands and flags that COPY and ADD share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The sources, in the order written; at least one.
    pub sources: Vec<Source>,
    /// The destination.
    pub destination: Word,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link` was given (and not `=false`).
    pub link: bool,
    /// Each `--exclude`.
    pub exclude: Vec<Word>,
}

/// COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Sources, destination and common flags.
    pub transfer: Transfer,
    /// `--from`.
    pub from: Option<Word>,
    /// `--parents` was given.
    pub parents: bool,
}

/// ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// Sources, destination and common flags.
    pub transfer: Transfer,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`.
    pub unpack: Option<bool>,
}

/// HEALTHCHECK. Durations in nanoseconds, 0 = inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`
    None,
    /// `HEALTHCHECK [flags] CMD …`
    Check {
        /// The command after CMD.
        command: CommandLine,
        /// `--interval`
        interval: i64,
        /// `--timeout`
        timeout: i64,
        /// `--start-period`
        start_period: i64,
        /// `--start-interval`
        start_interval: i64,
        /// `--retries`
        retries: i64,
    },
}

/// ONBUILD: the trigger's text and what it parses to. One that makes no sense fails where it is carried out, as with
/// Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onbuild {
    /// The text after `ONBUILD `, heredoc bodies and terminators appended as they are stored in an image's config.
    pub text: String,
    /// The trigger itself, or Docker's words for what is wrong with it.
    pub instruction: Result<Box<Instruction>, String>,
}
