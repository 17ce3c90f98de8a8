//! What a build took from the cache, and why the rest was not there.

use crate::builds::StepInspect;
use rbuild::{BuildRecord, RecordedStep, StepOutcome};
use serde::Serialize;

/// The file of `--cache-report`: what came from the cache, and why the rest did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CacheReport {
    /// All digits of the build's id.
    #[serde(rename = "Ref")]
    pub reference: String,
    /// How many steps came from the cache.
    pub num_cached_steps: usize,
    /// How many were carried out, or begun.
    pub num_run_steps: usize,
    /// The number of the first step that was not in the cache.
    pub first_miss: Option<u32>,
    /// All steps of the plan.
    pub steps: Vec<StepInspect>,
}

impl From<&BuildRecord> for CacheReport {
    fn from(build: &BuildRecord) -> Self {
        let steps = build.steps();
        let cached = steps.iter().filter(|step| step.outcome == StepOutcome::Cached);
        Self {
            reference: build.id.to_string(),
            num_cached_steps: cached.count(),
            num_run_steps: steps.iter().filter(|step| step.miss.is_some()).count(),
            first_miss: first_miss(build).map(|step| step.number),
            steps: steps.iter().map(StepInspect::from).collect(),
        }
    }
}

/// The first step of the plan that was not in the cache.
#[must_use]
pub fn first_miss(build: &BuildRecord) -> Option<&RecordedStep> {
    build.steps().iter().find(|step| step.miss.is_some())
}
