//! `debug`: a shell in a step that failed.

use super::{
    session::{self, Program},
    signals::Signals,
};
use crate::{
    app::App, args::DebugArgs, credentials::build_proxies, error::CliError, exit, options::DebugOptions,
    streams, terminal::Size,
};
use rbuild::{BuildRecord, ContainerStdio, DebugRequest, FoundStep, Remains, Terminal};
use std::{
    io::{self, IsTerminal},
    os::fd::OwnedFd,
};

/// Opens a shell in a failed step, or runs another command there; gives its exit code.
pub(super) fn debug(app: &App, args: DebugArgs) -> Result<u8, CliError> {
    open(app, DebugOptions::new(args, &app.environment)?)
}

/// True if a shell can be opened for a person.
pub(super) fn has_terminal() -> bool {
    io::stdin().is_terminal() && streams::stdout().is_terminal()
}

/// Opens a shell in the step for which a build failed. Returns how rbuild ends after that.
pub(super) fn after_failure(
    app: &App,
    failure: CliError,
    record: Option<&BuildRecord>,
    given: DebugOptions,
) -> CliError {
    let kept = match &failure {
        CliError::Build(error) => error.remains().iter().find_map(|one| match one {
            Remains::Kept { step } => Some(*step),
            Remains::TooLarge { .. } | Remains::Nothing => None,
        }),
        _ => None,
    };
    let (Some(step), Some(record)) = (kept, record) else { return failure };
    exit::report(&failure, app.environment.color());
    let build = Some(record.id.as_str().to_owned());
    if let Err(error) = open(app, DebugOptions { build, step: Some(step), ..given }) {
        exit::report(&error, app.environment.color());
    }
    CliError::Reported { code: exit::code(&failure) }
}

fn open(app: &App, options: DebugOptions) -> Result<u8, CliError> {
    let engine = app.engine()?;
    let step = engine.failed_step(options.build.as_deref(), options.step)?;
    let mut proxies = Vec::new();
    build_proxies(&app.environment)?.add_to(&mut proxies);
    let terminal = if has_terminal() {
        let Size { rows, columns } = Size::of(streams::stdout());
        Terminal::Pty { rows, columns }
    } else {
        Terminal::None
    };
    let request = DebugRequest {
        command: options.command,
        secrets: options.secrets,
        ssh: options.ssh,
        proxies: proxies.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        terminal,
        stdin: ContainerStdio::Inherit,
    };
    introduce(&step, &request);
    let signals = Signals::take()?;
    let code = engine.look_into(&step, &request, |shell, terminal| {
        let terminal = terminal.map(OwnedFd::try_clone).transpose();
        let program = Program { pid: shell.pid(), terminal, stdin: request.stdin };
        session::attend_program(program, &signals, || {
            shell.wait().map_err(|error| rbuild::Error::from(error).into())
        })
    });
    let code = code.map_err(|error| not_started(error, &step, &request))??;
    Ok(code.clamp(0, 255) as u8)
}

/// Says where a person is, and what is not as it was.
fn introduce(step: &FoundStep, request: &DebugRequest) {
    if request.command.is_empty() && request.terminal != Terminal::None {
        exit::tell(&format!(
            "Step {} of build {}: {}\nNothing that you change here is kept. The command that failed: {}",
            step.step.number,
            step.build.id.short(),
            step.step.instruction,
            step.argv().join(" ")
        ));
    }
    let (secrets, keys) = step.lacking(request);
    for id in secrets {
        exit::warn(&format!("the step has secret {id}: give it with --secret id={id},src=FILE"));
    }
    for id in keys {
        exit::warn(&format!("the step has the keys {id}: give them with --ssh {id}"));
    }
    for path in step.left_out() {
        exit::warn(&format!("{path} is not here, because a secret was in it"));
    }
}

/// The failure, and what helps where the image has no shell.
fn not_started(error: rbuild::Error, step: &FoundStep, request: &DebugRequest) -> CliError {
    if error.start_failure().is_some() && request.command.is_empty() {
        return CliError::Refused(format!(
            "the image of the step has no {}: name a program that it has, as in 'rbuild debug -- PROGRAM'",
            step.shell()
        ));
    }
    error.into()
}
