//! One step on a worker thread: look up again if need be, carry out, commit, record.

use crate::{
    Causes, Error, Outcome, keying,
    reporter::Activity,
    schedule,
    session::{Keyed, Origin, Session, StepResult},
};
use rbuild_cache::{CacheKey, CacheRecord, LayerDraft, LayerId, LayerMeta, LayerSource, Lookup, StepLock};
use rbuild_executor::{ExecutorError, Selection};
use rbuild_oci::Timestamp;
use rbuild_planner::{Action, CachePolicy, Step, StepId};
use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

/// Bytes of one line that an error shows at most, give or take a piece.
const LONGEST_LINE: usize = 64 << 10;
/// Lines of a failing command that its error shows.
const TAIL_LINES: usize = 20;

/// Keys `step`; a failure is told with its place in the Dockerfile.
pub(crate) fn key(session: &Session, step: &Step) -> Result<(), Error> {
    keying::key(session, step).map_err(|error| failed(session, step, error, Vec::new()))
}

/// Carries out step `id`, or takes its result from the cache after all.
pub(crate) fn perform(session: &Session, id: StepId) -> Result<(), Error> {
    let step = &session.plan.steps[id.0];
    let activity = session.reporter.begin(format!("{} {}", step.position, step.name));
    let mut tail = Tail::default();
    match attempt(session, step, &activity, &mut tail) {
        Ok(result) => {
            let outcome = match result.origin {
                Origin::Cache => Outcome::Cached,
                Origin::Executed => Outcome::Done,
            };
            session.set_result(id, result);
            activity.end(outcome);
            Ok(())
        }
        Err(error) => {
            let canceled = matches!(error, Error::Executor(ExecutorError::Canceled));
            let error = failed(session, step, error, tail.into_lines());
            activity.end(if canceled { Outcome::Canceled } else { Outcome::Failed(Causes::of(&error)) });
            Err(error)
        }
    }
}

fn failed(session: &Session, step: &Step, error: Error, log: Vec<String>) -> Error {
    match error {
        Error::Executor(error) => {
            Error::step(error, &session.text, step.lines, (format!("{} {}:", step.position, step.name), log))
        }
        other => other,
    }
}

fn attempt(
    session: &Session,
    step: &Step,
    activity: &Activity,
    tail: &mut Tail,
) -> Result<StepResult, Error> {
    let parent = session.stack(&step.parent).ok_or_else(|| keying::out_of_order("its parent"))?;
    let keyed = session.keyed(step.id).ok_or_else(|| keying::out_of_order("its key"))?;
    let lock = lock_step(session, &keyed, activity)?;
    let mut keys = vec![keyed.key];
    let selection = match &step.action {
        Action::Copy(action) if keying::copies_layers(action) => {
            let selection = keying::select(session, action)?;
            keys.push(keying::by_content(&keyed, action, &selection));
            Some(selection)
        }
        Action::Copy(_) | Action::Run(_) | Action::Workdir(_) => keyed.selection.clone(),
    };
    // the pass before anything ran has answered for the definition key, unless somebody else has been at work since
    if step.cache == CachePolicy::Use {
        let others = session.is_contended() || session.engine.store.index_has_other_writers();
        if (keys.len() > 1 || others)
            && let Some(result) = recorded(session, step, &keys, &parent)?
        {
            return Ok(result);
        }
        if let Some(result) = crate::content::same_parent_content(session, step, &keyed, &parent)? {
            return Ok(result);
        }
    }
    let draft = carry_out(session, step, (&keyed, selection.as_deref()), &parent, &mut |bytes| {
        activity.output(bytes);
        tail.push(bytes, activity.elapsed());
    })?;
    let layer = draft
        .commit(&session.lease, &LayerMeta::new(Timestamp::from(SystemTime::now()), LayerSource::Own))?;
    record(session, step, (&keyed, &keys, lock), (layer, &parent, activity.elapsed()))
}

fn lock_step(session: &Session, keyed: &Keyed, activity: &Activity) -> Result<StepLock, Error> {
    let store = &session.engine.store;
    if let Some(lock) = store.try_lock_step(&keyed.key)? {
        return Ok(lock);
    }
    session.note_contention();
    activity.note("waiting for another build of this step");
    let waited = store.wait_step(&keyed.key, || !session.cancel.is_canceled())?;
    waited.ok_or(Error::Executor(ExecutorError::Canceled))
}

