//! The record of one build, written beside it: what was asked for, the plan with its keys, what became of each step and
//! why, all that the steps wrote, and how it ended. Front ends get the same as events; the record is what is left of them.
//!
//! A record is there to be looked at, so a record that cannot be written is warned of once and stops no build. It ends
//! when the build does: with its outcome, or as canceled when the last part of the build lets go of it. The record of a
//! killed process has no end, which is how the store knows it.

use crate::{
    BuildRequest, Built, Causes, ContextSource, DockerfileSource, Error, EventSink, Finding, MissReason,
    Outcome, Output, Warning, report::event::Event,
};
use rbuild_cache::{
    BuildBudget, BuildEnd, BuildId, BuildOutcome, BuildSubject, CacheKey, LayerId, OpenBuild,
    RecordedFinding, RecordedStep, StepHolder, StepLog, StepOutcome, Store, StoreError,
};
use rbuild_executor::Usage;
use rbuild_oci::Timestamp;
use rbuild_planner::{Plan, Step, StepId};
use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A build being recorded.
pub(crate) struct Recording {
    store: Store,
    sink: EventSink,
    begun: Instant,
    /// What the build makes, in one word.
    subject: String,
    state: Mutex<State>,
}

struct State {
    /// `None` when the record has ended, or could not be written.
    open: Option<OpenBuild>,
    /// The steps of the plan, by their index.
    steps: Vec<RecordedStep>,
    plan_is_written: bool,
    findings: Vec<RecordedFinding>,
    warnings: Vec<String>,
}

impl State {
    /// Writes the plan before the first step is carried out; a build whose steps are all cached writes nothing here. A plan
    /// that cannot be written is missing only until the end is.
    fn write_plan(&mut self) {
        if !std::mem::replace(&mut self.plan_is_written, true)
            && let Some(open) = &mut self.open
        {
            let _ = open.planned(self.steps.clone());
        }
    }
}

impl Recording {
    /// Begins the record of the build of `request`; `sink` hears of a record that cannot be written.
    pub(crate) fn begin(store: &Store, request: &BuildRequest, sink: &EventSink) -> Self {
        let subject = subject(request);
        let shown = subject.names.first().or(subject.context.as_ref()).cloned().unwrap_or_default();
        let open = store.begin_build(subject, Timestamp::from(store.now()));
        let (open, lost) = match open {
            Ok(open) => (Some(open), None),
            Err(error) => (None, Some(error)),
        };
        let state = State {
            open,
            steps: Vec::new(),
            plan_is_written: false,
            findings: Vec::new(),
            warnings: Vec::new(),
        };
        let recording = Self {
            store: store.clone(),
            sink: sink.clone(),
            begun: Instant::now(),
            subject: shown,
            state: Mutex::new(state),
        };
        lost.iter().for_each(|error| recording.warn_of(error));
        recording
    }

    /// The build has this plan.
    pub(crate) fn planned(&self, plan: &Plan) {
        let step = |step: &Step| {
            let mut after: Vec<u32> = plan.dependencies(step.id).map(number).collect();
            after.sort_unstable();
            RecordedStep {
                number: number(step.id),
                stage: plan.stages[step.stage.0].display_name.clone(),
                instruction: step.name.clone(),
                line: step.lines.first as u32,
                after,
                key: None,
                miss: None,
                outcome: StepOutcome::NotRun,
                layer: None,
                began_ms: None,
                took_ms: None,
                peak_memory: None,
                processor_ms: None,
            }
        };
        self.lock().steps = plan.steps.iter().map(step).collect();
    }

    /// The build's id; `None` when nothing can be recorded.
    pub(crate) fn build(&self) -> Option<BuildId> {
        self.lock().open.as_ref().map(|open| open.id().clone())
    }

    /// This build, for those that wait for a step that it makes from `since` on.
    pub(crate) fn step_holder(&self, since: Timestamp) -> Option<StepHolder> {
        let build = self.lock().open.as_ref()?.id().clone();
        Some(StepHolder { build, process: std::process::id(), subject: self.subject.clone(), since })
    }

    /// The steps of its plan have these keys, in its order.
    pub(crate) fn keyed(&self, keys: impl Iterator<Item = CacheKey>) {
        for (step, key) in self.lock().steps.iter_mut().zip(keys) {
            step.key = Some(key);
        }
    }

    /// The log of a step that begins now; `None` when nothing can be recorded.
    pub(crate) fn begin_step(&self, step: StepId) -> Option<StepLog> {
        let began = self.begun.elapsed();
        let mut state = self.lock();
        state.write_plan();
        let log = state.open.as_ref().map(|open| open.log(number(step)));
        if let Some(step) = state.steps.get_mut(step.0) {
            step.began_ms = Some(milliseconds(began));
        }
        log
    }

    /// The result of `step` is not in the cache.
    pub(crate) fn missed(&self, step: StepId, reason: &MissReason) {
        if let Some(step) = self.lock().steps.get_mut(step.0) {
            step.miss = Some(reason.clone());
        }
    }

