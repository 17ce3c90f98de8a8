//! Numbers activities, measures them, sends their events, and records what becomes of the steps of a build.

use crate::{
    Activity, ActivityId, BuildRequest, Built, Causes, Error, Event, EventSink, Finding, MissReason, Note,
    Outcome, StepName, Warning,
    builds::build_record::{self, Recording},
};
use rbuild_cache::{BuildId, CacheKey, LayerId, StepHolder, StepLog, Store};
use rbuild_executor::Usage;
use rbuild_oci::Timestamp;
use rbuild_planner::{Plan, Step, StepId};
use rbuild_registry::Listener;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Hands out activities. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reporter {
    sink: EventSink,
    last: Arc<AtomicU32>,
    /// That of the build, for one that is recorded.
    record: Option<Arc<Recording>>,
}

/// An activity that has begun and not yet ended. Dropped unended, it counts as canceled.
pub(crate) struct Running {
    reporter: Reporter,
    id: ActivityId,
    begun: Instant,
    ended: bool,
    step: Option<StepId>,
    log: Option<StepLog>,
}

impl Reporter {
    /// Sends events to `sink`; nothing is recorded.
    pub(crate) fn new(sink: EventSink) -> Self {
        Self { sink, last: Arc::new(AtomicU32::new(0)), record: None }
    }

    /// Sends events to `sink` and records the build of `request` in `store`.
    pub(crate) fn recording(sink: EventSink, store: &Store, request: &BuildRequest) -> Self {
        let record = Some(Arc::new(Recording::begin(store, request, &sink)));
        Self { record, ..Self::new(sink) }
    }

    /// Begins an activity.
    pub(crate) fn begin(&self, what: Activity) -> Running {
        let id = ActivityId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        self.sink.send(Event::Begun { activity: id, what });
        let reporter = self.clone();
        Running { reporter, id, begun: Instant::now(), ended: false, step: None, log: None }
    }

    /// Begins a step of the plan.
    pub(crate) fn begin_step(&self, step: &Step) -> Running {
        let log = self.record.as_ref().and_then(|record| record.begin_step(step.id));
        let mut running = self.begin(Activity::Step(name(step)));
        (running.step, running.log) = (Some(step.id), log);
        running
    }

    /// Begins to carry a step out again whose result was in the cache.
    pub(crate) fn begin_repeat(&self, step: &Step) -> Running {
        self.begin(Activity::RepeatStep(name(step)))
    }

    /// Reports a step whose result was found by the first look-up: it takes no time.
    pub(crate) fn cached(&self, step: &Step, layer: LayerId) {
        let mut found = self.begin(Activity::Step(name(step)));
        found.step = Some(step.id);
        found.made(layer);
        found.end(Outcome::Cached);
    }

    /// The build has this plan.
    pub(crate) fn planned(&self, plan: &Plan) {
        self.record.iter().for_each(|record| record.planned(plan));
    }

    /// This build, for those that wait for a step that it makes from `since` on.
    pub(crate) fn step_holder(&self, since: Timestamp) -> Option<StepHolder> {
        self.record.as_ref()?.step_holder(since)
    }

    /// The id of the build, if it is recorded.
    pub(crate) fn build(&self) -> Option<BuildId> {
        self.record.as_ref()?.build()
    }

    /// The steps of the plan have these keys, in its order.
    pub(crate) fn keyed(&self, keys: impl Iterator<Item = CacheKey>) {
        if let Some(record) = &self.record {
            record.keyed(keys);
        }
    }

    pub(crate) fn warn(&self, warning: Warning) {
        self.record.iter().for_each(|record| record.warned(&warning));
        self.sink.send(Event::Warning(warning));
    }

    /// Hears what the client of registries has to say.
    pub(crate) fn listener(&self) -> Listener {
        let reporter = self.clone();
        Listener::new(move |notice| reporter.warn(Warning::Registry(notice)))
    }

    pub(crate) fn found(&self, finding: Finding) {
        self.record.iter().for_each(|record| record.found(&finding));
        self.sink.send(Event::Found(finding));
    }

    /// The build ended with `result`.
    pub(crate) fn finish(&self, result: &Result<Built, Error>) {
        self.record.iter().for_each(|record| record.finish(result));
    }
}

impl Running {
    /// A piece of what the command of the step wrote.
    pub(crate) fn output(&mut self, bytes: &[u8]) {
        if let Some(log) = &mut self.log
            && let Err(error) = log.append(bytes)
        {
            self.log = None;
            self.reporter.record.iter().for_each(|record| record.log_lost(&error));
        }
        let (activity, bytes) = (self.id, bytes.to_vec());
        self.reporter.sink.send(Event::Output { activity, bytes, elapsed: self.begun.elapsed() });
    }

    pub(crate) fn note(&self, note: Note) {
        self.reporter.sink.send(Event::Note { activity: self.id, note });
    }

    /// The result of the step is not in the cache.
    pub(crate) fn missed(&self, reason: MissReason) {
        self.record_step(|record, step| record.missed(step, &reason));
        self.reporter.sink.send(Event::Missed { activity: self.id, reason });
    }

    /// The step has this layer.
    pub(crate) fn made(&self, layer: LayerId) {
        self.record_step(|record, step| record.made(step, layer));
    }

    /// The processes of the step have used so much.
    pub(crate) fn used(&self, usage: &Usage) {
        self.record_step(|record, step| record.used(step, usage));
    }

    pub(crate) fn transferred(&self, subject: String, done: u64, total: Option<u64>) {
        self.reporter.sink.send(Event::Transferred { activity: self.id, subject, done, total });
    }

    /// Ends it with `outcome`.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.over(outcome);
    }

    /// Ends it as done or failed, as `result` says, and hands the result on.
    pub(crate) fn end_with<T, E: std::error::Error>(self, result: Result<T, E>) -> Result<T, E> {
        let outcome = result.as_ref().err().map_or(Outcome::Done, |error| Outcome::Failed(Causes::of(error)));
        self.end(outcome);
        result
    }

    /// The time since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn over(&mut self, outcome: Outcome) {
        self.ended = true;
        let elapsed = self.begun.elapsed();
        let finished = self.log.take().map_or(Ok(()), StepLog::finish);
        self.record_step(|record, step| {
            record.ended(step, &outcome, elapsed);
            if let Err(error) = &finished {
                record.log_lost(error);
            }
        });
        self.reporter.sink.send(Event::Ended { activity: self.id, outcome, elapsed });
    }

    fn record_step(&self, note: impl FnOnce(&Recording, StepId)) {
        if let (Some(record), Some(step)) = (&self.reporter.record, self.step) {
            note(record, step);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.over(Outcome::Canceled);
        }
    }
}

fn name(step: &Step) -> StepName {
    StepName {
        number: build_record::number(step.id),
        position: step.position.clone(),
        instruction: step.name.clone(),
    }
}
