//! Helpers that the tests of all crates share: among them a real registry and a server that misbehaves on demand.
//!
//! It is a development dependency only; the product contains none of it.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod archives;
mod certificates;
mod executable;
mod git_server;
mod hostile;
mod http_server;
mod proxy;
mod registry;
mod s3_server;
mod skip;
mod token_server;
mod workspace;

use std::time::SystemTime;

pub use archives::{Tar, crc32, described};
pub use executable::{copy_program, write_program};
pub use git_server::{GitRepository, GitServer};
pub use hostile::{HostileArchive, Outcome, chain, hostile_archives};
pub use http_server::{HttpBody, HttpReply, HttpRequest, HttpServer};
pub use proxy::{Harm, Relay};
pub use registry::{
    REGISTRY_PASSWORD, REGISTRY_USER, Registry, RegistryLogin, RegistryOptions, RegistryTransport,
};
pub use s3_server::{S3_KEY, S3_SECRET, S3Server};
pub use skip::{has_root, skip, skip_named};
pub use token_server::IDENTITY_TOKEN;
pub use workspace::{Base, Ran, Workspace, has_program, is_root, repository};

/// The time, for tests of what compares files with the clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test is a program of its own")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
