//! `SOURCE_DATE_EPOCH`, the time that replaces the clock's.
//!
//! Its value is a number of seconds, or the name of a source whose time is taken: `context`, a named context, or a stage
//! that consists of one remote ADD. As in Docker, local sources have no time, and leave it unset.

use crate::env::Env;
use crate::instructions::classify;
use crate::scope::{Globals, expand_word};
use crate::{CopySource, EpochStageError, PlanError, PlanErrorKind};
use rbuild_oci::Timestamp;
use rbuild_parser::{Add, Dockerfile, Escape, Instruction, Source, Stage};
use std::collections::HashMap;

/// The build argument that has the value.
const NAME: &str = "SOURCE_DATE_EPOCH";

/// The epoch in seconds, from the build arguments or a global ARG. Stages that declare the argument see the
/// seconds, or an unset variable.
pub(crate) fn settle(
    dockerfile: &Dockerfile,
    build_args: &mut HashMap<String, String>,
    globals: &mut Globals,
    is_context: &dyn Fn(&str) -> bool,
) -> Result<Option<i64>, PlanError> {
    let given = build_args.get(NAME).map(String::as_str).or_else(|| globals.env.get(NAME));
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
    let epoch = match text.parse() {
        Ok(seconds) => Some(seconds),
        Err(_) if text == "context" || is_context(text) => None,
        Err(_) => {
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
