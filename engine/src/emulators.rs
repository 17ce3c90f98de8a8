//! What the commands of a build need to run on this machine, asked before the first of them runs.

use crate::{Error, diagnostic::DockerfileText};
use rbuild_executor::{Emulation, ExecutorError, emulation};
use rbuild_oci::Platform;
use rbuild_planner::{Action, Plan, Step, StepId};
use std::collections::BTreeSet;

/// Sees that the commands among the steps `missing` run on this machine. Files of other platforms need nothing.
///
/// # Errors
/// [`Error::Step`] with the place of the first command that does not.
pub(crate) fn check(plan: &Plan, missing: &BTreeSet<StepId>, text: &DockerfileText) -> Result<(), Error> {
    let commands = || {
        let steps = missing.iter().map(|id| &plan.steps[id.0]);
        steps.filter(|step| matches!(step.action, Action::Run(_)))
    };
    let platform = |step: &Step| &plan.stages[step.stage.0].platform;
    let mut lacking: Vec<Platform> = Vec::new();
    let mut seen = BTreeSet::new();
    for step in commands().filter(|step| seen.insert(platform(step))) {
        match emulation(platform(step)) {
            Emulation::Runs => {}
            Emulation::Missing => lacking.push(platform(step).clone()),
            Emulation::NotFixed(emulator) => {
                let platform = Box::new(platform(step).clone());
                return Err(at(step, ExecutorError::EmulatorNotFixed { emulator, platform }, text));
            }
        }
    }
    match commands().find(|step| lacking.contains(platform(step))) {
        Some(first) => Err(at(first, ExecutorError::NoEmulator { platforms: lacking }, text)),
        None => Ok(()),
    }
}

fn at(step: &Step, error: ExecutorError, text: &DockerfileText) -> Error {
    let name = format!("{} {}:", step.position, step.name);
    Error::step(error, text, step.lines, (name, Vec::new()))
}
