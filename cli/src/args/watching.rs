//! The flags of the commands that look at containers while they run.

use clap::Args;

/// What was typed after `top`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild top CONTAINER [PS OPTIONS]")]
pub(crate) struct TopArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Options of ps(1) [default: -ef]
    #[arg(value_name = "PS OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) options: Vec<String>,
}

/// What was typed after `stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Names or ids; all that run when there are none
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
    /// Show containers that do not run too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Show it once
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Do not shorten ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
}
