//! The process that RUN and `run` start in a root: its user, environment, directory, network and mounts, put together in one
//! place.

use crate::{
    ExecutorError, GivenDevices, HostFiles, Identity, Isolation,
    host_files::{Addresses, HostNames},
    mounts::host_file,
    script_fault::explained,
    snapshot::RootMount,
};
use rbuild_oci::ImagePath;
use rbuild_planner::{Access, Security};
use rbuild_sys::{
    limits::Limits,
    privileges::Privileges,
    sandbox::{
        self, Confinement, FirstProcess, Mount, Network, Process, RootAccess, Running, SandboxSpec, start,
    },
    spawn::Stdio,
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

/// A process to start in a root.
pub(crate) struct Guest<'a> {
    pub(crate) isolation: &'a Isolation,
    /// Program and arguments.
    pub(crate) command: &'a [String],
    /// `NAME=value`; `HOME` follows from the identity where it is missing.
    pub(crate) environment: Vec<OsString>,
    pub(crate) identity: &'a Identity,
    /// What the first process is.
    pub(crate) first: FirstProcess,
    /// Made where it is missing.
    pub(crate) directory: &'a ImagePath,
    pub(crate) names: HostNames<'a>,
    /// Parameters of the kernel in its namespaces.
    pub(crate) kernel: &'a BTreeMap<String, String>,
    /// How soon its processes are killed when the machine has no memory.
    pub(crate) memory_score: Option<i32>,
    pub(crate) network: Network<'a>,
    /// What is known of that.
    pub(crate) addresses: Addresses,
    /// `/etc/hosts` and `/etc/resolv.conf`.
    pub(crate) host_files: &'a HostFiles,
    /// Access to the root's own files.
    pub(crate) root_access: RootAccess,
    /// Access to those two.
    pub(crate) host_file_access: Access,
    /// Beside those two.
    pub(crate) mounts: Vec<Mount>,
    /// The walls around it.
    pub(crate) confinement: Confinement,
    pub(crate) privileges: &'a Privileges,
    /// What it is given beside that.
    pub(crate) given: &'a GivenDevices,
    /// What its processes may use.
    pub(crate) limits: &'a Limits,
    /// The controlling terminal.
    pub(crate) terminal: Option<BorrowedFd<'a>>,
    /// What it waits for before it executes its command.
    pub(crate) gate: Option<BorrowedFd<'a>>,
    pub(crate) stdio: Stdio<'a>,
}

impl Guest<'_> {
    /// Starts it in `root`; returns when its command is executed.
    ///
    /// # Errors
    /// [`ExecutorError::Sandbox`] and what prevents its files from being made.
    pub(crate) fn start(self, root: &RootMount) -> Result<Running, ExecutorError> {
        let Identity { uid, gid, groups, home } = self.identity;
        root.create_directory(self.directory, (*uid, *gid))?;
        let mut environment = self.given.environment(self.environment);
        if !environment.iter().any(|pair| pair.as_encoded_bytes().starts_with(b"HOME=")) {
            environment.push(format!("HOME={home}").into());
        }
        let command: Vec<OsString> = self.command.iter().map(OsString::from).collect();
        let mut mounts = vec![
            host_file(
                &self.host_files.hosts((self.names, &self.addresses), self.network)?,
                "/etc/hosts",
                self.host_file_access,
            )?,
            host_file(
                &self.host_files.resolv_conf(self.network, &self.addresses)?,
                "/etc/resolv.conf",
                self.host_file_access,
            )?,
        ];
        mounts.extend(self.mounts);
        mounts.extend(self.given.mounts(root.view())?);
        let privileges = Privileges { devices: self.given.devices.clone(), ..self.privileges.clone() };
        let started = start(&SandboxSpec {
            root: root.as_fd(),
            root_access: self.root_access,
            process: Process {
                command: &command,
                environment: &environment,
                directory: Path::new(self.directory.as_str()),
                identity: sandbox::Identity { uid: *uid, gid: *gid, groups: &self.given.groups(groups) },
                first: self.first,
            },
            hostname: self.names.host,
            domain: self.names.domain,
            kernel: self.kernel,
            memory_score: self.memory_score,
            network: self.network,
            mounts: &mounts,
            confinement: self.confinement,
            privileges: &privileges,
            privilege: self.isolation.privilege(),
            guard: &self.isolation.guard()?,
            cgroups: Some(self.isolation.cgroups()),
            limits: self.limits,
            terminal: self.terminal,
            gate: self.gate,
            stdio: self.stdio,
        });
        started.map_err(|error| {
            let program = command.first().map(OsString::as_os_str).unwrap_or_default();
            explained(error, root.view(), (program, &environment), self.directory).into()
        })
    }
}

/// The walls around the process of a container, as the kernel's part has them.
pub(crate) fn of_container(security: Security) -> Confinement {
    match security {
        Security::Sandbox => Confinement::Default,
        Security::Insecure => Confinement::Privileged,
    }
}
