//! What a `build` line means.

use super::{
    CallOptions, Certificates, ContextKind, LockUse, SourceWord,
    allowed::{self, Allowed},
    any_platform, cache_mounts, caches, contexts, images, limits,
    names::{self, NameFlags},
    outputs::{BuildOutputs, Removal, TargetOutputs, Typed},
    pairs, secrets, security, size, ssh, tag, unsupported,
};
use crate::{args::BuildArgs, environment::Environment, error::UsageError};
use rbuild::{BuildRequest, InlineCache, Network, NoCache, OnFailure, Platform, SpaceLimits, Squash};
use std::path::PathBuf;

/// One build, and how its progress is shown.
#[derive(Clone, Debug)]
pub(crate) struct BuildOptions {
    /// For the engine. The Dockerfile of standard input is still to be read, and the outputs are to be opened.
    pub(crate) request: BuildRequest,
    /// `--output`, `--push`, `--load` and `--annotation`, by target.
    pub(crate) targets: Vec<TargetOutputs>,
    /// `--allow buildx.local.delete`: an output may remove files outside of the working directory.
    pub(crate) removal: Removal,
    /// Where the context and the Dockerfile come from.
    pub(crate) context: ContextKind,
    /// How to show progress.
    pub(crate) progress: ProgressChoice,
    /// `--iidfile`.
    pub(crate) iidfile: Option<PathBuf>,
    /// `--metadata-file`.
    pub(crate) metadata_file: Option<PathBuf>,
    /// `--explain`.
    pub(crate) explain: Explain,
    /// `--cache-report`.
    pub(crate) cache_report: Option<PathBuf>,
    /// `--max-used-space` and its like.
    pub(crate) limits: SpaceLimits,
    /// `--tls-verify`.
    pub(crate) certificates: Certificates,
    /// `registry.insecure`: hosts that may have any certificate, or none.
    pub(crate) insecure: Vec<String>,
    /// `--image-source`.
    pub(crate) image_sources: Vec<SourceWord>,
    /// `--lock` and `--locked`.
    pub(crate) lock: LockUse,
    /// `--call` and `--check`; `None` builds.
    pub(crate) call: Option<CallOptions>,
    /// Remarks on flags without effect.
    pub(crate) warnings: Vec<String>,
    /// If a step fails, a shell is opened in it.
    pub(crate) debug_on_failure: bool,
}

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressChoice {
    /// Live on a terminal, plain elsewhere.
    Auto,
    /// Lines.
    Plain,
    /// Live.
    Terminal,
    /// Errors only; the id on stdout when `-q` asked for it.
    Quiet(PrintId),
    /// One JSON object a line.
    Json,
    /// One JSON object a line, as BuildKit writes them.
    RawJson,
}

/// The choice to explain after the build why steps ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Explain {
    /// Each of them.
    Steps,
    /// The first one, in the progress.
    First,
}

/// The choice of `-q` to print the image's id on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrintId {
    /// It does (`-q`).
    Yes,
    /// It does not (`--progress=quiet` prints it as well in Docker, `none` does not).
    No,
}

impl BuildOptions {
    /// Settles what `args` means.
    ///
    /// # Errors
    /// [`UsageError`] in Docker's words.
    pub(crate) fn new(args: BuildArgs, environment: &Environment) -> Result<Self, UsageError> {
        let warnings = unsupported::check(&args.others)?;
        let Allowed { entitlements, devices, removal } = allowed::allowed(&args.allow)?;
        let (context, source, dockerfile) = contexts::sources(&args.context, args.file.as_deref())?;
        let build_args = build_arguments(&args.build_arg, environment)?;
        let (cache_to, inline_cache) = caches::outputs(&args.cache_to, &build_args, environment)?;
        let BuildOutputs { targets, layer_times, epoch, insecure } = outputs(&args)?;
        let request = BuildRequest {
            context: source,
            dockerfile,
            outputs: Vec::new(),
            layer_times,
            verify_cache: args.verify_cache.as_deref().map_or(Ok(0), size::percent)?,
            squash: squash(args.squash_all, args.squash, inline_cache)?,
            output_epoch: epoch,
            build_args,
            labels: args.label.iter().map(|text| label(text)).collect::<Result<_, _>>()?,
            target: targets[0].target.clone(),
            platforms: platforms(&args.platform, environment)?,
            cache_mounts: cache_mounts::cache_mounts(&args.cache_mount)?,
            secrets: secrets::secrets(&args.secret, environment)?,
            ssh: ssh::keys(&args.ssh, environment)?,
            entitlements,
            allowed_devices: devices,
            network: network(args.network.as_deref())?,
            no_cache: no_cache(args.no_cache, &args.no_cache_filter),
            named_contexts: contexts::named(&args.build_context)?,
            pull: images::pull(args.pull),
            lower_stores: lower_stores(&args.cache_ro)?,
            jobs: args.jobs,
            on_failure: if args.keep_going { OnFailure::GoOn } else { OnFailure::Stop },
            names: names::name_options(&name_flags(&args), UsageError::Build)?,
            shm_size: args.shm_size.as_deref().map(|text| size::bytes("shm-size", text)).transpose()?,
            limits: limits::limits(&args.limits, &args.resource)?,
            privileges: security::privileges(&args.security)?,
            step_timeout: limits::duration("step-timeout", args.step_timeout.as_deref())?,
            timeout: limits::duration("timeout", args.timeout.as_deref())?,
            cache_from: caches::sources(&args.cache_from, environment)?,
            cache_to,
            inline_cache,
            ..BuildRequest::new(PathBuf::new())
        };
        Ok(Self {
            image_sources: images::sources(&args.image_source)?,
            lock: images::lock(args.lock, args.locked, &request)?,
            request,
            targets,
            removal,
            context,
            progress: progress(args.progress.as_deref(), args.quiet, environment)?,
            iidfile: args.iidfile.filter(|path| !path.as_os_str().is_empty()),
            metadata_file: args.metadata_file.filter(|path| !path.as_os_str().is_empty()),
            explain: if args.explain { Explain::Steps } else { Explain::First },
            cache_report: args.cache_report.filter(|path| !path.as_os_str().is_empty()),
            limits: size::limits(&args.budget)?,
            certificates: Certificates::from_flag(args.tls_verify),
            insecure,
            call: CallOptions::new(args.call.as_deref(), args.check)?,
            warnings,
            debug_on_failure: args.debug_on_failure,
        })
    }
}

