//! Lines of `builds ls`, everything about one build, and which builds `--filter` lets through: as `docker buildx history` has
//! them, and beyond that each step with its key and why it ran.

use crate::{
    FilterError,
    misses::MissInspect,
    names::Detail,
    times::{ago, go_style},
};
use rbuild::{
    BuildEnd, BuildOutcome, BuildRecord, BuildState, FailureClass, RecordedStep, Reference, StepOutcome,
    Timestamp,
};
use serde::Serialize;

/// One line of `builds ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuildRow {
    /// How many steps came from the cache.
    pub cached_steps: String,
    /// When it ended.
    pub completed_at: String,
    /// How many steps are done, those from the cache among them.
    pub completed_steps: String,
    /// When it began.
    pub created_at: String,
    /// How long ago it began.
    pub created_since: String,
    /// How long it took, or has been running.
    pub duration: String,
    /// The build.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name, as people know it.
    pub name: String,
    /// All digits of its id.
    #[serde(rename = "Ref")]
    pub reference: String,
    /// How it stands.
    pub status: String,
    /// How many steps its plan has.
    pub total_steps: String,
}

/// Everything about a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuildInspect {
    /// All digits of its id.
    #[serde(rename = "Ref")]
    pub reference: String,
    /// Its name, as people know it.
    pub name: String,
    /// The main context: a directory by its whole path, anything else as it was given.
    pub context: Option<String>,
    /// The Dockerfile, as it was given.
    pub dockerfile: Option<String>,
    /// The stage that was asked for.
    pub target: Option<String>,
    /// The names of the image, or those it is to get; none when the build ended without one.
    pub names: Vec<String>,
    /// How it stands.
    pub status: &'static str,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub completed_at: Option<String>,
    /// How long it took, in nanoseconds.
    pub duration: Option<u64>,
    /// How many steps its plan has.
    pub num_total_steps: usize,
    /// How many are done, those from the cache among them.
    pub num_completed_steps: usize,
    /// How many came from the cache.
    pub num_cached_steps: usize,
    /// The image.
    pub image: Option<String>,
    /// Why it failed.
    pub error: Option<BuildError>,
    /// Its steps.
    pub steps: Vec<StepInspect>,
    /// The findings of the build checks.
    pub findings: Vec<FindingInspect>,
    /// Other warnings.
    pub warnings: Vec<String>,
}

/// Why a build or a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuildError {
    /// The class, which says who has to act: `input`, `environment` or `internal`.
    pub class: &'static str,
    /// The messages of the error and of what caused it.
    pub causes: Vec<String>,
}

/// A step of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StepInspect {
    /// Its number, by which `builds logs` finds what it wrote.
    pub number: u32,
    /// Its stage.
    pub stage: String,
    /// The instruction.
    pub instruction: String,
    /// Its first line in the Dockerfile.
    pub line: u32,
    /// The numbers of the steps it needs.
    pub after: Vec<u32>,
    /// Its key.
    pub key: Option<String>,
    /// Its outcome.
    pub status: &'static str,
    /// Why it was not taken from the cache.
    pub miss: Option<MissInspect>,
    /// Why it failed.
    pub causes: Vec<String>,
    /// Its layer in the store.
    pub layer: Option<String>,
    /// When it began, in milliseconds after the build did.
    pub began_ms: Option<u64>,
    /// How long it took.
    pub took_ms: Option<u64>,
    /// Bytes of memory that the largest process of its command had at its peak.
    pub peak_memory: Option<u64>,
    /// The time of its command's processes on processors, in milliseconds.
    pub processor_ms: Option<u64>,
}

/// A finding of a build check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FindingInspect {
    /// The rule.
    pub rule: String,
    /// The line.
    pub line: u32,
    /// The mistake.
    pub message: String,
    /// The page that describes the rule.
    #[serde(rename = "URL")]
    pub url: Option<String>,
}

impl BuildRow {
    /// The line of `build`.
    #[must_use]
    pub fn new(build: &BuildRecord, detail: Detail, now: Timestamp) -> Self {
        let counts = Counts::of(build);
        let reference = build.id.to_string();
        let id = match detail {
            Detail::Short => build.id.short().to_owned(),
            Detail::Full => reference.clone(),
        };
        Self {
            cached_steps: counts.cached.to_string(),
            completed_at: ended(build).map_or_else(String::new, |end| go_style(Some(end.ended))),
            completed_steps: counts.completed.to_string(),
            created_at: go_style(Some(build.begun)),
            created_since: ago(Some(build.begun), now),
            duration: taken(build, now).map_or_else(String::new, |took| build_duration(took / 1_000_000)),
            id,
            name: build_name(build),
            reference,
            status: build_status(&build.state).to_owned(),
            total_steps: counts.total.to_string(),
        }
    }
}

