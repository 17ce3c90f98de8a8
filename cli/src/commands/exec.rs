//! `exec`: a further program in a container that runs.

use super::{
    attendance, key_value_file,
    session::{self, Program},
    signals::Signals,
};
use crate::{
    app::App,
    args::ExecArgs,
    error::{CliError, UsageError},
    keeper,
    options::{DetachKeys, pairs, variable},
    streams,
    terminal::Size,
};
use rbuild::{ContainerStdio, ExecPrivileges, ExecRequest, ExecStreams, RunningProgram, Terminal};
use std::{
    io::{self, IsTerminal},
    os::fd::OwnedFd,
};

/// Runs a program in a container; gives its exit code.
pub(super) fn exec(app: &App, args: ExecArgs) -> Result<u8, CliError> {
    let keys = DetachKeys::parse(args.detach_keys.as_deref())?;
    let stdin = if args.interactive && !args.detach { ContainerStdio::Inherit } else { ContainerStdio::Null };
    if args.tty && stdin == ContainerStdio::Inherit && !io::stdin().is_terminal() {
        return Err(UsageError::new("the input device is not a TTY").into());
    }
    let mut env = Vec::new();
    for path in &args.env_file {
        env.extend(key_value_file::variables(path, &app.environment)?);
    }
    args.env.iter().try_for_each(|text| variable(text))?;
    env.extend(pairs(&args.env, &app.environment).into_iter().map(|(name, value)| format!("{name}={value}")));
    let request = ExecRequest {
        command: args.command,
        env,
        workdir: args.workdir.filter(|path| !path.is_empty()),
        user: args.user.filter(|user| !user.is_empty()),
        terminal: if args.tty {
            let Size { rows, columns } = Size::of(streams::stdout());
            Terminal::Pty { rows, columns }
        } else {
            Terminal::None
        },
        privileges: if args.privileged { ExecPrivileges::All } else { ExecPrivileges::Container },
        streams: if args.detach { ExecStreams::None } else { ExecStreams::Caller(stdin) },
    };
    let engine = app.engine()?;
    let signals = if args.detach { None } else { Some(Signals::take()?) };
    let program = engine.exec(&args.container, &request).map_err(not_started)?;
    match signals {
        None => leave(program).map(|()| 0),
        Some(signals) => attend(program, stdin, keys, &signals),
    }
}

/// Stays with the program until it ends, or the person leaves it.
fn attend(
    program: RunningProgram,
    stdin: ContainerStdio,
    keys: DetachKeys,
    signals: &Signals,
) -> Result<u8, CliError> {
    let reached = Program {
        pid: program.pid(),
        terminal: program.terminal().map(OwnedFd::try_clone).transpose(),
        stdin,
    };
    let code = if program.terminal().is_some() {
        if session::attend_terminal(reached, keys, program.pidfd(), signals)? {
            leave(program)?;
            return Ok(attendance::left_by_keys());
        }
        program.wait()?
    } else {
        session::attend_program(reached, signals, || Ok(program.wait()?))?
    };
    Ok(code.clamp(0, 255) as u8)
}

/// Lets the program go on, and its terminal with it.
fn leave(program: RunningProgram) -> Result<(), CliError> {
    program.leave().map_or(Ok(()), keeper::keep)
}

/// A program that could not be started has exit codes of its own, as with `run`.
fn not_started(error: rbuild::Error) -> CliError {
    match error.start_failure() {
        Some(_) => CliError::Run(Box::new(error.into())),
        None => error.into(),
    }
}
