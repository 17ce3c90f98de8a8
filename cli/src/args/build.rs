//! The flags of `build`.

use super::{
    budget::BudgetFlags,
    flag::{PullFlag, Switch, any_path, parse_pull},
    limits::LimitFlags,
    other_flags::OtherFlags,
    security::SecurityFlags,
};
use clap::Args;
use std::path::PathBuf;

// the headings of its help
const RESULT: &str = "Result";
const BASES: &str = "Base images";
const CACHE: &str = "Cache";
const STEPS: &str = "What RUN has";
const COURSE: &str = "How the build goes";

/// What was typed after `build`.
#[derive(Debug, Default, Args)]
#[command(override_usage = "rbuild build [OPTIONS] PATH | -")]
pub(crate) struct BuildArgs {
    /// The build context: a directory, the URL of a Git repository (URL#REF:DIRECTORY), a tar or a Dockerfile, or - to read a
    /// Dockerfile without a context, or a tar that is the context, from standard input
    #[arg(value_name = "PATH")]
    pub(crate) context: String,

    /// Name the image (NAME[:TAG]); may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// What becomes of the result [default: an image in the store]: type=image, registry, oci, docker, local, tar or
    /// cacheonly, with attributes (type=oci,dest=FILE); DIRECTORY; or - for a tar on standard output; may be repeated, also for
    /// other stages (type=local,dest=out,target=STAGE)
    #[arg(short, long, value_name = "OUTPUT", help_heading = RESULT)]
    pub(crate) output: Vec<String>,
    /// Push the image to the registries that its names say
    #[arg(long, switch = false, help_heading = RESULT)]
    pub(crate) push: bool,
    /// Annotate the manifest of an image that is pushed or archived (NAME=VALUE)
    #[arg(long, value_name = "ANNOTATION", help_heading = RESULT)]
    pub(crate) annotation: Vec<String>,
    /// The Dockerfile [default: PATH/Dockerfile], - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<String>,
    /// Make one layer of those that this build adds to its base image
    #[arg(long, switch = false, help_heading = RESULT)]
    pub(crate) squash: bool,
    /// Make one layer of all layers, those of the base image among them
    #[arg(long, switch = false, help_heading = RESULT)]
    pub(crate) squash_all: bool,
    /// Set a build argument (NAME=VALUE, or NAME to take the value from the environment)
    #[arg(long, value_name = "ARG")]
    pub(crate) build_arg: Vec<String>,
    /// Build this stage instead of the last one
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Add a label to the image (NAME=VALUE)
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// A further context (NAME=DIRECTORY, NAME=URL of a Git repository, tar or file, NAME=docker-image://IMAGE)
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) build_context: Vec<String>,
    /// Build for these platforms, such as linux/amd64,linux/arm64; may be repeated [env DOCKER_DEFAULT_PLATFORM]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Vec<String>,

    /// Do not use the cache
    #[arg(long, switch = false, help_heading = CACHE)]
    pub(crate) no_cache: bool,
    /// Do not use the cache for these stages
    #[arg(long, value_name = "STAGE", help_heading = CACHE)]
    pub(crate) no_cache_filter: Vec<String>,
    /// Run this share of the cached steps again (10%), and warn of those that give other files; the image is still made of
    /// what the cache has
    #[arg(long, value_name = "PERCENT", help_heading = CACHE)]
    pub(crate) verify_cache: Option<String>,
    /// Take results from the cache of another machine: a REFERENCE of a cache, or of an image that carries one;
    /// type=registry,ref=REFERENCE; type=local,src=DIRECTORY; type=s3,bucket=NAME,region=REGION; or type=azblob;
    /// mounts=ID,ID fills empty cache mounts from it; may be repeated
    #[arg(long, value_name = "CACHE", help_heading = CACHE)]
    pub(crate) cache_from: Vec<String>,
    /// Write a cache for other machines: type=registry,ref=NAME, type=local,dest=DIRECTORY, type=s3,bucket=NAME,region=REGION
    /// or type=azblob, with mode=max for the results of all steps, not only those of the image; type=inline into the image;
    /// mounts=ID,ID writes cache mounts with it; may be repeated
    #[arg(long, value_name = "CACHE", help_heading = CACHE)]
    pub(crate) cache_to: Vec<String>,
    /// When to ask the registry for base images: always, even if the store has them; missing; or never
    #[arg(
        long,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "always",
        default_value = "missing",
        hide_default_value = true,
        value_parser = parse_pull,
        help_heading = BASES
    )]
    pub(crate) pull: PullFlag,
    /// Where else to look for base images before a registry is asked: docker, podman, containers-storage or oci:DIR; may be
    /// repeated
    #[arg(long, value_name = "SOURCE", help_heading = BASES)]
    pub(crate) image_source: Vec<String>,
    /// Write the digests of the base images to rbuild.lock beside the Dockerfile
    #[arg(long, switch = false, help_heading = BASES)]
    pub(crate) lock: bool,
    /// Use exactly the base images that rbuild.lock names
    #[arg(long, switch = false, help_heading = BASES)]
    pub(crate) locked: bool,
    /// false: accept registries with unknown certificates or none
    #[arg(long, switch = true, help_heading = BASES)]
    pub(crate) tls_verify: bool,

    /// A secret for RUN --mount=type=secret (id=ID[,src=FILE|,env=VARIABLE]); may be repeated
    #[arg(long, value_name = "SECRET", help_heading = STEPS)]
    pub(crate) secret: Vec<String>,
    /// Keys for RUN --mount=type=ssh: those of an agent or private keys (default|ID[=SOCKET|KEY,...]); may be repeated
    #[arg(long, value_name = "KEYS", help_heading = STEPS)]
    pub(crate) ssh: Vec<String>,
    /// If a step fails, open a shell in it at once, where there is a terminal
    #[arg(long, help_heading = COURSE)]
    pub(crate) debug_on_failure: bool,
    /// What becomes of a cache mount (id=ID[,src=DIRECTORY|ARCHIVE][,max-size=SIZE]): it begins with these files where the
    /// store has none, and is emptied after a step that leaves more than SIZE in it; may be repeated
    #[arg(long, value_name = "MOUNT", help_heading = CACHE)]
    pub(crate) cache_mount: Vec<String>,
    /// Network of RUN: default, none or host
    #[arg(long, value_name = "MODE", help_heading = STEPS)]
    pub(crate) network: Option<String>,
    /// A line for /etc/hosts of RUN (HOST:IP); the IP host-gateway is this machine, without its loopback
    #[arg(long, value_name = "HOST:IP", value_delimiter = ',', help_heading = STEPS)]
    pub(crate) add_host: Vec<String>,
    /// A name server for RUN instead of the host's; may be repeated
    #[arg(long, value_name = "IP", value_delimiter = ',', help_heading = STEPS)]
    pub(crate) dns: Vec<String>,
    /// An option of resolv.conf for RUN instead of the host's; may be repeated
    #[arg(long, value_name = "OPTION", alias = "dns-opt", help_heading = STEPS)]
    pub(crate) dns_option: Vec<String>,
    /// A domain in which RUN looks for names, instead of the host's; . for none; may be repeated
    #[arg(long, value_name = "DOMAIN", help_heading = STEPS)]
    pub(crate) dns_search: Vec<String>,
    /// Size of /dev/shm of RUN [default: 64m]
    #[arg(long, value_name = "BYTES", help_heading = STEPS)]
    pub(crate) shm_size: Option<String>,
    /// Limits of RUN, as NAME=VALUE: memory, memory-swap, cpu-shares, cpu-quota, cpu-period, cpuset-cpus or cpuset-mems; may be
    /// repeated
    #[arg(long, value_name = "LIMIT", help_heading = STEPS)]
    pub(crate) resource: Vec<String>,
    /// How long each RUN may take (90s, 10m, 1h30m); the build ends with exit code 124 when one takes longer
    #[arg(long, value_name = "TIME", help_heading = STEPS)]
    pub(crate) step_timeout: Option<String>,
    /// How long the build may take (90s, 10m, 1h30m); it ends with exit code 124 then
    #[arg(long, value_name = "TIME", help_heading = COURSE)]
    pub(crate) timeout: Option<String>,
    /// A store that is only read, such as one on a volume that machines share: images and results are looked for there after the
    /// own store and used where they are; may be repeated
    #[arg(long, value_name = "DIR", value_parser = any_path(), help_heading = CACHE)]
    pub(crate) cache_ro: Vec<PathBuf>,
    /// How many steps may run at once, those of other builds in the same store included
    #[arg(long, value_name = "N", help_heading = COURSE)]
    pub(crate) jobs: Option<usize>,
    /// When a step fails, carry out everything that does not need it before the build fails
    #[arg(long, switch = false, help_heading = COURSE)]
    pub(crate) keep_going: bool,

    /// How to show progress: auto, plain, tty, quiet, json or BuildKit's rawjson [env BUILDKIT_PROGRESS]
    #[arg(long, value_name = "TYPE", help_heading = COURSE)]
    pub(crate) progress: Option<String>,
    /// Print nothing but the image's id
    #[arg(short, long, switch = false, help_heading = COURSE)]
    pub(crate) quiet: bool,
    /// Write the image's id to FILE
    #[arg(long, value_name = "FILE", value_parser = any_path(), help_heading = RESULT)]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write what was built to FILE as JSON
    #[arg(long, value_name = "FILE", value_parser = any_path(), help_heading = RESULT)]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Show after the build why each step ran, instead of coming from the cache
    #[arg(long, switch = false, help_heading = COURSE)]
    pub(crate) explain: bool,
    /// Write what came from the cache, and why the rest did not, to FILE as JSON
    #[arg(long, value_name = "FILE", value_parser = any_path(), help_heading = COURSE)]
    pub(crate) cache_report: Option<PathBuf>,
    /// Give the image to the docker or podman that runs here as well; layers that it has are not sent
    #[arg(long, switch = false, help_heading = RESULT)]
    pub(crate) load: bool,

    /// Check the Dockerfile and build nothing (the same as --call=check)
    #[arg(long, switch = false, help_heading = COURSE)]
    pub(crate) check: bool,
    /// Do something else than building: check, outline or targets; with ,format=json for programs
    #[arg(long, value_name = "METHOD", help_heading = COURSE)]
    pub(crate) call: Option<String>,

    /// Rights that the Dockerfile may use: device or device=NAME, security.insecure, network.host; buildx.local.delete lets an
    /// output remove files; may be repeated
    #[arg(long, value_name = "RIGHT", help_heading = STEPS)]
    pub(crate) allow: Vec<String>,
    #[command(flatten, next_help_heading = STEPS)]
    pub(crate) security: SecurityFlags,
    #[command(flatten, next_help_heading = "Limits of each RUN")]
    pub(crate) limits: LimitFlags,
    #[command(flatten, next_help_heading = CACHE)]
    pub(crate) budget: BudgetFlags,
    #[command(flatten)]
    pub(crate) others: OtherFlags,
}
