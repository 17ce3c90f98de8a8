//! What a caller asks for when it makes a container.

use super::{process::Retention, recorded_limits};
use rbuild_cache::{
    ContainerInput, ContainerLog, ContainerMount, ContainerNetwork, ContainerSettings, ContainerStreams,
    PrivilegeOptions,
};
use rbuild_executor::{FirstProcess, Limits};
use rbuild_oci::{ContainerConfig, ImagePath, Platform};
use rbuild_planner::{Access, Network};
use std::path::PathBuf;

/// `run`.
#[derive(Clone, Debug)]
pub struct ContainerRequest {
    /// The image: a reference or an id.
    pub image: String,
    /// `--platform`; of an image for several platforms the one for this machine when absent.
    pub platform: Option<Platform>,
    /// `--name`; made up when absent.
    pub name: Option<String>,
    /// Arguments after the image; replace its CMD.
    pub command: Vec<String>,
    /// `--entrypoint`; replaces its ENTRYPOINT and CMD.
    pub entrypoint: Option<Vec<String>>,
    /// `--env`, `NAME=value`.
    pub env: Vec<String>,
    /// `--workdir`.
    pub workdir: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// `--volume HOST:PATH`.
    pub volumes: Vec<Volume>,
    /// `--hostname`; the short id when absent.
    pub hostname: Option<String>,
    /// `--network`.
    pub network: Network,
    /// `--privileged`, `--cap-add`, `--cap-drop` and `--security-opt`.
    pub privileges: PrivilegeOptions,
    /// `--memory`, `--ulimit` and their like.
    pub limits: Limits,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--tty`.
    pub terminal: Terminal,
    /// `--interactive`.
    pub stdin: ContainerStdio,
    /// `--rm`.
    pub retention: Retention,
    /// `--label`.
    pub labels: Vec<(String, String)>,
    /// `--stop-signal`.
    pub stop_signal: Option<String>,
    /// `--stop-timeout`, in seconds.
    pub stop_timeout: Option<i64>,
    /// `--init`.
    pub first: FirstProcess,
    /// `--log-driver` and `--log-opt`.
    pub log: ContainerLog,
}

/// A directory or file of the host, shown in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// On the host, absolute.
    pub host: PathBuf,
    /// In the container.
    pub target: ImagePath,
    /// May it be written to?
    pub access: Access,
}

/// The choice between a terminal and plain streams for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Its streams are the caller's.
    None,
    /// A new pseudo-terminal of this size; its master side is [`RunningContainer::terminal`].
    ///
    /// [`RunningContainer::terminal`]: super::RunningContainer::terminal
    Pty {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
}

/// The standard input of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerStdio {
    /// Nothing: `/dev/null`.
    Null,
    /// The caller's standard input.
    Inherit,
    /// What those send who are attached to it; it stays open when they go.
    Open,
}

impl ContainerRequest {
    /// What a container of `platform` is started with each time.
    pub(super) fn settings(&self, platform: &Platform) -> ContainerSettings {
        ContainerSettings {
            platform: platform.clone(),
            hostname: self.hostname.clone(),
            network: match self.network {
                Network::Default => ContainerNetwork::Default,
                Network::Host => ContainerNetwork::Host,
                Network::None => ContainerNetwork::None,
            },
            streams: match self.terminal {
                Terminal::None => ContainerStreams::Pipes,
                Terminal::Pty { .. } => ContainerStreams::Terminal,
            },
            input: match self.stdin {
                ContainerStdio::Null => ContainerInput::None,
                ContainerStdio::Inherit => ContainerInput::Once,
                ContainerStdio::Open => ContainerInput::Open,
            },
            mounts: self.volumes.iter().map(Volume::recorded).collect(),
            stop_timeout: self.stop_timeout,
            init: self.first == FirstProcess::Init,
            log: self.log,
            limits: recorded_limits::to_record(&self.limits),
            privileges: self.privileges.clone(),
            shm_size: self.shm_size,
        }
    }

    /// An image's config with what the request changes.
    pub(super) fn applied(&self, mut config: ContainerConfig) -> ContainerConfig {
        if let Some(entrypoint) = &self.entrypoint {
            config.entrypoint = Some(entrypoint.clone());
            (config.cmd, config.args_escaped) = (None, false);
        }
        if !self.command.is_empty() {
            // the mark says how the image's command was written
            (config.cmd, config.args_escaped) = (Some(self.command.clone()), false);
        }
        for pair in &self.env {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            config.set_env(name, value);
        }
        if let Some(workdir) = &self.workdir {
            config.working_dir.clone_from(workdir);
        }
        if let Some(user) = &self.user {
            config.user.clone_from(user);
        }
        if let Some(signal) = &self.stop_signal {
            config.stop_signal.clone_from(signal);
        }
        config.labels.extend(self.labels.iter().cloned());
        config
    }
}

impl Volume {
    fn recorded(&self) -> ContainerMount {
        ContainerMount {
            source: self.host.clone(),
            target: self.target.to_string(),
            read_only: self.access == Access::ReadOnly,
        }
    }
}
