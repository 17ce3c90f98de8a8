//! `rbuild exec`: a further program in a container that runs.

use crate::{
    ExecutorError, Isolation, RootView, Stdio,
    container::{ContainerTerminal, Streams, environment, not_started},
    guest::of_container,
    relay::Relay,
    rooted::Rooted,
    run::exit_code,
    run_identity,
};
use rbuild_cache::Store;
use rbuild_oci::{ContainerConfig, ImagePath};
use rbuild_planner::Security;
use rbuild_sys::{
    SandboxError, SpawnError,
    cgroup::Freezer,
    limits::Limits,
    member::Member,
    privileges::Privileges,
    sandbox::{self, FirstProcess, Joining, Process},
    spawn::{Child, ProcessIdentity},
    terminal::{WindowSize, open_terminal_below},
};
use std::{
    ffi::OsString,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

/// The first process of a container that runs, held so that its number means no other.
#[derive(Debug)]
pub struct ContainerProcess(Member);

/// A program to start in a container.
pub struct Execution<'a> {
    /// The store.
    pub store: &'a Store,
    /// How containers are kept apart.
    pub isolation: &'a Isolation,
    /// Program and arguments.
    pub argv: &'a [String],
    /// The container's, with what is different for this program: environment, user, working directory.
    pub config: &'a ContainerConfig,
    /// Groups that it is in beside those of its user, by their names in the container or by number.
    pub groups: &'a [String],
    /// The container's host name.
    pub hostname: &'a str,
    /// The walls around it.
    pub security: Security,
    /// What it may do that others may not, and the other way round.
    pub privileges: &'a Privileges,
    /// The container's limits.
    pub limits: &'a Limits,
    /// Its streams; the container's own `/dev/null` when absent.
    pub stdio: Option<&'a Stdio>,
}

/// A program in a container, running. Dropping it kills the program.
pub struct Executed {
    child: Child,
    pid: i32,
    relay: Option<Relay>,
}

