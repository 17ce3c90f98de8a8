//! What a build tells its caller while it runs.

use crate::Causes;
use std::{sync::Arc, time::Duration};

/// One thing going on: a step, a transfer, an internal job. Numbered from 1 in the order of their beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActivityId(pub u32);

/// How an activity ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// Its result was in the cache.
    Cached,
    /// It failed.
    Failed(Causes),
    /// It was given up because something else failed or the caller canceled.
    Canceled,
}

/// Something a caller may want to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An activity begins.
    Begun {
        /// Which.
        activity: ActivityId,
        /// What people call it: `[build 2/5] RUN make`.
        name: String,
    },
    /// A piece of a command's output, standard output and error in the order written: not cut into lines, any bytes.
    Output {
        /// Whose.
        activity: ActivityId,
        /// The bytes.
        bytes: Vec<u8>,
        /// Since the activity began.
        elapsed: Duration,
    },
    /// A transfer has moved on.
    Transferred {
        /// Whose.
        activity: ActivityId,
        /// What is transferred: a blob's short digest, or a path.
        subject: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, when known.
        total: Option<u64>,
    },
    /// A remark that belongs to an activity: `waiting for another build of this step`.
    Note {
        /// Whose.
        activity: ActivityId,
        /// The remark.
        text: String,
    },
    /// An activity is over.
    Ended {
        /// Which.
        activity: ActivityId,
        /// How.
        outcome: Outcome,
        /// How long it took.
        elapsed: Duration,
    },
    /// A build check's finding: `Rule: message (line N)`.
    Warning {
        /// The text.
        text: String,
    },
}

/// Where events go. Called from many threads at once; it should return soon.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// A sink that hands each event to `receive`.
    pub fn new(receive: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// A sink that drops everything.
    #[must_use]
    pub fn ignore() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn send(&self, event: Event) {
        (self.0)(event);
    }
}