impl From<&BuildRecord> for BuildInspect {
    fn from(build: &BuildRecord) -> Self {
        let (counts, subject, end) = (Counts::of(build), build.subject.clone(), ended(build));
        let (image, error) = match end.map(|end| &end.outcome) {
            Some(BuildOutcome::Done { image }) => (image.map(|image| image.to_string()), None),
            Some(BuildOutcome::Failed { causes, class }) => {
                (None, Some(BuildError { class: class_word(*class), causes: causes.clone() }))
            }
            Some(BuildOutcome::Canceled) | None => (None, None),
        };
        let findings = end.into_iter().flat_map(|end| &end.findings).map(|finding| FindingInspect {
            rule: finding.rule.clone(),
            line: finding.line,
            message: finding.message.clone(),
            url: finding.url.clone(),
        });
        let took = end.map(|end| between(build.begun, end.ended));
        Self {
            reference: build.id.to_string(),
            name: build_name(build),
            context: subject.context,
            dockerfile: subject.dockerfile,
            target: subject.target,
            names: image_names(build).to_vec(),
            status: build_status(&build.state),
            started_at: build.begun.to_string(),
            completed_at: end.map(|end| end.ended.to_string()),
            duration: took,
            num_total_steps: counts.total,
            num_completed_steps: counts.completed,
            num_cached_steps: counts.cached,
            image,
            error,
            steps: build.steps().iter().map(StepInspect::from).collect(),
            findings: findings.collect(),
            warnings: end.map(|end| end.warnings.clone()).unwrap_or_default(),
        }
    }
}

impl From<&RecordedStep> for StepInspect {
    fn from(step: &RecordedStep) -> Self {
        let causes = match &step.outcome {
            StepOutcome::Failed { causes } => causes.clone(),
            StepOutcome::Done | StepOutcome::Cached | StepOutcome::Canceled | StepOutcome::NotRun => {
                Vec::new()
            }
        };
        Self {
            number: step.number,
            stage: step.stage.clone(),
            instruction: step.instruction.clone(),
            line: step.line,
            after: step.after.clone(),
            key: step.key.map(|key| key.to_string()),
            status: step_status(&step.outcome),
            miss: step.miss.as_ref().map(MissInspect::from),
            causes,
            layer: step.layer.map(|layer| layer.to_string()),
            began_ms: step.began_ms,
            took_ms: step.took_ms,
            peak_memory: step.peak_memory,
            processor_ms: step.processor_ms,
        }
    }
}

/// The builds that `--filter` lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildFilter {
    /// Part of the name.
    Name(String),
    /// The beginning of the id.
    Id(String),
    /// The word for how it stands.
    Status(&'static str),
}

/// Every word of [`build_status`].
const STATUSES: [&str; 5] = ["Running", "Completed", "Error", "Canceled", "Killed"];

impl BuildFilter {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let end = text.find(['=', '<', '>', '!']).unwrap_or(text.len());
        match (&text[..end], text[end..].strip_prefix('=')) {
            ("name", Some(part)) => Ok(Self::Name(part.to_owned())),
            ("id" | "ref", Some(prefix)) => Ok(Self::Id(prefix.to_owned())),
            ("status", Some(word)) => {
                let known = STATUSES.iter().find(|status| status.eq_ignore_ascii_case(word));
                known
                    .map(|status| Self::Status(status))
                    .ok_or_else(|| FilterError::Value { text: text.to_owned(), known: &STATUSES })
            }
            (name @ ("repository" | "startedAt" | "completedAt" | "duration"), _) => {
                Err(FilterError::Unsupported(name.to_owned()))
            }
            (_, None) if end == text.len() => Err(FilterError::Argument(text.to_owned())),
            (name, _) => Err(FilterError::Invalid(name.to_owned())),
        }
    }

    /// True if `build` passes.
    #[must_use]
    pub fn admits(&self, build: &BuildRecord) -> bool {
        match self {
            Self::Name(part) => build_name(build).contains(part.as_str()),
            Self::Id(prefix) => build.id.as_str().starts_with(prefix.as_str()),
            Self::Status(word) => build_status(&build.state) == *word,
        }
    }
}

/// The name of a build: the first name of its image, unless it ended without one, or else its context, as Docker names builds: the
/// last part of the directory's path, and the way from there to a Dockerfile that is called something else; and the stage that was
/// asked for.
#[must_use]
pub fn build_name(build: &BuildRecord) -> String {
    let subject = &build.subject;
    let image = image_names(build).first().map(|name| {
        let reference: Option<Reference> = name.parse().ok();
        reference.map_or_else(|| name.clone(), |reference| crate::with_tag(&reference))
    });
    let directory = subject.context.as_deref().map(|context| {
        let last = context.rsplit('/').find(|part| !matches!(*part, "" | "."));
        let last = last.unwrap_or(context);
        match subject.dockerfile.as_deref().map(without_default) {
            None | Some("") => last.to_owned(),
            Some(outside) if outside.starts_with('/') => {
                // its directory's name, and that of the file if it is another one than the default
                let is_default = outside.ends_with('/');
                let parts: Vec<&str> = outside.trim_end_matches('/').split('/').collect();
                let shown = if is_default { 1 } else { 2 };
                parts[parts.len().saturating_sub(shown)..].join("/").trim_matches('/').to_owned()
            }
            Some(file) => format!("{last}/{}", file.trim_end_matches('/')),
        }
    });
    let name = image.or(directory).unwrap_or_else(|| "-".to_owned());
    match &subject.target {
        Some(target) => format!("{name} ({target})"),
        None => name,
    }
}

