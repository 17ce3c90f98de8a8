//! What was typed: clap's structs, with Docker's names for commands and flags. What it means is settled in `options`.

mod before_command;
mod budget;
mod build;
mod builder;
mod builds;
mod cache;
mod container;
mod copy;
mod debug;
mod exec;
mod flag;
mod health;
mod image;
mod known_flags;
mod later;
mod lifecycle;
mod limits;
mod manifest;
mod mistakes;
mod network;
mod other_flags;
mod overview;
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

pub(crate) use before_command::BeforeCommand;
pub(crate) use budget::BudgetFlags;
pub(crate) use build::BuildArgs;
pub(crate) use builder::{BuilderCreateArgs, BuilderLsArgs, BuilderRmArgs, BuilderStopArgs, BuilderUseArgs};
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
pub(crate) use mistakes::{Mistake, mistake, without_guesses};
pub(crate) use network::{
    NetworkCommand, NetworkConnectArgs, NetworkCreateArgs, NetworkFlags, NetworkInspectArgs, NetworkLsArgs,
    NetworkPruneArgs, NetworkRmArgs, PortArgs,
};
pub(crate) use other_flags::OtherFlags;
pub(crate) use overview::grouped;
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
    after_help = "'rbuild COMMAND --help' shows the flags of a command.\nWithout a command rbuild builds: 'rbuild -t NAME .' is 'rbuild build -t NAME .'"
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
    Build(Later<Box<BuildArgs>>),
    /// Show what a build would do, without doing it
    Plan(Later<Box<PlanArgs>>),
    /// Check a Dockerfile
    Check(Later<Box<CheckArgs>>),
    /// Commands for build contexts
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Context(Later<ContextCommand>),
    /// Commands for builds of the past
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Builds(Later<BuildsCommand>),
    /// Open a shell in a step that failed
    Debug(Later<DebugArgs>),
    /// Show why the steps of a build ran, instead of coming from the cache
    Explain(Later<ExplainArgs>),
    /// Commands for the store and the build cache
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Cache(Later<CacheCommand>),
    /// List images
    Images(Later<ImagesArgs>),
    /// Show the history of an image
    History(Later<HistoryArgs>),
    /// Show everything about images and containers as JSON
    Inspect(Later<InspectArgs>),
    /// Give an image another name
    Tag(Later<TagArgs>),
    /// Remove images
    Rmi(Later<RmiArgs>),
    /// Write images to an archive
    Save(Later<SaveArgs>),
    /// Read images from an archive
    Load(Later<LoadArgs>),
    /// Make an image from a tar archive of a root filesystem
    Import(Later<ImportArgs>),
    /// Fetch an image from a registry
    Pull(Later<PullArgs>),
    /// Send an image to a registry
    Push(Later<PushArgs>),
    /// Search a registry for repositories
    Search(Later<SearchArgs>),
    /// Commands for registries
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Registry(Later<RegistryCommand>),
    /// Remember the credentials for a registry
    Login(Later<LoginArgs>),
    /// Forget the credentials for a registry
    Logout(Later<LogoutArgs>),
    /// Run a command in a new container
    Run(Later<Box<RunArgs>>),
    #[command(flatten)]
    Life(LifeCommand),
    /// List containers
    Ps(Later<PsArgs>),
    /// Remove containers
    Rm(Later<RmArgs>),
    /// Make an image from a container's changes
    Commit(Later<CommitArgs>),
    /// Write the files of a container to a tar archive
    Export(Later<ExportArgs>),
    /// Show what a container has changed, or how two images differ
    Diff(Later<DiffArgs>),
    /// Merge the layers of an image into fewer
    Squash(Later<SquashArgs>),
    /// Show what takes how much space
    Df(Later<DfArgs>),
    /// Remove stopped containers, unused networks, dangling images and unused cache
    Prune(Later<SystemPruneArgs>),
    /// Show what there is, and what of this machine can be used
    Info(Later<VersionArgs>),
    /// Show the version
    Version(Later<VersionArgs>),
    /// Commands for images
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Image(Later<ImageCommand>),
    /// Commands for containers
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Container(Later<ContainerCommand>),
    /// Commands for volumes
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Volume(Later<VolumeCommand>),
    /// Commands for networks that containers share
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Network(Later<NetworkCommand>),
    /// Commands for builds
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Builder(Later<BuilderCommand>),
    /// Commands for builds, under the name of Docker's plugin
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Buildx(Later<BuildxCommand>),
    /// Commands for lists of manifests of registries
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Manifest(Later<ManifestCommand>),
    /// Commands for the whole store
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    System(Later<SystemCommand>),
}

