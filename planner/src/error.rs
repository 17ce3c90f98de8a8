//! Mistakes of a Dockerfile that parses. The messages are Docker's, word for word.

use rbuild_parser::{Lines, Lint, ParseError, WordError};

/// A Dockerfile, or a set of options, that cannot be planned.
#[derive(Debug, thiserror::Error)]
#[error("{kind}{}", .suggestion.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default())]
pub struct PlanError {
    /// The mistake. Its text is the message, so it is not the error's source.
    pub kind: Box<PlanErrorKind>,
    /// The lines with the mistake; `None` when it is in no line.
    pub lines: Option<Lines>,
    /// The nearest valid name; already part of the message.
    pub suggestion: Option<String>,
    /// The findings of the build checks before the mistake, with those of the parser: the wanted ones, in Docker's order.
    /// Empty when the check options cannot be read, and for [`PlanErrorKind::LintViolation`], whose plan has the
    /// findings.
    pub lints: Vec<Lint>,
}

/// The kinds of [`PlanError`].
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says what it is, and its fields are the words of it")]
pub enum PlanErrorKind {
    #[error("{0}")]
    Word(WordError),
    #[error("failed to process arguments for platform : {0}")]
    PlatformWord(WordError),
    #[error("{}", .0.problem)]
    Trigger(ParseError),
    #[error("failed to parse check options: {0}")]
    CheckOptions(String),
    #[error("failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: {0}")]
    CheckArgument(String),
    #[error("lint violation found for rules: {}", .0.join(", "))]
    LintViolation(Vec<String>),
    #[error("invalid context name {name}: {reason}")]
    ContextName { name: String, reason: rbuild_oci::ParseError },
    #[error("invalid SOURCE_DATE_EPOCH: {0}")]
    SourceDateEpoch(String),
    #[error("SOURCE_DATE_EPOCH stage {0}")]
    EpochStage(EpochStageError),
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    #[error("failed to parse stage name {name:?}: {reason}")]
    StageName { name: String, reason: rbuild_oci::ParseError },
    #[error("empty platform value from expression {0}")]
    EmptyPlatform(String),
    #[error("failed to parse platform {expression}: {reason}")]
    Platform { expression: String, reason: rbuild_oci::ParseError },
    #[error("target stage {0:?} could not be found")]
    UnknownTarget(String),
    #[error("circular dependency detected on stage: {0}")]
    Circular(String),
    #[error("invalid stage index {0}")]
    StageIndex(i64),
    #[error(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope \
         as a workaround"
    )]
    VariableInFrom,
    #[error("cannot copy from stage {from:?}, it needs to be defined before current stage {stage:?}")]
    CopyFromLater { from: String, stage: String },
    #[error(
        "cannot mount from stage {from:?} to {target:?}, stage needs to be defined before current command"
    )]
    MountFromLater { from: String, target: String },
    #[error("dockerfile parse error on line {line}: {kind}")]
    OnLine { line: usize, kind: Box<PlanErrorKind> },
    #[error("{0}")]
    Mount(MountError),
    #[error("invalid network mode {0:?}")]
    NetworkMode(String),
    #[error("security {0:?} is not valid")]
    SecurityMode(String),
    #[error("arguments are required")]
    EmptyCommand,
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Chmod(String),
    #[error("{0}")]
    Source(SourceError),
    #[error("invalid port: {port:?}: {reason}")]
    Port { port: String, reason: PortError },
    #[error("invalid signal: {0}")]
    Signal(String),
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
}

/// Mistakes of the stage that `SOURCE_DATE_EPOCH` names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says what it is, and its fields are the words of it")]
pub enum EpochStageError {
    #[error("must use FROM scratch")]
    Base,
    #[error("does not meet source-only requirements: unsupported {0} instruction")]
    Instruction(String),
    #[error("must contain exactly one remote ADD")]
    Adds,
    #[error("must contain exactly one remote ADD source")]
    Sources,
    #[error("source must be a single HTTP(S) or Git ADD")]
    LocalSource,
}

