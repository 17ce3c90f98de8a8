//! The flags of the commands for the store as a whole.

use clap::Args;

/// What was typed after `df`.
#[derive(Debug, Args)]
pub(crate) struct DfArgs {
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Not supported yet
    #[arg(short, long, hide = true)]
    pub(crate) verbose: bool,
}

/// The flags of every `prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneFlags {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only what these let through: until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE]
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}

/// What was typed after `prune`.
#[derive(Debug, Args)]
pub(crate) struct SystemPruneArgs {
    /// Remove all images without a container and the whole build cache
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) prune: PruneFlags,
    /// Not supported yet
    #[arg(long, hide = true)]
    pub(crate) volumes: bool,
}

/// What was typed after `builder prune`.
#[derive(Debug, Args)]
pub(crate) struct BuilderPruneArgs {
    /// Remove the whole build cache, not only what no image needs
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) prune: PruneFlags,
    /// Let so many bytes stay; what was not used for the longest time goes first
    #[arg(long, visible_alias = "reserved-space", value_name = "BYTES")]
    pub(crate) keep_storage: Option<String>,
}

/// What was typed after `version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// json or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}
