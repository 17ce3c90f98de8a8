//! Volumes and mounts: lines of `volume ls`, answers of `volume inspect`, which volumes `--filter` lets through, and the mounts of
//! containers.

use crate::{
    FilterError,
    images::label,
    names::{Detail, shortened},
    sizes::human_size,
};
use rbuild::{
    Container, ContainerMount, MountOrigin, MountedFrom, Timestamp, Volume, VolumeName, VolumeUsage,
};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

/// What docker says of what it was not asked for.
const NOT_ASKED: &str = "N/A";
/// The only driver.
const DRIVER: &str = "local";
/// Characters of a mount that `ps` shows.
const MOUNT_WIDTH: usize = 15;

/// One line of `volume ls`, with Docker's fields in Docker's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeRow {
    /// Of clusters only.
    pub availability: &'static str,
    /// `local`.
    pub driver: &'static str,
    /// Of clusters only.
    pub group: &'static str,
    /// The labels one by one, which templates ask for by name.
    pub label: BTreeMap<String, String>,
    /// `NAME=VALUE`, with commas between.
    pub labels: String,
    /// How many containers have it, where that is counted.
    pub links: String,
    /// The directory with its files.
    pub mountpoint: String,
    /// Its name.
    pub name: String,
    /// `local`.
    pub scope: &'static str,
    /// Its bytes, where they are counted.
    pub size: String,
    /// Of clusters only.
    pub status: &'static str,
}

impl VolumeRow {
    /// The line of a volume whose files are in `mountpoint`.
    #[must_use]
    pub fn new(volume: &Volume, mountpoint: &Path) -> Self {
        let labels = volume.labels.iter().map(|(name, value)| format!("{name}={value}"));
        Self {
            availability: NOT_ASKED,
            driver: DRIVER,
            group: NOT_ASKED,
            label: volume.labels.clone(),
            labels: labels.collect::<Vec<_>>().join(","),
            links: NOT_ASKED.to_owned(),
            mountpoint: mountpoint.display().to_string(),
            name: volume.name.to_string(),
            scope: DRIVER,
            size: NOT_ASKED.to_owned(),
            status: NOT_ASKED,
        }
    }

    /// The same line with what was counted.
    #[must_use]
    pub fn with_usage(self, usage: &VolumeUsage) -> Self {
        Self { links: usage.containers.to_string(), size: human_size(usage.bytes), ..self }
    }
}

/// A volume, as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeInspect {
    /// When it was made.
    pub created_at: Timestamp,
    /// `local`.
    pub driver: &'static str,
    /// Its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The directory with its files.
    pub mountpoint: String,
    /// Its name.
    pub name: String,
    /// Options of drivers: none.
    pub options: Option<()>,
    /// `local`.
    pub scope: &'static str,
}

impl VolumeInspect {
    /// All about a volume whose files are in `mountpoint`.
    #[must_use]
    pub fn new(volume: &Volume, mountpoint: &Path) -> Self {
        Self {
            // docker has no parts of seconds here
            created_at: Timestamp::from_seconds(volume.created.seconds()).unwrap_or(volume.created),
            driver: DRIVER,
            labels: Some(volume.labels.clone()).filter(|labels| !labels.is_empty()),
            mountpoint: mountpoint.display().to_string(),
            name: volume.name.to_string(),
            options: None,
            scope: DRIVER,
        }
    }

    /// Every field.
    #[must_use]
    pub fn complete(&self) -> Value {
        serde_json::to_value(self).expect("all keys are texts")
    }
}

/// The volumes that `--filter` lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeFilter {
    /// Whether no container has it.
    Dangling(bool),
    /// The driver.
    Driver(String),
    /// A label, and its value if there is one.
    Label(String, Option<String>),
    /// Part of the name.
    Name(String),
}

