//! The flags of `cp`.

use super::flag::Switch;
use clap::Args;

/// What was typed after `cp`.
#[derive(Debug, Args)]
#[command(
    override_usage = "rbuild cp [OPTIONS] CONTAINER:PATH PATH|-\n       rbuild cp [OPTIONS] PATH|- CONTAINER:PATH"
)]
pub(crate) struct CpArgs {
    /// What to copy: CONTAINER:PATH, a path of the host, or - for a tar from standard input
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Where to: CONTAINER:PATH, a path of the host, or - for a tar to standard output
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: String,
    /// Keep the numbers of users and groups, which files copied into a container do anyway
    #[arg(short, long, switch = false)]
    pub(crate) archive: bool,
    /// Copy what a link leads to that is the source
    #[arg(short = 'L', long, switch = false)]
    pub(crate) follow_link: bool,
    /// Do not say how much was copied
    #[arg(short, long, switch = false)]
    pub(crate) quiet: bool,
}
