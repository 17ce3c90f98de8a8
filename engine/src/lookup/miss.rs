//! Why a step's result is not in the cache, with what changed since the step of an earlier build that is most like it.

use crate::{
    build::results::Inputs,
    builds::records::Records,
    lookup::{
        file_changes::{self, StepFiles},
        keys::{Definition, Keyed, Keys},
        masked, mount_changes,
    },
};
use rbuild_cache::{
    CacheRecord, ChangedInput, LayerId, Lookup, Miss, MissReason, RecentRecords, StepHash, StepInputs,
};
use rbuild_planner::{CachePolicy, StepId};
use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

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

/// A step without a result, as far as it is known.
#[derive(Clone, Copy)]
pub(crate) struct Missed<'a> {
    pub(crate) files: StepFiles<'a>,
    /// The layers it works on, if they are all there.
    pub(crate) inputs: Option<&'a Inputs>,
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

    /// The bytes of its layer when `step` was last made, as far as the index knows.
    pub(crate) fn expected_bytes(&self, step: StepId) -> u64 {
        let Some(seen) = self.steps.get(&step) else { return 0 };
        let recorded = match &seen.lookup {
            Lookup::Hit(record) | Lookup::Miss(Miss::Evicted(record) | Miss::NotDurable(record)) => {
                Some(&**record)
            }
            Lookup::Miss(Miss::NeverBuilt | Miss::Unreadable) => None,
        };
        recorded.or(seen.earlier.first()).and_then(|record| record.layer_bytes).unwrap_or(0)
    }

    /// The records kept of the last such build.
    pub(crate) fn recent(&self) -> &RecentRecords {
        &self.recent
    }

    /// The record that says most of how `step` will do: of the last such build, or of the same step on whatever parent.
    pub(crate) fn record_of(&self, step: StepId, keyed: &Keyed) -> Option<&CacheRecord> {
        let seen = self.steps.get(&step);
        let evicted = || match &seen?.lookup {
            Lookup::Hit(record) | Lookup::Miss(Miss::Evicted(record)) => Some(&**record),
            Lookup::Miss(Miss::NeverBuilt | Miss::NotDurable(_) | Miss::Unreadable) => None,
        };
        self.recent
            .record(&keyed.key)
            .map(|record| &**record)
            .or_else(|| self.earlier(step).first())
            .or_else(evicted)
    }

    /// Why the step has no result. What it was made of before is read from `records`, if a build needs that.
    pub(crate) fn reason(&self, missed: &Missed<'_>, records: &Records) -> MissReason {
        let StepFiles { step, keyed, .. } = missed.files;
        if step.cache == CachePolicy::Ignore {
            return MissReason::NoCache;
        }
        let Some(inputs) = missed.inputs else { return MissReason::Input };
        // nothing is known of a step that had a record whose layer is gone, or whose index failed
        let Some(seen) = self.steps.get(&step.id) else { return MissReason::Lost };
        match &seen.lookup {
            Lookup::Miss(Miss::NeverBuilt) => match seen.earlier.first() {
                Some(record) => other_base(record, missed, records),
                None => self.changed(missed, records),
            },
            Lookup::Miss(Miss::Evicted(record)) => {
                MissReason::Evicted { at: record.evicted.unwrap_or(record.created), by: record.evicted_by }
            }
            Lookup::Hit(record)
                if record.parent_layers != *inputs.parent
                    || record.source_layers != inputs.source_layers()
                    || keyed.definition == Definition::Untrusted =>
            {
                other_base(record, missed, records)
            }
            Lookup::Miss(Miss::NotDurable(record)) if records.is_of_other_machine(record) => {
                MissReason::OtherMachine
            }
            Lookup::Hit(_) | Lookup::Miss(Miss::NotDurable(_) | Miss::Unreadable) => MissReason::Lost,
        }
    }

    /// The layer that is most likely to have files which the step makes again: of the same step on another parent, or of the most
    /// similar one of an earlier build.
    pub(crate) fn alike(&self, missed: &Missed<'_>, records: &Records) -> Option<LayerId> {
        if missed.files.step.cache == CachePolicy::Ignore {
            return None;
        }
        let same = self.earlier(missed.files.step.id).first();
        let nearest = || self.nearest(self.recent.records(), missed);
        let older = || self.nearest(records.of_earlier_builds().iter(), missed);
        // files may be the same whatever the step was, so any step of its kind will do
        same.or_else(nearest).or_else(older).map(|record| record.layer)
    }

    /// The difference to the most similar step of the last such build that this one does not have any more; where nothing is left
    /// of that build, to one of the builds of this context before it.
    fn changed(&self, missed: &Missed<'_>, records: &Records) -> MissReason {
        let is_placed = records.have_a_place();
        let was_it = |record: &&CacheRecord| was_this_step(record, missed, is_placed);
        let recent = self.recent.records().filter(was_it);
        let older = || records.of_earlier_builds().iter().filter(was_it);
        match self.nearest(recent, missed).or_else(|| self.nearest(older(), missed)) {
            Some(record) => other_base(record, missed, records),
            None => MissReason::New,
        }
    }

    fn nearest<'r>(
        &self,
        among: impl Iterator<Item = &'r CacheRecord>,
        missed: &Missed<'_>,
    ) -> Option<&'r CacheRecord> {
        let (now, keyed) = (inputs_now(missed), missed.files.keyed);
        let gone = among.filter(|record| !self.current.contains(&record.step));
        let alike = gone.filter(|record| record.inputs.kind == now.kind);
        alike.min_by_key(|record| {
            let others = usize::from(record.instruction != missed.files.step.name);
            let changes = differences(&record.inputs, &now).len();
            (changes + others, record.parent != Some(keyed.parent), Reverse(record.created))
        })
    }
}

