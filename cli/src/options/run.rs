//! What a `run` line means.

use super::{
    Certificates, DetachKeys, NetworkOptions, default_platform, health, label, limits, log, mounts::Mounts,
    pairs, process, security, size,
};
use crate::{
    args::{ContainerArgs, RunArgs},
    environment::Environment,
    error::UsageError,
};
use rbuild::{
    Access, ContainerLog, ContainerNetwork, ContainerStdio, FirstProcess, Healthcheck, Limits, Platform,
    PrivilegeOptions, ProcessOptions, Retention, parse_signal,
};
use std::path::PathBuf;

/// One container to be run. What it needs of the terminal is asked when it starts.
#[derive(Clone, Debug)]
pub(crate) struct RunOptions {
    /// The image's name.
    pub(crate) image: String,
    /// `--platform`.
    pub(crate) platform: Option<Platform>,
    /// The command instead of the image's; empty for the image's.
    pub(crate) command: Vec<String>,
    /// `--name`.
    pub(crate) name: Option<String>,
    /// `--entrypoint`; an empty list takes the image's away.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// `NAME=VALUE`, files first.
    pub(crate) env: Vec<String>,
    /// Files to read further variables from.
    pub(crate) env_files: Vec<PathBuf>,
    /// `--workdir`.
    pub(crate) workdir: Option<String>,
    /// `--user`.
    pub(crate) user: Option<String>,
    /// `--volume`, `--mount`, `--tmpfs` and `--volumes-from`; paths of the host may still be relative.
    pub(crate) mounts: Mounts,
    /// `--hostname`.
    pub(crate) hostname: Option<String>,
    /// `--network`, `--publish`, `--dns` and their kin.
    pub(crate) network: NetworkOptions,
    /// The choice of giving the container a terminal.
    pub(crate) terminal: TerminalUse,
    /// The choice of letting the container read rbuild's standard input.
    pub(crate) stdin: ContainerStdio,
    /// `--privileged`, `--cap-add` and their like.
    pub(crate) privileges: PrivilegeOptions,
    /// `--group-add`, `--sysctl` and their like.
    pub(crate) process: ProcessOptions,
    /// `--memory`, `--ulimit` and their like.
    pub(crate) limits: Limits,
    /// `--shm-size`.
    pub(crate) shm_size: Option<u64>,
    /// The fate of the container when it has ended.
    pub(crate) retention: Retention,
    /// When to fetch the image.
    pub(crate) pull: PullWhen,
    /// `--quiet`: the choice of saying nothing of that.
    pub(crate) quiet: bool,
    /// `--tls-verify`.
    pub(crate) certificates: Certificates,
    /// `--label`s.
    pub(crate) labels: Vec<(String, String)>,
    /// Files to read further labels from.
    pub(crate) label_files: Vec<PathBuf>,
    /// `--stop-signal`.
    pub(crate) stop_signal: Option<String>,
    /// `--stop-timeout`.
    pub(crate) stop_timeout: Option<i64>,
    /// `--read-only`.
    pub(crate) root_access: Access,
    /// `--init`.
    pub(crate) first: FirstProcess,
    /// `--log-driver` and `--log-opt`s.
    pub(crate) log: ContainerLog,
    /// `--health-cmd` and its like, `--no-healthcheck`.
    pub(crate) health: Option<Healthcheck>,
    /// `--cidfile`.
    pub(crate) cidfile: Option<PathBuf>,
}

/// What the caller of `run` does while the container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foreground {
    /// It leaves it alone (`-d`).
    Leaves,
    /// It stays until these keys are typed, and passes signals on if that is true.
    Stays(DetachKeys, bool),
}

impl Foreground {
    /// Settles what `args` means.
    ///
    /// # Errors
    /// [`UsageError`].
    pub(crate) fn new(args: &RunArgs) -> Result<Self, UsageError> {
        let keys = DetachKeys::parse(args.detach_keys.as_deref())?;
        if args.detach && !args.container.process.attach.is_empty() {
            return Err(UsageError::new("conflicting options: cannot specify both --attach and --detach"));
        }
        Ok(if args.detach { Self::Leaves } else { Self::Stays(keys, args.sig_proxy) })
    }
}

