//! The end of a build: the image is put together, made durable, and named.

use crate::{
    Built, Error,
    schedule::{self, Diff, Executed},
    session::{Origin, Recorded, Session},
};
use rbuild_cache::{CacheRecord, RefRecord};
use rbuild_image::LayerDiff;
use rbuild_oci::{DiffId, ImageConfig, Timestamp};
use rbuild_planner::{Step, StepId};
use std::{collections::BTreeMap, time::SystemTime};

/// Makes an image of the target's result and gives it the names that were asked for.
pub(crate) async fn finish(session: &Session, executed: Executed) -> Result<Built, Error> {
    let Executed { diffs, guard: _guard } = executed;
    let activity = session.reporter.begin("exporting to image");
    let mut known = BTreeMap::new();
    for (step, diff) in diffs {
        let diff = match diff {
            Diff::Known(diff) => diff,
            Diff::Computing(worker) => worker.await.map_err(|error| Error::Worker(error.to_string()))??,
        };
        known.insert(step, diff);
    }
    let built = export(session, &known);
    activity.end_with(built)
}

/// Writes the records of finished steps, so that a later build has them. Also called when a step has failed.
///
/// # Errors
/// When the layers cannot be made durable; records that cannot be written are only warned of.
pub(crate) fn keep_finished(session: &Session) -> Result<(), Error> {
    session.save_contexts();
    match session.flush_records() {
        Ok(Recorded::Something) => session.engine.store.sync()?,
        Ok(Recorded::Nothing) => {}
        Err(Error::Store(lost)) => schedule::warn_of_cache(session, "index", &lost),
        Err(other) => return Err(other),
    }
    Ok(())
}

fn export(session: &Session, diffs: &BTreeMap<StepId, LayerDiff>) -> Result<Built, Error> {
    let store = &session.engine.store;
    let target = &session.plan.stages[session.plan.target.0];
    let times = |step: StepId| -> (DiffId, Timestamp) {
        let created = session.result(step).map(|result| result.created());
        (diffs[&step].diff_id, created.unwrap_or_else(|| Timestamp::from(SystemTime::UNIX_EPOCH)))
    };
    let config: ImageConfig = session.plan.image.finished_config(&times, session.plan.source_date_epoch);
    let layers = session.stack(&target.result).unwrap_or_default();
    keep_finished(session)?;
    let record = rbuild_image::assemble(store, &config, &layers)?;
    let now = Timestamp::from(SystemTime::now());
    for tag in &session.request.tags {
        store.set_name(tag, &RefRecord { image: record.id, manifest: None, tagged_at: now })?;
    }
    // the cache is advice: the image is whole and named without it
    if let Err(lost) = keep_recent(session) {
        session.reporter.warn(format!("this build's cache records could not be kept together: {lost}"));
    }
    let (mut cached, mut executed) = (0, 0);
    for result in session.plan.steps.iter().filter_map(|step| session.result(step.id)) {
        match result.origin {
            Origin::Cache => cached += 1,
            Origin::Executed => executed += 1,
        }
    }
    Ok(Built { image: record.id, cached, executed })
}

/// Keeps what this build used and made, so that the next one like it need not open the index.
fn keep_recent(session: &Session) -> Result<(), Error> {
    let record = |step: &Step| {
        let (keyed, result) = (session.keyed(step.id)?, session.result(step.id)?);
        Some((keyed.key, CacheRecord::clone(&result.record)))
    };
    let records: Vec<_> = session.plan.steps.iter().filter_map(record).collect();
    session.engine.store.keep_recent(&session.site(), &records)?;
    Ok(())
}
