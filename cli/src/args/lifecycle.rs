//! The flags of the commands for containers that are there.

use super::flag::Switch;
use clap::Args;

/// What was typed after `start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
    /// Show its output, pass on signals, and end with its exit code
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Type into it too
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// The keys that leave it running, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
}

/// What was typed after `stop` and `restart`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
    /// The signal that asks it to stop [default: the image's STOPSIGNAL, or SIGTERM]
    #[arg(short, long, value_name = "SIGNAL")]
    pub(crate) signal: Option<String>,
    /// Seconds until it is killed; -1 waits for ever [default: 10]
    #[arg(short = 't', long, visible_alias = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,
}

/// What was typed after `kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
    /// The signal
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub(crate) signal: String,
}

/// What was typed after `wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// What was typed after `pause` and `unpause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// What was typed after `rename`.
#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    pub(crate) name: String,
}

/// What was typed after `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Wait for what it goes on to write
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last N lines, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all", allow_hyphen_values = true)]
    pub(crate) tail: String,
    /// Only what was written since a time (2026-01-02T13:23:37Z) or within the last 42m
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only what was written before a time, or before the last 42m
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Show the details of each line; rbuild notes none, so that a blank is added
    #[arg(long)]
    pub(crate) details: bool,
}

/// What was typed after `attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// The keys that leave it running, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Do not type into it
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// false: do not pass signals on to the program
    #[arg(long, switch = true)]
    pub(crate) sig_proxy: bool,
}
