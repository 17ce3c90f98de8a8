//! Starting a process in new namespaces from a program with many threads, without a helper and without
//! re-executing.
//!
//! # What runs between clone and exec, and why it may
//!
//! A forked copy of a threaded program is a trap: it has one thread and the locks of all of them, so whatever
//! it calls, `malloc` included, may wait for ever for an owner that does not exist in it. The usual ways out
//! cost: executing oneself again is a second exec, a second dynamic link and a protocol (1 ms and more), and
//! a helper forked early is a process to feed, to watch and to be killed with. posix_spawn(3) shows a third:
//! run nothing that could take a lock.
//!
//! [`Guard::spawn`] makes clone3(2) calls with `CLONE_VM | CLONE_VFORK` and the namespaces wanted:
//!
//! - *The parent prepares everything*: strings, pointer arrays, descriptors, the filter. The child gets a
//!   pointer.
//! - *The child is a loop* over [`Program`]'s calls that enters the kernel by one instruction. It calls no
//!   libc function, so takes no lock, does not allocate, does not touch `errno` of the thread it shares its
//!   thread pointer with. libc's `setuid` would try to change all threads of the *parent*, whose list it can
//!   see; the bare call changes the child.
//! - *The calling thread is suspended by the kernel* (`CLONE_VFORK`) until the child has executed or exited,
//!   so the stack frame, strings and program it reads stay as they are. Other threads go on; they cannot
//!   touch what the child reads, because it is borrowed for the duration of the call.
//! - *The stack is the child's own*, with a guard page, since it shares the memory the caller's stack is in.
//! - *No page tables are copied*, so the cost does not grow with the parent's memory, and none is duplicated.
//! - *Signals are blocked in the caller around the clone* and the child starts with all blocked: a handler of
//!   the parent would run in the child on shared memory. The child sets all dispositions to default (also of
//!   signals that are ignored, as Rust programs ignore `SIGPIPE`) and only then, as its last call before
//!   exec, empties the mask.
//! - *Errors of the set-up need no pipe*: the child writes which call failed, and errno, to the parent's frame.
//! - *Descriptors* are copied, not shared, so what the child does with them the parent does not see. The child
//!   closes all that its calls do not name before it looks at the first path of an image, because a path may lead
//!   through `/proc/self/fd` to whatever is open (CVE-2024-21626); what is left closes at exec.
//! - *The child does not execute the command itself*, because its `/proc/self/exe` is still rbuild's file. It executes
//!   a program in memory (`init.rs`), and that one executes the command. Whether it could comes back through a pipe
//!   that closes with the second exec.
//!
//! # Death
//!
//! When rbuild dies, by whatever signal, everything it started must die. A process can undo every request for a signal
//! at its parent's death, so nothing of the kind is asked for: the process belongs to the pid namespace of a
//! [`Guard`], which ends with rbuild and takes the namespace along.
//!
//! Changing credentials makes the shared memory, thus rbuild, undumpable (prctl(2), `PR_SET_DUMPABLE`), and
//! so it stays: it keeps a user of the container's uid from tracing the child while it still shares memory
//! with rbuild.

use crate::{SpawnError, program::Program};
use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

mod arguments;
mod child;
mod clone;
mod exec;
mod gaps;
mod guard;
mod identity;
mod join;
mod launch;
mod stack;

pub use child::{Child, Ended, Usage, send_signal};
pub use exec::{Exec, command_paths};
pub use guard::Guard;
pub(crate) use guard::Waiting;
pub use identity::{ProcessIdentity, is_stopped};
pub(crate) use identity::{dies, pidfd_of};
pub use join::join;
use launch::Launch;

/// Stack of a thread that does nothing but start a process.
const STARTER_STACK: usize = 64 << 10;

/// The namespaces a process gets of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Namespaces(i32);

impl Namespaces {
    /// Mounts, process ids, System V and POSIX message queues, host name; the network is shared. The namespace of control
    /// groups is made by the process itself, once it is in its own group.
    pub const CONTAINER: Self =
        Self(libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS);

    /// Process ids only.
    const PROCESSES: Self = Self(libc::CLONE_NEWPID);

    /// None but those of the caller and of its children.
    pub(crate) const NONE: Self = Self(0);

    fn bits(self) -> u64 {
        u64::from(self.0 as u32)
    }

