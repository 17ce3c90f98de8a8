//! The steps of a build by their numbers.

use rbuild_cache::{BuildRecord, RecordedStep};
use std::fmt;

/// A number that no step of a build has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownStep {
    /// The build's short id.
    pub build: String,
    /// The number.
    pub step: u32,
    /// Those that its steps have.
    pub steps: Vec<u32>,
}

/// The step of `build` with this number.
///
/// # Errors
/// [`UnknownStep`] when it has none.
pub fn find_step(build: &BuildRecord, number: u32) -> Result<&RecordedStep, UnknownStep> {
    build.steps().iter().find(|step| step.number == number).ok_or_else(|| UnknownStep {
        build: build.id.short().to_owned(),
        step: number,
        steps: build.steps().iter().map(|step| step.number).collect(),
    })
}

impl fmt::Display for UnknownStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { build, step, steps } = self;
        write!(f, "build {build} has no step {step}: ")?;
        match steps.as_slice() {
            [] => f.write_str("no step of it is known"),
            [only] => write!(f, "it has step {only}"),
            [first, .., last] => write!(f, "it has steps {first} to {last}"),
        }
    }
}
