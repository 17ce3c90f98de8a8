//! What is seen before a step is carried out, because the work of those before it would be lost.

use super::Build;
use crate::{Error, guest::secrets};
use rbuild_planner::{Action, Filesystem, Step, StepId};
use std::collections::{BTreeMap, BTreeSet, HashSet};

impl Build {
    /// A secret or an agent that is missing is the first thing that a person hears.
    pub(super) fn check_given(&self, missing: &BTreeSet<StepId>) -> Result<(), Error> {
        for step in missing.iter().map(|step| &self.plan.steps[step.0]) {
            if let Action::Run(action) = &step.action {
                let machine = &self.executor.machine;
                secrets::check(&action.mounts, &machine.secrets)
                    .and_then(|()| machine.agents.check(&action.mounts))
                    .map_err(|error| self.at(step, error.into()))?;
            }
        }
        Ok(())
    }

    /// Sees that the layers below each RUN can be mounted. Each step adds one.
    pub(super) fn check_depths(&self, missing: &BTreeSet<StepId>) -> Result<(), Error> {
        let mut depths: BTreeMap<StepId, usize> = BTreeMap::new();
        for step in missing.iter().map(|step| &self.plan.steps[step.0]) {
            let made = match &step.parent {
                Filesystem::Step(parent) => depths.get(parent).copied(),
                _ => None,
            };
            let depth = made.unwrap_or_else(|| self.depth(&step.parent));
            if let Action::Run(_) = step.action {
                let snapshots = self.executor.machine.sources.snapshots();
                snapshots.check_depth(depth).map_err(|error| self.at(step, error.into()))?;
            }
            depths.insert(step.id, depth + 1);
        }
        Ok(())
    }

    /// The layers of what is there, each once, as they are mounted.
    fn depth(&self, files: &Filesystem) -> usize {
        let stack = self.results.stack(files);
        stack.map_or(0, |stack| stack.iter().collect::<HashSet<_>>().len())
    }

    fn at(&self, step: &Step, error: Error) -> Error {
        error.at_step(step, &self.executor.text, Vec::new())
    }
}
