//! `run`.

use super::{
    registry::{fetch, fetch_layers},
    session,
};
use crate::{
    app::App,
    args::RunArgs,
    environment::Environment,
    error::{CliError, UsageError},
    exit,
    options::{PullWhen, RunOptions, TerminalUse, pairs, reference},
    streams,
    terminal::Size,
};
use rbuild::{ContainerRequest, ContainerStdio, Engine, Platform, Terminal, UnmetLimit, Volume};
use rbuild_docker_api::with_tag;
use std::{
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

/// Runs a command in a new container; gives its exit code.
pub(super) fn run(app: &App, args: RunArgs) -> Result<u8, CliError> {
    let options = RunOptions::new(args, &app.environment)?;
    let engine = app.engine_with_registries(options.certificates)?;
    provide_image(app, &engine, &options)?;
    let (pull, is_asked_for) = (options.pull, options.platform.is_some());
    let request = request(options, &app.environment)?;
    let signals = session::Signals::take()?;
    let container = match engine.start(&request) {
        Err(rbuild::Error::LayersElsewhere { .. }) if pull != PullWhen::Never => {
            fetch_layers(app, &engine, (&request.image, request.platform.as_slice()))?;
            engine.start(&request)?
        }
        started => started?,
    };
    if let Some(other) = container.other_platform().filter(|_| !is_asked_for) {
        exit::warn(&format!(
            "The requested image's platform ({other}) does not match the detected host platform ({}) and no specific \
             platform was requested",
            Platform::host()
        ));
    }
    for UnmetLimit { flags, reason } in container.unmet_limits() {
        exit::warn(&format!("no effect of {flags}: {reason}"));
    }
    let code = session::attend(container, request.stdin, &signals)?;
    Ok(code.clamp(0, 255) as u8)
}

/// Fetches the image if the store does not have it, or if it is to be fetched anyway.
fn provide_image(app: &App, engine: &Engine, options: &RunOptions) -> Result<(), CliError> {
    match options.pull {
        PullWhen::Never => return Ok(()),
        PullWhen::Always => {}
        PullWhen::Missing if engine.has_image(&options.image, options.platform.as_ref())? => return Ok(()),
        PullWhen::Missing => {
            let name = reference(&options.image)?;
            exit::tell(&format!("Unable to find image '{}' locally", with_tag(&name)));
        }
    }
    fetch(app, engine, &reference(&options.image)?, options.platform.clone())
}

fn request(options: RunOptions, environment: &Environment) -> Result<ContainerRequest, CliError> {
    let mut env = Vec::new();
    for path in &options.env_files {
        env.extend(variables_of(path, environment)?);
    }
    env.extend(options.env);
    let terminal = match options.terminal {
        TerminalUse::None => Terminal::None,
        TerminalUse::Own => {
            if options.stdin == ContainerStdio::Inherit && !io::stdin().is_terminal() {
                return Err(UsageError::new("the input device is not a TTY").into());
            }
            let Size { rows, columns } = Size::of(streams::stdout());
            Terminal::Pty { rows, columns }
        }
    };
    Ok(ContainerRequest {
        image: options.image,
        platform: options.platform,
        name: options.name,
        command: options.command,
        entrypoint: options.entrypoint,
        env,
        workdir: options.workdir,
        user: options.user,
        volumes: options.volumes.into_iter().map(absolute).collect::<Result<_, _>>()?,
        hostname: options.hostname,
        network: options.network,
        limits: options.limits,
        shm_size: options.shm_size,
        terminal,
        stdin: options.stdin,
        retention: options.retention,
    })
}

/// The variables of an `--env-file`: a pair or a name a line, `#` for remarks.
fn variables_of(path: &Path, environment: &Environment) -> Result<Vec<String>, CliError> {
    let text = fs::read_to_string(path).map_err(CliError::file("open", path))?;
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<String> = lines.map(str::to_owned).collect();
    Ok(pairs(&words, environment).into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn absolute(volume: Volume) -> Result<Volume, CliError> {
    let host: PathBuf = std::path::absolute(&volume.host).map_err(CliError::file("find", &volume.host))?;
    Ok(Volume { host, ..volume })
}
