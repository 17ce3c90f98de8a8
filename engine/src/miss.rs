//! Why a step's result is not in the cache, with what changed since the step of an earlier build that is most like it.

use crate::{
    keys::{Definition, Keyed, Keys},
    results::Inputs,
};
use rbuild_cache::{
    CacheRecord, ChangedInput, Lookup, Miss, MissReason, RecentRecords, StepHash, StepInputs,
};
use rbuild_planner::{CachePolicy, Step, StepId};
use std::collections::{BTreeMap, BTreeSet};

/// The facts that the first look-up learned about the steps for which it found no result.
pub(crate) struct Misses {
    /// Records of the last such build, to compare with.
    recent: RecentRecords,
    /// Hashes of the steps of this build: their records are not those of a step that changed.
    current: BTreeSet<StepHash>,
    steps: BTreeMap<StepId, Seen>,
}

/// The contents of the index for a step.
struct Seen {
    lookup: Lookup,
    /// Usable records of the same step on whatever parents, newest first.
    earlier: Vec<CacheRecord>,
}

impl Misses {
    /// Nothing was looked up yet.
    pub(crate) fn new(keys: &Keys, recent: RecentRecords) -> Self {
        let current = keys.iter().map(|keyed| keyed.description.step).collect();
        Self { recent, current, steps: BTreeMap::new() }
    }

    /// Notes what the index has of `step`: under its key, and of the same step on other parents.
    pub(crate) fn insert(&mut self, step: StepId, lookup: Lookup, earlier: Vec<CacheRecord>) {
        self.steps.insert(step, Seen { lookup, earlier });
    }

    /// Usable records of the same step on whatever parents, newest first.
    pub(crate) fn earlier(&self, step: StepId) -> &[CacheRecord] {
        self.steps.get(&step).map_or(&[], |seen| &seen.earlier)
    }

    /// Why `step` has no result; `inputs` are the layers it works on, if they are all there.
    pub(crate) fn reason(&self, step: &Step, keyed: &Keyed, inputs: Option<&Inputs>) -> MissReason {
        if step.cache == CachePolicy::Ignore {
            return MissReason::NoCache;
        }
        let Some(inputs) = inputs else { return MissReason::Input };
        // nothing is known of a step that had a record whose layer is gone, or whose index failed
        let Some(seen) = self.steps.get(&step.id) else { return MissReason::Lost };
        match &seen.lookup {
            Lookup::Miss(Miss::NeverBuilt) if seen.earlier.is_empty() => self.changed(keyed),
            Lookup::Miss(Miss::NeverBuilt) => MissReason::OtherBase,
            Lookup::Miss(Miss::Evicted(record)) => {
                MissReason::Evicted { at: record.evicted.unwrap_or(record.created) }
            }
            Lookup::Hit(record) if record.parent_layers != *inputs.parent => MissReason::OtherBase,
            Lookup::Hit(record) if record.source_layers != inputs.source_layers() => MissReason::OtherBase,
            Lookup::Hit(_) if keyed.definition == Definition::Untrusted => MissReason::OtherBase,
            Lookup::Hit(_) | Lookup::Miss(Miss::NotDurable(_) | Miss::Unreadable) => MissReason::Lost,
        }
    }

    /// The difference to the most similar step of the last such build that this one does not have any more.
    fn changed(&self, keyed: &Keyed) -> MissReason {
        let now = &keyed.description.inputs;
        let gone = self.recent.records().filter(|record| !self.current.contains(&record.step));
        let alike = gone.filter(|record| record.inputs.kind == now.kind);
        let rated = alike.map(|record| {
            let changes = differences(&record.inputs, now);
            (changes.len(), record.parent != Some(keyed.parent), record.created, changes)
        });
        let nearest = rated.min_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
        nearest.map_or(MissReason::New, |(.., changes)| MissReason::Changed(changes))
    }
}

/// The inputs that are not the same, in the order of `now`, those that are gone last.
pub(crate) fn differences(before: &StepInputs, now: &StepInputs) -> Vec<ChangedInput> {
    let mut old: BTreeMap<&str, &str> =
        before.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut changes = Vec::new();
    for (name, value) in &now.values {
        let was = old.remove(name.as_str());
        if was != Some(value.as_str()) {
            changes.push(ChangedInput {
                input: name.clone(),
                before: was.map(str::to_owned),
                now: Some(value.clone()),
            });
        }
    }
    for (name, _) in &before.values {
        if let Some(value) = old.remove(name.as_str()) {
            changes.push(ChangedInput { input: name.clone(), before: Some(value.to_owned()), now: None });
        }
    }
    without_hollow(&changes)
}

/// Without the directories that are inputs only because they are, or were, empty: a directory that lost its last file has not been
/// added.
fn without_hollow(changes: &[ChangedInput]) -> Vec<ChangedInput> {
    let other_way = |one: &ChangedInput, other: &ChangedInput| {
        (one.before.is_none() && other.now.is_none()) || (one.now.is_none() && other.before.is_none())
    };
    let is_below = |one: &ChangedInput, other: &ChangedInput| {
        let rest = other.input.strip_prefix(&one.input);
        one.input.starts_with('/') && rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let hollow =
        |one: &ChangedInput| changes.iter().any(|other| other_way(one, other) && is_below(one, other));
    changes.iter().filter(|change| !hollow(change)).cloned().collect()
}
