//! Descriptions of devices: the Container Device Interface of the CNCF, in JSON or YAML. A device has a name, `VENDOR/CLASS=NAME`, and says
//! which nodes, variables and files it needs in a container; its description may say what all its devices need.
//!
//! What is not done is refused by name, not left out: hooks, which are programs of the machine that runtimes run, above all. The
//! documents are the machine's owner's, so they are believed; a Dockerfile gives nothing but names, which are only compared.

use super::node;
use crate::{DeviceError, DocumentError};
use nix::fcntl::OFlag;
use rbuild_cache::{MissingHostPath, MountPropagation, Submounts};
use rbuild_executor::{
    ContainerVolume, Device, DeviceKind, GivenDevices, GivenMount, MountAttributes, VolumeSource,
};
use rbuild_planner::{Access, DeviceRequest};
use serde::{Deserialize, de::IgnoredAny};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Where descriptions are when nothing else is said; what is in the last one wins.
const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// The most bytes of a description.
const LONGEST: u64 = 4 << 20;

/// The annotation by which several devices have one more name.
const CLASS: &str = "org.mobyproject.buildkit.device.class";

/// The annotation of a device that every build may use.
const ALLOWED: &str = "org.mobyproject.buildkit.device.autoallow";

/// The highest number of a group.
const HIGHEST_GROUP: u32 = i32::MAX as u32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Description {
    #[serde(rename = "cdiVersion")]
    _version: String,
    kind: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    devices: Vec<Described>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Described {
    name: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    container_edits: Edits,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Mounted>,
    hooks: Vec<IgnoredAny>,
    additional_gids: Vec<u32>,
    net_devices: Vec<IgnoredAny>,
    intel_rdt: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Node {
    path: String,
    host_path: Option<PathBuf>,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    major: u32,
    #[serde(default)]
    minor: u32,
    file_mode: Option<u32>,
    #[serde(default)]
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mounted {
    host_path: PathBuf,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(rename = "type", default)]
    kind: String,
}

/// A description and the file that it is in.
struct Found {
    path: PathBuf,
    /// The place of its directory among all.
    rank: usize,
    description: Description,
}

/// All descriptions of the machine.
struct Registry<'a> {
    directories: Vec<&'a Path>,
    found: Vec<Found>,
}

/// True if `text` is a whole name, and no path.
pub(super) fn is_name(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, name)| is_kind(kind) && is_word(name, "_-.:"))
}

/// Adds the devices called `names` to `given`, with what they need.
pub(super) fn add(
    given: &mut GivenDevices,
    names: &[DeviceRequest],
    directories: &[PathBuf],
) -> Result<(), DeviceError> {
    if names.is_empty() {
        return Ok(());
    }
    let registry = Registry::read(directories)?;
    let mut seen = BTreeSet::new();
    for request in names {
        for (description, device) in registry.find(request)? {
            if seen.insert((description, None)) {
                let Found { path, description, .. } = &registry.found[description];
                description.container_edits.add(given, path)?;
            }
            if seen.insert((description, Some(device))) {
                let Found { path, description, .. } = &registry.found[description];
                description.devices[device].container_edits.add(given, path)?;
            }
        }
    }
    Ok(())
}

/// The first device that `asked` means, which `allowed` does not and whose description does not allow it to every build.
pub(super) fn not_allowed(
    asked: &[DeviceRequest],
    allowed: &BTreeSet<String>,
    directories: &[PathBuf],
) -> Result<Option<String>, DeviceError> {
    let registry = Registry::read(directories)?;
    let mut given = BTreeSet::new();
    for name in allowed {
        given.extend(registry.find(&DeviceRequest { name: name.clone(), required: false })?);
    }
    for request in asked {
        let mut found = registry.find(request)?.into_iter();
        let refused = found.find(|place| {
            let open = registry.annotation(*place, ALLOWED).is_some_and(|value| value == "true");
            !open && !given.contains(place)
        });
        if let Some((description, device)) = refused {
            let Description { kind, devices, .. } = &registry.found[description].description;
            return Ok(Some(format!("{kind}={}", devices[device].name)));
        }
    }
    Ok(None)
}

