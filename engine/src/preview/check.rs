//! The checks of a Dockerfile without building it (`--check`).
//!
//! Without a target, all stages are looked at. An image that is not in the store counts as one with an empty config.

use crate::{
    BuildRequest, DockerfileSource, Engine, Error, EventSink,
    context::Context,
    definition::{self, findings_before},
    diagnostic::DockerfileText,
    reporter::Reporter,
    resolve::Fetching,
};
use rbuild_cache::Cancel;
use rbuild_parser::{Dockerfile, Lint, Rule};
use rbuild_planner::{Entitlements, Plan, PlanErrorKind, PlanOptions, Selection};
use std::path::{Component, Path, PathBuf};

/// What the checks found.
#[derive(Debug)]
pub struct Checked {
    /// The findings, in the order in which they were made.
    pub findings: Vec<Finding>,
    /// Why the Dockerfile could not be built at all; `error=true` with findings counts.
    pub failure: Option<Error>,
    /// First and last line of what is to blame for that.
    pub failure_lines: Option<(usize, usize)>,
    /// The Dockerfile's name as shown.
    pub file: String,
    /// Its bytes.
    pub text: Vec<u8>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// What the rule asks for.
    pub description: &'static str,
    /// The page that describes it.
    pub url: Option<String>,
    /// What is wrong here.
    pub message: String,
    /// First and last line.
    pub lines: (usize, usize),
    /// The marked lines; see [`crate::Diagnostic::excerpt`].
    pub excerpt: String,
}

impl Engine {
    /// Checks the Dockerfile of `request`: a bad one is an answer, not an error.
    ///
    /// # Errors
    /// When the Dockerfile cannot be read, or the request is at fault: it asks for something that is not supported, or for
    /// checks that there are not.
    pub fn check(&self, request: &BuildRequest) -> Result<Checked, Error> {
        let (mut text, context) = definition::load(
            (&self.store, request),
            &Reporter::new(EventSink::ignore()),
            &Cancel::default(),
        )?;
        let file = std::mem::replace(&mut text.name, shown_path(request));
        let (lints, failure) = match definition::parse(&text) {
            Err(error) => (findings_before(&error, &text, request), Some(error)),
            Ok(dockerfile) => self.findings(&dockerfile, request, (&text, &context))?,
        };
        let findings = lints.into_iter().map(|lint| finding(lint, &text)).collect();
        let failure_lines = failure.as_ref().and_then(lines);
        Ok(Checked { findings, failure, failure_lines, file, text: text.bytes })
    }

    fn findings(
        &self,
        dockerfile: &Dockerfile,
        request: &BuildRequest,
        (text, context): (&DockerfileText, &Context),
    ) -> Result<(Vec<Lint>, Option<Error>), Error> {
        let mut options = definition::plan_options(request)?;
        if options.target.is_none() {
            options.selection = Selection::Everything;
        }
        match self.plan_assuming(dockerfile, &options, (request, text, context)) {
            Ok(plan) => {
                let violated = || plan.lint_errors().err().map(|error| Error::plan(error, text));
                let failure = context.ignore_failure().or_else(violated);
                Ok((plan.lints, failure))
            }
            Err(Error::Plan { error, .. }) if matches!(*error.kind, PlanErrorKind::CheckArgument(_)) => {
                Err(Error::plan(error, text))
            }
            Err(Error::Plan { mut error, diagnostic }) => {
                let lints = std::mem::take(&mut error.lints);
                Ok((lints, Some(Error::Plan { error, diagnostic })))
            }
            Err(other) => Ok((Vec::new(), Some(other))),
        }
    }

    /// The plan, with an empty config for every image that is not in the store.
    pub(super) fn plan_assuming(
        &self,
        dockerfile: &Dockerfile,
        options: &PlanOptions,
        (request, text, context): (&BuildRequest, &DockerfileText, &Context),
    ) -> Result<Plan, Error> {
        let failed = |error| Error::plan(error, text);
        let options = PlanOptions { entitlements: Entitlements::NotNeeded, ..options.clone() };
        let selected = rbuild_planner::select(dockerfile.clone(), &options).map_err(failed)?;
        let (graph, _) = self.resolve_locally(selected, (request, text), Fetching::AssumeEmpty)?;
        rbuild_planner::lower_beside(graph, &|path| context.leaves_out(path)).map_err(failed)
    }
}

