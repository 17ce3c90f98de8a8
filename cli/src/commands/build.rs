//! `build`.

use crate::{
    app::App,
    args::BuildArgs,
    daemon,
    environment::Environment,
    error::CliError,
    exit,
    new_file::NewFile,
    options::{BuildOptions, ContextKind, PrintId, ProgressChoice},
    progress::Style,
    standard_input::{self, StandardInput},
    streams::{self, print},
    working::{style_for_people, work},
};
use rbuild::{ContextSource, DockerfileSource, Output};
use rbuild_docker_api::BuildMetadata;
use serde_json::json;
use std::{path::Path, sync::Arc};

/// Builds an image.
pub(super) fn build(app: &App, args: BuildArgs) -> Result<(), CliError> {
    let mut options = settled(app, args)?;
    if let Some(call) = options.call {
        return super::call::answer(app, &options, call);
    }
    let iidfile = result_file(options.iidfile.as_deref())?;
    let metadata_file = result_file(options.metadata_file.as_deref())?;
    let (engine, configuration) = app.configured_engine(options.certificates, jobs(options.jobs))?;
    configuration.proxies.add_to(&mut options.request.build_args);
    let style = style(options.progress, &app.environment);
    let mut request = options.request;
    if options.load {
        match daemon::address(&app.environment)? {
            Some(address) => request.outputs.push(Output::Daemon { address, names: options.names.clone() }),
            None => {
                exit::warn("--load: no docker or podman runs here, so the image is in rbuild's store alone");
            }
        }
    }
    let built = work(style, async |events| {
        engine.build(request, events).await.map_err(|error| CliError::Build(Box::new(error)))
    })?;
    let Some(image) = built.image() else { return Ok(()) };
    if let Some(file) = iidfile {
        file.write(&image.to_string())?;
    }
    if let Some(file) = metadata_file {
        file.write(&format!("{:#}", json!(BuildMetadata::new(&image, &options.names))))?;
    }
    match options.progress {
        ProgressChoice::Quiet(PrintId::Yes) => print(&format!("{image}\n")),
        ProgressChoice::Auto
        | ProgressChoice::Plain
        | ProgressChoice::Terminal
        | ProgressChoice::Json
        | ProgressChoice::Quiet(PrintId::No) => Ok(()),
    }
}

/// The meaning of `args`. A Dockerfile or context that comes from standard input is read.
pub(super) fn settled(app: &App, args: BuildArgs) -> Result<BuildOptions, CliError> {
    let mut options = BuildOptions::new(args, &app.environment)?;
    for warning in &options.warnings {
        exit::warn(warning);
    }
    match standard_input::read(options.context, &app.environment)? {
        StandardInput::Unread => {}
        StandardInput::Dockerfile(text) => options.request.dockerfile = DockerfileSource::Text(text),
        StandardInput::Context(archive) => {
            options.request.context = ContextSource::Archive(Arc::new(archive));
            if options.context == ContextKind::Stdin {
                options.request.dockerfile = DockerfileSource::InContext;
            }
        }
    }
    Ok(options)
}

/// How many steps may run at once: more than there are processors, because steps wait for networks and disks more than
/// they compute.
fn jobs(flag: Option<usize>) -> usize {
    const LEAST: usize = 16;
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    flag.unwrap_or_else(|| (4 * processors()).max(LEAST)).max(1)
}

fn style(choice: ProgressChoice, environment: &Environment) -> Style {
    match choice {
        ProgressChoice::Auto => style_for_people(environment),
        ProgressChoice::Plain => Style::Plain(streams::step_output(environment.color())),
        ProgressChoice::Terminal => Style::Live(environment.color()),
        ProgressChoice::Quiet(_) => Style::Quiet,
        ProgressChoice::Json => Style::Json,
    }
}

/// The file that `--iidfile` or `--metadata-file` names: made before the build, so that a wrong path costs no build, and
/// named after it.
fn result_file(path: Option<&Path>) -> Result<Option<NewFile>, CliError> {
    path.map(|path| NewFile::at(path, 0o644)).transpose()
}
