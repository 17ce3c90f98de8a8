//! The answers of `build --call` as JSON, without the members that are empty, as Go's `omitempty` writes them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rbuild::{ArgumentOutline, Checked, Finding, MountOutline, Outline, Target};
use serde::{Serialize, Serializer};

/// The answer of `--call=check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckAnswer {
    /// The findings; null when there are none.
    pub warnings: Option<Vec<Warning>>,
    /// The Dockerfile.
    pub sources: [Source; 1],
    /// Why it cannot be built at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_error: Option<BuildError>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// The rule's name.
    pub rule_name: String,
    /// The rule's demand.
    pub description: String,
    /// The page that describes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The mistake.
    pub detail: String,
    /// Where.
    pub location: Location,
}

/// A Dockerfile that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its name as shown.
    pub filename: String,
    /// Its bytes in Base64.
    pub data: String,
    /// `Dockerfile`.
    pub language: &'static str,
}

/// Why a Dockerfile cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildError {
    /// In words.
    pub message: String,
    /// Where, as far as that is known.
    pub location: Location,
}

/// Lines of a Dockerfile: a range each, as Docker has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Location {
    /// From the first line to the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// Where it begins.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Counted from 1.
    pub line: usize,
}

/// The answer of `--call=outline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutlineAnswer {
    /// The target's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The comment above it that begins with its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Build arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
    /// Secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<MountParameter>,
    /// SSH agents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh: Vec<MountParameter>,
    /// The Dockerfile.
    #[serde(serialize_with = "in_base64")]
    pub sources: Vec<Vec<u8>>,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Argument {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The comment above it that begins with its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its value in this build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Its ARG.
    pub location: Location,
}

/// A secret or an SSH agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountParameter {
    /// Its id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// True if the build fails without it.
    #[serde(skip_serializing_if = "is_false")]
    pub required: bool,
    /// Its RUN.
    pub location: Location,
}

/// The answer of `--call=targets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetsAnswer {
    /// In the order of the Dockerfile.
    pub targets: Vec<TargetAnswer>,
    /// The Dockerfile.
    #[serde(serialize_with = "in_base64")]
    pub sources: Vec<Vec<u8>>,
}

/// A stage that can be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetAnswer {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// True if it is what is built when no target is given.
    #[serde(skip_serializing_if = "is_false")]
    pub default: bool,
    /// The comment above it that begins with its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its base, as written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub base: String,
    /// `--platform`, as written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// Its FROM.
    pub location: Location,
}

impl CheckAnswer {
    /// The findings; `failure` says why the Dockerfile cannot be built at all.
    #[must_use]
    pub fn new(checked: &Checked, failure: Option<String>) -> Self {
        let warnings: Vec<Warning> = checked.findings.iter().map(Warning::from).collect();
        let source = Source {
            filename: checked.file.clone(),
            data: STANDARD.encode(&checked.text),
            language: "Dockerfile",
        };
        let location = checked.failure_lines.map(Location::of).unwrap_or_default();
        Self {
            // no list is null, as Go writes it
            warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
            sources: [source],
            build_error: failure.map(|message| BuildError { message, location }),
        }
    }
}

impl From<&Finding> for Warning {
    fn from(finding: &Finding) -> Self {
        Self {
            rule_name: finding.rule.clone(),
            description: finding.description.to_owned(),
            url: finding.url.clone(),
            detail: finding.message.clone(),
            location: Location::of(finding.lines),
        }
    }
}

impl Location {
    fn of((first, last): (usize, usize)) -> Self {
        let range = |line| Range { start: Position { line }, end: Position { line } };
        Self { ranges: (first..=last).map(range).collect() }
    }
}

impl From<&Outline> for OutlineAnswer {
    fn from(outline: &Outline) -> Self {
        Self {
            name: outline.name.clone().unwrap_or_default(),
            description: outline.description.clone(),
            args: outline.arguments.iter().map(Argument::from).collect(),
            secrets: outline.secrets.iter().map(MountParameter::from).collect(),
            ssh: outline.agents.iter().map(MountParameter::from).collect(),
            sources: vec![outline.text.clone()],
        }
    }
}

impl From<&ArgumentOutline> for Argument {
    fn from(argument: &ArgumentOutline) -> Self {
        Self {
            name: argument.name.clone(),
            description: argument.description.clone(),
            value: argument.value.clone().unwrap_or_default(),
            location: Location::of(argument.lines),
        }
    }
}

impl From<&MountOutline> for MountParameter {
    fn from(mount: &MountOutline) -> Self {
        Self { name: mount.id.clone(), required: mount.required, location: Location::of(mount.lines) }
    }
}

impl TargetsAnswer {
    /// The stages of the Dockerfile `file`.
    #[must_use]
    pub fn new(targets: &[Target], file: &[u8]) -> Self {
        let targets = targets.iter().map(TargetAnswer::from).collect();
        Self { targets, sources: vec![file.to_vec()] }
    }
}

impl From<&Target> for TargetAnswer {
    fn from(target: &Target) -> Self {
        Self {
            name: target.name.clone().unwrap_or_default(),
            default: target.default,
            description: target.description.clone(),
            base: target.base.clone(),
            platform: target.platform.clone().unwrap_or_default(),
            location: Location::of(target.lines),
        }
    }
}

fn in_base64<S: Serializer>(files: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(files.iter().map(|file| STANDARD.encode(file)))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
