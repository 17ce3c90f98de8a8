//! Instructions that only change the config and the variables.

use super::findings;
use crate::history::{go_duration, go_quote, go_quote_all, go_quote_rune};
use crate::plan::{ArgumentOrigin, PlannedArgument};
use crate::stage_lowering::StageLowering;
use crate::{PlanError, PlanErrorKind};
use rbuild_oci::{Empty, Healthcheck as HealthConfig};
use rbuild_parser::{ArgDeclaration, CommandLine, Healthcheck, Pairs, Word};

pub(super) fn arg(stage: &mut StageLowering<'_, '_>, args: &[ArgDeclaration]) -> Result<(), PlanError> {
    let mut created_by = "ARG".to_owned();
    for arg in args {
        let name = arg.name.value.as_str();
        findings::secret(stage, "ARG", name);
        let value = match (stage.input().build_args.get(name), &arg.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(stage.expand(&default.value)?),
            (None, None) => stage.input().globals.env.get(name).map(str::to_owned),
        };
        let is_given = arg.default.is_some() || stage.input().build_args.contains_key(name);
        let origin = match value.is_none() || is_given {
            true => ArgumentOrigin::Itself,
            false => ArgumentOrigin::Global,
        };
        stage.arguments.push(PlannedArgument {
            name: name.to_owned(),
            value: value.clone(),
            origin,
            needs: Vec::new(),
            lines: stage.lines(),
        });
        created_by.push(' ');
        created_by.push_str(name);
        if let Some(value) = &value {
            created_by.push('=');
            created_by.push_str(value);
            if !steers_frontend(name) {
                stage.state.set_arg(name, value);
            }
        }
        stage.state.args.set(name, value.map(Into::into));
    }
    stage.record(created_by);
    Ok(())
}

/// Arguments that speak to the builder and never reach a command.
fn steers_frontend(name: &str) -> bool {
    matches!(name, "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE")
}

/// Expands every pair in the environment before the instruction.
fn expand_pairs(
    stage: &mut StageLowering<'_, '_>,
    pairs: &Pairs,
) -> Result<Vec<(String, String)>, PlanError> {
    pairs
        .pairs
        .iter()
        .map(|(key, value)| Ok((stage.expand(&key.value)?, stage.expand(&value.value)?)))
        .collect()
}

fn pairs_text(instruction: &str, pairs: &[(String, String)]) -> String {
    let mut text = instruction.to_owned();
    for (key, value) in pairs {
        text.extend([" ", key, "=", value]);
    }
    text
}

pub(super) fn env(stage: &mut StageLowering<'_, '_>, pairs: &Pairs) -> Result<(), PlanError> {
    let form = pairs.form;
    let pairs = expand_pairs(stage, pairs)?;
    findings::pairs_form(stage, form);
    for (key, value) in &pairs {
        findings::secret(stage, "ENV", key);
        stage.state.set_env(key, value);
    }
    stage.record(pairs_text("ENV", &pairs));
    Ok(())
}

pub(super) fn label(stage: &mut StageLowering<'_, '_>, pairs: &Pairs) -> Result<(), PlanError> {
    let form = pairs.form;
    let pairs = expand_pairs(stage, pairs)?;
    findings::pairs_form(stage, form);
    stage.record(pairs_text("LABEL", &pairs));
    for (key, value) in pairs {
        stage.state.labels.set(&key, value.into());
    }
    Ok(())
}

pub(super) fn cmd(stage: &mut StageLowering<'_, '_>, command: &CommandLine) -> Result<(), PlanError> {
    findings::only_once(stage, |once| &mut once.cmd);
    let argv = command_argv(stage, command);
    stage.record(format!("CMD {}", go_quote_all(&argv)));
    let config = &mut stage.state.config.config;
    config.cmd = Some(argv);
    // a Windows matter, but Docker sets it everywhere
    config.args_escaped = true;
    Ok(())
}

pub(super) fn entrypoint(stage: &mut StageLowering<'_, '_>, command: &CommandLine) -> Result<(), PlanError> {
    findings::only_once(stage, |once| &mut once.entrypoint);
    let argv = command_argv(stage, command);
    stage.record(format!("ENTRYPOINT {}", go_quote_all(&argv)));
    let config = &mut stage.state.config.config;
    config.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
    if stage.once.cmd.is_none() {
        config.cmd = None;
    }
    Ok(())
}

