//! Numbers activities, measures them, and sends their events.

use crate::{ActivityId, Causes, Event, EventSink, Outcome};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

/// Hands out activities. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reporter {
    sink: EventSink,
    last: Arc<AtomicU32>,
}

/// An activity that has begun and not yet ended. Dropped unended, it counts as canceled.
pub(crate) struct Activity {
    sink: EventSink,
    id: ActivityId,
    begun: Instant,
    ended: bool,
}

impl Reporter {
    pub(crate) fn new(sink: EventSink) -> Self {
        Self { sink, last: Arc::new(AtomicU32::new(0)) }
    }

    /// Begins an activity called `name`.
    pub(crate) fn begin(&self, name: impl Into<String>) -> Activity {
        let id = ActivityId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        self.sink.send(Event::Begun { activity: id, name: name.into() });
        Activity { sink: self.sink.clone(), id, begun: Instant::now(), ended: false }
    }

    pub(crate) fn warn(&self, text: String) {
        self.sink.send(Event::Warning { text });
    }
}

impl Activity {
    pub(crate) fn output(&self, bytes: &[u8]) {
        let (activity, bytes) = (self.id, bytes.to_vec());
        self.sink.send(Event::Output { activity, bytes, elapsed: self.begun.elapsed() });
    }

    pub(crate) fn note(&self, text: impl Into<String>) {
        self.sink.send(Event::Note { activity: self.id, text: text.into() });
    }

    pub(crate) fn transferred(&self, subject: String, done: u64, total: Option<u64>) {
        self.sink.send(Event::Transferred { activity: self.id, subject, done, total });
    }

    /// Ends it with `outcome`.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.ended = true;
        self.sink.send(Event::Ended { activity: self.id, outcome, elapsed: self.begun.elapsed() });
    }

    /// Ends it as done or failed, as `result` says, and hands the result on.
    pub(crate) fn end_with<T, E: std::error::Error>(self, result: Result<T, E>) -> Result<T, E> {
        let outcome = result.as_ref().err().map_or(Outcome::Done, |error| Outcome::Failed(Causes::of(error)));
        self.end(outcome);
        result
    }

    /// How long it has been going on.
    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.begun.elapsed()
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        if !self.ended {
            let elapsed = self.begun.elapsed();
            self.sink.send(Event::Ended { activity: self.id, outcome: Outcome::Canceled, elapsed });
        }
    }
}