impl<'a> Registry<'a> {
    fn read(directories: &'a [PathBuf]) -> Result<Self, DeviceError> {
        let directories: Vec<&Path> = match directories {
            [] => DIRECTORIES.iter().map(Path::new).collect(),
            given => given.iter().map(PathBuf::as_path).collect(),
        };
        let mut registry = Self { directories, found: Vec::new() };
        for rank in 0..registry.directories.len() {
            let directory = registry.directories[rank];
            let fail = |source| DeviceError::Read { path: directory.to_owned(), source };
            let entries = match fs::read_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(fail)?,
            };
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(fail)?;
            paths.sort_unstable();
            for path in paths {
                let format = match path.extension().and_then(|extension| extension.to_str()) {
                    Some("json") => Format::Json,
                    Some("yaml") => Format::Yaml,
                    _ => continue,
                };
                let description = read(&path, format)?;
                registry.found.push(Found { path, rank, description });
            }
        }
        Ok(registry)
    }

    /// The places of the devices that `request` means: one by its name, all of a kind (`*`), the first of a kind (no name), or those
    /// that have the name as their class.
    fn find(&self, request: &DeviceRequest) -> Result<Vec<(usize, usize)>, DeviceError> {
        let name = &request.name;
        let (kind, device) = name.split_once('=').unwrap_or((name, ""));
        if !is_kind(kind) {
            return Err(DeviceError::Name(name.clone()));
        }
        let all = self.of_kind(kind)?;
        let found: Vec<(usize, usize)> = match device {
            "" => all.values().take(1).copied().collect(),
            "*" => all.into_values().collect(),
            one if all.contains_key(one) => vec![all[one]],
            class => {
                all.into_values().filter(|place| self.annotation(*place, CLASS) == Some(class)).collect()
            }
        };
        if found.is_empty() && request.required {
            let directories = self.directories.iter().map(|path| path.display().to_string());
            return Err(DeviceError::Unknown {
                name: name.clone(),
                directories: directories.collect::<Vec<_>>().join(" or "),
            });
        }
        Ok(found)
    }

    /// The places of the devices of a kind, by their names.
    fn of_kind(&self, kind: &str) -> Result<BTreeMap<&str, (usize, usize)>, DeviceError> {
        let mut all: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        let of_kind = self.found.iter().enumerate().filter(|(_, found)| found.description.kind == kind);
        for (place, found) in of_kind {
            for (number, device) in found.description.devices.iter().enumerate() {
                if let Some((earlier, _)) = all.insert(&device.name, (place, number))
                    && self.found[earlier].rank == found.rank
                {
                    return Err(DeviceError::Twice {
                        name: format!("{kind}={}", device.name),
                        one: self.found[earlier].path.clone(),
                        other: found.path.clone(),
                    });
                }
            }
        }
        Ok(all)
    }

    /// What the device, or else its description, says under `name`.
    fn annotation(&self, (description, device): (usize, usize), name: &str) -> Option<&str> {
        let description = &self.found[description].description;
        let device = &description.devices[device];
        device.annotations.get(name).or_else(|| description.annotations.get(name)).map(String::as_str)
    }
}

/// How a description is written, as the end of its file's name says.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Yaml,
}

