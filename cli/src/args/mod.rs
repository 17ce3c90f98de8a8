//! What was typed: clap's structs, with Docker's names for commands and flags. What it means is settled in `options`.

mod budget;
mod build;
mod builds;
mod cache;
mod container;
mod copy;
mod debug;
mod exec;
mod flag;
mod health;
mod image;
mod later;
mod lifecycle;
mod limits;
mod manifest;
mod mistakes;
mod network;
mod other_flags;
mod preview;
mod process;
mod registry;
mod security;
mod system;
mod transfer;
mod update;
mod volume;
mod watching;
mod words;

pub(crate) use budget::BudgetFlags;
pub(crate) use build::BuildArgs;
pub(crate) use builds::{BuildsCommand, BuildsInspectArgs, BuildsLogsArgs, BuildsLsArgs, ExplainArgs};
pub(crate) use cache::{
    CacheCommand, CacheMountCommand, CacheMountExportArgs, CacheMountImportArgs, CacheMountLsArgs,
    CacheMountRmArgs, CacheVerifyArgs,
};
pub(crate) use container::{
    CommitArgs, ContainerArgs, ContainerPruneArgs, CreateArgs, ExportArgs, PsArgs, RmArgs, RunArgs,
};
pub(crate) use copy::CpArgs;
pub(crate) use debug::DebugArgs;
pub(crate) use exec::ExecArgs;
pub(crate) use flag::PullFlag;
pub(crate) use health::HealthFlags;
pub(crate) use image::{
    ContainerInspectArgs, DiffArgs, HistoryArgs, ImageInspectArgs, ImagePruneArgs, ImagesArgs, InspectArgs,
    RmiArgs, SquashArgs, TagArgs, TreeArgs,
};
pub(crate) use later::Later;
pub(crate) use lifecycle::{
    AttachArgs, KillArgs, LogsArgs, PauseArgs, RenameArgs, StartArgs, StopArgs, WaitArgs,
};
pub(crate) use limits::LimitFlags;
pub(crate) use manifest::{
    ImagetoolsCommand, ImagetoolsCreateArgs, ImagetoolsInspectArgs, ManifestAnnotateArgs, ManifestCommand,
    ManifestCreateArgs, ManifestInspectArgs, ManifestPushArgs, ManifestRmArgs,
};
pub(crate) use mistakes::{Mistake, mistake};
pub(crate) use network::{NetworkFlags, PortArgs};
pub(crate) use other_flags::OtherFlags;
pub(crate) use preview::{CheckArgs, ContextCommand, ContextLsArgs, PlanArgs, PlanFormat};
pub(crate) use process::{ProcessFlags, UnmetFlags};
pub(crate) use registry::{RegistryCommand, RegistryTestArgs, SearchArgs};
pub(crate) use security::SecurityFlags;
pub(crate) use system::{BuilderPruneArgs, BuildxInspectArgs, DfArgs, DuArgs, SystemPruneArgs, VersionArgs};
pub(crate) use transfer::{ImportArgs, LoadArgs, LoginArgs, LogoutArgs, PullArgs, PushArgs, SaveArgs};
pub(crate) use update::UpdateArgs;
pub(crate) use volume::{
    MountFlags, VolumeCommand, VolumeCreateArgs, VolumeInspectArgs, VolumeLsArgs, VolumePruneArgs,
    VolumeRmArgs,
};
pub(crate) use watching::{StatsArgs, TopArgs};
pub(crate) use words::complete;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Builds Dockerfiles into OCI images, without a daemon, root or not
#[derive(Debug, Parser)]
#[command(
    // the last of several counts, as with docker's flags
    args_override_self = true,
    name = "rbuild",
    bin_name = "rbuild",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    after_help = "Without a command rbuild builds: 'rbuild -t NAME .' is 'rbuild build -t NAME .'"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Keep images, cache and containers in DIR [env RBUILD_ROOT; default /var/lib/rbuild as root,
    /// $XDG_DATA_HOME/rbuild otherwise]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Later<BuildArgs>),
    /// Show what a build would do, without doing it
    Plan(Box<PlanArgs>),
    /// Check a Dockerfile
    Check(Box<CheckArgs>),
    /// Commands for build contexts
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Context(ContextCommand),
    /// Commands for builds of the past
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Builds(BuildsCommand),
    /// Open a shell in a step that failed
    Debug(DebugArgs),
    /// Show why the steps of a build ran, instead of coming from the cache
    Explain(ExplainArgs),
    /// Commands for the store and the build cache
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Cache(CacheCommand),
    /// List images
    Images(ImagesArgs),
    /// Show the history of an image
    History(HistoryArgs),
    /// Show everything about images and containers as JSON
    Inspect(InspectArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Remove images
    Rmi(RmiArgs),
    /// Write images to an archive
    Save(SaveArgs),
    /// Read images from an archive
    Load(LoadArgs),
    /// Make an image from a tar archive of a root filesystem
    Import(ImportArgs),
    /// Fetch an image from a registry
    Pull(PullArgs),
    /// Send an image to a registry
    Push(PushArgs),
    /// Search a registry for repositories
    Search(SearchArgs),
    /// Commands for registries
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Registry(RegistryCommand),
    /// Remember the credentials for a registry
    Login(LoginArgs),
    /// Forget the credentials for a registry
    Logout(LogoutArgs),
    /// Run a command in a new container
    Run(Box<RunArgs>),
    #[command(flatten)]
    Life(LifeCommand),
    /// List containers
    Ps(PsArgs),
    /// Remove containers
    Rm(RmArgs),
    /// Make an image from a container's changes
    Commit(CommitArgs),
    /// Write the files of a container to a tar archive
    Export(ExportArgs),
    /// Show what a container has changed, or how two images differ
    Diff(DiffArgs),
    /// Make an image with fewer layers of one that is there
    Squash(SquashArgs),
    /// Show what takes how much space
    Df(DfArgs),
    /// Remove stopped containers, dangling images and unused cache
    Prune(SystemPruneArgs),
    /// Show the version
    Version(VersionArgs),
    /// Commands for images
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Image(ImageCommand),
    /// Commands for containers
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Container(ContainerCommand),
    /// Commands for volumes
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Volume(VolumeCommand),
    /// Commands for builds
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Builder(BuilderCommand),
    /// Commands for builds, under the name of Docker's plugin
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Buildx(BuildxCommand),
    /// Commands for lists of manifests of registries
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Manifest(ManifestCommand),
    /// Commands for the whole store
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    System(SystemCommand),
}

/// `image …`
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Later<BuildArgs>),
    /// List images
    #[command(visible_alias = "list")]
    Ls(ImagesArgs),
    /// Show the history of an image
    History(HistoryArgs),
    /// Show everything about images as JSON
    Inspect(ImageInspectArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(RmiArgs),
    /// Write images to an archive
    Save(SaveArgs),
    /// Read images from an archive
    Load(LoadArgs),
    /// Make an image from a tar archive of a root filesystem
    Import(ImportArgs),
    /// Remove images that nobody uses
    Prune(ImagePruneArgs),
    /// Show the layers of an image and what each of them does
    Tree(TreeArgs),
    /// Show how two images differ
    Diff(DiffArgs),
    /// Make an image with fewer layers of one that is there
    Squash(SquashArgs),
    /// Fetch an image from a registry
    Pull(PullArgs),
    /// Send an image to a registry
    Push(PushArgs),
}