fn recorded(
    session: &Session,
    step: &Step,
    keys: &[CacheKey],
    parent: &[LayerId],
) -> Result<Option<StepResult>, Error> {
    let hash = session.keyed(step.id).ok_or_else(|| keying::out_of_order("its key"))?.description.step;
    // files of layers are known by their content by now; a definition that says nothing is not asked
    let telling = match keys {
        [_, content] => std::slice::from_ref(content),
        definition if session.has_renewed_input(step.id) => &definition[..0],
        definition => definition,
    };
    let found = session.engine.store.index(|index| {
        for key in telling {
            if let Lookup::Hit(record) = index.lookup(key)
                && record.parent_layers == parent
            {
                return Ok(Some(*record));
            }
        }
        session.set_earlier(hash, schedule::usable_records(index, &hash));
        Ok(None)
    });
    // a cache that fails is an empty one; of that the first look has told
    let Some(record) = found.unwrap_or_default() else { return Ok(None) };
    if !session.lease.hold(&[record.layer], &[])?.is_empty() {
        return Ok(None);
    }
    for key in keys {
        session.recorder()?.record(*key, record.clone());
    }
    Ok(Some(StepResult::new(record, parent, Origin::Cache)))
}

fn carry_out(
    session: &Session,
    step: &Step,
    (keyed, selection): (&Keyed, Option<&Selection>),
    parent: &[LayerId],
    output: &mut dyn FnMut(&[u8]),
) -> Result<LayerDraft, Error> {
    let store = &session.engine.store;
    let now = session.plan.source_date_epoch.map_or_else(SystemTime::now, at_second);
    match &step.action {
        Action::Workdir(action) => Ok(rbuild_executor::workdir(store, action, parent, now)?),
        Action::Copy(action) => {
            let selection = selection.ok_or_else(|| keying::out_of_order("its selection"))?;
            Ok(rbuild_executor::copy(store, action, selection, parent, now)?)
        }
        Action::Run(action) => {
            let mounts = crate::mounts::prepare(session, keyed, action)?;
            let run = rbuild_executor::Run {
                store,
                isolation: &session.engine.isolation,
                action,
                parent,
                mounts: &mounts,
                host_files: &session.host_files,
                shm_size: session.request.shm_size,
                cancel: &session.cancel,
            };
            Ok(rbuild_executor::run(&run, output)?)
        }
    }
}

/// The time `seconds` after 1970, or before it.
fn at_second(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

/// Records a new layer under each of `keys`; the step's lock is let go when others can see the record.
fn record(
    session: &Session,
    step: &Step,
    (keyed, keys, lock): (&Keyed, &[CacheKey], StepLock),
    (layer, parent, elapsed): (LayerId, &[LayerId], Duration),
) -> Result<StepResult, Error> {
    let record = CacheRecord {
        layer,
        created: Timestamp::from(SystemTime::now()),
        step: keyed.description.step,
        parent: Some(keyed.parent),
        parent_layers: parent.to_vec(),
        sources: keying::source_layers(session, step),
        inputs: keyed.description.inputs.clone(),
        duration_ms: elapsed.as_millis() as u64,
        instruction: step.name.clone(),
        evicted: None,
        stamp: None,
    };
    let recorder = session.recorder()?;
    for key in keys.iter().skip(1) {
        recorder.record(*key, record.clone());
    }
    recorder.record_and_unlock(keyed.key, record.clone(), lock);
    Ok(StepResult::new(record, parent, Origin::Executed))
}

/// The last lines of a command's output, each with its time.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    unfinished: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8], elapsed: Duration) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            // a progress bar can write for hours without ending a line
            if self.unfinished.len() < LONGEST_LINE {
                self.unfinished.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end_line(elapsed);
            }
        }
    }

    fn end_line(&mut self, elapsed: Duration) {
        let text = String::from_utf8_lossy(&self.unfinished);
        self.lines.push_back(format!("{:.3} {}", elapsed.as_secs_f64(), text.trim_end_matches(['\n', '\r'])));
        self.unfinished.clear();
        if self.lines.len() > TAIL_LINES {
            self.lines.pop_front();
        }
    }

    fn into_lines(mut self) -> Vec<String> {
        if !self.unfinished.is_empty() {
            self.end_line(Duration::ZERO);
        }
        self.lines.into()
    }
}
