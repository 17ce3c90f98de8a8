//! The flags of `exec`.

use super::flag::{Switch, any_path};
use clap::Args;

/// What was typed after `exec`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub(crate) struct ExecArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// The program, and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
    /// Let it run in the background
    #[arg(short, long, switch = false)]
    pub(crate) detach: bool,
    /// The keys that leave it running, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Set an environment variable (NAME=VALUE, or NAME to take the value from the environment)
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from FILE
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    pub(crate) env_file: Vec<std::path::PathBuf>,
    /// Let it read standard input
    #[arg(short, long, switch = false)]
    pub(crate) interactive: bool,
    /// Give it every capability
    #[arg(long, switch = false)]
    pub(crate) privileged: bool,
    /// Give it a terminal
    #[arg(short, long, switch = false)]
    pub(crate) tty: bool,
    /// Run it as this user (NAME|UID[:GROUP|GID])
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Start it in this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
}
