//! The flags of the commands that give the builder names.

use super::known_flags::{
    FlagTable, KnownFlag, KnownFlags,
    Takes::{Switch, Value},
};
use clap::Args;

/// What was typed after `buildx create`.
#[derive(Debug, Args)]
pub(crate) struct BuilderCreateArgs {
    /// default: there is no other place
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: Option<String>,
    /// The name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// docker-container
    #[arg(long, value_name = "DRIVER")]
    pub(crate) driver: Option<String>,
    /// Choose the name
    #[arg(long = "use")]
    pub(crate) choose: bool,
    /// See that the store can be opened
    #[arg(long)]
    pub(crate) bootstrap: bool,
    /// Platforms whose programs run here
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Vec<String>,
    /// --allow-insecure-entitlement=network.host or security.insecure, which 'build --allow' decides
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    pub(crate) buildkitd_flags: Option<String>,
    #[command(flatten)]
    pub(crate) others: KnownFlags<CreateFlags>,
}

/// Flags of docker's that set up nodes, daemons and drivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CreateFlags;

impl FlagTable for CreateFlags {
    const FLAGS: &[KnownFlag] = &[
        ("append", None, Switch),
        ("buildkitd-config", None, Value),
        ("config", None, Value),
        ("driver-opt", None, Value),
        ("leave", None, Switch),
        ("node", None, Value),
    ];
}

/// What was typed after `buildx ls`.
#[derive(Debug, Args)]
pub(crate) struct BuilderLsArgs {
    /// table, json or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Do not shorten the platforms, which are never shortened
    #[arg(long)]
    no_trunc: bool,
}

/// What was typed after `buildx use`.
#[derive(Debug, Args)]
pub(crate) struct BuilderUseArgs {
    /// The builder's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Also for later, as without this flag: there is one endpoint
    #[arg(long)]
    default: bool,
    /// For all endpoints, of which there is one
    #[arg(long)]
    global: bool,
}

/// What was typed after `buildx rm`.
#[derive(Debug, Args)]
pub(crate) struct BuilderRmArgs {
    /// The names; without one that which was chosen
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// All names that it was given: the builder runs only while it builds
    #[arg(long, conflicts_with = "names")]
    pub(crate) all_inactive: bool,
    /// Do not ask, and do not fail for names that are not there
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// What was typed after `buildx stop`.
#[derive(Debug, Args)]
pub(crate) struct BuilderStopArgs {
    /// The builder's name
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}
