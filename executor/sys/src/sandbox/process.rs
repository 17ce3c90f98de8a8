//! Who the process is and what it may do.

use super::{Network, Places, Rights, SandboxSpec, c_text};
use crate::{
    CapSet, SandboxError,
    privileges::{CallFilter, NewPrivileges, Privileges},
    program::{Program, Resolution},
    seccomp::Filter,
};
use std::{ffi::OsString, path::Path};

/// The process of a sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Process<'a> {
    /// Command and arguments; a first word without a slash is looked for in the `PATH` of `environment`.
    pub command: &'a [OsString],
    /// `NAME=value`, all of it.
    pub environment: &'a [OsString],
    /// Working directory inside the root; it must exist.
    pub directory: &'a Path,
    /// User and groups.
    pub identity: Identity<'a>,
    /// What the first process is.
    pub first: FirstProcess,
}

/// The first process of a sandbox, to which signals go and orphans come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstProcess {
    /// The command.
    Command,
    /// A small program that hands on signals to the command, and waits for processes that have lost their parents.
    Init,
}

/// The numbers a process runs with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity<'a> {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups, all of them.
    pub groups: &'a [u32],
}

/// How much the process is kept from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confinement {
    /// The default capabilities and filter; parts of `/proc` and `/sys` hidden.
    Default,
    /// `RUN --security=insecure`: every capability the builder has, for every user, no filter, nothing hidden.
    Insecure,
    /// `run --privileged`: the same, but a user who is not root has capabilities only from files and set-user-id programs.
    Privileged,
}

/// A process about to be what it is to be in a sandbox.
pub(super) struct Entering<'a> {
    pub(super) process: Process<'a>,
    pub(super) confinement: Confinement,
    pub(super) privileges: &'a Privileges,
    /// True if the network is not the machine's.
    pub(super) own_network: bool,
    /// True if its standard input becomes its controlling terminal.
    pub(super) terminal: bool,
}

impl<'a> Entering<'a> {
    pub(super) fn of(spec: &SandboxSpec<'a>) -> Self {
        Self {
            process: spec.process,
            confinement: spec.confinement,
            privileges: spec.privileges,
            own_network: match spec.network {
                Network::None | Network::Joined(_) => true,
                Network::Host => false,
            },
            terminal: spec.terminal.is_some(),
        }
    }
}

/// The last part of a sandbox's program.
pub(super) fn add(
    program: &mut Program,
    places: &Places,
    spec: &Entering<'_>,
    Rights { own, ulimits }: &Rights,
) -> Result<(), SandboxError> {
    let own = *own;
    // Never rbuild's own session: its terminal could be opened as /dev/tty, and typed into.
    program.new_session();
    // what may call keyctl would find the keys of the one who builds
    program.own_keyring();
    if spec.terminal {
        program.take_terminal();
    }
    program.umask(0o022);
    let directory = places.open(program, &c_text(spec.process.directory)?, Resolution::InRoot);
    program.enter(directory).require_directory_inside_root();
    // the last descriptors are open by now, and the right to raise limits is still there
    for limit in ulimits {
        program.limit_resource(limit);
    }
    let Identity { uid, gid, groups } = spec.process.identity;
    let privileges = spec.privileges;
    let allowed = match spec.confinement {
        Confinement::Default => privileges.capabilities(default_capabilities(spec.own_network)),
        Confinement::Insecure | Confinement::Privileged => CapSet::known(),
    };
    if privileges.new == NewPrivileges::Refused {
        program.refuse_new_privileges();
    }
    if spec.confinement == Confinement::Default {
        program.limit_capabilities(allowed);
        filter_calls(program, &privileges.calls, allowed)?;
    } else if let CallFilter::Profile(_) = &privileges.calls {
        // only a profile that was given confines it, as with Docker
        filter_calls(program, &privileges.calls, allowed)?;
    }
    if spec.confinement == Confinement::Insecure {
        program.keep_capabilities().set_identity(uid, gid, groups);
        program.set_capabilities(own, own).raise_ambient(own);
    } else {
        program.set_identity(uid, gid, groups);
        // The change of uid has already cleared the capabilities of all but root.
        let keep = if uid == 0 { allowed.intersection(own) } else { CapSet::EMPTY };
        program.set_capabilities(keep, CapSet::EMPTY);
    }
    Ok(())
}

fn filter_calls(program: &mut Program, calls: &CallFilter, capabilities: CapSet) -> Result<(), SandboxError> {
    match calls {
        CallFilter::Usual => program.filter_calls(&Filter::of_container(capabilities)),
        CallFilter::Unconfined => program,
        CallFilter::Profile(profile) => {
            program.filter_calls(&profile.filter(capabilities)?).note_given_filter();
            return Ok(());
        }
    };
    Ok(())
}

/// Docker's, but nothing that forges packets on a network that is not the container's own.
fn default_capabilities(own_network: bool) -> CapSet {
    if own_network {
        CapSet::CONTAINER_DEFAULT
    } else {
        CapSet::CONTAINER_DEFAULT.difference(CapSet::NET_RAW)
    }
}
