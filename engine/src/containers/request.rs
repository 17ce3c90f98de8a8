//! What a caller asks for when it makes a container.

use super::{process::Retention, recorded_limits};
use rbuild_cache::{
    ContainerInput, ContainerLog, ContainerMount, ContainerNames, ContainerNetwork, ContainerSettings,
    ContainerStreams, MountOrigin, MountedFrom, PrivilegeOptions, ProcessOptions, PublishedPort, VolumeName,
};
use rbuild_executor::{FirstProcess, Limits};
use rbuild_oci::{ContainerConfig, Empty, Healthcheck, ImagePath, Platform};
use rbuild_planner::Access;
use std::{collections::BTreeMap, path::PathBuf};

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
    /// `--volume`, `--mount` and `--tmpfs`.
    pub mounts: Vec<MountRequest>,
    /// `--volume PATH`: places of volumes that go with the container.
    pub anonymous_volumes: Vec<ImagePath>,
    /// `--volumes-from`.
    pub volumes_from: Vec<VolumesFrom>,
    /// `--hostname`; the short id when absent.
    pub hostname: Option<String>,
    /// `--network`.
    pub network: ContainerNetwork,
    /// `--publish`.
    pub published: Vec<PublishedPort>,
    /// `--publish-all`.
    pub unnamed_ports: UnnamedPorts,
    /// `--expose`: `PORT/PROTOCOL`.
    pub exposed: Vec<String>,
    /// `--add-host`, `--dns` and its kin.
    pub names: ContainerNames,
    /// `--privileged`, `--cap-add`, `--cap-drop` and `--security-opt`.
    pub privileges: PrivilegeOptions,
    /// `--group-add`, `--sysctl` and their like.
    pub process: ProcessOptions,
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
    /// True if the caller is to stay with it.
    pub attached: bool,
    /// `--cidfile`, which the caller writes.
    pub id_file: Option<PathBuf>,
    /// `--label`.
    pub labels: Vec<(String, String)>,
    /// `--stop-signal`.
    pub stop_signal: Option<String>,
    /// `--stop-timeout`, in seconds.
    pub stop_timeout: Option<i64>,
    /// `--read-only`: access to its own files.
    pub root_access: Access,
    /// `--init`.
    pub first: FirstProcess,
    /// `--log-driver` and `--log-opt`.
    pub log: ContainerLog,
    /// `--health-cmd` and its like, `--no-healthcheck`; what is not said in it is as in the image.
    pub health: Option<Healthcheck>,
}

/// The choice of publishing ports that an image exposes and nobody has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnnamedPorts {
    /// They are.
    Published,
    /// They are not.
    Closed,
}

/// Something that a container is to see beside its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// What it shows.
    pub source: RequestedSource,
    /// In the container.
    pub target: ImagePath,
    /// May it be written to?
    pub access: Access,
    /// The options as they were written, for `inspect`.
    pub options: String,
    /// The flag that asks for it.
    pub origin: MountOrigin,
}

/// What a mount is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedSource {
    /// A volume, which is made when it is not there.
    Volume {
        /// Its name; a new one when absent.
        name: Option<VolumeName>,
        /// What it begins with.
        files: FirstFiles,
        /// A directory or file in it, in its place.
        subpath: Option<String>,
        /// The labels of a new one.
        labels: BTreeMap<String, String>,
    },
    /// What is recorded as it is: a path of the host, memory.
    Other(MountedFrom),
}

/// What a volume that is made begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstFiles {
    /// The files that the image has at its place.
    OfImage,
    /// Nothing.
    None,
}

/// Another container whose mounts a container is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumesFrom {
    /// Its name or id.
    pub container: String,
    /// May they be written to, where that container may?
    pub access: Access,
    /// The flag as it was written, for `inspect`.
    pub text: String,
}

impl MountRequest {
    /// A volume without a name, which begins with what the image has there.
    pub(super) fn anonymous(target: ImagePath) -> Self {
        Self {
            source: RequestedSource::Volume {
                name: None,
                files: FirstFiles::OfImage,
                subpath: None,
                labels: BTreeMap::new(),
            },
            target,
            access: Access::ReadWrite,
            options: String::new(),
            origin: MountOrigin::Usual,
        }
    }
}

/// The choice between a terminal and plain streams for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Its streams are the caller's.
    None,
    /// A new pseudo-terminal of this size.
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
    pub(super) fn settings(&self, platform: &Platform, mounts: Vec<ContainerMount>) -> ContainerSettings {
        ContainerSettings {
            platform: platform.clone(),
            hostname: self.hostname.clone(),
            network: self.network.clone(),
            network_owner: match &self.network {
                ContainerNetwork::Container(name) => Some(name.clone()),
                ContainerNetwork::Private
                | ContainerNetwork::Host
                | ContainerNetwork::None
                | ContainerNetwork::Named(_) => None,
            },
            published: self.published.clone(),
            publish_all: self.unnamed_ports == UnnamedPorts::Published,
            names: self.names.clone(),
            streams: match self.terminal {
                Terminal::None => ContainerStreams::Pipes,
                Terminal::Pty { .. } => ContainerStreams::Terminal,
            },
            input: match self.stdin {
                ContainerStdio::Null => ContainerInput::None,
                ContainerStdio::Inherit => ContainerInput::Once,
                ContainerStdio::Open => ContainerInput::Open,
            },
            mounts,
            volumes_from: self.volumes_from.iter().map(|from| from.text.clone()).collect(),
            stop_timeout: self.stop_timeout,
            init: self.first == FirstProcess::Init,
            read_only: self.root_access == Access::ReadOnly,
            log: self.log,
            attached: self.attached,
            id_file: self.id_file.clone(),
            limits: recorded_limits::to_record(&self.limits),
            privileges: self.privileges.clone(),
            process: self.process.clone(),
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
        if let Some(health) = &self.health {
            config.healthcheck = Some(merged(health, config.healthcheck.unwrap_or_default()));
        }
        config.volumes.extend(self.anonymous_volumes.iter().map(|path| (path.to_string(), Empty {})));
        let published = self.published.iter().map(|port| format!("{}/{}", port.container, port.protocol));
        let exposed = self.exposed.iter().cloned().chain(published);
        config.exposed_ports.extend(exposed.map(|port| (port, Empty {})));
        config.labels.extend(self.labels.iter().cloned());
        config
    }
}

/// `own`, and where it says nothing `inherited`.
fn merged(own: &Healthcheck, inherited: Healthcheck) -> Healthcheck {
    let time = |own, inherited| if own == 0 { inherited } else { own };
    Healthcheck {
        test: if own.test.is_empty() { inherited.test } else { own.test.clone() },
        interval: time(own.interval, inherited.interval),
        timeout: time(own.timeout, inherited.timeout),
        start_period: time(own.start_period, inherited.start_period),
        start_interval: time(own.start_interval, inherited.start_interval),
        retries: time(own.retries, inherited.retries),
    }
}
