//! What would become of each step, asked of the cache as a build asks it.

use super::Outlook;
use crate::{
    Error, MissReason,
    build::results::{Inputs, Results},
    lookup::{
        Found, Ready, StepCache,
        file_changes::StepFiles,
        keys::{Keyed, Keys},
        miss::{Missed, Misses},
    },
};
use rbuild_cache::{CacheKey, StepHash};
use rbuild_image::ImageError;
use rbuild_planner::{CachePolicy, Plan, Step};
use std::collections::{BTreeMap, HashSet};

/// Predicts the outcome of each step and the reason, by its index. `results` are those of the first look-up; this adds
/// the results found beyond them. `ready` finds the files that a step copies.
///
/// # Errors
/// When the lease fails.
pub(crate) fn outlooks(
    plan: &Plan,
    (keys, misses, cache): (&Keys, &Misses, &StepCache),
    results: &mut Results,
    ready: impl for<'i> Fn(&'i Step, &'i Keyed, &'i Inputs) -> Result<Ready<'i>, Error>,
) -> Result<Vec<(Outlook, Option<MissReason>)>, Error> {
    let mut reasons = BTreeMap::new();
    let mut contents = BTreeMap::new();
    // steps that only a build can look up, because it fetches the files that are to be compared
    let mut unknown = HashSet::new();
    // in the plan's order: what is found may be the input of the next
    for id in results.missing() {
        let step = &plan.steps[id.0];
        if step.cache == CachePolicy::Ignore {
            continue;
        }
        let Some(inputs) = results.inputs(step) else { continue };
        // a COPY that cannot succeed is in no cache: the build will run it, and say why it fails
        let ready = match ready(step, keys.step(id), &inputs) {
            Ok(ready) => ready,
            Err(error) => {
                if matches!(error, Error::Image(ImageError::LayerElsewhere { .. })) {
                    unknown.insert(id);
                }
                continue;
            }
        };
        match cache.find(&ready, misses)? {
            Found::Hit(hit) => results.insert(id, hit.result),
            Found::Miss(reason) => {
                contents.extend(ready.by_content.map(|key| (id, key)));
                reasons.insert(id, reason);
            }
            Found::Unknown(reason) => {
                unknown.insert(id);
                reasons.insert(id, reason);
            }
        }
    }
    let missing = results.missing();
    let mut to_run = ToRun::default();
    let outlook = |step: &Step| {
        if results.step(step.id).is_some() {
            return (Outlook::Cached, None);
        }
        if !missing.contains(&step.id) {
            return (Outlook::Unused, None);
        }
        let (keyed, inputs) = (keys.step(step.id), results.inputs(step));
        let reason = reasons.get(&step.id).cloned();
        let selection = keyed.selection.as_deref();
        let missed = Missed { files: StepFiles { step, keyed, selection }, inputs: inputs.as_ref() };
        let reason = reason.unwrap_or_else(|| misses.reason(&missed, cache.records()));
        let earlier = to_run.insert(step, keyed, contents.get(&step.id));
        match earlier {
            Earlier::SameKey => (Outlook::Cached, None),
            Earlier::SameStep => (Outlook::Maybe, Some(reason)),
            Earlier::None if unknown.contains(&step.id) => (Outlook::Maybe, Some(reason)),
            Earlier::None if inputs.is_none() && StepCache::may_find_later(step, misses) => {
                (Outlook::Maybe, Some(reason))
            }
            Earlier::None => (Outlook::Run, Some(reason)),
        }
    };
    Ok(plan.steps.iter().map(outlook).collect())
}

/// The steps that would run, as far as the plan was read: the result of one may serve a later one.
#[derive(Default)]
struct ToRun {
    keys: HashSet<CacheKey>,
    steps: HashSet<StepHash>,
}

/// The kind of earlier step that may serve a later one.
enum Earlier {
    /// A step with its key: it will be in the cache by then.
    SameKey,
    /// The same step on other files, or on files not known yet: whether it serves is seen when both are done.
    SameStep,
    None,
}

impl ToRun {
    fn insert(&mut self, step: &Step, keyed: &Keyed, by_content: Option<&CacheKey>) -> Earlier {
        let is_new = self.keys.insert(keyed.key) & by_content.is_none_or(|key| self.keys.insert(*key));
        let is_other = self.steps.insert(keyed.description.step);
        match step.cache {
            CachePolicy::Ignore => Earlier::None,
            CachePolicy::Use if !is_new => Earlier::SameKey,
            CachePolicy::Use if !is_other => Earlier::SameStep,
            CachePolicy::Use => Earlier::None,
        }
    }
}
