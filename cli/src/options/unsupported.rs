//! Which of Docker's other build flags are let through, which are warned about, and which are refused.

use super::outputs::Removal;
use crate::{args::OtherFlags, error::UsageError};
use rbuild::Entitlement;
use std::collections::BTreeSet;

/// The entitlement to remove files outside of the working directory.
const LOCAL_DELETE: &str = "buildx.local.delete";

/// The rights that a Dockerfile is given.
pub(super) fn entitlements(flags: &OtherFlags) -> BTreeSet<Entitlement> {
    let allowed = |right: &Entitlement| {
        flags.given.iter().any(|(name, value)| *name == "allow" && value == right.name())
    };
    Entitlement::ALL.into_iter().filter(allowed).collect()
}

/// The devices that a Dockerfile may use by their names.
pub(super) fn allowed_devices(flags: &OtherFlags) -> BTreeSet<String> {
    let allowed = flags.given.iter().filter(|(name, _)| *name == "allow");
    allowed.filter_map(|(_, value)| device(value)).map(str::to_owned).collect()
}

/// The name in `device=NAME`.
fn device(value: &str) -> Option<&str> {
    value.strip_prefix("device=").filter(|name| !name.is_empty() && !name.contains(','))
}

/// Where an output may remove files.
pub(super) fn removal(flags: &OtherFlags) -> Removal {
    let allowed = flags.given.iter().any(|(name, value)| *name == "allow" && value == LOCAL_DELETE);
    if allowed { Removal::Anywhere } else { Removal::Inside }
}

/// Warnings for the flags that have no effect.
///
/// # Errors
/// Names the first flag that asks for something rbuild does not do.
pub(super) fn check(flags: &OtherFlags) -> Result<Vec<String>, UsageError> {
    let mut warnings = Vec::new();
    for (name, value) in &flags.given {
        match *name {
            "compress" | "isolation" | "rm" | "force-rm" | "disable-content-trust" | "stream" => {
                warnings.push(format!("{name} flag is ignored"));
            }
            name if asks_for_nothing(name, value) => {}
            name => return Err(UsageError::unsupported(format_args!("--{name}"))),
        }
    }
    Ok(warnings)
}

/// True if the value says what rbuild does anyway.
fn asks_for_nothing(name: &str, value: &str) -> bool {
    let off = matches!(value, "false" | "0" | "f" | "F" | "FALSE" | "False");
    match name {
        "provenance" | "sbom" | "debug" => off,
        "allow" => {
            let right = Entitlement::ALL.iter().any(|right| value == right.name());
            right || value == LOCAL_DELETE || device(value).is_some()
        }
        "attest" => value.split(',').any(|part| part == "disabled=true"),
        "builder" => value == "default",
        _ => false,
    }
}
