//! The flags of the commands that bring images in and out.

use super::{
    budget::BudgetFlags,
    flag::{Switch, any_path},
};
use clap::Args;
use std::path::PathBuf;

/// What was typed after `save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", value_parser = any_path())]
    pub(crate) output: Option<PathBuf>,
    /// docker (an archive that is both Docker's and OCI's) or oci
    #[arg(long, value_name = "FORMAT", default_value = "docker")]
    pub(crate) format: String,
    /// Of an image for several platforms, write only those for these [default: all that are here]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Vec<String>,
}

/// What was typed after `load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Read from FILE instead of standard input
    #[arg(short, long, value_name = "FILE", value_parser = any_path())]
    pub(crate) input: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Of an image for several platforms, load only that for this one [default: all that the archive has]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) budget: BudgetFlags,
}

/// What was typed after `import`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild import [OPTIONS] FILE|URL|- [REPOSITORY[:TAG]]")]
pub(crate) struct ImportArgs {
    /// The tar archive, its URL, or - for standard input
    #[arg(value_name = "FILE|URL|-")]
    pub(crate) file: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
    /// Apply a Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or
    /// WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// A remark for the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// The platform of the image [default: the machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
}

/// The flags of both ways to a registry.
#[derive(Debug, Args)]
pub(crate) struct RegistryFlags {
    /// Print nothing but the image's name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// false: accept registries with unknown certificates or none
    #[arg(long, switch = true)]
    pub(crate) tls_verify: bool,
}

/// What was typed after `pull`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild pull [OPTIONS] NAME[:TAG|@DIGEST]")]
pub(crate) struct PullArgs {
    /// The image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub(crate) name: String,
    /// Fetch the images of all tags that the repository has
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// The image for this platform [env DOCKER_DEFAULT_PLATFORM]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) budget: BudgetFlags,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
}

/// What was typed after `push`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild push [OPTIONS] NAME[:TAG]")]
pub(crate) struct PushArgs {
    /// The image
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: String,
    /// Send the images of all tags that the repository has here
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// Of an image for several platforms, send only that for this one [default: all that are here]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// How new layers are compressed: gzip, zstd or uncompressed [default: gzip]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) compression_format: Option<String>,
    /// Level of it: 0 to 9 for gzip, 0 to 22 for zstd
    #[arg(long, value_name = "LEVEL")]
    pub(crate) compression_level: Option<String>,
    /// Compress pulled layers again that are in another format
    #[arg(long, switch = false)]
    pub(crate) force_compression: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
}

/// What was typed after `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The registry [default: Docker Hub]
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
    /// User name; asked for when missing
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Password or token; everybody on the machine can read it here, --password-stdin is safe
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    pub(crate) password: Option<String>,
    /// Read the password or token from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// What was typed after `logout`.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry [default: Docker Hub]
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
}