/// True if a person would call `record` "this step, as it was": its instruction is written the same, so that only what it works
/// with can have changed, or it stood at the same place, directly on what the step stands on now, so that it was edited. Being of
/// the same kind is no evidence: with another text at another place it is another step, however much of it happens to be equal. Nor
/// is the place in builds that may be of different projects (not `is_placed`), unless all but one thing is the same.
fn was_this_step(record: &CacheRecord, missed: &Missed<'_>, is_placed: bool) -> bool {
    let is_alike = || differences(&record.inputs, &inputs_now(missed)).len() == 1;
    record.instruction == missed.files.step.name
        || (record.parent == Some(missed.files.keyed.parent) && (is_placed || is_alike()))
}

/// What is different from `record`; when that is nothing of the step itself, what it stands on is.
fn other_base(record: &CacheRecord, missed: &Missed<'_>, records: &Records) -> MissReason {
    let now = inputs_now(missed);
    let mut changes = Vec::new();
    for change in differences(&record.inputs, &now) {
        let of_contexts = || file_changes::of(&change.input, &record.inputs, &missed.files, records.store());
        let of_stages =
            || mount_changes::of(&change.input, record, (missed.files.step, missed.inputs?), records.store());
        match of_contexts().or_else(of_stages) {
            Some(files) => changes.extend(files),
            None => changes.push(change),
        }
    }
    // a step that stands on another step now, or did so before, has moved: its base image did not go or come
    changes.retain(|change| change.input != "base" || (change.before.is_some() && change.now.is_some()));
    // the files say more than where they come from
    if changes.len() > 1 {
        changes.retain(|change| change.input != "from");
    }
    if changes.is_empty() { MissReason::OtherBase } else { MissReason::Changed(changes) }
}

/// The inputs of the step, with the digest of what it copies from layers if that is known.
fn inputs_now<'a>(missed: &Missed<'a>) -> Cow<'a, StepInputs> {
    let inputs = &missed.files.keyed.description.inputs;
    match missed.files.selection {
        Some(selection) => Cow::Owned(file_changes::with_files(inputs, selection)),
        None => Cow::Borrowed(inputs),
    }
}

/// The inputs that are not the same, in the order of `now`, those that are gone last; secrets masked.
fn differences(before: &StepInputs, now: &StepInputs) -> Vec<ChangedInput> {
    // older records have a value for each file, by its path
    let is_file = |name: &str| name.starts_with('/') || name.starts_with("<<");
    let old_values = before.values.iter().filter(|(name, _)| !is_file(name));
    let mut old: BTreeMap<&str, &str> =
        old_values.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut changes = Vec::new();
    for (name, value) in &now.values {
        let was = old.remove(name.as_str());
        let is_same = |was: &str| was == value || (name == "base" && image_id(was) == image_id(value));
        if !was.is_some_and(is_same) {
            changes.push(change(name, was, Some(value)));
        }
    }
    for (name, _) in &before.values {
        // what later versions read is no input that has gone
        if let Some(value) = old.remove(name.as_str()).filter(|_| !READ_LATER.contains(&name.as_str())) {
            changes.push(change(name, Some(value), None));
        }
    }
    changes
}

/// The id in the value of a base image, before the name by which it was asked for; older records have no name.
fn image_id(value: &str) -> Option<&str> {
    value.split(' ').next()
}

/// Inputs that are noted when a step runs, and not known while nothing has looked at its files.
const READ_LATER: [&str; 1] = ["files"];

fn change(name: &str, before: Option<&str>, now: Option<&str>) -> ChangedInput {
    let shown = |value: &str| match name.strip_prefix("env ") {
        Some(variable) => masked::variable(variable, value).into_owned(),
        None => masked::text(value).into_owned(),
    };
    ChangedInput {
        input: name.to_owned(),
        before: before.map(shown),
        now: now.map(shown),
        aspects: Vec::new(),
    }
}
