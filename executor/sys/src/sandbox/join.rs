//! A further process in a sandbox that runs.
//!
//! The parent opens what it needs of the sandbox ([`Member`]), and a process that it makes enters the namespaces, which makes their root
//! its root, and clones the process there, in the sandbox's version 2 control group. That closes every descriptor that is not its own,
//! enters the other groups, and from there on becomes what the first one became, by the same calls. No path is looked up before it
//! is inside, and none is followed through the links of `/proc`.

use super::{
    Confinement, Places, Process, Rights,
    process::{self, Entering},
};
use crate::{
    CapSet, SandboxError, SpawnError, SysError,
    cgroup::JoinedGroups,
    limits::Limits,
    member::Member,
    privileges::Privileges,
    program::{OnError, Program},
    spawn::{self, Child, Exec, Namespaces, Spawn, Stdio},
    userns::PrivilegeKind,
};
use std::os::fd::AsRawFd;

/// A process to start in a sandbox that runs.
#[derive(Debug)]
pub struct Joining<'a> {
    /// The sandbox's first process.
    pub member: &'a Member,
    /// The process.
    pub process: Process<'a>,
    /// Its capabilities and filter.
    pub confinement: Confinement,
    /// What is different from the usual ones.
    pub privileges: &'a Privileges,
    /// Whose root this process is.
    pub privilege: PrivilegeKind,
    /// The sandbox's limits.
    pub limits: &'a Limits,
    /// True if its standard input becomes its controlling terminal.
    pub terminal: bool,
    /// Descriptors 0 to 2; the sandbox's own `/dev/null` when absent.
    pub stdio: Option<Stdio<'a>>,
}

/// Starts the process; returns when its command is executed.
///
/// # Errors
/// [`SandboxError`].
pub fn join(spec: &Joining<'_>) -> Result<Child, SandboxError> {
    let fail = |call| move |source| SysError::call(call, "the container's first process", source);
    let exec = Exec::new(spec.process.command, spec.process.environment)?;
    let own = CapSet::permitted().map_err(|source| SysError::call("capget", "the own process", source))?;
    let holder = match spec.privilege {
        PrivilegeKind::Root => own,
        PrivilegeKind::UserNamespace => CapSet::EMPTY,
    };
    let ulimits = spec.limits.possible_ulimits(holder);
    let (ulimits, _) = ulimits.map_err(|source| SysError::call("getrlimit", "the own process", source))?;
    let groups = JoinedGroups::of(spec.member, spec.privilege, spec.limits)?;
    let namespaces = spec.member.namespaces().map_err(fail("reading the namespaces of"))?;
    let own_network = spec.member.has_own_network().map_err(fail("reading the network of"))?;
    let process = spec.member.pidfd().as_raw_fd();
    let mut inside = Program::new();
    inside.join_namespaces(process, libc::CLONE_NEWPID);
    // the kernel may refuse a group that is outside of one's namespace of groups
    if namespaces & !libc::CLONE_NEWCGROUP != 0 {
        inside.join_namespaces(process, namespaces & !libc::CLONE_NEWCGROUP);
    }
    let mut program = Program::new();
    for entry in groups.entries.iter() {
        program.write(entry.as_raw_fd(), c"0");
        if spec.privilege == PrivilegeKind::UserNamespace && *spec.limits == Limits::default() {
            program.on_error(OnError::Ignore);
        }
    }
    if namespaces & libc::CLONE_NEWCGROUP != 0 {
        program.join_namespaces(process, libc::CLONE_NEWCGROUP);
    }
    match &spec.stdio {
        None => program.open_null_as(&[0, 1, 2]),
        Some(Stdio { stdin: None, .. }) => program.open_null_as(&[0]),
        Some(_) => &mut program,
    };
    let places = Places::below_here(&mut program);
    let entering = Entering {
        process: spec.process,
        confinement: spec.confinement,
        privileges: spec.privileges,
        own_network,
        terminal: spec.terminal,
    };
    process::add(&mut program, &places, &entering, &Rights { own, ulimits })?;
    let request = |cgroup| Spawn {
        program: &program,
        exec: &exec,
        namespaces: Namespaces::NONE,
        stdio: spec.stdio,
        cgroup,
    };
    let is_free = spec.privilege == PrivilegeKind::UserNamespace && *spec.limits == Limits::default();
    match spawn::join(&request(groups.unified()), &inside) {
        // a group of another session, which may not be entered
        Err(SpawnError::Prepare { call: "clone3", .. }) if is_free && groups.unified().is_some() => {
            Ok(spawn::join(&request(None), &inside)?)
        }
        started => Ok(started?),
    }
}
