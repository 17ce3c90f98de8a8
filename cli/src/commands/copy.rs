//! `cp`: files between containers and the host.

use crate::{
    app::App,
    args::CpArgs,
    environment::User,
    error::{CliError, UsageError},
    exit, streams,
};
use rbuild::{ContainerEnd, ContainerState, HostEnd, LastLink};
use rbuild_docker_api::human_size;
use std::{
    io::{self, IsTerminal},
    path::PathBuf,
};

/// The end of a copy, as it was typed.
enum End<'a> {
    Container(ContainerEnd<'a>),
    Host(PathBuf),
    Stream,
}

/// Copies files.
pub(super) fn copy(app: &App, args: &CpArgs) -> Result<(), CliError> {
    let last = if args.follow_link { LastLink::Followed } else { LastLink::Kept };
    let copied = match (end(&args.source)?, end(&args.destination)?) {
        (End::Container(_), End::Container(_)) => {
            return Err(UsageError::refused("copying between containers is not supported").into());
        }
        (End::Container(from), to) => {
            let engine = prepared(app, from)?;
            match to {
                End::Host(path) => engine.copy_out(from, HostEnd::Path(&path), last)?,
                End::Stream | End::Container(_) => {
                    engine.copy_out(from, HostEnd::WriteTar(&mut streams::stdout()), last)?;
                    return Ok(());
                }
            }
        }
        (from, End::Container(to)) => {
            let engine = prepared(app, to)?;
            match from {
                End::Host(path) => engine.copy_in(HostEnd::Path(&path), to, last)?,
                End::Stream | End::Container(_) => {
                    engine.copy_in(HostEnd::ReadTar(&mut io::stdin().lock()), to, last)?;
                    return Ok(());
                }
            }
        }
        (End::Host(_) | End::Stream, End::Host(_) | End::Stream) => {
            return Err(UsageError::refused("must specify at least one container source").into());
        }
    };
    if !args.quiet && streams::stderr().is_terminal() {
        exit::tell(&format!("Successfully copied {} to {}", human_size(copied), args.destination));
    }
    Ok(())
}

/// The engine. An ordinary user is root of a namespace for a container that does not run, and enters that of one that does.
fn prepared(app: &App, end: ContainerEnd<'_>) -> Result<rbuild::Engine, CliError> {
    let engine = app.engine()?;
    let container = engine.container(end.container)?;
    if container.state != ContainerState::Running && app.environment.user == User::Ordinary {
        rbuild::enter_user_namespace().map_err(CliError::UserNamespace)?;
    }
    Ok(engine)
}

/// As docker reads it: what begins with a slash or a dot is a path of the host, whatever colons it has.
fn end(text: &str) -> Result<End<'_>, CliError> {
    if text == "-" {
        return Ok(End::Stream);
    }
    match text.split_once(':').filter(|_| !text.starts_with('/') && !text.starts_with('.')) {
        Some((container, path)) => Ok(End::Container(ContainerEnd { container, path })),
        None => {
            let path = std::path::absolute(text).map_err(CliError::file("find", text))?;
            let mut path = path.into_os_string();
            // the end of what was typed says something
            if text == "." || text.ends_with("/.") {
                path.push("/.");
            } else if text.ends_with('/') && !path.as_encoded_bytes().ends_with(b"/") {
                path.push("/");
            }
            Ok(End::Host(path.into()))
        }
    }
}
