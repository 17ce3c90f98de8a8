//! What can fail in this crate: one system call, starting a process, building a sandbox, entering a user
//! namespace.

use crate::seccomp::TooLong;
use std::{ffi::OsString, fmt, io, path::PathBuf};

/// A system call that failed, with what it was about.
#[derive(Debug, thiserror::Error)]
pub enum SysError {
    /// The call named `call` failed on `subject` (a path, an option or a file system type).
    #[error("{call} failed on {subject}")]
    Call {
        /// Name of the system call.
        call: &'static str,
        /// The path, option or type that the call was given.
        subject: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel lacks something rbuild cannot do without.
    #[error("the kernel cannot {feature}: Linux 6.8 or newer is needed")]
    KernelTooOld {
        /// The missing feature, after "cannot".
        feature: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// An overlay of more layers than the kernel stacks.
    #[error("{found} layers are more than the {limit} that overlayfs can stack")]
    TooManyLayers {
        /// Layers asked for.
        found: usize,
        /// Layers possible.
        limit: usize,
    },
}

impl SysError {
    pub(crate) fn call(call: &'static str, subject: impl std::fmt::Display, source: io::Error) -> Self {
        Self::Call { call, subject: subject.to_string(), source }
    }
}

/// A process that could not be started. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A string given to the kernel holds a NUL byte.
    #[error("{what} contains a NUL byte")]
    Nul {
        /// Which string.
        what: String,
    },
    /// The parent could not prepare or clone.
    #[error("{call} failed while starting a process")]
    Prepare {
        /// Name of the system call.
        call: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A call of the program failed in the child.
    #[error("setting up the process failed at {call}")]
    Setup {
        /// The call with its arguments.
        call: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A path of the image could not be opened: it is not there, or a link on the way leads to a process's own files.
    #[error("cannot open {path} in the image")]
    ImagePath {
        /// Where, seen from inside.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel has no such parameter in the process's namespaces, or does not take its value.
    #[error("cannot set the sysctl {name}")]
    Parameter {
        /// The name, with dots.
        name: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A call failed that a container cannot be started without, after its calls were filtered.
    #[error(
        "setting up the process failed at {call}, probably because the seccomp profile does not allow it"
    )]
    Filtered {
        /// The call.
        call: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The command was found in no directory of the container's `PATH`. The words are Docker's.
    #[error("exec: {command:?}: executable file not found in $PATH")]
    NotInPath {
        /// The first word of the command.
        command: OsString,
    },
    /// The command's file does not exist.
    #[error("exec: {command:?}{}", fault(script))]
    NotFound {
        /// The first word of the command.
        command: OsString,
        /// It does exist: the kernel means its interpreter.
        script: Option<ScriptFault>,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The command exists and could not be executed: not permitted, or not a program (`ENOEXEC`).
    #[error("exec: {command:?}{}", fault(script))]
    Exec {
        /// The first word of the command.
        command: OsString,
        /// What the kernel misses in it.
        script: Option<ScriptFault>,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The command has no words.
    #[error("no command to execute")]
    EmptyCommand,
}

/// Why the kernel does not execute a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptFault {
    /// The interpreter that it names is not there.
    Missing(OsString),
    /// It names none.
    Unnamed,
}

fn fault(script: &Option<ScriptFault>) -> String {
    script.as_ref().map(|fault| format!(": {fault}")).unwrap_or_default()
}

impl fmt::Display for ScriptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) if name.as_encoded_bytes().ends_with(b"\r") => {
                write!(f, "the script has Windows line ends, so that its interpreter is {name:?}")
            }
            Self::Missing(name) => write!(f, "the interpreter of the script, {name:?}, is not there"),
            Self::Unnamed => {
                f.write_str("the script has no first line that names its interpreter, such as #!/bin/sh")
            }
        }
    }
}

/// A sandbox that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A call the sandbox needs before the process starts failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The filter of system calls that was asked for cannot be made.
    #[error(transparent)]
    Filter(#[from] TooLong),
    /// A mount point could not be made inside the root file system.
    #[error("cannot make the mount point {path}", path = path.display())]
    MountPoint {
        /// Where, seen from inside.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The root file system has a symbolic link where the sandbox needs a directory of its own.
    #[error("{path} of the image is a symbolic link: a container needs a directory there", path = path.display())]
    LinkInstead {
        /// Where, seen from inside.
        path: PathBuf,
    },
    /// A mount target that cannot be used: not absolute, the root itself, or inside `/proc`.
    #[error("{path:?} cannot be mounted on: it is the root, inside /proc, or no absolute path", path = path.display())]
    MountTarget {
        /// The target as given.
        path: PathBuf,
    },
    /// A device in a place that is something else's.
    #[error("no device can be put at {}: every container has something else there", path.display())]
    DeviceTarget {
        /// The place.
        path: PathBuf,
    },
    /// The kernel does not take the value of a limit.
    #[error("the kernel does not take {value} for {flag}")]
    Limit {
        /// The flag that asks for it.
        flag: &'static str,
        /// What was written.
        value: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No control group can be made below the one that was asked for.
    #[error("no control group can be made below {path:?} (--cgroup-parent)")]
    CgroupParent {
        /// As given.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// An ordinary user's own user namespace that could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum UsernsError {
    /// The kernel or its configuration refuses user namespaces.
    #[error(
        "the kernel refuses to make a user namespace (see the sysctls user.max_user_namespaces, \
         kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns)"
    )]
    Refused(#[source] io::Error),
    /// More than one thread runs already.
    #[error("a user namespace can only be entered while the process has one thread")]
    Threads,
    /// The user has no subordinate ids.
    #[error(
        "{user} has no subordinate ids in {file}: add a line such as \"{user}:100000:65536\" to /etc/subuid and \
         /etc/subgid, and install the uidmap package"
    )]
    NoSubordinateIds {
        /// Login name, or the number when there is none.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// `newuidmap` or `newgidmap` is not installed.
    #[error("{program} is missing: install the uidmap package")]
    MissingTool {
        /// Name of the program.
        program: &'static str,
        /// Why it could not be run.
        #[source]
        source: io::Error,
    },
    /// `newuidmap` or `newgidmap` said no.
    #[error("{program} refused the id map: {message}")]
    MapRefused {
        /// Name of the program.
        program: &'static str,
        /// Its standard error.
        message: String,
    },
    /// Any other step failed.
    #[error("{call} failed while entering a user namespace")]
    Call {
        /// Name of the system call or file.
        call: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}
