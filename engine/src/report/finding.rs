//! What the build checks find in a Dockerfile.

use crate::error::diagnostic::DockerfileText;
use rbuild_parser::{Lint, Rule};
use std::fmt;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// A description of the rule.
    pub description: &'static str,
    /// The page that describes it.
    pub url: Option<String>,
    /// The message that says what is wrong here.
    pub message: String,
    /// First and last line.
    pub lines: (usize, usize),
    /// The marked lines; see [`crate::Diagnostic::excerpt`].
    pub excerpt: String,
}

impl Finding {
    pub(crate) fn new(lint: Lint, text: &DockerfileText) -> Self {
        Self {
            rule: lint.rule.name(),
            description: description(lint.rule),
            url: lint.rule.url(),
            excerpt: text.at(Some(lint.lines)).excerpt,
            lines: (lint.lines.first, lint.lines.last),
            message: lint.message,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (line {})", self.rule, self.message, self.lines.0)
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
