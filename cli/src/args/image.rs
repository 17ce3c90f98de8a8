//! The flags of the commands that look at images and change their names.

use super::flag::Switch;
use clap::Args;

/// What was typed after `images`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild images [OPTIONS] [REPOSITORY[:TAG]]")]
pub(crate) struct ImagesArgs {
    /// Only images with this name; * and ? are wildcards
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) pattern: Option<String>,
    /// Accepted and without effect: rbuild has no intermediate images to hide
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show digests
    #[arg(long)]
    pub(crate) digests: bool,
    /// Only some images: dangling=BOOL, label=NAME[=VALUE], reference=PATTERN, before=IMAGE, since=IMAGE, until=TIME
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
    /// Show images with those for their platforms below them
    #[arg(long, conflicts_with_all = ["digests", "format", "no_trunc", "quiet"])]
    pub(crate) tree: bool,
}

/// What was typed after `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Sizes and times for people; false for machines
    #[arg(short = 'H', long, switch = true)]
    pub(crate) human: bool,
    /// Do not shorten ids and commands
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only print ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Of an image for several platforms, show that for this one
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
}

/// What was typed after `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Names or ids
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// json or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Of containers, show the bytes they have written and those of all their files
    #[arg(short, long)]
    pub(crate) size: bool,
    /// Only look for this kind: image, container or volume
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
}

/// What was typed after `image inspect`.
#[derive(Debug, Args)]
pub(crate) struct ImageInspectArgs {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) names: Vec<String>,
    /// json or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Of an image for several platforms, show that for this one
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
}

/// What was typed after `container inspect`.
#[derive(Debug, Args)]
pub(crate) struct ContainerInspectArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) names: Vec<String>,
    /// json or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Show the bytes they have written and those of all their files
    #[arg(short, long)]
    pub(crate) size: bool,
}

/// What was typed after `tag`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]")]
pub(crate) struct TagArgs {
    /// The image
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    pub(crate) source: String,
    /// Its new name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    pub(crate) target: String,
}

/// What was typed after `rmi`.
#[derive(Debug, Args)]
pub(crate) struct RmiArgs {
    /// Names, ids, or names with * and ? as wildcards
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
    /// Remove the image even if it has several names or stopped containers
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Accepted and without effect: rbuild keeps no untagged parents
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Of an image for several platforms, remove only those for these; needs --force
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Vec<String>,
}

/// What was typed after `diff`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild diff CONTAINER\n       rbuild diff IMAGE IMAGE")]
pub(crate) struct DiffArgs {
    /// A container, or an image and a newer one
    #[arg(value_name = "CONTAINER|IMAGE", required = true, num_args = 1..=2)]
    pub(crate) names: Vec<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// What was typed after `image tree`.
#[derive(Debug, Args)]
pub(crate) struct TreeArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

/// What was typed after `squash`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild squash [OPTIONS] IMAGE[:TAG]")]
pub(crate) struct SquashArgs {
    /// The image, which stays as it is
    #[arg(value_name = "IMAGE[:TAG]")]
    pub(crate) image: String,
    /// Name the new image (NAME[:TAG]); may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// Merge the layers above LAYER: a layer by its digest or the beginning of it, an image that IMAGE is built on, or the
    /// number of layers to merge
    #[arg(short, long, value_name = "LAYER", conflicts_with = "all")]
    pub(crate) from: Option<String>,
    /// Merge all layers (the default)
    #[arg(long)]
    pub(crate) all: bool,
}

/// What was typed after `image prune`.
#[derive(Debug, Args)]
pub(crate) struct ImagePruneArgs {
    /// Remove all images without a container, not only those without a name
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only some images: until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE], dangling=BOOL
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}
