//! What a person who waits for a registry should know while the client goes on.

use std::{fmt, sync::Arc, time::Duration};

/// A wait shorter than this is not worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(2);

/// Something that does not stop the work and that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A request failed and will be tried again after a wait.
    Waiting {
        /// The failure.
        reason: String,
        /// The length of the wait in seconds.
        seconds: u64,
    },
    /// A mirror failed, and the next place of the image is asked.
    MirrorFailed {
        /// The mirror, with the repository.
        mirror: String,
        /// The failure, with its causes.
        reason: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { reason, seconds } => write!(f, "{reason}: trying again in {seconds} s"),
            Self::MirrorFailed { mirror, reason } => {
                write!(f, "mirror {mirror} failed, asking the next place: {reason}")
            }
        }
    }
}

/// The receiver of notices. Called from any thread; it should return soon.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(Notice) + Send + Sync>);

impl Listener {
    /// A listener that hands each notice to `receive`.
    pub fn new(receive: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    pub(crate) fn ignore() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn tell(&self, notice: Notice) {
        (self.0)(notice);
    }

    /// Says that `reason` makes the client wait for `delay`, if that is long enough to wonder about.
    pub(crate) fn waiting(&self, delay: Duration, reason: impl FnOnce() -> String) {
        if delay >= WORTH_A_WORD {
            self.tell(Notice::Waiting { reason: reason(), seconds: delay.as_secs_f64().round() as u64 });
        }
    }
}
