//! What `--device` brings into a container: devices, and what a description of devices wants to be there with them.

use crate::{ContainerVolume, ExecutorError, RootView};
use rbuild_sys::{
    SandboxError,
    device::Device,
    mount::{MountAttributes, Submounts, set_mount_attributes},
    sandbox::{Mount, MountSource},
};
use std::{ffi::OsString, os::fd::AsFd};

/// Devices, and what goes with them.
#[derive(Default)]
pub struct GivenDevices {
    /// The devices.
    pub devices: Vec<Device>,
    /// Variables, `NAME=value`, over those of the same names.
    pub environment: Vec<String>,
    /// Groups that processes are in beside those of their user.
    pub groups: Vec<u32>,
    /// Files and directories of the host.
    pub mounts: Vec<GivenMount>,
}

/// A file or directory of the host that goes with a device.
pub struct GivenMount {
    /// What is shown where.
    pub volume: ContainerVolume,
    /// What its files are not good for.
    pub attributes: MountAttributes,
}

impl GivenDevices {
    /// The variables of a process that has `own` ones.
    pub(crate) fn environment(&self, mut own: Vec<OsString>) -> Vec<OsString> {
        for pair in &self.environment {
            let name = pair.split_inclusive('=').next().unwrap_or(pair).as_bytes();
            own.retain(|old| !old.as_encoded_bytes().starts_with(name));
            own.push(pair.into());
        }
        own
    }

    /// The groups of a process that has `own` ones.
    pub(crate) fn groups(&self, own: &[u32]) -> Vec<u32> {
        let mut all = own.to_vec();
        for group in &self.groups {
            if !all.contains(group) {
                all.push(*group);
            }
        }
        all
    }

    /// The mounts, for a root whose files are in `view`.
    pub(crate) fn mounts(&self, view: &RootView) -> Result<Vec<Mount>, ExecutorError> {
        self.mounts.iter().map(|mount| mount.to_mount(view)).collect()
    }
}

impl GivenMount {
    fn to_mount(&self, view: &RootView) -> Result<Mount, ExecutorError> {
        let mount = self.volume.to_mount(view)?;
        if let MountSource::Tree(tree) = &mount.source {
            set_mount_attributes(tree.as_fd(), self.attributes, Submounts::Include)
                .map_err(SandboxError::from)?;
        }
        Ok(mount)
    }
}
