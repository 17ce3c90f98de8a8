//! `SOURCE_DATE_EPOCH`, the time that replaces the clock's.
//!
//! Its value is a number of seconds, or the name of a source whose time is taken: `context`, a named context, or a stage
//! that consists of one remote ADD. As in Docker, local sources have no time, and leave it unset. The time of a context on the
//! network is the caller's to find out, once [`context`] has said that it is asked for.

use crate::env::Env;
use crate::instructions::classify;
use crate::options::PlanOptions;
use crate::scope::{Globals, evaluate_globals, expand_word};
use crate::{CopySource, EpochStageError, PlanError, PlanErrorKind};
use rbuild_oci::Timestamp;
use rbuild_parser::{Add, Dockerfile, Escape, Instruction, Source, Stage};
use std::collections::HashMap;

/// The build argument that has the value.
const NAME: &str = "SOURCE_DATE_EPOCH";

/// The name of the main context.
pub(crate) const MAIN: &str = "context";

/// The epoch in seconds, from the build arguments or a global ARG. Stages that declare the argument see the
/// seconds, or an unset variable.
pub(crate) fn settle(
    dockerfile: &Dockerfile,
    build_args: &mut HashMap<String, String>,
    globals: &mut Globals,
    context_time: &dyn Fn(&str) -> Option<Option<i64>>,
) -> Result<Option<i64>, PlanError> {
    let given = build_args.get(NAME).map(String::as_str).or_else(|| globals.env.get(NAME));
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
    let epoch = match text.parse() {
        Ok(seconds) => Some(seconds),
        Err(_) => {
            if let Some(time) = context_time(text) {
                return set(time, build_args, globals);
            }
            let named = |stage: &&Stage| {
                stage.from.value.name.as_ref().is_some_and(|name| name.value.eq_ignore_ascii_case(text))
            };
            match dockerfile.stages.iter().find(named) {
                Some(stage) => {
                    let escape = dockerfile.directives.escape;
                    let found = remote_source(stage, globals.env.without(NAME), build_args, escape);
                    return Err(found.map_or_else(|kind| kind, not_supported).at(stage.from.lines));
                }
                None => return Err(PlanErrorKind::SourceDateEpoch(text.to_owned()).nowhere()),
            }
        }
    };
    if epoch.is_some_and(|seconds| Timestamp::from_seconds(seconds).is_none()) {
        return Err(PlanErrorKind::SourceDateEpoch(text.to_owned()).nowhere());
    }
    set(epoch, build_args, globals)
}

/// The name of the context whose time `SOURCE_DATE_EPOCH` asks for: `context`, or that of a `--build-context`. `None` when it asks for
/// something else, or cannot be understood.
#[must_use]
pub fn context(dockerfile: &Dockerfile, options: &PlanOptions) -> Option<String> {
    let build_args: HashMap<String, String> = options.build_args.iter().cloned().collect();
    let text = match build_args.get(NAME) {
        Some(given) => given.clone(),
        None => evaluate_globals(dockerfile, options, &build_args).ok()?.env.get(NAME)?.to_owned(),
    };
    (text == MAIN || options.named_contexts.contains_key(&text)).then_some(text)
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

fn not_supported(source: String) -> PlanErrorKind {
    PlanErrorKind::EpochStage(EpochStageError::Remote(source))
}

/// The URL of the remote ADD that is the only instruction of `stage`.
fn remote_source(
    stage: &Stage,
    mut env: Env,
    build_args: &HashMap<String, String>,
    escape: Escape,
) -> Result<String, PlanErrorKind> {
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
            Instruction::Add(add) => source = Some(remote_of(add, |text| word(text, &env))?),
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
    expanded: impl Fn(&str) -> Result<String, PlanErrorKind>,
) -> Result<String, PlanErrorKind> {
    let [Source::Path(path)] = add.transfer.sources.as_slice() else {
        return Err(PlanErrorKind::EpochStage(EpochStageError::Sources));
    };
    match classify(expanded(&path.value)?) {
        CopySource::Http(url) | CopySource::Git(url) => Ok(url),
        CopySource::Path(_) | CopySource::Inline { .. } => {
            Err(PlanErrorKind::EpochStage(EpochStageError::LocalSource))
        }
    }
}
