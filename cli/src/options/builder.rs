//! What `buildx create` may ask for: the builder that is there.

use crate::{args::BuilderCreateArgs, error::UsageError};

/// The reason of every refusal.
const ONE: &str = "there is one builder, which is this program: it has no other nodes, daemons and drivers";

/// Sees that nothing but the one builder is asked for.
///
/// # Errors
/// Names what asks for another one.
pub(crate) fn no_further_builder(args: &BuilderCreateArgs) -> Result<(), UsageError> {
    let refused = |what: String| Err(UsageError::refused(format!("{what} is not supported: {ONE}")));
    let hosts = |(name, value): &&(&str, String)| *name == "driver-opt" && value == "network=host";
    if args.others.given.iter().any(|given| hosts(&given)) {
        let instead = "a build gives its RUN the network of this machine with --network=host, and registries are reached from there anyway";
        return Err(UsageError::refused(format!("--driver-opt network=host is not supported: {instead}")));
    }
    if let Some((name, _)) = args.others.given.iter().find(|(_, value)| value != "false") {
        return refused(format!("--{name}"));
    }
    match args.driver.as_deref() {
        None | Some("" | "docker-container") => {}
        Some(driver) => return refused(format!("--driver {driver}")),
    }
    match args.endpoint.as_deref() {
        None | Some("" | "default") => {}
        Some(endpoint) => return refused(format!("the endpoint {endpoint}")),
    }
    match args
        .buildkitd_flags
        .as_deref()
        .unwrap_or_default()
        .split_whitespace()
        .find(|word| !is_allowed(word))
    {
        Some(word) => refused(format!("--buildkitd-flags {word}")),
        None => Ok(()),
    }
}

/// True for the words that let builds ask for rights, which they may here.
fn is_allowed(word: &str) -> bool {
    let value = word.strip_prefix("--allow-insecure-entitlement=").unwrap_or(word);
    matches!(value, "--allow-insecure-entitlement" | "network.host" | "security.insecure")
}
