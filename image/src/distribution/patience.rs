//! How long the layer of a cache is waited for. Its step can be carried out instead, so a build does not stand still for it.

use rbuild_cache::FoundIn;
use rbuild_registry::RegistryError;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The time in which a cache has to send [`LEAST`], unless the client's own limit is shorter.
const QUIET: Duration = Duration::from_secs(30);

/// What it has to send in this time, in bytes.
const LEAST: u64 = 64 << 10;

/// The patience with one transfer, all its tries together. Only the time that is waited for the registry counts, not what is done
/// with its bytes.
pub(super) struct Patience<'a> {
    host: &'a str,
    /// None for the layer of an image, for which the registry's client alone says how long is too long.
    limit: Option<Duration>,
    waited: Duration,
    bytes: u64,
}

impl<'a> Patience<'a> {
    /// With `host`, which has a layer that was found so; `client` waits for so long before it tries again.
    pub(super) fn with(host: &'a str, found_in: FoundIn, client: Duration) -> Self {
        let limit = match found_in {
            FoundIn::Cache => Some(QUIET.min(client)),
            FoundIn::Image => None,
        };
        Self { host, limit, waited: Duration::ZERO, bytes: 0 }
    }

    /// Waits for the next part of the transfer.
    ///
    /// # Errors
    /// Those of `part`; [`RegistryError::Stalled`].
    pub(super) async fn wait<T>(
        &mut self,
        part: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let Some(limit) = self.limit else { return part.await };
        let began = Instant::now();
        let ended = timeout(limit.saturating_sub(self.waited), part).await;
        self.waited += began.elapsed();
        let stalled = |_| RegistryError::Stalled { host: self.host.to_owned(), seconds: limit.as_secs() };
        ended.map_err(stalled)?
    }

    /// So many bytes came.
    pub(super) fn moved(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= LEAST {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    fn runs<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn a_cache_that_is_silent_or_nearly_so_is_given_up_and_an_image_is_waited_for() {
        let minute = Duration::from_secs(60);
        assert_eq!(Patience::with("h", FoundIn::Cache, minute).limit, Some(Duration::from_secs(30)));
        let mut patience = Patience::with("h", FoundIn::Cache, Duration::from_millis(20));
        let silent = runs(patience.wait(pending::<Result<(), RegistryError>>())).unwrap_err();
        assert!(matches!(silent, RegistryError::Stalled { .. }), "{silent}");
        // the time is used up, until enough has come
        assert!(patience.waited >= Duration::from_millis(20));
        patience.moved(LEAST - 1);
        assert!(!patience.waited.is_zero());
        patience.moved(1);
        assert!(patience.waited.is_zero());
        assert_eq!(runs(patience.wait(ready(Ok(7)))).unwrap(), 7);

        let mut patient = Patience::with("h", FoundIn::Image, Duration::ZERO);
        let pending = pending::<Result<(), RegistryError>>();
        let waiting = async { timeout(Duration::from_millis(50), patient.wait(pending)).await };
        assert!(runs(waiting).is_err(), "still waiting");
    }
}
