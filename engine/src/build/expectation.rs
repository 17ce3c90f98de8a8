//! What is expected of the steps that have to run, by what is recorded of earlier ones: how long they take, and how much
//! memory they need.

use crate::lookup::{keys::Keys, miss::Misses};
use rbuild_cache::CacheRecord;
use rbuild_planner::{Action, Plan, Step, StepId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The expectations of the steps that have to run.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    /// Milliseconds from the beginning of a step to the end of the last one that needs it.
    chains: BTreeMap<StepId, u64>,
    memory: BTreeMap<StepId, u64>,
}

impl Expectations {
    /// Those of the steps `missing` of `plan`.
    pub(crate) fn of(plan: &Plan, missing: &BTreeSet<StepId>, (keys, misses): (&Keys, &Misses)) -> Self {
        let by_instruction: HashMap<&str, &CacheRecord> =
            misses.recent().records().map(|record| (record.instruction.as_str(), record)).collect();
        let mut expectations = Self::default();
        // every step stands behind those that it needs
        for id in missing.iter().rev() {
            let step = &plan.steps[id.0];
            let record = misses
                .record_of(*id, keys.step(*id))
                .or_else(|| by_instruction.get(step.name.as_str()).copied());
            let chains = &expectations.chains;
            let longest = plan.dependents(*id).filter_map(|next| chains.get(&next)).max().copied();
            let own = record.map_or_else(|| usual(step), |record| record.duration_ms);
            expectations.chains.insert(*id, own.saturating_add(longest.unwrap_or(0)));
            if let Some(bytes) = record.and_then(|record| record.peak_memory) {
                expectations.memory.insert(*id, bytes);
            }
        }
        expectations
    }

    /// How long it takes, in milliseconds, until everything is done that needs `step`. The longest goes first, because nothing
    /// else can make up for a late beginning of it.
    pub(crate) fn chain(&self, step: StepId) -> u64 {
        self.chains.get(&step).copied().unwrap_or(0)
    }

    /// Bytes of memory that the step needs, if that is known.
    pub(crate) fn memory(&self, step: StepId) -> Option<u64> {
        self.memory.get(&step).copied()
    }
}

/// Milliseconds of a step that was never carried out: commands are what takes time.
fn usual(step: &Step) -> u64 {
    match step.action {
        Action::Run(_) => 1000,
        Action::Copy(_) => 20,
        Action::Workdir(_) => 1,
    }
}