/// Mistakes in a `RUN --mount` or `--device`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says what it is, and its fields are the words of it")]
pub enum MountError {
    #[error("failed to parse csv mounts: {0}")]
    Csv(String),
    #[error("failed to parse csv devices: {0}")]
    DeviceCsv(String),
    #[error("device name already set to {0}")]
    DeviceNamedTwice(String),
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    VariableInFrom,
    #[error("unexpected key '{key}' in '{field}'")]
    UnexpectedKey { key: String, field: String },
    #[error("unexpected key '{key}' for mount type '{kind}'")]
    KeyForType { key: String, kind: &'static str },
    #[error("unsupported mount type {0:?}")]
    Type(String),
    #[error("unsupported sharing value {0:?}")]
    Sharing(String),
    #[error("invalid field '{0}' must be a key=value pair")]
    NotAPair(String),
    #[error("invalid value for {key}: {value}")]
    Flag { key: String, value: String },
    #[error("invalid value {value} for {key}")]
    Number { key: String, value: String },
    #[error("{key} not allowed for {kind:?} type mounts")]
    OwnerNotAllowed { key: &'static str, kind: &'static str },
    #[error("secret mount should not have a from")]
    SecretFrom,
    #[error("secret mount should not define sharing")]
    SecretSharing,
    #[error("invalid secret mount. one of source, target required")]
    SecretUnnamed,
    #[error("both source and id can't be set")]
    SourceAndId,
    #[error("ssh does not support source")]
    SshSource,
    #[error("invalid cache sharing set for {0} mount")]
    SharingForType(&'static str),
    #[error("invalid mount target {0:?}")]
    Target(String),
}

/// Mistakes in the sources of a COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says what it is, and its fields are the words of it")]
pub enum SourceError {
    #[error("source can't be a git ref for COPY")]
    GitForCopy,
    #[error("source can't be a URL for COPY")]
    UrlForCopy,
    #[error("checksum can't be specified for multiple sources")]
    ChecksumForMany,
    #[error("checksum requires HTTP(S) or Git sources")]
    ChecksumForLocal,
    #[error("checksum mismatch {flag:?} != {query:?}")]
    ChecksumMismatch { flag: String, query: String },
    #[error("invalid checksum digest format")]
    ChecksumFormat,
    #[error("invalid checksum digest length")]
    ChecksumLength,
    #[error("unsupported digest algorithm")]
    ChecksumAlgorithm,
    #[error("inconsistent keep-git-dir configuration")]
    KeepGitDir,
    #[error("unexpected query {0:?}")]
    Query(String),
    #[error("invalid value {value:?} for query {key:?}")]
    QueryValue { key: String, value: String },
    #[error("ref conflicts: {0:?} vs {1:?}")]
    RefConflict(String, String),
    #[error("subdir conflicts: {0:?} vs {1:?}")]
    SubdirConflict(String, String),
    #[error("branch conflicts with tag")]
    BranchAndTag,
}

/// Mistakes in an argument of EXPOSE.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says what it is, and its fields are the words of it")]
pub enum PortError {
    #[error("no port specified")]
    NoPort,
    #[error("invalid proto: {0}")]
    Proto(String),
    #[error("invalid IP address: {0}")]
    Address(String),
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges { container: String, host: String },
}

impl PlanErrorKind {
    /// The error at `lines`.
    pub(crate) fn at(self, lines: Lines) -> PlanError {
        PlanError { kind: Box::new(self), lines: Some(lines), suggestion: None, lints: Vec::new() }
    }

    /// The error, without a line.
    pub(crate) fn nowhere(self) -> PlanError {
        PlanError { kind: Box::new(self), lines: None, suggestion: None, lints: Vec::new() }
    }

    /// The error with the line before its message, as the parser of instructions reports its own errors.
    pub(crate) fn on_line(self, lines: Lines) -> PlanError {
        Self::OnLine { line: lines.first, kind: Box::new(self) }.at(lines)
    }
}

impl PlanError {
    /// The error without the line in its message.
    pub(crate) fn without_line(self) -> Self {
        match *self.kind {
            PlanErrorKind::OnLine { kind, .. } => Self { kind, ..self },
            kind => Self { kind: Box::new(kind), ..self },
        }
    }

    /// Adds the nearest of `candidates` to `value`, if there is one.
    pub(crate) fn suggesting<'c>(
        mut self,
        value: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> PlanError {
        self.suggestion = rbuild_parser::suggest(value, candidates).map(str::to_owned);
        self
    }
}