impl ContainerProcess {
    /// The process `pid` that has started so many clock ticks after the boot; `None` when it has ended.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn open(pid: i32, ticks: u64) -> Result<Option<Self>, ExecutorError> {
        let member = Member::open(ProcessIdentity::new(pid, ticks));
        Ok(member.map_err(|error| of_process("open", error))?.map(Self))
    }

    /// True if it ends, or has.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.0.is_dying()
    }

    /// Makes this process, which must have one thread, root of the user namespace of the container, if it has one.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn enter_user_namespace(&self) -> Result<(), ExecutorError> {
        self.0.enter_user_namespace().map_err(|error| of_process("enter the user namespace of", error))
    }

    /// The same, with a new mount namespace there: what it starts next has the container's user namespace.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn begin_beside(&self) -> Result<(), ExecutorError> {
        self.0.begin_beside().map_err(|error| of_process("enter the user namespace of", error))
    }

    /// The numbers of the container's processes, as the host sees them.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn pids(&self) -> Result<Vec<i32>, ExecutorError> {
        self.0.processes().map_err(|error| of_process("list the processes beside", error))
    }

    /// The container's network, if it is not the machine's.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn network(&self) -> Result<Option<OwnedFd>, ExecutorError> {
        self.0.network().map_err(|error| of_process("open the network of", error))
    }

    /// The text of a file of the first process in `/proc`.
    pub(crate) fn text(&self, name: &str) -> Result<String, ExecutorError> {
        self.0.read(name).map_err(|error| of_process("read a file of", error))
    }

    pub(crate) fn has_own_network(&self) -> Result<bool, ExecutorError> {
        self.0.has_own_network().map_err(|error| of_process("look at the network of", error))
    }

    /// The container's root directory, with everything that is mounted in it.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn open_root(&self) -> Result<OwnedFd, ExecutorError> {
        self.0.root().map_err(|error| of_process("open the root of", error))
    }

    /// Makes the container's processes stand still, until it is told otherwise; false when it has no control group, or none that
    /// this process may freeze.
    ///
    /// # Errors
    /// [`ExecutorError::Pause`] when they do not stop.
    pub fn freeze(&self) -> Result<bool, ExecutorError> {
        let freezer = self.freezer()?;
        freezer.map_or(Ok(false), |own| own.freeze()).map_err(|source| ExecutorError::Pause { source })
    }

    /// Lets them go on; false when this process may not do that.
    ///
    /// # Errors
    /// [`ExecutorError::Pause`].
    pub fn thaw(&self) -> Result<bool, ExecutorError> {
        let freezer = self.freezer()?;
        freezer.map_or(Ok(false), |own| own.thaw()).map_err(|source| ExecutorError::Pause { source })
    }

    fn freezer(&self) -> Result<Option<Freezer>, ExecutorError> {
        let groups =
            self.0.read("cgroup").map_err(|error| of_process("read the control groups of", error))?;
        Ok(Freezer::of(&groups))
    }

    /// A new terminal of the container: its master and its slave side.
    ///
    /// # Errors
    /// [`ExecutorError::System`] when the system has none left.
    pub fn open_terminal(
        &self,
        rows: u16,
        columns: u16,
    ) -> Result<(OwnedFd, ContainerTerminal), ExecutorError> {
        let root = self.root()?;
        let pair = open_terminal_below(root.fd(), WindowSize { rows, columns })
            .map_err(|error| ExecutorError::system("open", b"/dev/pts/ptmx", error))?;
        pair.map_or_else(|| crate::open_terminal(rows, columns), |pair| Ok(ContainerTerminal::of(pair)))
    }

    /// Starts a program; returns when it is executed.
    ///
    /// # Errors
    /// [`ExecutorError::ProgramNotStarted`], [`ExecutorError::UnknownUser`], [`ExecutorError::Sandbox`].
    pub fn execute(&self, execution: &Execution<'_>) -> Result<Executed, ExecutorError> {
        let view = RootView::of_container(execution.store, self.root()?);
        let identity = run_identity(&view, &execution.config.user)?.with_groups(&view, execution.groups)?;
        let (terminal, streams) = match execution.stdio {
            Some(stdio @ Stdio::Terminal(terminal)) => {
                terminal.give_to(identity.uid);
                (true, Some(Streams::new(stdio)?))
            }
            Some(stdio) => (false, Some(Streams::new(stdio)?)),
            None => (false, None),
        };
        let mut variables = environment(execution.config, execution.hostname, terminal);
        if !variables.iter().any(|pair| pair.as_encoded_bytes().starts_with(b"HOME=")) {
            variables.push(format!("HOME={}", identity.home).into());
        }
        let command: Vec<OsString> = execution.argv.iter().map(OsString::from).collect();
        let directory = ImagePath::root().join(&execution.config.working_dir);
        let child = sandbox::join(&Joining {
            member: &self.0,
            process: Process {
                command: &command,
                environment: &variables,
                directory: Path::new(directory.as_str()),
                identity: sandbox::Identity {
                    uid: identity.uid,
                    gid: identity.gid,
                    groups: &identity.groups,
                },
                first: FirstProcess::Command,
            },
            confinement: of_container(execution.security),
            privileges: execution.privileges,
            privilege: execution.isolation.privilege(),
            limits: execution.limits,
            terminal,
            stdio: streams.as_ref().map(Streams::stdio),
        });
        let child = child.map_err(|error| match error {
            SandboxError::Spawn(directory @ SpawnError::ImagePath { .. }) => {
                ExecutorError::ProgramNotStarted(directory)
            }
            error => not_started(error.into()),
        })?;
        let pid = child.pid().map_err(|error| ExecutorError::system("read", b"/proc/self/fdinfo", error))?;
        let relay = match streams {
            Some(streams) => streams.relay(child.pidfd())?,
            None => None,
        };
        Ok(Executed { child, pid, relay })
    }

    fn root(&self) -> Result<Rooted, ExecutorError> {
        self.open_root().map(Rooted::new)
    }
}

impl Executed {
    /// Its process id, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its process, readable once it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd()
    }

    /// Hands on what it writes until its end; returns the exit code, 128 + n for signal n.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn wait(mut self) -> Result<i32, ExecutorError> {
        if let Some(relay) = self.relay.take() {
            relay.carry()?;
        }
        let status = self.child.wait().map_err(|error| ExecutorError::system("waitid", b"", error))?;
        Ok(exit_code(status))
    }

    /// Lets it go on by itself, until its container ends.
    pub fn leave(self) {
        self.child.leave();
    }
}

fn of_process(action: &'static str, error: io::Error) -> ExecutorError {
    ExecutorError::system(action, b"the container's first process", error)
}
