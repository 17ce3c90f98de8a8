//! The flags that decide what a RUN or a container may ask of the kernel.

use super::flag::any_path;
use clap::Args;

/// What was typed of them.
#[derive(Debug, Default, Args)]
pub(crate) struct SecurityFlags {
    /// A capability beside the usual ones, or ALL; may be repeated
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// A usual capability to leave out, or ALL; may be repeated
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=FILE, seccomp=unconfined, systempaths=unconfined; may be repeated
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Look for descriptions of devices here instead of /etc/cdi and /var/run/cdi; may be repeated
    #[arg(long, value_name = "DIR", value_parser = any_path())]
    pub(crate) cdi_spec_dir: Vec<std::path::PathBuf>,
}
