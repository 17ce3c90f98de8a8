//! `version`.

use crate::{
    args::VersionArgs,
    error::CliError,
    streams::{print, print_data},
    template::{Template, to_json},
};
use rbuild::Platform;
use rbuild_docker_api::Version;

/// Shows the version.
pub(super) fn version(args: &VersionArgs) -> Result<(), CliError> {
    let host = Platform::host();
    let version = env!("CARGO_PKG_VERSION");
    let both = serde_json::json!(Version::new(version, &host));
    match args.format.as_deref() {
        None | Some("") => {
            print(&format!("rbuild:\n Version:  {version}\n OS/Arch:  {}/{}\n", host.os, host.architecture))
        }
        Some("json") => print_data(&format!("{}\n", to_json(&both))),
        Some(text) => print_data(&format!("{}\n", Template::parse(text)?.render(&both)?)),
    }
}
