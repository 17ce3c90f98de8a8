//! Images of registries: resolved, fetched, pulled and pushed.
//!
//! An image is resolved by its manifest and its config alone: its layers are known then, and elsewhere. Their files come
//! when something is about to touch them, or with a pull, which brings the image whole.

mod copy;
mod fetch;
mod patience;
mod pull;
mod push;
mod resolve;
mod send_layer;

pub use pull::Pulled;
pub use push::PushedAs;
pub use send_layer::{known_blob, remember_blob};

use crate::ImageError;
use rbuild_cache::Store;
use rbuild_registry::{Client, Listener, Pulse};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Layers under way at a time: more would take memory, and hardly be faster on a few cores.
const LAYERS_AT_ONCE: usize = 2;

/// The images of registries as one store sees them. Clones share connections, logins, and the limit of layers under way.
#[derive(Clone)]
pub struct RemoteImages {
    store: Store,
    client: Client,
    turns: Arc<Semaphore>,
}

impl RemoteImages {
    /// Brings images that `client` reaches into `store`.
    #[must_use]
    pub fn new(store: &Store, client: &Client) -> Self {
        let turns = Arc::new(Semaphore::new(LAYERS_AT_ONCE));
        Self { store: store.clone(), client: client.clone(), turns }
    }

    /// The same, while `listener` is told why the client waits.
    #[must_use]
    pub fn heard_by(&self, listener: Listener) -> Self {
        Self { client: self.client.heard_by(listener), ..self.clone() }
    }

    /// The same, while the client counts in `pulse` what it sends and is answered.
    #[must_use]
    pub fn counted_in(&self, pulse: &Pulse) -> Self {
        Self { client: self.client.counted_in(pulse), ..self.clone() }
    }
}

/// Runs `work` on a thread that may wait.
async fn blocking<T: Send + 'static>(
    task: &'static str,
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ImageError::Worker { task })?
}
