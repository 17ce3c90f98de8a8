//! What RUNs and containers may ask of the kernel, in Docker's words.

use crate::{args::SecurityFlags, error::UsageError, small_file};
use rbuild::{DeviceOption, PrivilegeOptions, read_privileges};
use std::{error::Error as _, path::Path};

/// Reads `--cap-add`, `--cap-drop` and `--security-opt`, and the profile that the last may name.
pub(super) fn privileges(flags: &SecurityFlags) -> Result<PrivilegeOptions, UsageError> {
    let security = flags.security_opt.iter().map(|text| with_profile(text)).collect::<Result<_, _>>()?;
    let device_descriptions = flags.cdi_spec_dir.clone();
    let options = PrivilegeOptions { security, device_descriptions, ..PrivilegeOptions::default() };
    let options = options.with_capabilities(&flags.cap_add, &flags.cap_drop);
    read_privileges(&options).map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        UsageError::new(format!("{error}{cause}"))
    })?;
    Ok(options)
}

/// Reads `--device`s of a container.
pub(super) fn devices(given: &[String]) -> Result<Vec<String>, UsageError> {
    for text in given {
        DeviceOption::read(text).map_err(|error| UsageError::new(error.to_string()))?;
    }
    Ok(given.to_vec())
}

/// A `--security-opt` as docker's records have it: with the document instead of the file.
fn with_profile(text: &str) -> Result<String, UsageError> {
    let (name, path) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
    if name != "seccomp" || matches!(path, "unconfined" | "builtin") {
        return Ok(text.to_owned());
    }
    let failed = |error| UsageError::new(format!("opening seccomp profile ({path}) failed: {error}"));
    let document = small_file::read_text(Path::new(path)).map_err(failed)?;
    Ok(format!("seccomp={}", compact(&document)))
}

/// A JSON document without the space between its words.
fn compact(document: &str) -> String {
    let (mut is_text, mut is_escaped) = (false, false);
    let keep = |c: &char| {
        match (*c, is_text) {
            (_, true) if is_escaped => is_escaped = false,
            ('\\', true) => is_escaped = true,
            ('"', _) => is_text = !is_text,
            _ => {}
        }
        is_text || !c.is_ascii_whitespace()
    };
    document.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_what_its_texts_hold() {
        let document = "{ \"a b\" :\n\t[1, \"c \\\" d\\\\\", \" e\"] }\n";
        assert_eq!(compact(document), "{\"a b\":[1,\"c \\\" d\\\\\",\" e\"]}");
    }

    #[test]
    fn a_profile_that_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, why) in
            [("/nowhere/profile.json", "No such file"), (pipe.to_str().unwrap(), "is no regular file")]
        {
            let security_opt = vec![format!("seccomp={path}")];
            let flags = SecurityFlags { security_opt, ..SecurityFlags::default() };
            let said = privileges(&flags).unwrap_err().to_string();
            assert!(said.starts_with(&format!("opening seccomp profile ({path}) failed: {why}")), "{said}");
        }
    }
}
