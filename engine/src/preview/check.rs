//! The checks of a Dockerfile without building it (`--check`).
//!
//! Without a target, all stages are looked at. An image that is not in the store counts as one with an empty config.

use super::Absent;
use crate::{BuildRequest, Engine, Error, EventSink, build, diagnostic::DockerfileText, reporter::Reporter};
use rbuild_parser::{Dockerfile, Instruction, Lint, Rule};
use rbuild_planner::{Plan, PlanOptions, Selection};

/// What the checks found.
#[derive(Debug)]
pub struct Checked {
    /// The findings, by line.
    pub findings: Vec<Finding>,
    /// Why the Dockerfile could not be built at all; `error=true` with findings counts.
    pub failure: Option<Error>,
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
    /// When the Dockerfile cannot be read, or the request asks for something that is not supported.
    pub fn check(&self, request: &BuildRequest) -> Result<Checked, Error> {
        let text = build::load_dockerfile(request, &Reporter::new(EventSink::ignore()))?;
        let mut options = build::plan_options(request)?;
        if options.target.is_none() {
            options.selection = Selection::Everything;
        }
        let (lints, failure) = match build::parse_dockerfile(request, &text) {
            Err(error) => (Vec::new(), Some(error)),
            Ok(dockerfile) => match self.plan_assuming(&dockerfile, &options, &text) {
                Ok(plan) => {
                    let violated = plan.lint_errors().err().map(|error| Error::plan(error, &text));
                    (plan.lints, violated)
                }
                Err(error) => (self.lints_of_text(&dockerfile, &options, &text), Some(error)),
            },
        };
        let findings = lints.into_iter().map(|lint| finding(lint, &text)).collect();
        Ok(Checked { findings, failure, file: text.name, text: text.bytes })
    }

    /// The plan, with an empty config for every image that is not in the store.
    pub(super) fn plan_assuming(
        &self,
        dockerfile: &Dockerfile,
        options: &PlanOptions,
        text: &DockerfileText,
    ) -> Result<Plan, Error> {
        let selected =
            rbuild_planner::select(dockerfile, options).map_err(|error| Error::plan(error, text))?;
        let (graph, _) = self.resolve_locally(selected, text, Absent::Assumed)?;
        rbuild_planner::lower(graph).map_err(|error| Error::plan(error, text))
    }

    /// The findings that need no plan, for a file that has none. They are what the planner keeps of them when every
    /// instruction is replaced by one that says nothing.
    fn lints_of_text(
        &self,
        dockerfile: &Dockerfile,
        options: &PlanOptions,
        text: &DockerfileText,
    ) -> Vec<Lint> {
        let mut bare = dockerfile.clone();
        for argument in &mut bare.global_args {
            argument.value.clear();
        }
        for stage in &mut bare.stages {
            "scratch".clone_into(&mut stage.from.value.image.value);
            stage.from.value.platform = None;
            for node in &mut stage.instructions {
                node.value = Instruction::Arg(Vec::new());
            }
        }
        let options = PlanOptions { target: None, ..options.clone() };
        self.plan_assuming(&bare, &options, text).map_or_else(|_| Vec::new(), |plan| plan.lints)
    }
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
    }
}