/// `--output`, `--push`, `--load` and `--annotation`, with the names of `--tag`.
fn outputs(args: &BuildArgs) -> Result<BuildOutputs, UsageError> {
    let names = args.tag.iter().map(|text| tag(text)).collect::<Result<Vec<_>, _>>()?;
    BuildOutputs::new(&Typed {
        outputs: &args.output,
        annotations: &args.annotation,
        push: args.push,
        load: args.load,
        target: args.target.as_deref().filter(|target| !target.is_empty()),
        names: &names,
    })
}

/// `--squash-all` and `--squash`.
fn squash(all: bool, own: bool, inline: InlineCache) -> Result<Squash, UsageError> {
    if (all || own) && inline == InlineCache::Written {
        return Err(UsageError::in_build(
            "an inline cache names the layers of the image, and squashing makes them one: leave one of the two out",
        ));
    }
    Ok(match (all, own) {
        (true, _) => Squash::Everything,
        (false, true) => Squash::OwnLayers,
        (false, false) => Squash::Nothing,
    })
}

/// The flags for names.
fn name_flags(args: &BuildArgs) -> NameFlags<'_> {
    NameFlags {
        add_host: &args.add_host,
        dns: &args.dns,
        dns_search: &args.dns_search,
        dns_option: &args.dns_option,
    }
}

/// `--cache-ro`, by whole paths.
fn lower_stores(paths: &[PathBuf]) -> Result<Vec<PathBuf>, UsageError> {
    let whole = |path: &PathBuf| {
        let refused = |error| UsageError::in_build(format!("--cache-ro {}: {error}", path.display()));
        std::path::absolute(path).map_err(refused)
    };
    paths.iter().map(whole).collect()
}

/// `--build-arg`, and SOURCE_DATE_EPOCH of the environment.
fn build_arguments(flags: &[String], environment: &Environment) -> Result<Vec<(String, String)>, UsageError> {
    if let Some(text) = flags.iter().find(|text| text.is_empty() || text.starts_with('=')) {
        return Err(empty_key(text));
    }
    let mut arguments = pairs(flags, environment);
    if let Some(epoch) = environment.filled("SOURCE_DATE_EPOCH")
        && !arguments.iter().any(|(name, _)| name == "SOURCE_DATE_EPOCH")
    {
        arguments.push(("SOURCE_DATE_EPOCH".to_owned(), epoch.to_owned()));
    }
    Ok(arguments)
}

fn label(text: &str) -> Result<(String, String), UsageError> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(empty_key(text));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn empty_key(text: &str) -> UsageError {
    UsageError::new(format!("invalid key-value pair {text:?}: empty key"))
}

/// Each platform once, in the order given; `local` is this machine's.
fn platforms(flags: &[String], environment: &Environment) -> Result<Vec<Platform>, UsageError> {
    let flags = flags.iter().map(String::as_str);
    let default = || environment.filled("DOCKER_DEFAULT_PLATFORM");
    let lists: Vec<&str> = if flags.len() == 0 { default().into_iter().collect() } else { flags.collect() };
    let mut platforms = Vec::new();
    for text in lists.iter().flat_map(|list| list.split(',')).map(str::trim) {
        let platform = if text == "local" { Platform::host() } else { any_platform(text)? };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

fn network(mode: Option<&str>) -> Result<Network, UsageError> {
    match mode {
        None | Some("" | "default") => Ok(Network::Default),
        Some("none") => Ok(Network::None),
        Some("host") => Ok(Network::Host),
        Some(other) => Err(UsageError::in_build(format!(
            "network mode \"{other}\" not supported by buildkit: use default, none or host"
        ))),
    }
}

fn no_cache(all: bool, stages: &[String]) -> NoCache {
    let stages: Vec<String> = stages.iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
    match (all, stages.is_empty()) {
        (true, _) => NoCache::All,
        (false, true) => NoCache::None,
        (false, false) => NoCache::Stages(stages),
    }
}

fn progress(
    flag: Option<&str>,
    quiet: bool,
    environment: &Environment,
) -> Result<ProgressChoice, UsageError> {
    let named = match flag.or_else(|| environment.filled("BUILDKIT_PROGRESS")) {
        None | Some("auto") => ProgressChoice::Auto,
        Some("plain") => ProgressChoice::Plain,
        Some("tty") => ProgressChoice::Terminal,
        Some("quiet") => ProgressChoice::Quiet(PrintId::Yes),
        Some("none") => ProgressChoice::Quiet(PrintId::No),
        Some("json") => ProgressChoice::Json,
        Some("rawjson") => ProgressChoice::RawJson,
        Some(other) => return Err(UsageError::new(format!("invalid progress mode {other}"))),
    };
    match (quiet, named, flag) {
        (false, named, _) => Ok(named),
        (true, ProgressChoice::Auto | ProgressChoice::Quiet(_), _) | (true, _, None) => {
            Ok(ProgressChoice::Quiet(PrintId::Yes))
        }
        (true, _, Some(mode)) => {
            Err(UsageError::in_build(format!("progress={mode} and quiet cannot be used together")))
        }
    }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