fn read(path: &Path, format: Format) -> Result<Description, DeviceError> {
    let fail = |source| DeviceError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    // a pipe would be waited for
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
    }
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > LONGEST {
        return Err(fail(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    let description = match format {
        Format::Json => serde_json::from_str(&text).map_err(DocumentError::Json),
        Format::Yaml => serde_norway::from_str(&text).map_err(DocumentError::Yaml),
    };
    description.map_err(|source| DeviceError::Document { path: path.to_owned(), source })
}

impl Edits {
    fn add(&self, given: &mut GivenDevices, path: &Path) -> Result<(), DeviceError> {
        let refused =
            |what: &str| Err(DeviceError::Unsupported { path: path.to_owned(), what: what.to_owned() });
        if !self.hooks.is_empty() {
            return refused("hooks (programs of the machine that are to run)");
        }
        if !self.net_devices.is_empty() {
            return refused("network devices");
        }
        if self.intel_rdt.is_some() {
            return refused("Intel RDT");
        }
        // the kernel takes the highest number for none (setgroups(2)); a group of 0 means nothing, as with Docker
        if let Some(group) = self.additional_gids.iter().find(|group| **group > HIGHEST_GROUP) {
            return refused(&format!("the group {group}"));
        }
        given.groups.extend(self.additional_gids.iter().filter(|group| **group != 0));
        given.environment.extend(self.env.iter().cloned());
        for node in &self.device_nodes {
            given.devices.push(node.device(path)?);
        }
        for mount in &self.mounts {
            given.mounts.push(mount.mount(path)?);
        }
        Ok(())
    }
}

impl Node {
    fn device(&self, path: &Path) -> Result<Device, DeviceError> {
        let refused = |what: String| DeviceError::Unsupported { path: path.to_owned(), what };
        let access = if self.permissions.is_empty() { "rwm" } else { self.permissions.as_str() };
        let access = access.parse().map_err(|error| refused(format!("a device with a {error}")))?;
        let source = self.host_path.clone().unwrap_or_else(|| PathBuf::from(&self.path));
        let kind = match self.kind.as_str() {
            "c" | "u" => Some(DeviceKind::Character),
            "b" => Some(DeviceKind::Block),
            "" => None,
            other => return Err(refused(format!("a device of type {other:?}"))),
        };
        let mut device = match kind {
            Some(kind) if (self.major, self.minor) != (0, 0) => Device {
                source,
                target: super::below_dev(&self.path)?,
                kind,
                numbers: (self.major, self.minor),
                mode: 0o666,
                owner: (0, 0),
                access,
            },
            _ => node::one(&source, &self.path, access)?,
        };
        device.mode = self.file_mode.unwrap_or(device.mode) & 0o777;
        device.owner = (self.uid.unwrap_or(device.owner.0), self.gid.unwrap_or(device.owner.1));
        Ok(device)
    }
}

impl Mounted {
    fn mount(&self, path: &Path) -> Result<GivenMount, DeviceError> {
        let refused = |what: String| DeviceError::Unsupported { path: path.to_owned(), what };
        if !matches!(self.kind.as_str(), "" | "bind" | "none") {
            return Err(refused(format!("a mount of type {:?}", self.kind)));
        }
        let target = self.container_path.parse();
        let target = target.map_err(|_| refused(format!("a mount at {:?}", self.container_path)))?;
        let (mut access, mut propagation) = (Access::ReadWrite, MountPropagation::RPrivate);
        let (mut attributes, mut submounts) = (MountAttributes::NONE, Submounts::Hidden);
        for option in &self.options {
            match option.as_str() {
                "ro" => access = Access::ReadOnly,
                "rw" | "bind" | "dev" | "suid" | "exec" => {}
                "rbind" => submounts = Submounts::Shown,
                // no mount lets a device open
                "nodev" => {}
                "nosuid" => attributes = attributes.and(MountAttributes::NO_SUID),
                "noexec" => attributes = attributes.and(MountAttributes::NO_EXEC),
                "private" | "rprivate" => propagation = MountPropagation::RPrivate,
                "slave" => propagation = MountPropagation::Slave,
                "rslave" => propagation = MountPropagation::RSlave,
                other => return Err(refused(format!("the mount option {other:?}"))),
            }
        }
        let source = VolumeSource::Host {
            path: self.host_path.clone(),
            missing: MissingHostPath::Refused,
            propagation,
            submounts,
        };
        Ok(GivenMount { volume: ContainerVolume { target, access, source }, attributes })
    }
}

/// `VENDOR/CLASS`.
fn is_kind(text: &str) -> bool {
    let begins = |word: &str| word.starts_with(|c: char| c.is_ascii_alphabetic());
    text.split_once('/').is_some_and(|(vendor, class)| {
        begins(vendor) && is_word(vendor, "_-.") && begins(class) && is_word(class, "_-")
    })
}

/// Letters, digits and `others`, the first and the last of which are none of these.
fn is_word(text: &str, others: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(plain) && text.ends_with(plain) && text.chars().all(|c| plain(c) || others.contains(c))
}
