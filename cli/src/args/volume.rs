//! The commands for volumes, and the flags that mount something in a container.

use super::system::PruneFlags;
use clap::{Args, Subcommand};

/// What a container sees beside its image.
#[derive(Clone, Debug, Args)]
pub(crate) struct MountFlags {
    /// Show a volume (NAME:PATH), a directory or file of the host (HOST:PATH), or a new volume (PATH); options behind another
    /// colon: ro, rw, nocopy, z, Z, rslave
    #[arg(short, long, value_name = "VOLUME")]
    pub(crate) volume: Vec<String>,
    /// Mount something: type=volume|bind|tmpfs, source=, target=, readonly, and options of the type
    #[arg(long, value_name = "MOUNT")]
    pub(crate) mount: Vec<String>,
    /// Mount memory (PATH[:size=64m,mode=1777,exec…])
    #[arg(long, value_name = "PATH")]
    pub(crate) tmpfs: Vec<String>,
    /// Mount what another container has (NAME[:ro])
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) volumes_from: Vec<String>,
    /// Only `local` volumes are there
    #[arg(long, hide = true, value_name = "DRIVER")]
    pub(crate) volume_driver: Option<String>,
}

/// `volume …`
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Make a volume
    Create(VolumeCreateArgs),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(VolumeLsArgs),
    /// Show everything about volumes as JSON
    Inspect(VolumeInspectArgs),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(VolumeRmArgs),
    /// Remove volumes that no container has
    Prune(VolumePruneArgs),
}

/// What was typed after `volume create`.
#[derive(Debug, Args)]
pub(crate) struct VolumeCreateArgs {
    /// Its name [default: a new one]
    #[arg(value_name = "VOLUME")]
    pub(crate) name: Option<String>,
    /// The driver: local
    #[arg(short, long, value_name = "DRIVER", default_value = "local", hide_default_value = true)]
    pub(crate) driver: String,
    /// Give it a label (NAME or NAME=VALUE)
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// Not supported: a volume is a directory of the store
    #[arg(short, long, hide = true, value_name = "OPTION")]
    pub(crate) opt: Vec<String>,
}

/// What was typed after `volume ls`.
#[derive(Debug, Args)]
pub(crate) struct VolumeLsArgs {
    /// Only some volumes: dangling=true, driver=local, label=NAME[=VALUE], name=PART
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Only print names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What was typed after `volume inspect`.
#[derive(Debug, Args)]
pub(crate) struct VolumeInspectArgs {
    /// Names
    #[arg(value_name = "VOLUME", required = true)]
    pub(crate) names: Vec<String>,
    /// json or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// What was typed after `volume rm`.
#[derive(Debug, Args)]
pub(crate) struct VolumeRmArgs {
    /// Names
    #[arg(value_name = "VOLUME", required = true)]
    pub(crate) volumes: Vec<String>,
    /// Do not fail for volumes that are not there
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// What was typed after `volume prune`.
#[derive(Debug, Args)]
pub(crate) struct VolumePruneArgs {
    /// Volumes with a name of yours too
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) prune: PruneFlags,
}
