//! The flags of the commands that look at builds of the past.

use super::flag::Switch;
use clap::{Args, Subcommand};

/// `builds …`
#[derive(Debug, Subcommand)]
pub(crate) enum BuildsCommand {
    /// List builds
    #[command(visible_alias = "list")]
    Ls(BuildsLsArgs),
    /// Show a build: its steps, why each of them ran, and how it ended
    Inspect(BuildsInspectArgs),
    /// Show all that the steps of a build wrote
    Logs(BuildsLogsArgs),
}

/// What was typed after `builds ls`.
#[derive(Debug, Args)]
pub(crate) struct BuildsLsArgs {
    /// Only some builds: status=running|completed|error|canceled|killed, name=PART, id=PREFIX
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Do not shorten ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only print ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What was typed after `builds inspect`.
#[derive(Debug, Args)]
pub(crate) struct BuildsInspectArgs {
    /// The id of the build or its beginning; ^N for the one N builds before the newest
    #[arg(value_name = "BUILD", default_value = "^0", hide_default_value = true)]
    pub(crate) build: String,
    /// json or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// What was typed after `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The id of the build or its beginning; ^N for the one N builds before the newest
    #[arg(value_name = "BUILD", default_value = "^0", hide_default_value = true)]
    pub(crate) build: String,
    /// The number of a step, as builds inspect shows it
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// text or json
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// What was typed after `builds logs`.
#[derive(Debug, Args)]
pub(crate) struct BuildsLogsArgs {
    /// The id of the build or its beginning; ^N for the one N builds before the newest
    #[arg(value_name = "BUILD", default_value = "^0", hide_default_value = true)]
    pub(crate) build: String,
    /// The number of a step, as inspect shows it: exactly the bytes that it wrote
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// Of a build that runs, show what comes, until it ends; the exit code is the build's
    #[arg(short, long, switch = false)]
    pub(crate) follow: bool,
    /// plain, lines under the names of their steps, or json, an object for each line
    #[arg(long, value_name = "FORMAT", alias = "format")]
    pub(crate) progress: Option<String>,
}
