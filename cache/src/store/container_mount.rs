//! What a container sees beside the files of its image: a part of its record.

use super::volume_name::VolumeName;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMount {
    /// What it shows.
    #[serde(flatten)]
    pub from: MountedFrom,
    /// In the container, absolute.
    pub target: String,
    /// May it only be read?
    #[serde(default)]
    pub read_only: bool,
    /// The options as they were written behind `-v` or `--tmpfs`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub options: String,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "MountOrigin::is_usual")]
    pub origin: MountOrigin,
}

/// Who asked for a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountOrigin {
    /// `-v`, `--tmpfs`, or the image.
    #[default]
    Usual,
    /// `--mount`.
    Mount,
    /// `--volumes-from`: another container has it.
    Container,
}

impl MountOrigin {
    fn is_usual(&self) -> bool {
        *self == Self::Usual
    }
}

/// What a mount shows. The names of the fields tell which it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MountedFrom {
    /// A volume of the store.
    Volume {
        /// Its name.
        volume: VolumeName,
        /// True if the name was made up for this container, with which the volume may go.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anonymous: bool,
        /// A directory or file in it, in its place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// Memory of the container's own.
    Tmpfs {
        /// How it is made.
        tmpfs: MountedTmpfs,
    },
    /// A directory or file of the host.
    Host {
        /// On the host, absolute.
        source: PathBuf,
        /// What happens when it is not there.
        #[serde(default)]
        missing: MissingHostPath,
        /// Whether mounts that the host makes below it later are seen.
        #[serde(default)]
        propagation: MountPropagation,
        /// The mounts below it.
        #[serde(default)]
        submounts: Submounts,
    },
}

/// A file system in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountedTmpfs {
    /// Options of tmpfs(5), such as `size` and `mode`.
    pub settings: Vec<(String, String)>,
    /// May programs in it be executed?
    pub executable: bool,
    /// Do set-user-id bits in it have effect?
    pub set_user_id: bool,
    /// True if it was asked for by `--tmpfs`, which `inspect` does not count among the mounts.
    pub by_flag: bool,
}

/// What happens when a path of the host is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingHostPath {
    /// A directory is made.
    #[default]
    Made,
    /// The container is refused.
    Refused,
}

/// Whether what is mounted on one side later is seen on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountPropagation {
    /// It is not; of the mounts below neither.
    #[default]
    RPrivate,
    /// It is not.
    Private,
    /// What the host mounts is seen; below the mounts below too.
    RSlave,
    /// What the host mounts is seen.
    Slave,
}

/// The mounts below a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Submounts {
    /// They are shown, and can be read only where the mount can.
    #[default]
    Shown,
    /// They are shown, and can be written to.
    Writable,
    /// They are not shown.
    Hidden,
}

impl MountPropagation {
    /// Docker's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RPrivate => "rprivate",
            Self::Private => "private",
            Self::RSlave => "rslave",
            Self::Slave => "slave",
        }
    }
}
