//! `version`.

use super::inspect::line;
use crate::{args::VersionArgs, error::CliError, template::Template, working::print};
use rbuild_oci::Platform;
use serde_json::json;

/// Shows the version.
pub(super) fn version(args: &VersionArgs) -> Result<(), CliError> {
    let host = Platform::host();
    let version = env!("CARGO_PKG_VERSION");
    // there is no daemon: client and server, which scripts ask for, are the same program
    let side = json!({"Version": version, "Os": host.os, "Arch": host.architecture});
    let both = json!({"Client": side, "Server": side});
    match args.format.as_deref() {
        None | Some("") => {
            print(&format!("rbuild:\n Version:  {version}\n OS/Arch:  {}/{}\n", host.os, host.architecture))
        }
        Some("json") => print(&line(&both)),
        Some(text) => print(&format!("{}\n", Template::parse(text)?.render(&both)?)),
    }
}
