//! The flags of the commands for the store as a whole.

use clap::Args;

/// What was typed after `df`.
#[derive(Debug, Args)]
pub(crate) struct DfArgs {
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Show every image, container, volume, cache mount and part of the build cache
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// The flags of every `prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneFlags {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
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
    /// Remove anonymous volumes that no container has, too
    #[arg(long)]
    pub(crate) volumes: bool,
}

/// What was typed after `builder prune` or `buildx prune`.
#[derive(Debug, Args)]
pub(crate) struct BuilderPruneArgs {
    /// Remove the whole build cache, not only what no image needs
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only what these let through: until=TIME, unused-for=TIME, id=ID, parents=ID, type=regular or exec.cachemount,
    /// description=TEXT, inuse, shared, private, mutable, immutable; NAME!=VALUE and NAME~=PART too
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Let so much of the build cache stay (20g, or 10% of the disk); what is cheapest to make again goes first
    #[arg(long, visible_alias = "keep-storage", value_name = "SIZE")]
    pub(crate) reserved_space: Option<String>,
    /// Reduce the build cache to SIZE
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_used_space: Option<String>,
    /// Reduce the build cache until SIZE of the disk is free
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_free_space: Option<String>,
    /// Show everything about what goes
    #[arg(long)]
    pub(crate) verbose: bool,
}

/// What was typed after `buildx inspect`.
#[derive(Debug, Args)]
pub(crate) struct BuildxInspectArgs {
    /// The builder's name
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The same as NAME
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub(crate) builder: Option<String>,
    /// See that its store can be opened
    #[arg(long)]
    pub(crate) bootstrap: bool,
}

/// What was typed after `buildx du`.
#[derive(Debug, Args)]
pub(crate) struct DuArgs {
    /// Only what these let through, as for prune
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Show everything about each part
    #[arg(long)]
    pub(crate) verbose: bool,
}

/// What was typed after `version` or `info`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// json or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}
