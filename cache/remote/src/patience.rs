//! How long a cache in a registry is waited for. Nobody needs a cache so much that a build should stand still for it.

use crate::RemoteCacheError;
use rbuild_image::RemoteImages;
use rbuild_registry::{Listener, Notice, Pulse};
use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::timeout;

/// The time in which a registry has to take or say something.
const QUIET: Duration = Duration::from_secs(30);

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// What it has to take in this time, in bytes; an answer is as good.
const LEAST: u64 = 64 << 10;

/// Registries put a blob together before they answer: so many bytes give them a second more.
const PUT_TOGETHER: u64 = 16 << 20;

/// Does `work` with clients that reach `registry`, as long as something moves.
///
/// # Errors
/// Those of `work`; [`RemoteCacheError::Stuck`].
pub(crate) async fn while_it_moves<T>(
    (images, registry): (&RemoteImages, &str),
    work: impl AsyncFnOnce(&RemoteImages) -> Result<T, RemoteCacheError>,
) -> Result<T, RemoteCacheError> {
    let (pulse, said) = (Pulse::default(), Arc::new(Mutex::new(None)));
    let hearing = said.clone();
    let images = images.heard_by(Listener::new(move |notice| match notice {
        Notice::Waiting { reason, .. } => {
            *hearing.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        }
        Notice::MirrorFailed { .. } => {}
    }));
    let images = images.counted_in(&pulse);
    let mut work = pin!(work(&images));
    let (mut before, mut quiet) = (0, Duration::ZERO);
    loop {
        if let Ok(done) = timeout(LOOK, &mut work).await {
            return done;
        }
        quiet += LOOK;
        if pulse.count() - before >= LEAST {
            (before, quiet) = (pulse.count(), Duration::ZERO);
        }
        let limit = QUIET + Duration::from_secs(before / PUT_TOGETHER);
        if quiet >= limit {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (registry, seconds) = (registry.to_owned(), limit.as_secs());
            return Err(RemoteCacheError::Stuck { registry, seconds, said });
        }
    }
}
