//! Devices that RUNs and containers are given beside the usual ones: nodes of the machine by their paths (`run --device /dev/x`), and
//! devices that are described and have names ([`cdi`]).

mod cdi;
mod node;

use crate::{DeviceError, PrivilegeError};
use rbuild_cache::PrivilegeOptions;
use rbuild_executor::{DeviceAccess, GivenDevices};
use rbuild_planner::DeviceRequest;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// One `--device` of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceOption {
    /// A node, or all nodes in a directory.
    Path {
        /// On the machine.
        source: PathBuf,
        /// In the container, absolute.
        target: String,
        /// What may be done with it.
        access: DeviceAccess,
    },
    /// The name of a described device.
    Name(String),
}

impl DeviceOption {
    /// Reads `PATH[:PATH][:ACCESS]` or a name.
    ///
    /// # Errors
    /// [`DeviceError::Option`] in Docker's words.
    pub fn read(text: &str) -> Result<Self, DeviceError> {
        if cdi::is_name(text) {
            return Ok(Self::Name(text.to_owned()));
        }
        let wrong = |words: String| Err(DeviceError::Option(words));
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, access) = match parts.as_slice() {
            [source] => (*source, *source, DeviceAccess::ALL),
            [source, second] => match second.parse() {
                Ok(access) => (*source, *source, access),
                Err(_) => (*source, *second, DeviceAccess::ALL),
            },
            [source, target, access] => match access.parse() {
                Ok(access) => (*source, *target, access),
                Err(error) => return wrong(format!("{error}")),
            },
            _ => return wrong(format!("bad format for path: {text}")),
        };
        if source.is_empty() {
            return wrong(format!("bad format for path: {text}"));
        }
        if !target.starts_with('/') {
            return wrong(format!("{target} is not an absolute path"));
        }
        Ok(Self::Path { source: source.into(), target: target.to_owned(), access })
    }
}

/// What a container with these options is given.
///
/// # Errors
/// [`PrivilegeError::Device`].
pub(crate) fn of_container(options: &PrivilegeOptions) -> Result<GivenDevices, PrivilegeError> {
    let mut given = GivenDevices::default();
    let mut names = Vec::new();
    for text in &options.devices {
        match DeviceOption::read(text)? {
            DeviceOption::Path { source, target, access } => {
                given.devices.extend(node::of_machine(&source, &target, access)?);
            }
            DeviceOption::Name(name) => names.push(DeviceRequest { name, required: true }),
        }
    }
    cdi::add(&mut given, &names, &options.device_descriptions)?;
    Ok(given)
}

/// What a RUN that asks for `devices` is given, when they are described in `directories`.
///
/// # Errors
/// [`PrivilegeError::Device`].
pub(crate) fn of_step(
    devices: &[DeviceRequest],
    directories: &[PathBuf],
) -> Result<GivenDevices, PrivilegeError> {
    let mut given = GivenDevices::default();
    cdi::add(&mut given, devices, directories)?;
    Ok(given)
}

/// A device that `asked` means and a build that may use `allowed` may not, if there is one.
///
/// # Errors
/// [`PrivilegeError::Device`].
pub(crate) fn not_allowed(
    asked: &[DeviceRequest],
    allowed: &BTreeSet<String>,
    directories: &[PathBuf],
) -> Result<Option<String>, PrivilegeError> {
    Ok(cdi::not_allowed(asked, allowed, directories)?)
}

/// The path below `/dev` that `target` is.
fn below_dev(target: &str) -> Result<PathBuf, DeviceError> {
    let refused = || DeviceError::Place(target.to_owned());
    let path: rbuild_oci::ImagePath = target.parse().map_err(|_| refused())?;
    let below = Path::new(path.as_str()).strip_prefix("/dev").map_err(|_| refused())?;
    if below.as_os_str().is_empty() { Err(refused()) } else { Ok(below.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_docker_reads_them() {
        let path = |source: &str, target: &str, access: &str| DeviceOption::Path {
            source: source.into(),
            target: target.to_owned(),
            access: access.parse().unwrap(),
        };
        for (text, expected) in [
            ("/dev/x", path("/dev/x", "/dev/x", "rwm")),
            ("/dev/x:r", path("/dev/x", "/dev/x", "r")),
            ("/dev/x:/dev/y", path("/dev/x", "/dev/y", "rwm")),
            ("/dev/x:/dev/y:mr", path("/dev/x", "/dev/y", "rm")),
            ("vendor.com/class=dev", DeviceOption::Name("vendor.com/class=dev".to_owned())),
        ] {
            assert_eq!(DeviceOption::read(text).unwrap(), expected, "{text}");
        }
        for (text, words) in [
            ("/dev/x:/dev/y:rwx", "bad mode specified: rwx"),
            ("/a:/b:r:c", "bad format for path: /a:/b:r:c"),
            (":/dev/x", "bad format for path: :/dev/x"),
            ("x", "x is not an absolute path"),
            ("", "bad format for path: "),
        ] {
            assert_eq!(DeviceOption::read(text).unwrap_err().to_string(), words, "{text}");
        }
    }

    #[test]
    fn devices_are_given_in_dev_only() {
        assert_eq!(below_dev("/dev/./net/../net/tun").unwrap(), Path::new("net/tun"));
        for target in ["/dev", "/dev/..", "/x", "/dev/../x", "/device"] {
            assert!(matches!(below_dev(target), Err(DeviceError::Place(_))), "{target}");
        }
    }
}
