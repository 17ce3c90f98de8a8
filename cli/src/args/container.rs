//! The flags of the commands for containers.

use super::{
    flag::{Switch, any_path},
    health::HealthFlags,
    limits::LimitFlags,
    network::NetworkFlags,
    process::{ProcessFlags, UnmetFlags},
    security::SecurityFlags,
    system::PruneFlags,
    volume::MountFlags,
};
use clap::{ArgAction, Args};

/// What was typed after `run`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild run [OPTIONS] IMAGE [COMMAND] [ARG...]", disable_help_flag = true)]
pub(crate) struct RunArgs {
    /// Let it run in the background and print its id
    #[arg(short, long, switch = false)]
    pub(crate) detach: bool,
    /// The keys that leave it running, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// false: do not pass signals on to the program
    #[arg(long, switch = true)]
    pub(crate) sig_proxy: bool,
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}

/// What was typed after `create`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild create [OPTIONS] IMAGE [COMMAND] [ARG...]", disable_help_flag = true)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}

/// The container that `run` or `create` is to make.
#[derive(Debug, Args)]
pub(crate) struct ContainerArgs {
    /// The image; fetched if the store does not have it
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The command instead of the image's, and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,

    /// Keep standard input open
    #[arg(short, long, switch = false)]
    pub(crate) interactive: bool,
    /// Give the container a terminal
    #[arg(short, long, switch = false)]
    pub(crate) tty: bool,
    /// Remove the container when it ends
    #[arg(long, switch = false)]
    pub(crate) rm: bool,
    /// Name the container
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Run this program instead of the image's ENTRYPOINT
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// Set an environment variable (NAME=VALUE, or NAME to take the value from the environment)
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from FILE
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    pub(crate) env_file: Vec<std::path::PathBuf>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Run as this user (NAME|UID[:GROUP|GID])
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) mounts: MountFlags,
    /// Give the container a label (NAME or NAME=VALUE)
    #[arg(short, long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// Read labels from FILE
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    pub(crate) label_file: Vec<std::path::PathBuf>,
    /// The signal that asks it to stop
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds until it is killed when it is to stop
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) stop_timeout: Option<i64>,
    /// Let it only read its own files, but for what is mounted
    #[arg(long, switch = false)]
    pub(crate) read_only: bool,
    /// When it is started again: only no
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<String>,
    /// Let a small first process hand on signals and wait for processes that have lost their parents
    #[arg(long, switch = false)]
    pub(crate) init: bool,
    /// json-file, local or none: what is kept of its output
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<String>,
    /// max-size=SIZE and max-file=N: how much of its output is kept
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) log_opt: Vec<String>,
    /// Write the container's id to FILE
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    pub(crate) cidfile: Option<std::path::PathBuf>,
    /// Host name of the container
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<String>,
    /// When to fetch the image: missing, always or never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(crate) pull: String,
    /// Do not show how the image is fetched
    #[arg(short, long, switch = false)]
    pub(crate) quiet: bool,
    /// Run the image for this platform, such as linux/arm64 [env DOCKER_DEFAULT_PLATFORM]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// false: accept registries with unknown certificates or none
    #[arg(long, switch = true)]
    pub(crate) tls_verify: bool,

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Give it a device: PATH[:PATH][:rwm], or the name of a described one, VENDOR/CLASS=NAME; may be repeated
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Vec<String>,
    /// Every capability, no filter of system calls, nothing of the kernel hidden
    #[arg(long, switch = false)]
    pub(crate) privileged: bool,
    #[command(flatten)]
    pub(crate) security: SecurityFlags,
    #[command(flatten)]
    pub(crate) process: ProcessFlags,
    #[command(flatten)]
    pub(crate) unmet: UnmetFlags,
    #[command(flatten, next_help_heading = "Network")]
    pub(crate) network: NetworkFlags,
    #[command(flatten, next_help_heading = "Limits")]
    pub(crate) limits: LimitFlags,
    #[command(flatten, next_help_heading = "Health")]
    pub(crate) health: HealthFlags,
}

/// What was typed after `ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Show ended containers too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only some containers: name=PATTERN, id=PREFIX, status=STATE, exited=CODE, ancestor=IMAGE,
    /// label=NAME[=VALUE], volume=NAME|PATH, health=STATE, before=CONTAINER, since=CONTAINER, network=NAME, publish=PORT,
    /// expose=PORT
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Only the last N containers, in whatever state
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) last: Option<usize>,
    /// Only the last container, in whatever state
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Do not shorten ids and commands
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only print ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Show how much they have written
    #[arg(short, long)]
    pub(crate) size: bool,
}

/// What was typed after `rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
    /// End containers that are running
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove the volumes that were made for them too
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// There are no links between containers
    #[arg(short, long, hide = true)]
    pub(crate) link: bool,
}

/// What was typed after `commit`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]")]
pub(crate) struct CommitArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
    /// Who made the image
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) author: String,
    /// A remark for the image's history
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) message: String,
    /// Apply a Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or
    /// WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// false: let the container run while its files are read
    #[arg(short, long, switch = true)]
    pub(crate) pause: bool,
    /// Make all layers one
    #[arg(long, switch = false)]
    pub(crate) squash: bool,
}

/// What was typed after `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", value_parser = any_path())]
    pub(crate) output: Option<std::path::PathBuf>,
}

/// What was typed after `container prune`.
#[derive(Debug, Args)]
pub(crate) struct ContainerPruneArgs {
    #[command(flatten)]
    pub(crate) prune: PruneFlags,
}
