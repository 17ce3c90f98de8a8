//! The longest that a build may take (`--timeout`).

use crate::{Built, Error, StepFailure};
use rbuild_cache::Cancel;
use rbuild_executor::ExecutorError;
use std::{pin::pin, time::Duration};
use tokio::time::timeout;

/// How long a build that has taken too long may take to keep what is finished.
const PARTING: Duration = Duration::from_secs(2);

/// The result of `build`, if it comes in time; otherwise the build is canceled.
pub(super) async fn within(
    longest: Duration,
    build: impl Future<Output = Result<Built, Error>>,
    cancel: &Cancel,
) -> Result<Built, Error> {
    let mut build = pin!(build);
    if let Ok(built) = timeout(longest, &mut build).await {
        return built;
    }
    cancel.cancel();
    // what is finished is kept; what waits for a network does not look up
    let _ = timeout(PARTING, &mut build).await;
    Err(Error::TookTooLong { longest })
}

impl Error {
    /// True if something was ended because it took longer than the caller allows.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::TookTooLong { .. } => true,
            Self::Step(StepFailure { error, .. }) => matches!(**error, ExecutorError::TookTooLong { .. }),
            Self::Several(failures) => failures.iter().next().is_some_and(Self::is_timeout),
            _ => false,
        }
    }
}
