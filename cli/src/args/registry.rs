//! The flags of the commands that ask registries questions.

use super::flag::Switch;
use clap::{Args, Subcommand};

/// `registry …`
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Find out whether an image can be pulled and pushed, and what is in the way
    Test(RegistryTestArgs),
}

/// What was typed after `registry test`.
#[derive(Debug, Args)]
pub(crate) struct RegistryTestArgs {
    /// The image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub(crate) name: String,
    /// Fail without the right to push, too
    #[arg(long)]
    pub(crate) push: bool,
    /// false: accept registries with unknown certificates or none
    #[arg(long, switch = true)]
    pub(crate) tls_verify: bool,
}

/// What was typed after `search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// What the name or the description contains; after HOST/ the search is in that registry
    #[arg(value_name = "[HOST/]TERM")]
    pub(crate) term: String,
    /// Only some repositories: is-official=BOOL, is-automated=BOOL, stars=NUMBER
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// The most repositories to show
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    pub(crate) limit: usize,
    /// Do not shorten descriptions
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// false: accept a registry with an unknown certificate or none
    #[arg(long, switch = true)]
    pub(crate) tls_verify: bool,
}