    /// These and an own network, which has only a loopback that is down.
    #[must_use]
    pub const fn with_network(self) -> Self {
        Self(self.0 | libc::CLONE_NEWNET)
    }
}

/// The process's descriptors 0, 1 and 2.
#[derive(Clone, Copy, Debug)]
pub struct Stdio<'a> {
    /// Standard input; `None` is the container's own `/dev/null`, whose mode and owner it may change.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Standard output.
    pub stdout: BorrowedFd<'a>,
    /// Standard error.
    pub stderr: BorrowedFd<'a>,
}

/// A process to start.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Calls made before exec.
    pub program: &'a Program,
    /// The file to execute.
    pub exec: &'a Exec,
    /// Namespaces made for it.
    pub namespaces: Namespaces,
    /// Its first descriptors; the program opens all three when absent.
    pub stdio: Option<Stdio<'a>>,
    /// The directory of the version 2 control group that it begins in; the caller's own group otherwise.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Starts a process in a pid namespace of its own below the one that children of the calling thread begin in; returns when it
/// executes its command.
fn spawn(request: &Spawn<'_>, init: BorrowedFd<'_>) -> Result<Child, SpawnError> {
    let prepare = |call| move |source| SpawnError::Prepare { call, source };
    let (stdio, _raised) = raised(request.stdio.as_ref()).map_err(prepare("fcntl"))?;
    let (report, channel) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|errno| prepare("pipe2")(errno.into()))?;
    let mut launch = Launch::new(request, stdio, init.as_raw_fd(), channel.as_raw_fd());
    let mut channel = Some(channel);
    let (namespaces, cgroup) = (request.namespaces, request.cgroup);
    let mut cloned = clone::nested(namespaces, cgroup, (&mut launch, None), (&report, &mut channel));
    if cloned.is_err() && cgroup.is_some() {
        // A group that could be made and may not be entered: the process begins in the caller's.
        cloned = clone::nested(namespaces, None, (&mut launch, None), (&report, &mut channel));
    }
    let (process, errno) = cloned.map_err(prepare("clone3"))?;
    let child = Child::new(process);
    let failed = launch.explain(request).or_else(|| errno.map(|errno| request.exec.explain(errno)));
    // a child that failed has ended, and is waited for as it is dropped
    failed.map_or(Ok(child), Err)
}

/// Starts the program in memory `init` in a new pid namespace, with `channel` as its descriptor to wait on; returns when
/// the kernel has loaded it.
fn start(request: &Spawn<'_>, init: BorrowedFd<'_>, channel: BorrowedFd<'_>) -> Result<Child, SpawnError> {
    let prepare = |call| move |source| SpawnError::Prepare { call, source };
    let (stdio, _raised) = raised(request.stdio.as_ref()).map_err(prepare("fcntl"))?;
    let mut launch = Launch::new(request, stdio, init.as_raw_fd(), channel.as_raw_fd());
    let process = clone::direct(request.namespaces, None, &mut launch).map_err(prepare("clone3"))?;
    let child = Child::new(process);
    launch.explain(request).map_or(Ok(child), Err)
}

/// The numbers of the descriptors that become the first three. Those that are themselves among the first three could be
/// overwritten before they are duplicated, so they are copies, which come along.
fn raised(stdio: Option<&Stdio<'_>>) -> io::Result<([Option<RawFd>; 3], Vec<OwnedFd>)> {
    let mut copies = Vec::new();
    let mut numbers = [None; 3];
    let Some(stdio) = stdio else { return Ok((numbers, copies)) };
    let given = [stdio.stdin, Some(stdio.stdout), Some(stdio.stderr)];
    for (number, fd) in numbers.iter_mut().zip(given) {
        let Some(fd) = fd else { continue };
        *number = Some(fd.as_raw_fd());
        if fd.as_raw_fd() < 3 {
            let copy = fd.try_clone_to_owned()?;
            *number = Some(copy.as_raw_fd());
            copies.push(copy);
        }
    }
    Ok((numbers, copies))
}

/// Text for the kernel, or the error that names it.
fn c_string(text: &std::ffi::OsStr, what: &str) -> Result<CString, SpawnError> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(text.as_bytes()).map_err(|_| SpawnError::Nul { what: format!("{what} {text:?}") })
}
