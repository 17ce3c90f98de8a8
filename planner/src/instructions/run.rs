//! RUN: the command line, what a here-document means to it, and the environment the command gets.

use super::config::shell_argv;
use super::{device, mount};
use crate::options::DEFAULT_HOSTNAME;
use crate::plan::{Action, Mount, MountKind, RunAction};
use crate::run_modes::{Network, Security, parse_network};
use crate::stage_lowering::StageLowering;
use crate::step_name::run_step_name;
use crate::{Env, PlanError, PlanErrorKind};
use rbuild_parser::{CommandLine, Heredoc, Run};
use std::borrow::Cow;

/// The directory of the scripts of here-documents.
const SCRIPT_DIRECTORY: &str = "/dev/pipes";

pub(super) fn run(stage: &mut StageLowering<'_, '_>, run: &Run) -> Result<(), PlanError> {
    let mounts = mount::lower(stage, &run.mounts)?;
    let security = match run.security.as_ref().map(|mode| mode.value.as_str()) {
        None | Some("sandbox") => Security::Sandbox,
        Some("insecure") => Security::Insecure,
        Some(other) => return Err(stage.error(PlanErrorKind::SecurityMode(other.to_owned()))),
    };
    let network = network(stage, run)?;
    let devices = device::lower(stage, &run.devices)?;
    let Command { argv, scripts, summary } = command(stage, run);
    if argv.is_empty() {
        return Err(stage.error(PlanErrorKind::EmptyCommand));
    }
    let created_by = history_text(stage, &argv);
    let name = name(stage, &summary, &mounts);
    let action = RunAction {
        argv,
        shell: shell_argv(stage, "").swap_remove(0),
        env: environment(stage, &mounts),
        proxy_env: proxy_env(stage),
        cwd: stage.state.cwd.clone(),
        user: stage.state.config.config.user.clone(),
        network,
        security,
        mounts,
        devices,
        scripts,
        hostname: hostname(stage),
    };
    stage.push_step(Action::Run(action), &name, created_by);
    Ok(())
}

struct Command {
    argv: Vec<String>,
    scripts: Vec<(String, String)>,
    /// The text that is added to the shown name.
    summary: String,
}

/// The argument vector. A here-document alone is the shell's text, or a script when it says `#!`; beside other text it
/// is left to the shell of the container.
fn command(stage: &StageLowering<'_, '_>, run: &Run) -> Command {
    let text = match &run.command {
        CommandLine::Exec(argv) => {
            return Command { argv: argv.clone(), scripts: Vec::new(), summary: String::new() };
        }
        CommandLine::Shell(text) => text.value.as_str(),
    };
    let mut command = Command { argv: Vec::new(), scripts: Vec::new(), summary: String::new() };
    match run.heredocs.as_slice() {
        [] => command.argv = shell_argv(stage, text),
        [heredoc] if is_lone_heredoc(text) => {
            let content = heredoc.content();
            command.summary = format!(" ({})", summary(&heredoc.body.value));
            // the text as it is written decides: behind a tab that `<<-` removes, Docker sees no script
            if heredoc.body.value.starts_with("#!") && stage.state.config.os != "windows" {
                command.argv = shell_argv(stage, &format!("{SCRIPT_DIRECTORY}/{}", heredoc.name));
                command.scripts.push((heredoc.name.clone(), content));
            } else {
                command.argv = shell_argv(stage, &content);
            }
        }
        heredocs => command.argv = shell_argv(stage, &with_bodies(text, heredocs)),
    }
    command
}

fn with_bodies(text: &str, heredocs: &[Heredoc]) -> String {
    let mut whole = text.to_owned();
    for heredoc in heredocs {
        whole.push('\n');
        whole.push_str(&heredoc.body.value);
        whole.push_str(&heredoc.name);
    }
    whole
}

/// True if `text` is `<<NAME` and nothing else.
fn is_lone_heredoc(text: &str) -> bool {
    let Some(rest) = text.trim().trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else {
        return false;
    };
    let name = rest.strip_prefix('-').unwrap_or(rest).trim_start();
    let mut quote = None;
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '<') => return false,
            (None, c) if c.is_whitespace() => return false,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => drop(chars.next()),
            (None | Some(_), _) => {}
        }
    }
    !name.is_empty()
}

fn summary(body: &str) -> String {
    let body = body.trim();
    match body.split_once('\n') {
        Some((first, _)) => format!("{}...", first.trim_end_matches('\r')),
        None => body.to_owned(),
    }
}

/// `RUN [|N NAME=value…] argv… # buildkit`: the declared arguments as they stand, then the command, without quotes.
fn history_text(stage: &StageLowering<'_, '_>, argv: &[String]) -> String {
    let args = stage.state.args.entries();
    let mut text = "RUN ".to_owned();
    if !args.is_empty() {
        text.extend(["|", &args.len().to_string(), " "]);
    }
    for (name, own) in args {
        let value = stage.state.env.get(name).or(own.as_deref()).unwrap_or("");
        text.extend([name, "=", value, " "]);
    }
    for arg in argv {
        text.extend([arg, " "]);
    }
    text.push_str("# buildkit");
    text
}

fn name(stage: &StageLowering<'_, '_>, summary: &str, mounts: &[Mount]) -> String {
    let secrets = mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Secret { env, .. } => env.as_deref(),
        MountKind::Bind { .. }
        | MountKind::Cache { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Ssh { .. } => None,
    });
    let mut secrets = secrets.peekable();
    let text = match summary {
        "" => Cow::Borrowed(stage.text()),
        _ => Cow::Owned(format!("{}{summary}", stage.text())),
    };
    if secrets.peek().is_none() {
        return run_step_name(&text, stage.escape(), &stage.state.env);
    }
    let mut masked = stage.state.env.clone();
    secrets.for_each(|secret| masked.set(secret, "****".to_owned()));
    run_step_name(&text, stage.escape(), &masked)
}

fn environment(stage: &StageLowering<'_, '_>, mounts: &[Mount]) -> Env {
    let mut env = stage.state.env.clone();
    if env.get("SSH_AUTH_SOCK").is_none()
        && let Some(target) = mount::first_agent(mounts)
    {
        env.set("SSH_AUTH_SOCK", target.to_string());
    }
    env
}

/// Proxy settings among the build arguments, both in capitals and in small letters; the small ones win.
fn proxy_env(stage: &StageLowering<'_, '_>) -> Vec<String> {
    let args = &stage.input().build_args;
    if args.is_empty() {
        return Vec::new();
    }
    let mut given: Vec<(&String, &String)> = args.iter().collect();
    given.retain(|(_, value)| !value.is_empty());
    given.sort_unstable();
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
    let proxies = names.iter().filter_map(|name| {
        let last = given.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some([format!("{name}={}", last.1), format!("{}={}", name.to_lowercase(), last.1)])
    });
    proxies.flatten().collect()
}

fn network(stage: &StageLowering<'_, '_>, run: &Run) -> Result<Network, PlanError> {
    let build = stage.input().options.network;
    let Some(mode) = &run.network else { return Ok(build) };
    match parse_network(&mode.value).map_err(|kind| stage.error(kind))? {
        Network::Default => Ok(build),
        chosen @ (Network::None | Network::Host) => Ok(chosen),
    }
}

fn hostname(stage: &StageLowering<'_, '_>) -> String {
    let input = stage.input();
    let argument = input.build_args.get("BUILDKIT_SANDBOX_HOSTNAME").filter(|name| !name.is_empty());
    let chosen = input.options.hostname.as_ref().or(argument);
    chosen.map_or(DEFAULT_HOSTNAME, String::as_str).to_owned()
}