/// The choice of giving the container a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TerminalUse {
    /// One of its own (`-t`).
    Own,
    /// None.
    None,
}

/// When to fetch the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullWhen {
    /// When the store has none.
    Missing,
    /// Every time.
    Always,
    /// Not at all.
    Never,
}

impl RunOptions {
    /// Settles what `args` means.
    ///
    /// # Errors
    /// [`UsageError`] in Docker's words.
    pub(crate) fn new(args: ContainerArgs, environment: &Environment) -> Result<Self, UsageError> {
        never_restarted(args.restart.as_deref())?;
        process::check(&args.unmet)?;
        limits::within(environment.processors, &args.limits)?;
        let hostname = args.hostname.filter(|name| !name.is_empty());
        let network = NetworkOptions::new(&args.network, hostname.as_deref())?;
        let has_network = matches!(network.network, ContainerNetwork::Private | ContainerNetwork::None);
        let process = process::process(&args.process, has_network)?;
        args.env.iter().try_for_each(|text| variable(text))?;
        let env = pairs(&args.env, environment).into_iter().map(|(name, value)| format!("{name}={value}"));
        Ok(Self {
            platform: default_platform(args.platform.as_deref(), environment)?,
            image: args.image,
            command: args.command,
            name: args.name.filter(|text| !text.is_empty()).map(container_name).transpose()?,
            entrypoint: args.entrypoint.map(|word| if word.is_empty() { Vec::new() } else { vec![word] }),
            env: env.collect(),
            env_files: args.env_file,
            workdir: args.workdir.filter(|text| !text.is_empty()).map(workdir).transpose()?,
            user: args.user,
            mounts: Mounts::new(&args.mounts)?,
            hostname,
            network,
            privileges: PrivilegeOptions {
                privileged: args.privileged,
                devices: security::devices(&args.device)?,
                ..security::privileges(&args.security)?
            },
            process,
            limits: limits::limits(&args.limits, &[])?,
            shm_size: args.shm_size.as_deref().map(|text| size::bytes("shm-size", text)).transpose()?,
            terminal: if args.tty { TerminalUse::Own } else { TerminalUse::None },
            stdin: if args.interactive { ContainerStdio::Inherit } else { ContainerStdio::Null },
            retention: if args.rm { Retention::Remove } else { Retention::Keep },
            pull: pull(&args.pull)?,
            quiet: args.quiet,
            certificates: Certificates::from_flag(args.tls_verify),
            labels: args.label.iter().map(|text| label(text)).collect::<Result<_, _>>()?,
            label_files: args.label_file,
            stop_signal: args.stop_signal.map(stop_signal).transpose()?,
            stop_timeout: args.stop_timeout,
            root_access: if args.read_only { Access::ReadOnly } else { Access::ReadWrite },
            first: if args.init { FirstProcess::Init } else { FirstProcess::Command },
            health: health::health(&args.health)?,
            log: log::log(args.log_driver.as_deref(), &args.log_opt)?,
            cidfile: args.cidfile.filter(|path| !path.as_os_str().is_empty()),
        })
    }
}

/// Checks `NAME=VALUE` or `NAME`.
pub(crate) fn variable(text: &str) -> Result<(), UsageError> {
    if !text.is_empty() && !text.starts_with('=') {
        return Ok(());
    }
    Err(UsageError::new(format!(
        "invalid argument {text:?} for \"-e, --env\" flag: invalid environment variable: {text}"
    )))
}

