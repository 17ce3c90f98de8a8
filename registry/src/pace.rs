//! How long a transfer may take for little: a server that sends a byte a second is as good as silent, and would never end.

use bytes::Bytes;
use reqwest::Response;
use std::time::{Duration, Instant};
use tokio::time;

/// The bytes that a transfer must bring in each [`Pace::longest`].
const LEAST: u64 = 1 << 10;

/// The longest time without that many, unless the stall limit is shorter.
const LONGEST: Duration = Duration::from_secs(30);

/// Why the next bytes of a transfer do not come.
pub(crate) enum Lag {
    /// The connection failed.
    Broken(reqwest::Error),
    /// Nothing comes any more. It may have broken, and go on when it is made again.
    Silent {
        /// For so many seconds at most.
        seconds: u64,
    },
    /// Bytes come, but so few that it would not end.
    Slow {
        /// So many.
        bytes: u64,
        /// In so many seconds.
        seconds: u64,
    },
}

/// The pace of one transfer. Only the time that is waited for bytes counts, not what their reader does with them.
pub(crate) struct Pace {
    longest: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Of a transfer that may be still for `stall`.
    pub(crate) fn new(stall: Duration) -> Self {
        Self { longest: stall.min(LONGEST), waited: Duration::ZERO, bytes: 0 }
    }

    /// The next bytes of `response`; `None` after the last.
    ///
    /// # Errors
    /// [`Lag`].
    pub(crate) async fn next(&mut self, response: &mut Response) -> Result<Option<Bytes>, Lag> {
        let began = Instant::now();
        let next = time::timeout(self.longest.saturating_sub(self.waited), response.chunk()).await;
        let silence = began.elapsed();
        self.waited += silence;
        let seconds = self.longest.as_secs();
        match next {
            Ok(Ok(chunk)) => {
                self.bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                if self.bytes >= LEAST {
                    (self.waited, self.bytes) = (Duration::ZERO, 0);
                }
                Ok(chunk)
            }
            Ok(Err(error)) => Err(Lag::Broken(error)),
            Err(_) if silence >= self.longest / 2 => Err(Lag::Silent { seconds }),
            Err(_) => Err(Lag::Slow { bytes: self.bytes, seconds }),
        }
    }
}
