//! What a failed RUN leaves for a person to look into: kept when it fails, opened again by [`Engine::look_into`].
//!
//! The files of the command and those that its mounts of a context showed are kept as they were ([`keep`]), and everything else
//! that the command ran with is described ([`record`]). Secrets are in neither: a description has none, files that hold one are
//! left out ([`leaks`]), and a person gives them again, as they give agents and proxies.
//!
//! [`Engine::look_into`]: crate::Engine::look_into

mod error;
mod keep;
mod leaks;
mod open;
mod record;

pub use error::{DebugError, Nothing};
pub(crate) use keep::{Failed, Keeping, keep};
pub use open::{DebugRequest, FoundStep};

use rbuild_cache::BuildId;

/// The name under which the store has a step of a build.
fn name(build: &BuildId, step: u32) -> String {
    format!("{build}-{step}")
}