/// `image …`
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Later<Box<BuildArgs>>),
    /// List images
    #[command(visible_alias = "list")]
    Ls(Later<ImagesArgs>),
    /// Show the history of an image
    History(Later<HistoryArgs>),
    /// Show everything about images as JSON
    Inspect(Later<ImageInspectArgs>),
    /// Give an image another name
    Tag(Later<TagArgs>),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(Later<RmiArgs>),
    /// Write images to an archive
    Save(Later<SaveArgs>),
    /// Read images from an archive
    Load(Later<LoadArgs>),
    /// Make an image from a tar archive of a root filesystem
    Import(Later<ImportArgs>),
    /// Remove images that nobody uses
    Prune(Later<ImagePruneArgs>),
    /// Show the layers of an image and what each of them does
    Tree(Later<TreeArgs>),
    /// Show how two images differ
    Diff(Later<DiffArgs>),
    /// Merge the layers of an image into fewer
    Squash(Later<SquashArgs>),
    /// Fetch an image from a registry
    Pull(Later<PullArgs>),
    /// Send an image to a registry
    Push(Later<PushArgs>),
}

/// The commands for what containers do, alone and below `container`.
#[derive(Debug, Subcommand)]
pub(crate) enum LifeCommand {
    /// Make a container without starting it
    Create(Later<Box<CreateArgs>>),
    /// Start containers
    Start(Later<StartArgs>),
    /// Stop containers
    Stop(Later<StopArgs>),
    /// Stop containers and start them again
    Restart(Later<StopArgs>),
    /// Send containers a signal, by default one that ends them
    Kill(Later<KillArgs>),
    /// Make all processes of containers stand still
    Pause(Later<PauseArgs>),
    /// Let paused containers go on
    Unpause(Later<PauseArgs>),
    /// Wait for containers to end and print their exit codes
    Wait(Later<WaitArgs>),
    /// Copy files between a container and the host
    Cp(Later<CpArgs>),
    /// Run a program in a container that runs
    Exec(Later<Box<ExecArgs>>),
    /// Type into a container that runs, and see what it writes
    Attach(Later<AttachArgs>),
    /// Change the limits of containers
    Update(Later<Box<UpdateArgs>>),
    /// Show the processes of a container
    Top(Later<TopArgs>),
    /// Show what containers use: processors, memory, network, disks
    Stats(Later<StatsArgs>),
    /// Show what a container has written
    Logs(Later<LogsArgs>),
    /// Show where the ports of a container are reached
    Port(Later<PortArgs>),
    /// Give a container another name
    Rename(Later<RenameArgs>),
}

/// `container …`
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Run a command in a new container
    Run(Later<Box<RunArgs>>),
    #[command(flatten)]
    Life(LifeCommand),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(Later<PsArgs>),
    /// Show everything about containers as JSON
    Inspect(Later<ContainerInspectArgs>),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(Later<RmArgs>),
    /// Make an image from a container's changes
    Commit(Later<CommitArgs>),
    /// Write the files of a container to a tar archive
    Export(Later<ExportArgs>),
    /// Show what a container has changed
    Diff(Later<DiffArgs>),
    /// Remove all stopped containers
    Prune(Later<ContainerPruneArgs>),
}

/// `builder …`
#[derive(Debug, Subcommand)]
pub(crate) enum BuilderCommand {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Later<Box<BuildArgs>>),
    /// Remove the cache of builds
    Prune(Later<BuilderPruneArgs>),
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
    Du(Later<DuArgs>),
    /// Commands for images of registries
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Imagetools(ImagetoolsCommand),
    /// Describe the builder, which is this program
    Inspect(Later<BuildxInspectArgs>),
    /// List the names of the builder
    Ls(Later<BuilderLsArgs>),
    /// Give the builder, which is this program, another name
    Create(Later<BuilderCreateArgs>),
    /// Choose a name of the builder
    Use(Later<BuilderUseArgs>),
    /// Stop the builder, which runs only while it builds
    Stop(Later<BuilderStopArgs>),
    /// Forget names of the builder
    Rm(Later<BuilderRmArgs>),
    /// Show the version
    Version,
}

/// `system …`
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what takes how much space
    Df(Later<DfArgs>),
    /// Show what there is, and what of this machine can be used
    Info(Later<VersionArgs>),
    /// Remove stopped containers, unused networks, dangling images and unused cache
    Prune(Later<SystemPruneArgs>),
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
                Ok(Command::Build(Later(build))) => Ok(build),
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