impl VolumeFilter {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let (name, value) = text.split_once('=').ok_or_else(|| FilterError::Argument(text.to_owned()))?;
        match (name, value) {
            ("dangling", "1" | "true") => Ok(Self::Dangling(true)),
            ("dangling", "0" | "false") => Ok(Self::Dangling(false)),
            ("dangling", _) => Err(FilterError::Invalid(format!("dangling=[{value}]"))),
            ("driver", _) => Ok(Self::Driver(value.to_owned())),
            ("label", _) => Ok(label(value, Self::Label)),
            ("name", _) => Ok(Self::Name(value.to_owned())),
            (other, _) => Err(FilterError::Invalid(other.to_owned())),
        }
    }

    /// True if a volume that so many containers have passes.
    #[must_use]
    pub fn admits(&self, volume: &Volume, users: usize) -> bool {
        match self {
            Self::Dangling(dangling) => *dangling == (users == 0),
            Self::Driver(driver) => driver == DRIVER,
            Self::Label(name, value) => {
                let found = volume.labels.get(name);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
            Self::Name(part) => volume.name.as_str().contains(part.as_str()),
        }
    }
}

/// A mount of a container, as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountInspect {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// The volume.
    pub name: String,
    /// Where it is on the host.
    pub source: String,
    /// Where it is in the container.
    pub destination: String,
    /// `local`, of a volume.
    pub driver: &'static str,
    /// The options as they were written.
    pub mode: String,
    /// True if it may be written to.
    #[serde(rename = "RW")]
    pub writable: bool,
    /// What of later mounts is seen.
    pub propagation: &'static str,
}

/// The mounts of `container`, but for those of `--tmpfs`, as docker has it; `mountpoint` says where the files of a volume are.
pub(crate) fn mounts(container: &Container, mountpoint: &dyn Fn(&VolumeName) -> String) -> Vec<MountInspect> {
    all(container).filter_map(|mount| inspected(mount, mountpoint)).collect()
}

fn inspected(mount: &ContainerMount, mountpoint: &dyn Fn(&VolumeName) -> String) -> Option<MountInspect> {
    let (kind, name, source, propagation) = match &mount.from {
        MountedFrom::Volume { volume, .. } => ("volume", volume.to_string(), mountpoint(volume), ""),
        MountedFrom::Tmpfs { tmpfs } if tmpfs.by_flag => return None,
        MountedFrom::Tmpfs { .. } => ("tmpfs", String::new(), String::new(), ""),
        MountedFrom::Host { source, propagation, .. } => {
            ("bind", String::new(), source.display().to_string(), propagation.word())
        }
    };
    Some(MountInspect {
        kind,
        driver: if kind == "volume" { DRIVER } else { "" },
        name,
        source,
        destination: mount.target.clone(),
        mode: mode(mount),
        writable: !mount.read_only,
        propagation,
    })
}

/// The options of a mount; docker shares a volume between labels unless it was given others.
fn mode(mount: &ContainerMount) -> String {
    let is_shared = match (&mount.from, mount.origin) {
        (MountedFrom::Volume { anonymous, .. }, MountOrigin::Usual) => !anonymous,
        (MountedFrom::Volume { .. }, MountOrigin::Mount) => true,
        (MountedFrom::Volume { .. }, MountOrigin::Container)
        | (MountedFrom::Tmpfs { .. } | MountedFrom::Host { .. }, _) => false,
    };
    if is_shared && mount.options.is_empty() { "z".to_owned() } else { mount.options.clone() }
}

/// The mounts as `ps` has them: how many volumes, and what is mounted.
pub(crate) fn mount_columns(container: &Container, detail: Detail) -> (String, String) {
    let volumes = container.volumes().count();
    let name = |mount: &ContainerMount| match &mount.from {
        MountedFrom::Volume { volume, .. } => Some(volume.to_string()),
        MountedFrom::Host { source, .. } => Some(source.display().to_string()),
        MountedFrom::Tmpfs { .. } => None,
    };
    let names = all(container).filter_map(name).map(|name| match detail {
        Detail::Short => shortened(&name, MOUNT_WIDTH),
        Detail::Full => name,
    });
    (volumes.to_string(), names.collect::<Vec<_>>().join(","))
}

/// True if a container has the volume `text`, or something mounted there or from there.
pub(crate) fn has_mount(container: &Container, text: &str) -> bool {
    all(container).any(|mount| {
        mount.target == text
            || match &mount.from {
                MountedFrom::Volume { volume, .. } => volume.as_str() == text,
                MountedFrom::Host { source, .. } => source == Path::new(text),
                MountedFrom::Tmpfs { .. } => false,
            }
    })
}

fn all(container: &Container) -> impl Iterator<Item = &ContainerMount> {
    container.settings.iter().flat_map(|settings| &settings.mounts)
}
