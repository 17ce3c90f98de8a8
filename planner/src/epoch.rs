//! `SOURCE_DATE_EPOCH`, the time that replaces the clock's.
//!
//! Its value is a number of seconds, or the name of a source whose time is taken: `context`, a named context, or a stage
//! that consists of one remote ADD. As in Docker, local sources have no time, and leave it unset. The time of what is on the
//! network is the caller's to find out, once [`source`] has said that it is asked for.

use crate::env::Env;
use crate::instructions::classify;
use crate::options::PlanOptions;
use crate::scope::{Globals, evaluate_globals, expand_word};
use crate::{CopySource, EpochStageError, GitDirectory, PlanError, PlanErrorKind};
use rbuild_oci::Timestamp;
use rbuild_parser::{Add, Dockerfile, Escape, Instruction, Lines, Source, Stage};
use std::collections::HashMap;

/// The build argument that has the value.
const NAME: &str = "SOURCE_DATE_EPOCH";

/// The name of the main context.
pub(crate) const MAIN: &str = "context";

/// What has the time that `SOURCE_DATE_EPOCH` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EpochSource {
    /// A context: `context`, or that of a `--build-context`.
    Context,
    /// The remote ADD of a stage.
    Remote(RemoteAdd),
}

/// A remote ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAdd {
    /// Its only source.
    pub source: CopySource,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub git_directory: GitDirectory,
    /// Where it is written.
    pub lines: Lines,
}

/// The epoch in seconds, from the build arguments or a global ARG. Stages that declare the argument see the
/// seconds, or an unset variable.
pub(crate) fn settle(
    dockerfile: &Dockerfile,
    (build_args, globals): (&mut HashMap<String, String>, &mut Globals),
    options: &PlanOptions,
    is_context: &dyn Fn(&str) -> bool,
) -> Result<Option<i64>, PlanError> {
    let given = build_args.get(NAME).map(String::as_str).or_else(|| globals.env.get(NAME));
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
    let epoch = match text.parse() {
        Ok(seconds) => Some(seconds),
        Err(_) => {
            if !is_context(text) {
                let Some(stage) = named(dockerfile, text) else {
                    return Err(PlanErrorKind::SourceDateEpoch(text.to_owned()).nowhere());
                };
                remote_add(stage, globals.env.without(NAME), build_args, dockerfile.directives.escape)
                    .map_err(|kind| kind.at(stage.from.lines))?;
            }
            return set(options.source_times.get(text).copied(), build_args, globals);
        }
    };
    if epoch.is_some_and(|seconds| Timestamp::from_seconds(seconds).is_none()) {
        return Err(PlanErrorKind::SourceDateEpoch(text.to_owned()).nowhere());
    }
    set(epoch, build_args, globals)
}

/// What has the time that `SOURCE_DATE_EPOCH` asks for, with the name by which it does. `None` when it asks for nothing like
/// that, or for something that cannot be.
#[must_use]
pub fn source(dockerfile: &Dockerfile, options: &PlanOptions) -> Option<(String, EpochSource)> {
    let build_args: HashMap<String, String> = options.build_args.iter().cloned().collect();
    let globals = evaluate_globals(dockerfile, options, &build_args).ok()?;
    let text = build_args.get(NAME).cloned().or_else(|| globals.env.get(NAME).map(str::to_owned))?;
    if text == MAIN || options.named_contexts.contains_key(&text) {
        return Some((text, EpochSource::Context));
    }
    let stage = named(dockerfile, &text)?;
    let add = remote_add(stage, globals.env.without(NAME), &build_args, dockerfile.directives.escape).ok()?;
    Some((text, EpochSource::Remote(add)))
}

/// The stage called `text`.
fn named<'d>(dockerfile: &'d Dockerfile, text: &str) -> Option<&'d Stage> {
    let is_named = |stage: &&Stage| {
        stage.from.value.name.as_ref().is_some_and(|name| name.value.eq_ignore_ascii_case(text))
    };
    dockerfile.stages.iter().find(is_named)
}

/// Puts the time where the value was.
fn set(
    epoch: Option<i64>,
    build_args: &mut HashMap<String, String>,
    globals: &mut Globals,
) -> Result<Option<i64>, PlanError> {
    let settled = epoch.map_or_else(String::new, |seconds| seconds.to_string());
    match build_args.get_mut(NAME) {
        Some(argument) => *argument = settled,
        None => globals.env.set(NAME, settled),
    }
    Ok(epoch)
}

/// The remote ADD that is the only instruction of `stage`.
fn remote_add(
    stage: &Stage,
    mut env: Env,
    build_args: &HashMap<String, String>,
    escape: Escape,
) -> Result<RemoteAdd, PlanErrorKind> {
    let word = |text: &str, env: &Env| {
        expand_word(text, escape, env).map(|word| word.text).map_err(PlanErrorKind::Word)
    };
    let wrong = |error| Err(PlanErrorKind::EpochStage(error));
    if word(&stage.from.value.image.value, &env)? != "scratch" {
        return wrong(EpochStageError::Base);
    }
    let mut source = None;
    for node in &stage.instructions {
        match &node.value {
            Instruction::Arg(arguments) => {
                for argument in arguments {
                    let name = argument.name.value.as_str();
                    match (build_args.get(name), &argument.default) {
                        (Some(given), _) => env.set(name, given.clone()),
                        (None, Some(default)) => {
                            let value = word(&default.value, &env)?;
                            env.set(name, value);
                        }
                        (None, None) => {}
                    }
                }
            }
            Instruction::Add(_) if source.is_some() => return wrong(EpochStageError::Adds),
            Instruction::Add(add) => source = Some(remote_of(add, node.lines, |text| word(text, &env))?),
            Instruction::Cmd(_)
            | Instruction::Copy(_)
            | Instruction::Entrypoint(_)
            | Instruction::Env(_)
            | Instruction::Expose(_)
            | Instruction::Healthcheck(_)
            | Instruction::Label(_)
            | Instruction::Maintainer(_)
            | Instruction::Onbuild(_)
            | Instruction::Run(_)
            | Instruction::Shell(_)
            | Instruction::Stopsignal(_)
            | Instruction::User(_)
            | Instruction::Volume(_)
            | Instruction::Workdir(_) => {
                return wrong(EpochStageError::Instruction(node.keyword.value.clone()));
            }
        }
    }
    source.ok_or(PlanErrorKind::EpochStage(EpochStageError::Adds))
}

fn remote_of(
    add: &Add,
    lines: Lines,
    expanded: impl Fn(&str) -> Result<String, PlanErrorKind>,
) -> Result<RemoteAdd, PlanErrorKind> {
    let [Source::Path(path)] = add.transfer.sources.as_slice() else {
        return Err(PlanErrorKind::EpochStage(EpochStageError::Sources));
    };
    let source = classify(expanded(&path.value)?);
    match source {
        CopySource::Http(_) | CopySource::Git(_) => {}
        CopySource::Path(_) | CopySource::Inline { .. } => {
            return Err(PlanErrorKind::EpochStage(EpochStageError::LocalSource));
        }
    }
    let checksum = add.checksum.as_ref().map(|checksum| expanded(&checksum.value)).transpose()?;
    let git_directory =
        if add.keep_git_dir == Some(true) { GitDirectory::Kept } else { GitDirectory::Removed };
    Ok(RemoteAdd { source, checksum: checksum.filter(|text| !text.is_empty()), git_directory, lines })
}
