//! What the commands of a build, or of a container, need to run on this machine, asked before the first of them runs.

use crate::{Error, error::diagnostic::DockerfileText};
use rbuild_executor::{Emulation, Emulator, EmulatorFault, ExecutorError, emulation};
use rbuild_oci::Platform;
use rbuild_planner::{Action, Plan, Step, StepId};
use std::collections::BTreeMap;

/// Of the platforms whose commands run here those that have to be given an emulator, with it.
#[derive(Debug, Default)]
pub(crate) struct Emulators(BTreeMap<Platform, Emulator>);

impl Emulators {
    /// Sees that the commands among the steps `missing` run on this machine. Files of other platforms need nothing.
    ///
    /// # Errors
    /// [`Error::Step`] with the place of the first command that does not.
    pub(crate) fn of<'a>(
        plan: &'a Plan,
        missing: impl IntoIterator<Item = &'a StepId>,
        text: &DockerfileText,
    ) -> Result<Self, Error> {
        let steps = missing.into_iter().map(|id| &plan.steps[id.0]);
        let mut found = BTreeMap::new();
        let mut lacking: Option<(&Step, EmulatorFault)> = None;
        let mut platforms = Vec::new();
        for step in steps.filter(|step| matches!(step.action, Action::Run(_))) {
            let platform = &plan.stages[step.stage.0].platform;
            if found.contains_key(platform) || platforms.contains(platform) {
                continue;
            }
            match emulation(platform) {
                Emulation::Runs => drop(found.insert(platform.clone(), None)),
                Emulation::With(emulator) => drop(found.insert(platform.clone(), Some(emulator))),
                Emulation::Missing(fault) => match &lacking {
                    None => {
                        platforms.push(platform.clone());
                        lacking = Some((step, fault));
                    }
                    // what is done about the first of them helps those that lack the same
                    Some((_, first)) if std::mem::discriminant(first) == std::mem::discriminant(&fault) => {
                        platforms.push(platform.clone());
                    }
                    Some(_) => {}
                },
            }
        }
        match lacking {
            Some((step, source)) => Err(at(step, ExecutorError::NoEmulator { platforms, source }, text)),
            None => Ok(Self(found.into_iter().filter_map(|(of, found)| Some((of, found?))).collect())),
        }
    }

    /// The emulator for the commands of a stage for `platform`.
    pub(crate) fn get(&self, platform: &Platform) -> Option<&Emulator> {
        self.0.get(platform)
    }
}

/// The emulator that a container for `platform` has to be given.
///
/// # Errors
/// [`ExecutorError::NoEmulator`].
pub(crate) fn of_container(platform: &Platform) -> Result<Option<Emulator>, Error> {
    match emulation(platform) {
        Emulation::Runs => Ok(None),
        Emulation::With(emulator) => Ok(Some(emulator)),
        Emulation::Missing(source) => {
            Err(ExecutorError::NoEmulator { platforms: vec![platform.clone()], source }.into())
        }
    }
}

fn at(step: &Step, error: ExecutorError, text: &DockerfileText) -> Error {
    let name = format!("{} {}:", step.position, step.name);
    Error::step(error, text, step.lines, (name, Vec::new()))
}