/// Checks the name for a container.
pub(crate) fn container_name(name: String) -> Result<String, UsageError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good) {
        return Ok(name);
    }
    Err(UsageError::refused(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// Checks `--restart`.
pub(crate) fn never_restarted(policy: Option<&str>) -> Result<(), UsageError> {
    let policy = policy.unwrap_or_default();
    let (name, count) = policy.split_once(':').map_or((policy, None), |(name, count)| (name, Some(count)));
    let message = match (name, count) {
        ("" | "no", None) => return Ok(()),
        ("always" | "unless-stopped", None) | ("on-failure", _) => format!(
            "--restart {policy} is not supported: nothing runs that would start a container again; let a service of the machine run \
             'rbuild start -a NAME', which ends with the container and its exit code, so that the service can be restarted"
        ),
        ("" | "no" | "always" | "unless-stopped", Some(_)) => {
            "invalid restart policy: maximum retry count can only be used with 'on-failure'".to_owned()
        }
        (other, _) => format!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ),
    };
    Err(UsageError::refused(message))
}

fn stop_signal(text: String) -> Result<String, UsageError> {
    match parse_signal(&text) {
        Some(_) => Ok(text),
        None => Err(UsageError::refused(format!("invalid signal: {text}"))),
    }
}

fn workdir(path: String) -> Result<String, UsageError> {
    if path.starts_with('/') {
        return Ok(path);
    }
    Err(UsageError::refused(format!(
        "the working directory '{path}' is invalid, it needs to be an absolute path"
    )))
}

fn pull(when: &str) -> Result<PullWhen, UsageError> {
    match when {
        "" | "missing" => Ok(PullWhen::Missing),
        "always" => Ok(PullWhen::Always),
        "never" => Ok(PullWhen::Never),
        other => Err(UsageError::new(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        args::{Cli, Command, Later, complete},
        environment::User,
    };
    use clap::{CommandFactory, Parser};

    fn options(line: &str) -> Result<RunOptions, String> {
        let words = complete(line.split(' ').map(Into::into).collect(), &Cli::command(), |_| false);
        let Command::Run(Later(args)) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not a run")
        };
        RunOptions::new(args.container, &Environment::of(&[("HERE", "yes")], User::Root))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_becomes_a_container() {
        let run =
            options("rbuild run -it --rm -e A=1 -e HERE -e GONE -v /h:/c:ro -w /w img sh -c ls").unwrap();
        assert_eq!((run.image.as_str(), run.command.join(" ").as_str()), ("img", "sh -c ls"));
        assert_eq!(run.env, ["A=1", "HERE=yes"]);
        assert_eq!(run.mounts.mounts[0].target.as_str(), "/c");
        assert_eq!((run.terminal, run.stdin), (TerminalUse::Own, ContainerStdio::Inherit));
        assert_eq!(run.retention, Retention::Remove);
        let run = options("rbuild run --entrypoint= --name= --workdir= --platform= --pull= img").unwrap();
        assert_eq!((run.entrypoint, run.name, run.workdir), (Some(Vec::new()), None, None));
    }

    #[test]
    fn mistakes_name_what_is_wrong() {
        for (line, message) in [
            ("rbuild run --log-driver syslog img", "--log-driver syslog is not supported yet"),
            ("rbuild run --stop-signal x img", "invalid signal: x"),
            (
                "rbuild run --restart always img",
                "--restart always is not supported: nothing runs that would start a container again; let a service of the machine run \
                 'rbuild start -a NAME', which ends with the container and its exit code, so that the service can be restarted",
            ),
            ("rbuild run -l = img", "invalid label format: \"=\""),
            ("rbuild run -w x img", "the working directory 'x' is invalid, it needs to be an absolute path"),
            (
                "rbuild run --network mine --network host img",
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            ),
            (
                "rbuild run --network-alias web img",
                "network-scoped aliases are only supported for user-defined networks",
            ),
            (
                "rbuild run --network host --ip 10.89.0.2 img",
                "user specified IP address is supported on user defined networks only",
            ),
            ("rbuild run --network container: img", "invalid container format container:<name|id>"),
            (
                "rbuild run --network container:a --hostname b img",
                "conflicting options: hostname and the network mode",
            ),
            (
                "rbuild run --network container:a -p 80 img",
                "conflicting options: port publishing and the network mode",
            ),
            ("rbuild run -p x:80 img", "invalid hostPort: x"),
            ("rbuild run --dns here img", "invalid name server \"here\": give its address"),
            ("rbuild run --add-host a:b img", "invalid IP address in add-host: \"b\""),
            ("rbuild run --network= img", "no name set for network"),
            (
                "rbuild run -e =x img",
                "invalid argument \"=x\" for \"-e, --env\" flag: invalid environment variable: =x",
            ),
        ] {
            assert_eq!(options(line).unwrap_err(), message);
        }
    }
}
