//! The description of a failed RUN: what is needed to run another command in its place. Proxies are not in it, since their addresses
//! may hold passwords, and no secrets.

use crate::{Error, build::results::Inputs, lookup::source_files::MOUNTED};
use rbuild_cache::{LayerId, PrivilegeOptions, StepHash};
use rbuild_executor::NameOptions;
use rbuild_oci::{ImagePath, Platform};
use rbuild_planner::{
    Access, DeviceRequest, Env, Filesystem, Mount, MountKind, Network, RunAction, Security, Sharing,
};
use serde::{Deserialize, Serialize};

/// The version of the form. Another one is not read.
const VERSION: u32 = 1;

/// A failed RUN.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FailedStep {
    version: u32,
    pub(super) argv: Vec<String>,
    pub(super) shell: String,
    env: Vec<String>,
    directory: String,
    user: String,
    hostname: String,
    network: String,
    insecure: bool,
    scripts: Vec<(String, String)>,
    pub(super) mounts: Vec<FailedMount>,
    /// Names of devices, and whether it could not do without.
    #[serde(default)]
    devices: Vec<(String, bool)>,
    /// The layers that it stood on, lowest first.
    pub(super) layers: Vec<LayerId>,
    pub(super) platform: String,
    add_hosts: Vec<(String, String)>,
    dns: Vec<String>,
    dns_search: Vec<String>,
    dns_options: Vec<String>,
    pub(super) shm_size: Option<u64>,
    #[serde(default)]
    pub(super) privileges: PrivilegeOptions,
    /// Files that are not kept, because they held a secret.
    pub(super) left_out: Vec<String>,
}

/// One of its mounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FailedMount {
    pub(super) target: String,
    pub(super) kind: FailedMountKind,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FailedMountKind {
    /// Files of a context, kept beside the step under this number, and in them the path.
    Kept {
        number: usize,
        path: String,
        read_only: bool,
    },
    /// Files of a stage or an image.
    Layers {
        layers: Vec<LayerId>,
        path: String,
        read_only: bool,
    },
    Cache {
        id: String,
        path: String,
        sharing: String,
        read_only: bool,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        /// Stands for the files that it began with.
        seed: Option<StepHash>,
    },
    Tmpfs {
        size: Option<u64>,
    },
    Secret {
        id: String,
        file: bool,
        env: Option<String>,
        required: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Ssh {
        id: String,
        required: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
}

/// What a step ran with, beside its action.
pub(super) struct Surroundings<'a> {
    pub(super) inputs: &'a Inputs,
    /// What its mounts showed, by their position.
    pub(super) seen: &'a [Option<StepHash>],
    pub(super) platform: &'a Platform,
    pub(super) names: &'a NameOptions,
    pub(super) shm_size: Option<u64>,
    pub(super) privileges: &'a PrivilegeOptions,
}

impl FailedStep {
    /// The description of `action`.
    ///
    /// # Errors
    /// When the files of a mount are not known.
    pub(super) fn of(action: &RunAction, around: &Surroundings<'_>) -> Result<Self, Error> {
        let mounts = action.mounts.iter().enumerate();
        Ok(Self {
            version: VERSION,
            argv: action.argv.clone(),
            shell: action.shell.clone(),
            env: action.env.pairs(),
            directory: action.cwd.to_string(),
            user: action.user.clone(),
            hostname: action.hostname.clone(),
            network: match action.network {
                Network::Default => "default",
                Network::None => "none",
                Network::Host => "host",
            }
            .to_owned(),
            insecure: action.security == Security::Insecure,
            scripts: action.scripts.clone(),
            mounts: mounts
                .map(|(number, mount)| FailedMount::of((number, mount), around))
                .collect::<Result<_, _>>()?,
            devices: action.devices.iter().map(|device| (device.name.clone(), device.required)).collect(),
            layers: around.inputs.parent.to_vec(),
            platform: around.platform.to_string(),
            add_hosts: around.names.add_hosts.clone(),
            dns: around.names.servers.clone(),
            dns_search: around.names.searches.clone(),
            dns_options: around.names.options.clone(),
            shm_size: around.shm_size,
            privileges: around.privileges.clone(),
            left_out: Vec::new(),
        })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a failed step is strings and numbers")
    }

    /// Reads a description; `None` if it is of another version.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().filter(|step: &Self| step.version == VERSION)
    }

    /// Its layers, and those of its mounts.
    pub(super) fn all_layers(&self) -> impl Iterator<Item = &LayerId> {
        let of_mounts = self.mounts.iter().flat_map(|mount| match &mount.kind {
            FailedMountKind::Layers { layers, .. } => layers.as_slice(),
            FailedMountKind::Kept { .. }
            | FailedMountKind::Cache { .. }
            | FailedMountKind::Tmpfs { .. }
            | FailedMountKind::Secret { .. }
            | FailedMountKind::Ssh { .. } => &[],
        });
        self.layers.iter().chain(of_mounts)
    }

    /// How names become addresses.
    pub(super) fn names(&self) -> NameOptions {
        NameOptions {
            add_hosts: self.add_hosts.clone(),
            servers: self.dns.clone(),
            searches: self.dns_search.clone(),
            options: self.dns_options.clone(),
        }
    }

    /// The same with another command.
    pub(super) fn action(&self, argv: Vec<String>, proxy_env: Vec<String>) -> RunAction {
        RunAction {
            argv,
            shell: self.shell.clone(),
            env: Env::of_pairs(&self.env),
            proxy_env,
            cwd: path(&self.directory),
            user: self.user.clone(),
            network: match self.network.as_str() {
                "none" => Network::None,
                "host" => Network::Host,
                _ => Network::Default,
            },
            security: if self.insecure { Security::Insecure } else { Security::Sandbox },
            mounts: self.mounts.iter().filter_map(FailedMount::of_person).collect(),
            devices: self
                .devices
                .iter()
                .map(|(name, required)| DeviceRequest { name: name.clone(), required: *required })
                .collect(),
            scripts: self.scripts.clone(),
            hostname: self.hostname.clone(),
        }
    }
}

