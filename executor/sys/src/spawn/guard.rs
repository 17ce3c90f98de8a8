//! The process that ends every container when rbuild ends.
//!
//! A container's first process can undo whatever ties it to its parent: it clears its parent-death signal by a call,
//! loses it by executing a set-user-id program, and ignores every other signal. What it cannot leave is its pid
//! namespace. So all processes of one rbuild begin in namespaces below that of a guard, a process that does nothing but
//! read from a pipe whose other end rbuild alone holds. However rbuild ends, the kernel closes that end, the guard
//! returns from its read and exits, and the kernel kills everything in and below its namespace
//! (pid_namespaces(7)). The guard is another program in a session of its own, so neither Ctrl-C nor a signal to rbuild
//! reaches it, and no process of a container can see it.

use super::{Child, Exec, Namespaces, STARTER_STACK, Spawn, Stdio, identity::pidfd_of, spawn};
use crate::{SpawnError, init, mount::done, program::Program, read_proc};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A running guard. Each process that is started through it keeps it, because the kernel lets a guard end only after
/// rbuild has waited for them.
#[derive(Debug)]
pub struct Guard {
    /// Executed by each process that is started.
    init: OwnedFd,
    process: Child,
    /// This process, where a thread may come back from the guard's pid namespace to its own; the kernel asks for privilege over
    /// that one.
    own: Option<OwnedFd>,
    /// Held for its closing. `None` once the guard is to end.
    lifeline: Option<OwnedFd>,
    /// Bytes of memory that this process has had at one moment, when that was looked at.
    peak: AtomicU64,
}

impl Guard {
    /// Starts a guard.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start() -> Result<Self, SpawnError> {
        let prepare = |call| move |source: io::Error| SpawnError::Prepare { call, source };
        let init = program()?;
        let null = File::options().read(true).write(true).open("/dev/null").map_err(prepare("open"))?;
        let Waiting { process, lifeline } = Waiting::start(init.as_fd(), null.as_fd(), null.as_fd())?;
        let own = pidfd_of(std::process::id()).map_err(prepare("pidfd_open"))?;
        let own = begin_in(own.as_fd()).is_ok().then_some(own);
        Ok(Self { init, process, own, lifeline, peak: AtomicU64::new(0) })
    }

    /// Its process id, as the host sees it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pid(&self) -> io::Result<i32> {
        self.process.pid()
    }

    /// True if it still waits; a guard that was killed has ended all processes that were started through it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// True if this process, rbuild, has had so many bytes of memory at one moment.
    pub(super) fn process_has_had(&self, bytes: u64) -> bool {
        if bytes <= self.peak.load(Ordering::Relaxed) {
            return true;
        }
        let status = read_proc("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let peak = kilobytes.unwrap_or(0) * 1024;
        self.peak.store(peak, Ordering::Relaxed);
        bytes <= peak
    }

    /// Starts a process below the guard's pid namespace; returns when it executes its command.
    ///
    /// # Errors
    /// [`SpawnError`], with the call that failed; no process is left behind.
    pub fn spawn(self: &Arc<Self>, request: &Spawn<'_>) -> Result<Child, SpawnError> {
        let start = || -> Result<Child, SpawnError> {
            begin_in(self.process.pidfd()).map_err(changing)?;
            spawn(request, self.init.as_fd()).map(|child| child.below(self.clone()))
        };
        if let Some(own) = &self.own {
            let child = start();
            begin_in(own.as_fd()).map_err(changing)?;
            return child;
        }
        // A thread whose children begin in another pid namespace can make no threads: so one does it that ends with the call.
        thread::scope(|scope| {
            let starter = thread::Builder::new().stack_size(STARTER_STACK).spawn_scoped(scope, start);
            let starter =
                starter.map_err(|source| SpawnError::Prepare { call: "clone of a thread", source })?;
            starter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// A process that does nothing until this one has ended or lets go of it, and then writes a `0`.
#[derive(Debug)]
pub(crate) struct Waiting {
    process: Child,
    /// Held for its closing. `None` once the process is to end.
    lifeline: Option<OwnedFd>,
}

impl Waiting {
    /// Starts one that keeps `held` open and writes to `output`, in a session and a pid namespace of its own.
    pub(crate) fn start(
        init: BorrowedFd<'_>,
        held: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> Result<Self, SpawnError> {
        let prepare = |call| move |source: io::Error| SpawnError::Prepare { call, source };
        let (waiting, lifeline) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
            .map_err(|errno| prepare("pipe2")(errno.into()))?;
        let null = File::options().write(true).open("/dev/null").map_err(prepare("open"))?;
        let mut program = Program::new();
        program.new_session().chdir(c"/");
        let request = Spawn {
            program: &program,
            exec: &Exec::guard(),
            namespaces: Namespaces::PROCESSES,
            stdio: Some(Stdio { stdin: Some(held), stdout: output, stderr: null.as_fd() }),
            cgroup: None,
        };
        let process = super::start(&request, init, waiting.as_fd())?;
        Ok(Self { process, lifeline: Some(lifeline) })
    }

    /// Starts one with the program in memory made for it alone.
    pub(crate) fn alone(held: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Self, SpawnError> {
        Self::start(program()?.as_fd(), held, output)
    }

    /// Lets it write and end.
    pub(crate) fn release(&mut self) {
        drop(self.lifeline.take());
        // its end says that it has written; there is nothing to do about a kernel that cannot wait
        let _ = self.process.wait();
    }
}

/// The program that it executes.
pub(super) fn program() -> Result<OwnedFd, SpawnError> {
    init::program().map_err(|source| {
        let call = match source.raw_os_error() {
            Some(libc::EACCES) => "memfd_create (see the sysctl vm.memfd_noexec)",
            _ => "memfd_create",
        };
        SpawnError::Prepare { call, source }
    })
}

pub(super) fn changing(source: io::Error) -> SpawnError {
    SpawnError::Prepare { call: "setns", source }
}

/// Children of the calling thread begin in the pid namespace of `process` from now on.
pub(super) fn begin_in(process: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: setns takes two integers.
    done(unsafe { libc::setns(process.as_raw_fd(), libc::CLONE_NEWPID) }.into())
}

impl Drop for Guard {
    fn drop(&mut self) {
        // the process is killed and waited for as the next field is dropped
        drop(self.lifeline.take());
    }
}