    /// `step` has this layer.
    pub(crate) fn made(&self, step: StepId, layer: LayerId) {
        if let Some(step) = self.lock().steps.get_mut(step.0) {
            step.layer = Some(layer);
        }
    }

    /// The processes of `step` have used so much.
    pub(crate) fn used(&self, step: StepId, usage: &Usage) {
        if let Some(step) = self.lock().steps.get_mut(step.0) {
            step.peak_memory = usage.peak_memory;
            step.processor_ms = Some(milliseconds(usage.processor_time));
        }
    }

    /// `step` is over.
    pub(crate) fn ended(&self, step: StepId, outcome: &Outcome, took: Duration) {
        if let Some(step) = self.lock().steps.get_mut(step.0) {
            step.took_ms = step.began_ms.map(|_| milliseconds(took));
            step.outcome = match outcome {
                Outcome::Done => StepOutcome::Done,
                Outcome::Cached => StepOutcome::Cached,
                Outcome::Failed(causes) => StepOutcome::Failed { causes: messages(causes) },
                Outcome::Canceled => StepOutcome::Canceled,
            };
        }
    }

    pub(crate) fn found(&self, finding: &Finding) {
        self.lock().findings.push(RecordedFinding {
            rule: finding.rule.clone(),
            line: finding.lines.0 as u32,
            message: finding.message.clone(),
            url: finding.url.clone(),
        });
    }

    pub(crate) fn warned(&self, warning: &Warning) {
        self.lock().warnings.push(warning.to_string());
    }

    /// A log could not be written. The front end hears of the first such failure.
    pub(crate) fn log_lost(&self, error: &StoreError) {
        let is_first = self.lock().warnings.iter().all(|warning| *warning != LOG_LOST);
        if is_first {
            self.lock().warnings.push(LOG_LOST.to_owned());
            self.warn_of(error);
        }
    }

    /// The build ended with `result`.
    pub(crate) fn finish(&self, result: &Result<Built, Error>) {
        self.end(match result {
            Ok(built) => BuildOutcome::Done { image: built.image() },
            Err(error) => BuildOutcome::Failed { causes: messages(&Causes::of(error)), class: error.class() },
        });
    }

    fn end(&self, outcome: BuildOutcome) {
        let mut state = self.lock();
        let Some(open) = state.open.take() else { return };
        let end = BuildEnd {
            ended: Timestamp::from(self.store.now()),
            outcome,
            steps: std::mem::take(&mut state.steps),
            findings: std::mem::take(&mut state.findings),
            warnings: std::mem::take(&mut state.warnings),
        };
        drop(state);
        match open.finish(end, &BuildBudget::default()) {
            Ok(record) => self.sink.send(Event::Recorded(Box::new(record))),
            Err(error) => self.warn_of(&error),
        }
    }

    fn warn_of(&self, error: &StoreError) {
        self.sink.send(Event::Warning(Warning::RecordLost(Causes::of(error))));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Recording {
    /// Nothing of the build is left, and it has not ended: it was canceled.
    fn drop(&mut self) {
        self.end(BuildOutcome::Canceled);
    }
}

/// The remark in the record of a build whose logs are not complete.
const LOG_LOST: &str = "a log is not complete, because it could not be written";

/// The subject of a build, as its record names it.
fn subject(request: &BuildRequest) -> BuildSubject {
    let directory = whole_directory(&request.context);
    let dockerfile = match &request.dockerfile {
        DockerfileSource::File(path) => {
            let whole = path.canonicalize().ok().filter(|_| directory.is_some());
            let below = whole
                .as_deref()
                .zip(directory.as_deref())
                .and_then(|(file, top)| file.strip_prefix(top).ok());
            Some(below.or(whole.as_deref()).unwrap_or(path).display().to_string())
        }
        DockerfileSource::InContext => Some("Dockerfile".to_owned()),
        DockerfileSource::Text(_) => None,
        DockerfileSource::Url(url) => Some(crate::urls::without_login(url)),
    };
    let names = request.all_outputs().flat_map(Output::names);
    let targets: Vec<&str> = request.targets().flatten().collect();
    BuildSubject {
        context: shown_context(directory, &request.context),
        dockerfile,
        target: (!targets.is_empty()).then(|| targets.join(", ")),
        names: names.map(ToString::to_string).collect(),
    }
}

/// The main context, as the records of its builds name it.
pub(crate) fn context(context: &ContextSource) -> Option<String> {
    shown_context(whole_directory(context), context)
}

/// A record outlives the working directory in which a path meant something.
fn whole_directory(context: &ContextSource) -> Option<PathBuf> {
    context.directory().and_then(|path| path.canonicalize().ok())
}

fn shown_context(directory: Option<PathBuf>, context: &ContextSource) -> Option<String> {
    directory.map(|path| path.display().to_string()).or_else(|| context.shown())
}

/// The number of a step, as people and the record have it.
pub(crate) fn number(step: StepId) -> u32 {
    step.0 as u32 + 1
}

fn messages(causes: &Causes) -> Vec<String> {
    causes.iter().map(str::to_owned).collect()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
