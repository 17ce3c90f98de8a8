//! The flags of `plan` and `check`: those of `build` that decide what a build does.

use super::{build::BuildArgs, flag::Switch};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Which build is meant.
#[derive(Debug, Args)]
pub(crate) struct SubjectArgs {
    /// The build context: a directory, the URL of a Git repository (URL#REF:DIRECTORY), a tar or a Dockerfile, or - to read a
    /// Dockerfile without a context, or a tar that is the context, from standard input
    #[arg(value_name = "PATH", default_value = ".")]
    context: String,
    /// The Dockerfile [default: PATH/Dockerfile], - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Set a build argument (NAME=VALUE, or NAME to take the value from the environment)
    #[arg(long, value_name = "ARG")]
    build_arg: Vec<String>,
    /// The stage to build instead of the last one
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// A further context (NAME=DIRECTORY, NAME=URL of a Git repository, tar or file, NAME=docker-image://IMAGE)
    #[arg(long, value_name = "CONTEXT")]
    build_context: Vec<String>,
    /// Build for these platforms, such as linux/amd64,linux/arm64; may be repeated [env DOCKER_DEFAULT_PLATFORM]
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// Where else to look for base images, which are copied into the store: docker, podman, containers-storage or oci:DIR; may
    /// be repeated
    #[arg(long, value_name = "SOURCE")]
    image_source: Vec<String>,
    /// Use exactly the base images that rbuild.lock names
    #[arg(long, switch = false)]
    locked: bool,
}

/// What was typed after `plan`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild plan [OPTIONS] [PATH | -]")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Do not use the cache
    #[arg(long, switch = false)]
    no_cache: bool,
    /// Do not use the cache for these stages
    #[arg(long, value_name = "STAGE")]
    no_cache_filter: Vec<String>,
    /// Network of RUN: default, none or host
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// A line for /etc/hosts of RUN (HOST:IP)
    #[arg(long, value_name = "HOST:IP", value_delimiter = ',')]
    add_host: Vec<String>,
    /// Size of /dev/shm of RUN [default: 64m]
    #[arg(long, value_name = "BYTES")]
    shm_size: Option<String>,
    /// How to show the plan
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: PlanFormat,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// A graph for Graphviz
    Dot,
    /// A graph for Mermaid
    Mermaid,
}

/// What was typed after `check`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild check [OPTIONS] [PATH | -]")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// How to show the findings: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

/// `context …`
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Show what is in a build context, and why
    #[command(visible_alias = "list", override_usage = "rbuild context ls [OPTIONS] [PATH | -]")]
    Ls(ContextLsArgs),
}

/// What was typed after `context ls`.
#[derive(Debug, Args)]
pub(crate) struct ContextLsArgs {
    /// The build context, as build takes it
    #[arg(value_name = "PATH", default_value = ".")]
    context: String,
    /// The Dockerfile, which may have an ignore file of its own [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Say which pattern of which ignore file decided about this path
    #[arg(long, value_name = "PATH", conflicts_with = "size")]
    pub(crate) why: Option<PathBuf>,
    /// Show directories with the size of all that is in them, the largest first
    #[arg(long, switch = false)]
    pub(crate) size: bool,
    /// table, json, 'table TEMPLATE' or a Go template; with --why text or json
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

impl ContextLsArgs {
    /// The build whose context is meant.
    pub(crate) fn to_build(&self) -> BuildArgs {
        let (context, file) = (self.context.clone(), self.file.clone());
        BuildArgs { context, file, tls_verify: true, ..BuildArgs::default() }
    }
}

impl SubjectArgs {
    fn into_build(self) -> BuildArgs {
        BuildArgs {
            context: self.context,
            file: self.file,
            build_arg: self.build_arg,
            target: self.target,
            build_context: self.build_context,
            platform: self.platform,
            image_source: self.image_source,
            locked: self.locked,
            tls_verify: true,
            ..BuildArgs::default()
        }
    }
}

impl PlanArgs {
    /// The build that is to be planned.
    pub(crate) fn into_build(self) -> BuildArgs {
        BuildArgs {
            no_cache: self.no_cache,
            no_cache_filter: self.no_cache_filter,
            network: self.network,
            add_host: self.add_host,
            shm_size: self.shm_size,
            ..self.subject.into_build()
        }
    }
}

impl CheckArgs {
    /// The `build --check` that it stands for.
    pub(crate) fn into_build(self) -> BuildArgs {
        BuildArgs { call: Some(format!("check,format={}", self.format)), ..self.subject.into_build() }
    }
}