/// The path of a Dockerfile without the name that it has by default.
fn without_default(path: &str) -> &str {
    match path.strip_suffix("Dockerfile") {
        Some(directory) if directory.is_empty() || directory.ends_with('/') => directory,
        _ => path,
    }
}

/// The names of the image of a build, or those it is to get; none when it ended without an image.
fn image_names(build: &BuildRecord) -> &[String] {
    let has_none = match &build.state {
        BuildState::Running => false,
        BuildState::Ended(end) => !matches!(end.outcome, BuildOutcome::Done { .. }),
        BuildState::Unfinished => true,
    };
    if has_none { &[] } else { &build.subject.names }
}

/// How a build stands, in a word.
#[must_use]
pub fn build_status(state: &BuildState) -> &'static str {
    match state {
        BuildState::Running => "Running",
        BuildState::Unfinished => "Killed",
        BuildState::Ended(end) => match &end.outcome {
            BuildOutcome::Done { .. } => "Completed",
            BuildOutcome::Failed { .. } => "Error",
            BuildOutcome::Canceled => "Canceled",
        },
    }
}

/// The outcome of a step, in a word.
#[must_use]
pub fn step_status(outcome: &StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Done => "done",
        StepOutcome::Cached => "cached",
        StepOutcome::Failed { .. } => "failed",
        StepOutcome::Canceled => "canceled",
        StepOutcome::NotRun => "not run",
    }
}

/// A length of time in milliseconds as lists of builds show it: `0.4s`, `1m 5s`, `2h 0m 3s`.
#[must_use]
pub fn build_duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match () {
        () if seconds < 60 => format!("{seconds}.{}s", milliseconds % 1000 / 100),
        () if minutes < 60 => format!("{minutes}m {rest}s"),
        () => format!("{}h {}m {rest}s", minutes / 60, minutes % 60),
    }
}

/// How many steps a build has.
struct Counts {
    total: usize,
    completed: usize,
    cached: usize,
}

impl Counts {
    fn of(build: &BuildRecord) -> Self {
        let steps = build.steps();
        let count = |outcome: &StepOutcome| steps.iter().filter(|step| step.outcome == *outcome).count();
        let cached = count(&StepOutcome::Cached);
        Self { total: steps.len(), completed: cached + count(&StepOutcome::Done), cached }
    }
}

fn ended(build: &BuildRecord) -> Option<&BuildEnd> {
    match &build.state {
        BuildState::Ended(end) => Some(end),
        BuildState::Running | BuildState::Unfinished => None,
    }
}

/// How many nanoseconds a build took, or has been running; unknown of one that was killed.
fn taken(build: &BuildRecord, now: Timestamp) -> Option<u64> {
    match &build.state {
        BuildState::Running => Some(between(build.begun, now)),
        BuildState::Unfinished => None,
        BuildState::Ended(end) => Some(between(build.begun, end.ended)),
    }
}

/// Nanoseconds; none when the clock was set back.
fn between(begun: Timestamp, ended: Timestamp) -> u64 {
    let nanoseconds =
        |time: Timestamp| i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanoseconds());
    let passed = nanoseconds(ended) - nanoseconds(begun);
    u64::try_from(passed).unwrap_or(0)
}

fn class_word(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Input => "input",
        FailureClass::Environment => "environment",
        FailureClass::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_docker_s_or_refused_by_name() {
        let parse = |text: &str| BuildFilter::parse(text);
        assert_eq!(parse("status=error"), Ok(BuildFilter::Status("Error")));
        assert_eq!(parse("ref=ab"), Ok(BuildFilter::Id("ab".to_owned())));
        assert_eq!(parse("duration>1m"), Err(FilterError::Unsupported("duration".to_owned())));
        assert_eq!(
            parse("status=no"),
            Err(FilterError::Value { text: "status=no".to_owned(), known: &STATUSES })
        );
        assert_eq!(parse("color=red"), Err(FilterError::Invalid("color".to_owned())));
        assert_eq!(parse("color"), Err(FilterError::Argument("color".to_owned())));
    }

    #[test]
    fn durations_are_short() {
        for (milliseconds, text) in
            [(40, "0.0s"), (59_940, "59.9s"), (65_000, "1m 5s"), (7_203_000, "2h 0m 3s")]
        {
            assert_eq!(build_duration(milliseconds), text);
        }
    }
}