/// The commands for what containers do, alone and below `container`.
#[derive(Debug, Subcommand)]
pub(crate) enum LifeCommand {
    /// Make a container without starting it
    Create(Box<CreateArgs>),
    /// Start containers
    Start(StartArgs),
    /// Stop containers
    Stop(StopArgs),
    /// Stop containers and start them again
    Restart(StopArgs),
    /// Send containers a signal, by default one that ends them
    Kill(KillArgs),
    /// Make all processes of containers stand still
    Pause(PauseArgs),
    /// Let paused containers go on
    Unpause(PauseArgs),
    /// Wait for containers to end and print their exit codes
    Wait(WaitArgs),
    /// Copy files between a container and the host
    Cp(CpArgs),
    /// Run a program in a container that runs
    Exec(Box<ExecArgs>),
    /// Type into a container that runs, and see what it writes
    Attach(AttachArgs),
    /// Change the limits of containers
    Update(Box<UpdateArgs>),
    /// Show the processes of a container
    Top(TopArgs),
    /// Show what containers use: processors, memory, network, disks
    Stats(StatsArgs),
    /// Show what a container has written
    Logs(LogsArgs),
    /// Show where the ports of a container are reached
    Port(PortArgs),
    /// Give a container another name
    Rename(RenameArgs),
}