/// The Dockerfile's path as it was given, or as it is found in the context: so excerpts of checks show it.
fn shown_path(request: &BuildRequest) -> String {
    let in_context = |context: &Path| {
        let parts = context.components().filter(|part| *part != Component::CurDir);
        parts.collect::<PathBuf>().join("Dockerfile")
    };
    match (&request.dockerfile, request.context.directory()) {
        (DockerfileSource::File(path), _) => path.display().to_string(),
        (DockerfileSource::InContext, Some(context)) => in_context(context).display().to_string(),
        (DockerfileSource::InContext, None) | (DockerfileSource::Text(_), _) => "Dockerfile".to_owned(),
    }
}

fn lines(error: &Error) -> Option<(usize, usize)> {
    let lines = match error {
        Error::Syntax { error, .. } => error.lines,
        Error::Plan { error, .. } => error.lines,
        _ => None,
    };
    lines.map(|lines| (lines.first, lines.last))
}

fn finding(lint: Lint, text: &DockerfileText) -> Finding {
    Finding {
        rule: lint.rule.name(),
        description: description(lint.rule),
        url: lint.rule.url(),
        excerpt: text.at(Some(lint.lines)).excerpt,
        lines: (lint.lines.first, lint.lines.last),
        message: lint.message,
    }
}

/// Docker's sentence for what a rule asks for.
fn description(rule: Rule) -> &'static str {
    match rule {
        Rule::StageNameCasing => "Stage names should be lowercase",
        Rule::FromAsCasing => "The 'as' keyword should match the case of the 'from' keyword",
        Rule::NoEmptyContinuation => "Empty continuation lines will become errors in a future release",
        Rule::ConsistentInstructionCasing => {
            "All commands within the Dockerfile should use the same casing (either upper or lower)"
        }
        Rule::DuplicateStageName => "Stage names should be unique",
        Rule::ReservedStageName => "Reserved words should not be used as stage names",
        Rule::JSONArgsRecommended => {
            "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"
        }
        Rule::MaintainerDeprecated => {
            "The MAINTAINER instruction is deprecated, use a label instead to define an image author"
        }
        Rule::UndefinedArgInFrom => "FROM command must use declared ARGs",
        Rule::WorkdirRelativePath => {
            "Relative workdir without an absolute workdir declared within the build can have unexpected results if the \
             base image changes"
        }
        Rule::UndefinedVar => "Variables should be defined before their use",
        Rule::MultipleInstructionsDisallowed => {
            "Multiple instructions of the same type should not be used in the same stage"
        }
        Rule::LegacyKeyValueFormat => "Legacy key/value format with whitespace separator should not be used",
        Rule::InvalidBaseImagePlatform => "Base image platform does not match expected target platform",
        Rule::RedundantTargetPlatform => {
            "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"
        }
        Rule::SecretsUsedInArgOrEnv => "Sensitive data should not be used in the ARG or ENV commands",
        Rule::InvalidDefaultArgInFrom => {
            "Default value for global ARG results in an empty or invalid base image name"
        }
        Rule::FromPlatformFlagConstDisallowed => "FROM --platform flag should not use a constant value",
        Rule::CopyIgnoredFile => "Attempting to Copy file that is excluded by .dockerignore",
        Rule::ExposeProtoCasing => "Protocol in EXPOSE instruction should be lowercase",
        Rule::ExposeInvalidFormat => {
            "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a \
             future release"
        }
        Rule::InvalidDefinitionDescription => {
            "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this \
             is not intended to be a description comment, add an empty line or comment between the instruction and the \
             comment."
        }
        Rule::InvalidOnbuildTrigger => "ONBUILD triggers should be instructions that a build can carry out",
    }
}