fn command_argv(stage: &mut StageLowering<'_, '_>, command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Exec(argv) => argv.clone(),
        CommandLine::Shell(text) => {
            if stage.state.config.config.shell.is_empty() {
                findings::shell_form(stage);
            }
            shell_argv(stage, &text.value)
        }
    }
}

/// The stage's shell with `text` as its last argument.
pub(super) fn shell_argv(stage: &StageLowering<'_, '_>, text: &str) -> Vec<String> {
    let config = &stage.state.config;
    let mut argv = if !config.config.shell.is_empty() {
        config.config.shell.clone()
    } else if config.os == "windows" {
        ["cmd", "/S", "/C"].map(str::to_owned).to_vec()
    } else {
        ["/bin/sh", "-c"].map(str::to_owned).to_vec()
    };
    argv.push(text.to_owned());
    argv
}

pub(super) fn healthcheck(stage: &mut StageLowering<'_, '_>, check: &Healthcheck) -> Result<(), PlanError> {
    findings::only_once(stage, |once| &mut once.healthcheck);
    let config = match check {
        Healthcheck::None => HealthConfig { test: vec!["NONE".to_owned()], ..HealthConfig::default() },
        Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries } => {
            let test = match command {
                CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.value.clone()],
                CommandLine::Exec(argv) => {
                    std::iter::once("CMD".to_owned()).chain(argv.iter().cloned()).collect()
                }
            };
            HealthConfig {
                test,
                interval: *interval,
                timeout: *timeout,
                start_period: *start_period,
                start_interval: *start_interval,
                retries: *retries,
            }
        }
    };
    let times = [config.interval, config.timeout, config.start_period, config.start_interval];
    stage.record(format!(
        "HEALTHCHECK &{{{} {} {}}}",
        go_quote_all(&config.test),
        times.map(|time| go_quote(&go_duration(time))).join(" "),
        go_quote_rune(config.retries)
    ));
    stage.state.config.config.healthcheck = Some(config);
    Ok(())
}

pub(super) fn maintainer(stage: &mut StageLowering<'_, '_>, author: &Word) -> Result<(), PlanError> {
    stage.state.config.author.clone_from(&author.value);
    stage.record(format!("MAINTAINER {}", author.value));
    Ok(())
}

pub(super) fn shell(stage: &mut StageLowering<'_, '_>, shell: &[String]) -> Result<(), PlanError> {
    stage.state.config.config.shell = shell.to_vec();
    stage.record(format!("SHELL [{}]", shell.join(" ")));
    Ok(())
}

pub(super) fn user(stage: &mut StageLowering<'_, '_>, user: &Word) -> Result<(), PlanError> {
    let user = stage.expand(&user.value)?;
    stage.record(format!("USER {user}"));
    stage.state.config.config.user = user;
    Ok(())
}

pub(super) fn volume(stage: &mut StageLowering<'_, '_>, paths: &[Word]) -> Result<(), PlanError> {
    let mut volumes = Vec::with_capacity(paths.len());
    for path in paths {
        let path = stage.expand(path.value.trim())?;
        if path.is_empty() {
            return Err(stage.error(PlanErrorKind::EmptyVolume));
        }
        volumes.push(path);
    }
    stage.record(format!("VOLUME [{}]", volumes.join(" ")));
    stage.state.config.config.volumes.extend(volumes.into_iter().map(|path| (path, Empty {})));
    Ok(())
}

pub(super) fn stopsignal(stage: &mut StageLowering<'_, '_>, signal: &Word) -> Result<(), PlanError> {
    let signal = stage.expand(&signal.value)?;
    if !is_signal(&signal) {
        return Err(stage.error(PlanErrorKind::Signal(signal)));
    }
    stage.record(format!("STOPSIGNAL {signal}"));
    stage.state.config.config.stop_signal = signal;
    Ok(())
}

/// A number other than zero, or a Linux signal's name, with or without `SIG`, in any case.
fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 36] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
        "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
        "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
    ];
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let distance = |start: &str, most: u8| {
        let digits = name.strip_prefix(start)?;
        let number: u8 = digits.parse().ok()?;
        Some(!digits.starts_with(['0', '+']) && number <= most)
    };
    NAMES.contains(&name) || distance("RTMIN+", 15).or_else(|| distance("RTMAX-", 14)).unwrap_or(false)
}
