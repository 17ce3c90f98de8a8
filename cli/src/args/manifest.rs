//! The flags of the commands for manifests of registries.

use super::flag::Switch;
use clap::{Args, Subcommand};

/// `manifest …`
#[derive(Debug, Subcommand)]
pub(crate) enum ManifestCommand {
    /// Make a list of manifests, to be pushed later
    Create(ManifestCreateArgs),
    /// Say which platform a manifest of a list is for
    Annotate(ManifestAnnotateArgs),
    /// Show a manifest, or a list of manifests
    Inspect(ManifestInspectArgs),
    /// Send a list of manifests to its registry
    Push(ManifestPushArgs),
    /// Forget lists of manifests
    Rm(ManifestRmArgs),
}

/// What was typed after `manifest create`.
#[derive(Debug, Args)]
pub(crate) struct ManifestCreateArgs {
    /// The list's name
    #[arg(value_name = "MANIFEST_LIST")]
    pub(crate) list: String,
    /// Images of registries
    #[arg(value_name = "MANIFEST", required = true)]
    pub(crate) manifests: Vec<String>,
    /// Add to a list that is there
    #[arg(short, long, switch = false)]
    pub(crate) amend: bool,
    /// Accept registries with unknown certificates or none
    #[arg(long, switch = false)]
    pub(crate) insecure: bool,
}

/// What was typed after `manifest annotate`.
#[derive(Debug, Args)]
pub(crate) struct ManifestAnnotateArgs {
    /// The list's name
    #[arg(value_name = "MANIFEST_LIST")]
    pub(crate) list: String,
    /// The image in it
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: String,
    /// Its operating system
    #[arg(long, value_name = "OS")]
    pub(crate) os: Option<String>,
    /// Its processor architecture
    #[arg(long, value_name = "ARCH")]
    pub(crate) arch: Option<String>,
    /// The variant of its processor architecture
    #[arg(long, value_name = "VARIANT")]
    pub(crate) variant: Option<String>,
    /// The version of its operating system
    #[arg(long, value_name = "VERSION")]
    pub(crate) os_version: Option<String>,
    /// What it needs of its operating system; may be repeated
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    pub(crate) os_features: Vec<String>,
}

/// What was typed after `manifest inspect`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild manifest inspect [OPTIONS] [MANIFEST_LIST] MANIFEST")]
pub(crate) struct ManifestInspectArgs {
    /// The manifest, behind the list that has it if need be
    #[arg(value_name = "MANIFEST", required = true, num_args = 1..=2)]
    pub(crate) names: Vec<String>,
    /// Show layers and platform as well
    #[arg(short, long, switch = false)]
    pub(crate) verbose: bool,
    /// Accept registries with unknown certificates or none
    #[arg(long, switch = false)]
    pub(crate) insecure: bool,
}

/// What was typed after `manifest push`.
#[derive(Debug, Args)]
pub(crate) struct ManifestPushArgs {
    /// The list's name
    #[arg(value_name = "MANIFEST_LIST")]
    pub(crate) list: String,
    /// Forget the list afterwards
    #[arg(short, long, switch = false)]
    pub(crate) purge: bool,
    /// Accept registries with unknown certificates or none
    #[arg(long, switch = false)]
    pub(crate) insecure: bool,
}

/// What was typed after `manifest rm`.
#[derive(Debug, Args)]
pub(crate) struct ManifestRmArgs {
    /// The lists' names
    #[arg(value_name = "MANIFEST_LIST", required = true)]
    pub(crate) lists: Vec<String>,
}

/// `buildx imagetools …`
#[derive(Debug, Subcommand)]
pub(crate) enum ImagetoolsCommand {
    /// Make an image of the images of a registry
    Create(ImagetoolsCreateArgs),
    /// Show an image of a registry
    Inspect(ImagetoolsInspectArgs),
}

/// What was typed after `buildx imagetools create`.
#[derive(Debug, Args)]
pub(crate) struct ImagetoolsCreateArgs {
    /// Images of registries; a digest means the repository of the new image
    #[arg(value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// Add the annotation KEY=VALUE; index: or manifest-descriptor[PLATFORM]: before it say to what
    #[arg(long, value_name = "ANNOTATION")]
    pub(crate) annotation: Vec<String>,
    /// Add to what has the name
    #[arg(long, switch = false)]
    pub(crate) append: bool,
    /// Show the index, and push nothing
    #[arg(long, switch = false)]
    pub(crate) dry_run: bool,
    /// Read a source from FILE
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<String>,
    /// Take only these platforms
    #[arg(short, long, value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,
    /// false: copy a single source as it is, even if it is no index
    #[arg(long, switch = true)]
    pub(crate) prefer_index: bool,
    /// The name of the new image; may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// false: accept registries with unknown certificates or none
    #[arg(long, switch = true)]
    pub(crate) tls_verify: bool,
}

/// What was typed after `buildx imagetools inspect`.
#[derive(Debug, Args)]
pub(crate) struct ImagetoolsInspectArgs {
    /// The image
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Show it with a Go template
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "raw")]
    pub(crate) format: Option<String>,
    /// Show its manifest or index as it is
    #[arg(long, switch = false)]
    pub(crate) raw: bool,
    /// false: accept registries with unknown certificates or none
    #[arg(long, switch = true)]
    pub(crate) tls_verify: bool,
}
