//! Executes a plan: looks every step up, then runs what is missing as soon as its inputs are there, several at once.
//!
//! All keys are computed first. The records kept of the last such build, or else one transaction of the index, answer
//! for all of them. What is left runs on worker threads (see [`crate::perform`]); DiffIds of layers that end up
//! in the image are computed by other workers meanwhile. The scheduler itself only waits.

use crate::{
    Error, Outcome, keying, mounts, perform,
    session::{Origin, Session, StepResult},
};
use rbuild_cache::{CacheKey, CacheRecord, Index, LayerId, Lookup, RecentRecords, StepHash, StoreError};
use rbuild_executor::ExecutorError;
use rbuild_image::LayerDiff;
use rbuild_planner::{CachePolicy, Filesystem, Plan, Step, StepId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::task::{JoinHandle, JoinSet};

/// DiffIds by the step whose layer they describe.
pub(crate) type Diffs = BTreeMap<StepId, Diff>;

/// A DiffId, or who computes it.
pub(crate) enum Diff {
    Known(LayerDiff),
    Computing(JoinHandle<Result<LayerDiff, Error>>),
}

/// A plan that was carried out.
pub(crate) struct Executed {
    pub(crate) diffs: Diffs,
    /// Cancels what is still computed when the build is dropped before its end.
    pub(crate) guard: CancelOnDrop,
}

/// Carries out everything the target needs.
///
/// # Errors
/// That of the first step that failed; steps begun before it are waited for or killed, finished ones stay recorded.
pub(crate) async fn execute(session: &Arc<Session>) -> Result<Executed, Error> {
    mounts::refuse_unsupported(session)?;
    let guard = CancelOnDrop(session.clone());
    let looking = session.clone();
    // reading a large context takes its time: whoever stops the build does not have to wait for that
    let looked = tokio::task::spawn_blocking(move || look_up_all(&looking)).await;
    looked.map_err(|panicked| Error::Worker(panicked.to_string()))??;
    let exported = exported(&session.plan);
    let mut diffs = known_diffs(session, &exported);
    let wanted = missing(session);
    announce_cached(session, &wanted);
    for step in exported.iter().filter(|step| session.result(**step).is_some()) {
        if !diffs.contains_key(step) {
            diff_later(session, *step, &mut diffs);
        }
    }
    if !wanted.is_empty() {
        if session.plan.steps.iter().any(|step| step.cache == CachePolicy::Ignore)
            && let Err(error) = session.engine.store.forget_recent()
        {
            // other builds were to see the new results too
            warn_of_cache(session, "recent", &error);
        }
        run_missing(session, wanted, &exported, &mut diffs).await?;
    }
    Ok(Executed { diffs, guard })
}

/// Tells of a cache that failed. It is advice, so the build goes on without it.
pub(crate) fn warn_of_cache(session: &Session, part: &str, error: &StoreError) {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let told = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let place = session.engine.store.root().join(part);
    session.reporter.warn(format!(
        "the build cache fails and is not used ({told}): if that stays so, remove {}, which costs time only",
        place.display()
    ));
}

/// Takes every result the cache has. Contexts are walked before the index is opened, so that no other process waits
/// for the walk; when the records kept of the last such build answer everything, the index is not opened at all.
pub(crate) fn look_up_all(session: &Session) -> Result<(), Error> {
    for step in &session.plan.steps {
        perform::key(session, step)?;
    }
    let recent = session.engine.store.recent(&session.site()).unwrap_or_else(|error| {
        warn_of_cache(session, "recent", &error);
        RecentRecords::default()
    });
    let mut missing = false;
    for step in session.plan.steps.iter().filter(|step| step.cache == CachePolicy::Use) {
        if session.has_renewed_input(step.id) {
            missing = true;
            continue;
        }
        let record = session.keyed(step.id).and_then(|keyed| recent.record(&keyed.key).cloned());
        missing |= !take(session, step, record);
    }
    if missing {
        let looked = session.engine.store.index(|index| {
            session.plan.steps.iter().for_each(|step| look_up(session, step, index));
            Ok(())
        });
        if let Err(error) = looked {
            warn_of_cache(session, "index", &error);
        }
    }
    hold_results(session)
}

/// Makes `record` the result of `step`, if there is one and the step's parent has a result too. It must stand on the very
/// layers it was made on: a parent that was built again may hold something else under the same key.
fn take(session: &Session, step: &Step, record: Option<CacheRecord>) -> bool {
    let (Some(record), Some(parent)) = (record, session.stack(&step.parent)) else { return false };
    let sources = keying::source_layers(session, step);
    if record.parent_layers != *parent
        || sources.is_some_and(|now| record.sources.as_deref() != Some(now.as_str()))
    {
        return false;
    }
    session.set_result(step.id, StepResult::new(record, &parent, Origin::Cache));
    true
}

fn look_up(session: &Session, step: &Step, index: &Index<'_>) {
    let Some(keyed) = session.keyed(step.id) else { return };
    if step.cache == CachePolicy::Ignore || session.result(step.id).is_some() {
        return;
    }
    let found = match index.lookup(&keyed.key) {
        Lookup::Hit(record) if !session.has_renewed_input(step.id) => take(session, step, Some(*record)),
        Lookup::Hit(_) | Lookup::Miss(_) => false,
    };
    if !found {
        let hash = keyed.description.step;
        session.set_earlier(hash, usable_records(index, &hash));
    }
}

/// Records of a step that may be used, newest first: neither evicted nor possibly struck by a power cut.
pub(crate) fn usable_records(index: &Index<'_>, step: &StepHash) -> Vec<CacheRecord> {
    let usable = |(key, _): (CacheKey, CacheRecord)| match index.lookup(&key) {
        Lookup::Hit(record) => Some(*record),
        Lookup::Miss(_) => None,
    };
    index.records_of_step(step).into_iter().filter_map(usable).collect()
}

/// Keeps the layers of all results from being pruned; results whose layers are gone are dropped, with those above.
fn hold_results(session: &Session) -> Result<(), Error> {
    let mut layers: BTreeSet<LayerId> = BTreeSet::new();
    for image in session.images.values() {
        layers.extend(image.layers.iter().map(|layer| layer.layer));
    }
    layers.extend(
        session.plan.steps.iter().filter_map(|step| session.result(step.id)).map(|result| result.layer()),
    );
    let layers: Vec<LayerId> = layers.into_iter().collect();
    let missing = session.lease.hold(&layers, &[])?;
    if !missing.is_empty() {
        session.drop_results(|result| result.stack.iter().any(|layer| missing.layers.contains(layer)));
    }
    Ok(())
}

/// DiffIds that need no computing. A result whose layer cannot say anything about itself, since a power cut has struck
/// its description, is dropped with those above it: it is made again.
fn known_diffs(session: &Session, exported: &BTreeSet<StepId>) -> Diffs {
    let mut diffs = Diffs::new();
    for step in exported {
        let Some(layer) = session.result(*step).map(|result| result.layer()) else { continue };
        match rbuild_image::known_layer_diff(&session.engine.store, &layer) {
            Ok(Some(diff)) => drop(diffs.insert(*step, Diff::Known(diff))),
            Ok(None) => {}
            Err(error) => {
                session.reporter.warn(format!(
                    "the layer of {:?} is made again: {error}",
                    session.plan.steps[step.0].name
                ));
                session.drop_results(|result| result.stack.contains(&layer));
            }
        }
    }
    diffs
}

/// Steps without a result that the target cannot do without.
pub(crate) fn missing(session: &Session) -> BTreeSet<StepId> {
    let mut wanted = BTreeSet::new();
    let mut open = vec![session.plan.stages[session.plan.target.0].result.clone()];
    while let Some(filesystem) = open.pop() {
        if let Filesystem::Step(step) = filesystem
            && session.result(step).is_none()
            && wanted.insert(step)
        {
            open.extend(session.plan.dependencies(step).map(Filesystem::Step));
        }
    }
    wanted
}

fn announce_cached(session: &Session, wanted: &BTreeSet<StepId>) {
    for step in &session.plan.steps {
        if !wanted.contains(&step.id) && session.result(step.id).is_some() {
            session.reporter.begin(format!("{} {}", step.position, step.name)).end(Outcome::Cached);
        }
    }
}

/// The steps whose layers are in the image.
fn exported(plan: &Plan) -> BTreeSet<StepId> {
    let mut steps = BTreeSet::new();
    let mut top = &plan.stages[plan.target.0].result;
    while let Filesystem::Step(step) = top {
        steps.insert(*step);
        top = &plan.steps[step.0].parent;
    }
    steps
}

async fn run_missing(
    session: &Arc<Session>,
    mut waiting: BTreeSet<StepId>,
    exported: &BTreeSet<StepId>,
    diffs: &mut Diffs,
) -> Result<(), Error> {
    let mut running: JoinSet<Result<StepId, Error>> = JoinSet::new();
    loop {
        let ready: Vec<StepId> = waiting
            .iter()
            .copied()
            .filter(|step| session.plan.dependencies(*step).all(|input| session.result(input).is_some()))
            .take(session.engine.options.jobs.saturating_sub(running.len()))
            .collect();
        for step in ready {
            waiting.remove(&step);
            let session = session.clone();
            running.spawn_blocking(move || perform::perform(&session, step).map(|()| step));
        }
        match running.join_next().await {
            None => return Ok(()),
            Some(Ok(Ok(step))) if exported.contains(&step) => diff_later(session, step, diffs),
            Some(Ok(Ok(_))) => {}
            Some(Ok(Err(error))) => {
                session.cancel.cancel();
                while running.join_next().await.is_some() {}
                return Err(error);
            }
            Some(Err(panicked)) => {
                session.cancel.cancel();
                while running.join_next().await.is_some() {}
                return Err(Error::Worker(panicked.to_string()));
            }
        }
    }
}

/// Starts computing the DiffId of `step`'s layer.
fn diff_later(session: &Session, step: StepId, diffs: &mut Diffs) {
    let Some(layer) = session.result(step).map(|result| result.layer()) else { return };
    // what is remembered needs no thread
    if let Ok(Some(diff)) = rbuild_image::known_layer_diff(&session.engine.store, &layer) {
        diffs.insert(step, Diff::Known(diff));
        return;
    }
    let (store, cancel) = (session.engine.store.clone(), session.cancel.clone());
    let gate = session.hashers.clone();
    let computing = tokio::task::spawn(async move {
        // hashing keeps a processor busy: more at once would only take memory
        let _turn = gate.acquire_owned().await;
        let hashing = tokio::task::spawn_blocking(move || {
            rbuild_image::layer_diff_while(&store, &layer, &|| !cancel.is_canceled())
        });
        let diff = hashing.await.map_err(|error| Error::Worker(error.to_string()))??;
        diff.ok_or(Error::Executor(ExecutorError::Canceled))
    });
    diffs.insert(step, Diff::Computing(computing));
}

/// Cancels a build whose future is dropped.
pub(crate) struct CancelOnDrop(Arc<Session>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel.cancel();
    }
}
