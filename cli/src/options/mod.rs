//! What was meant: typed requests made of what was typed, or a mistake in Docker's words. Nothing here reads a file or
//! asks the engine, so every conflict is found before any work begins.

mod allowed;
mod buckets;
mod build;
mod builder;
mod cache_attributes;
mod cache_mounts;
mod caches;
mod call;
mod contexts;
mod debug;
mod detach_keys;
mod health;
mod images;
mod limits;
mod log;
mod mount;
mod mounts;
mod names;
mod network;
mod networks;
mod outputs;
mod packing;
mod pairs;
mod ports;
mod process;
mod run;
mod secrets;
mod security;
pub(crate) mod size;
mod ssh;
mod tmpfs;
mod unsupported;

pub(crate) use build::{BuildOptions, Explain, PrintId, ProgressChoice};
pub(crate) use builder::no_further_builder;
pub(crate) use call::{Call, CallFormat, CallOptions, FindingsStatus};
pub(crate) use contexts::{ContextKind, is_url};
pub(crate) use debug::DebugOptions;
pub(crate) use detach_keys::DetachKeys;
pub(crate) use images::{LockUse, SourceWord};
pub(crate) use limits::{ChangedLimits, within as within_machine};
pub(crate) use network::NetworkOptions;
pub(crate) use networks::{network_request, place_in_network};
pub(crate) use outputs::{ArchivePlace, BuildOutput, FilePlace, Load, Removal, TargetOutputs};
pub(crate) use packing::packing;
pub(crate) use pairs::{Proxies, label, pairs};
pub(crate) use process::check as check_unmet;
pub(crate) use run::{
    Foreground, PullWhen, RunOptions, TerminalUse, container_name, never_restarted, variable,
};

pub(crate) use unsupported::without_a_log;

use crate::{environment::Environment, error::UsageError};
use rbuild::{ImageName, ParseError, Platform, Reference};
use rbuild_docker_api::Detail;

/// The choice of checking registries' certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certificates {
    /// They are.
    Checked,
    /// Any certificate, or none, will do.
    Unchecked,
}

impl Certificates {
    /// The meaning of `--tls-verify=…`.
    pub(crate) fn from_flag(tls_verify: bool) -> Self {
        if tls_verify { Self::Checked } else { Self::Unchecked }
    }
}

/// Reads what a command is to look up.
pub(crate) fn reference(text: &str) -> Result<Reference, UsageError> {
    text.parse().map_err(|error| UsageError::new(format!("{text:?} is not a valid repository/tag: {error}")))
}

/// Reads a name that a command is to give to an image.
pub(crate) fn image_name(text: &str) -> Result<ImageName, UsageError> {
    ImageName::new(reference(text)?).map_err(|error| UsageError::new(format!("{error} ({text})")))
}

/// Reads a `--platform` that may be there, and is not given when it is empty.
pub(crate) fn platform(text: Option<&str>) -> Result<Option<Platform>, UsageError> {
    text.filter(|text| !text.is_empty()).map(any_platform).transpose()
}

/// Reads the `--platform`s of a command that takes several, each a list.
pub(crate) fn platforms(flags: &[String]) -> Result<Vec<Platform>, UsageError> {
    flags.iter().flat_map(|list| list.split(',')).filter(|text| !text.is_empty()).map(any_platform).collect()
}

/// `--platform`, or what the environment has in its place, as for `run` and `pull` in docker.
pub(crate) fn default_platform(
    flag: Option<&str>,
    environment: &Environment,
) -> Result<Option<Platform>, UsageError> {
    match flag {
        Some(text) => platform(Some(text)),
        None => platform(environment.filled("DOCKER_DEFAULT_PLATFORM")),
    }
}

/// Reads a name that the image is to have.
fn tag(text: &str) -> Result<ImageName, UsageError> {
    text.parse().map_err(|error| match error {
        ParseError::DigestGiven | ParseError::AmbiguousName => {
            UsageError::in_build(format!("failed to solve: {error} ({text})"))
        }
        error => UsageError::in_build(format!("invalid tag {text:?}: {error}")),
    })
}

/// Reads `--platform`.
pub(crate) fn any_platform(text: &str) -> Result<Platform, UsageError> {
    text.parse().map_err(|error: rbuild::ParseError| UsageError::new(error.to_string()))
}

/// The meaning of `--no-trunc`.
pub(crate) fn detail(no_trunc: bool) -> Detail {
    if no_trunc { Detail::Full } else { Detail::Short }
}