/// `container …`
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Run a command in a new container
    Run(Box<RunArgs>),
    #[command(flatten)]
    Life(LifeCommand),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(PsArgs),
    /// Show everything about containers as JSON
    Inspect(ContainerInspectArgs),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// Make an image from a container's changes
    Commit(CommitArgs),
    /// Write the files of a container to a tar archive
    Export(ExportArgs),
    /// Show what a container has changed
    Diff(DiffArgs),
    /// Remove all stopped containers
    Prune(ContainerPruneArgs),
}

/// `builder …`
#[derive(Debug, Subcommand)]
pub(crate) enum BuilderCommand {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Later<BuildArgs>),
    /// Remove the cache of builds
    Prune(BuilderPruneArgs),
    /// Commands for builds of the past
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    History(BuildsCommand),
}

/// `buildx …`
#[derive(Debug, Subcommand)]
pub(crate) enum BuildxCommand {
    #[command(flatten)]
    Builder(BuilderCommand),
    /// Show the parts of the build cache
    Du(DuArgs),
    /// Commands for images of registries
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Imagetools(ImagetoolsCommand),
    /// Describe the builder, which is this program
    Inspect(BuildxInspectArgs),
    /// List builders: this program
    Ls,
    /// Choose the builder: this program, which is called default
    Use {
        /// The builder's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show the version
    Version,
}

/// `system …`
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what takes how much space
    Df(DfArgs),
    /// Remove stopped containers, dangling images and unused cache
    Prune(SystemPruneArgs),
}

#[cfg(test)]
mod mentions;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn switches_take_values_as_docker_s_do() {
        let build = |words: &[&str]| {
            let words = ["rbuild", "build"].iter().chain(words).map(|word| (*word).to_owned());
            match Cli::try_parse_from(words).map(|cli| cli.command) {
                Ok(Command::Build(build)) => Ok(build.0),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.kind()),
            }
        };
        assert!(build(&["--no-cache", "."]).unwrap().no_cache);
        assert!(!build(&["--no-cache=false", "."]).unwrap().no_cache);
        for (typed, meant) in [
            ("--pull", PullFlag::Always),
            ("--pull=1", PullFlag::Always),
            ("--pull=always", PullFlag::Always),
            ("--pull=false", PullFlag::Missing),
            ("--pull=missing", PullFlag::Missing),
            ("--pull=never", PullFlag::Never),
        ] {
            assert_eq!(build(&[typed, "."]).unwrap().pull, meant, "{typed}");
        }
        assert_eq!(build(&["."]).unwrap().pull, PullFlag::Missing);
        assert!(build(&["-qf", "x", "."]).unwrap().quiet);
        assert!(build(&["."]).unwrap().tls_verify);
        assert!(!build(&["--tls-verify=false", "."]).unwrap().tls_verify);
        assert!(build(&["--tls-verify", "."]).unwrap().tls_verify);
        assert_eq!(build(&["--pull=maybe", "."]).unwrap_err(), clap::error::ErrorKind::ValueValidation);
    }
}
