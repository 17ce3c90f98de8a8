//! What the processes of a container may ask of the kernel: plain data, which [`crate::sandbox`] puts into force.

use crate::{CapSet, device::Device, seccomp::Profile};
use std::sync::Arc;

/// What is different from the usual capabilities and system call filter of a container.
#[derive(Clone, Debug, Default)]
pub struct Privileges {
    /// Capabilities beside the usual ones, [`CapSet::ALL`] for all (`--cap-add`).
    pub add: CapSet,
    /// Usual capabilities that they do not have, [`CapSet::ALL`] for all (`--cap-drop`).
    pub drop: CapSet,
    /// How programs that are executed get rights (`--security-opt no-new-privileges`).
    pub new: NewPrivileges,
    /// The system calls that they may make (`--security-opt seccomp`).
    pub calls: CallFilter,
    /// What they see of the kernel (`--security-opt systempaths`).
    pub paths: KernelPaths,
    /// Devices beside the usual ones (`--device`).
    pub devices: Vec<Device>,
}

/// Whether a program gets more rights by being executed, such as one that is set-user-id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewPrivileges {
    /// As its file says.
    #[default]
    Granted,
    /// Never.
    Refused,
}

/// The parts of `/proc` and `/sys` that concern the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelPaths {
    /// Hidden or read-only, as Docker's lists say.
    #[default]
    Masked,
    /// As everywhere.
    Shown,
}

/// A filter of system calls.
#[derive(Clone, Debug, Default)]
pub enum CallFilter {
    /// Docker's, for the capabilities that there are.
    #[default]
    Usual,
    /// None.
    Unconfined,
    /// Another one.
    Profile(Arc<Profile>),
}

impl Privileges {
    /// The capabilities when `usual` are the usual ones. As with docker, what is added wins over what is dropped.
    #[must_use]
    pub fn capabilities(&self, usual: CapSet) -> CapSet {
        match (self.add == CapSet::ALL, self.drop == CapSet::ALL) {
            (true, true) => CapSet::known(),
            (true, false) => CapSet::known().difference(self.drop),
            (false, true) => self.add,
            (false, false) => usual.difference(self.drop).union(self.add),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_wins_over_what_is_dropped() {
        let set = |names: &[&str]| {
            names.iter().fold(CapSet::EMPTY, |set, name| set.union(CapSet::by_name(name).unwrap()))
        };
        let given = |add: &[&str], drop: &[&str]| {
            let changed = Privileges { add: set(add), drop: set(drop), ..Privileges::default() };
            changed.capabilities(set(&["CHOWN", "KILL"]))
        };
        assert_eq!(given(&[], &[]), set(&["CHOWN", "KILL"]));
        assert_eq!(given(&["SYS_ADMIN"], &["KILL"]), set(&["CHOWN", "SYS_ADMIN"]));
        assert_eq!(given(&["cap_kill"], &["all"]), set(&["KILL"]));
        assert_eq!(given(&["KILL"], &["KILL"]), set(&["CHOWN", "KILL"]));
        assert_eq!(given(&["ALL"], &["KILL"]), CapSet::known().difference(set(&["KILL"])));
    }
}
