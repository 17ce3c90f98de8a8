//! The `Config` object of `inspect`.

use rbuild::{Container, ContainerConfig, ContainerInput, Empty, Healthcheck};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The settings a container runs with: every field, in Docker's alphabetical order. A field that is not set is null or empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// Windows only, but Docker sets it for every CMD.
    pub args_escaped: bool,
    /// The default command or arguments.
    pub cmd: Option<Vec<String>>,
    /// The program to start.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=value`.
    pub env: Option<Vec<String>>,
    /// `port/proto`.
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    /// How to find out whether a container is healthy.
    pub healthcheck: Option<Healthcheck>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Triggers for images built from this one.
    pub on_build: Option<Vec<String>>,
    /// The shell of shell-form instructions.
    pub shell: Option<Vec<String>>,
    /// Signal number or name.
    pub stop_signal: String,
    /// User as written.
    pub user: String,
    /// Paths that hold volumes.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Where commands start.
    pub working_dir: String,
    /// What only containers have.
    #[serde(flatten)]
    pub container: Option<ContainerPart>,
}

/// What the config of a container has beside that of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerPart {
    /// The image as it was asked for.
    pub image: String,
    /// Its host name.
    pub hostname: String,
    /// The name of its domain.
    pub domainname: String,
    /// True if the one who made it is to type into it.
    pub attach_stdin: bool,
    /// True if the one who made it is to see what it writes.
    pub attach_stdout: bool,
    /// The same of what goes wrong.
    pub attach_stderr: bool,
    /// True if it has a terminal.
    pub tty: bool,
    /// True if something can be typed into it.
    pub open_stdin: bool,
    /// True if its input ends with the first one who types.
    pub stdin_once: bool,
    /// Seconds between the signal that asks it to stop and the one that makes it.
    pub stop_timeout: Option<i64>,
}

impl From<&Container> for ContainerPart {
    fn from(container: &Container) -> Self {
        let settings = container.settings.as_ref();
        let input = settings.map(|settings| settings.input).unwrap_or_default();
        let hostname = settings.and_then(|settings| settings.hostname.clone());
        let is_attached = settings.is_some_and(|settings| settings.attached);
        let short_id = || container.id.chars().take(12).collect();
        Self {
            image: container.image.clone(),
            hostname: hostname.unwrap_or_else(short_id),
            domainname: settings.and_then(|settings| settings.process.domain.clone()).unwrap_or_default(),
            attach_stdin: input == ContainerInput::Once,
            attach_stdout: is_attached,
            attach_stderr: is_attached,
            tty: container.has_terminal(),
            open_stdin: input != ContainerInput::None,
            stdin_once: input == ContainerInput::Once,
            stop_timeout: settings.and_then(|settings| settings.stop_timeout),
        }
    }
}

impl From<&ContainerConfig> for Config {
    fn from(config: &ContainerConfig) -> Self {
        let filled = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
        let members = |set: &BTreeMap<String, Empty>| Some(set.clone()).filter(|set| !set.is_empty());
        Self {
            args_escaped: config.args_escaped,
            cmd: config.cmd.as_ref().and_then(filled),
            entrypoint: config.entrypoint.as_ref().and_then(filled),
            env: filled(&config.env),
            exposed_ports: members(&config.exposed_ports),
            healthcheck: config.healthcheck.clone(),
            labels: Some(config.labels.clone()).filter(|labels| !labels.is_empty()),
            on_build: filled(&config.on_build),
            shell: filled(&config.shell),
            stop_signal: config.stop_signal.clone(),
            user: config.user.clone(),
            volumes: members(&config.volumes),
            working_dir: config.working_dir.clone(),
            container: None,
        }
    }
}

/// Takes out of a `Config` what Docker leaves out when it is not set.
pub(crate) fn without_unset(config: &mut Value) {
    const ALWAYS: [&str; 17] = [
        "AttachStderr",
        "AttachStdin",
        "AttachStdout",
        "Cmd",
        "Domainname",
        "Entrypoint",
        "Env",
        "Hostname",
        "Image",
        "Labels",
        "OnBuild",
        "OpenStdin",
        "StdinOnce",
        "Tty",
        "User",
        "Volumes",
        "WorkingDir",
    ];
    let unset = |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || value == "";
    if let Some(fields) = config.as_object_mut() {
        *fields = std::mem::take(fields)
            .into_iter()
            .filter(|(name, value)| ALWAYS.contains(&name.as_str()) || !unset(value))
            .collect::<Map<_, _>>();
    }
}
