//! Which of Docker's other build flags are let through, which are warned about, and which are refused.

use crate::{args::OtherFlags, error::UsageError};

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
            "debug" => warnings.push(without_a_log(name)),
            name => return Err(UsageError::unsupported(format_args!("--{name}"))),
        }
    }
    Ok(warnings)
}

/// The warning for flags about the log of docker's client.
pub(crate) fn without_a_log(name: &str) -> String {
    format!("--{name} has no effect: rbuild keeps no log of its own")
}

/// True if the value says what rbuild does anyway.
fn asks_for_nothing(name: &str, value: &str) -> bool {
    let off = matches!(value, "false" | "0" | "f" | "F" | "FALSE" | "False");
    match name {
        "provenance" | "sbom" | "debug" => off,
        "attest" => value.split(',').any(|part| part == "disabled=true"),
        // whether the store knows the name is found out with the store
        "builder" => true,
        _ => false,
    }
}