impl FailedMount {
    fn of((number, mount): (usize, &Mount), around: &Surroundings<'_>) -> Result<Self, Error> {
        let kind = match &mount.kind {
            MountKind::Bind { from: Filesystem::Context | Filesystem::NamedContext(_), access, .. } => {
                // the file or directory itself is what the layer has of it
                let path = ImagePath::root().join(MOUNTED).to_string();
                FailedMountKind::Kept { number, path, read_only: is_read_only(*access) }
            }
            MountKind::Bind { from, source, access } => FailedMountKind::Layers {
                layers: match from {
                    Filesystem::Scratch => Vec::new(),
                    other => around.inputs.source(other)?.to_vec(),
                },
                path: source.to_string(),
                read_only: is_read_only(*access),
            },
            MountKind::Cache { id, from, source, sharing, access, mode, uid, gid } => {
                let own = *from == Filesystem::Scratch;
                FailedMountKind::Cache {
                    id: id.clone(),
                    path: if own { source.to_string() } else { ImagePath::root().to_string() },
                    sharing: match sharing {
                        Sharing::Shared => "shared",
                        Sharing::Private => "private",
                        Sharing::Locked => "locked",
                    }
                    .to_owned(),
                    read_only: is_read_only(*access),
                    mode: *mode,
                    uid: *uid,
                    gid: *gid,
                    seed: around.seen.get(number).copied().flatten().filter(|_| !own),
                }
            }
            MountKind::Tmpfs { size } => FailedMountKind::Tmpfs { size: *size },
            MountKind::Secret { id, file, env, required, mode, uid, gid } => FailedMountKind::Secret {
                id: id.clone(),
                file: *file,
                env: env.clone(),
                required: *required,
                mode: *mode,
                uid: *uid,
                gid: *gid,
            },
            MountKind::Ssh { id, required, mode, uid, gid } => FailedMountKind::Ssh {
                id: id.clone(),
                required: *required,
                mode: *mode,
                uid: *uid,
                gid: *gid,
            },
        };
        Ok(Self { target: mount.target.to_string(), kind })
    }

    /// The mount as a plan has it, if it is of something that a person gives.
    pub(super) fn of_person(&self) -> Option<Mount> {
        let kind = match self.kind.clone() {
            FailedMountKind::Secret { id, file, env, required, mode, uid, gid } => {
                MountKind::Secret { id, file, env, required, mode, uid, gid }
            }
            FailedMountKind::Ssh { id, required, mode, uid, gid } => {
                MountKind::Ssh { id, required, mode, uid, gid }
            }
            FailedMountKind::Kept { .. }
            | FailedMountKind::Layers { .. }
            | FailedMountKind::Cache { .. }
            | FailedMountKind::Tmpfs { .. } => return None,
        };
        Some(Mount { target: path(&self.target), kind })
    }
}

/// A path of a description.
pub(super) fn path(text: &str) -> ImagePath {
    ImagePath::root().join(text)
}

/// The sharing of a cache that a description names.
pub(super) fn sharing(word: &str) -> Sharing {
    match word {
        "locked" => Sharing::Locked,
        "private" => Sharing::Private,
        _ => Sharing::Shared,
    }
}

/// Access as a description has it.
pub(super) fn access(read_only: bool) -> Access {
    if read_only { Access::ReadOnly } else { Access::ReadWrite }
}

fn is_read_only(access: Access) -> bool {
    access == Access::ReadOnly
}
