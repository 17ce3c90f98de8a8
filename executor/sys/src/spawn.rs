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
//! [`spawn`] makes one clone3(2) with `CLONE_VM | CLONE_VFORK | CLONE_PIDFD` and the namespaces wanted:
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
//! - *Errors need no pipe*: the child writes which call failed, and errno, to the parent's frame. When the
//!   clone returns, either the new program runs or that note is there.
//! - *Descriptors* are copied, not shared, so what the child does with them the parent does not see; all
//!   above 2 close at exec.
//!
//! # Death
//!
//! When rbuild dies, by whatever signal, the process must die: it has `PR_SET_PDEATHSIG` with `SIGKILL`, set
//! after the last change of credentials (which clears it) and followed by a look whether the parent lives,
//! which closes the race. **The kernel ties that signal to the thread that spawned**: if the thread ends, the
//! child is killed. So the thread that calls [`spawn`] must be the one that waits, or outlive the child.
//! The kernel also clears it when the first program is itself set-user-id or has file
//! capabilities and is executed by another user; what a shell starts later does not matter, as the end of a
//! pid namespace's first process ends all.
//!
//! Changing credentials makes the shared memory, thus rbuild, undumpable (prctl(2), `PR_SET_DUMPABLE`), and
//! so it stays: it keeps a user of the container's uid from tracing the child while it still shares memory
//! with rbuild.

use crate::{
    SpawnError,
    mount::owned,
    program::{Failure, Program, os_error},
    raw,
};
use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

mod child;
mod exec;
mod stack;

pub use child::{Child, send_signal};
pub use exec::Exec;
use stack::Stack;

/// The namespaces a process gets of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Namespaces(i32);

impl Namespaces {
    /// Mounts, process ids, System V and POSIX message queues, host name, control groups; the network is
    /// shared.
    pub const CONTAINER: Self = Self(
        libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP,
    );

    /// These and an own network, which has only a loopback that is down.
    #[must_use]
    pub const fn with_network(self) -> Self {
        Self(self.0 | libc::CLONE_NEWNET)
    }
}

/// What becomes the process's descriptors 0, 1 and 2.
#[derive(Clone, Copy, Debug)]
pub struct Stdio<'a> {
    /// Standard input.
    pub stdin: BorrowedFd<'a>,
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
    /// What is executed.
    pub exec: &'a Exec,
    /// Namespaces made for it.
    pub namespaces: Namespaces,
    /// Its first descriptors.
    pub stdio: Stdio<'a>,
}

/// Starts a process; returns when it executes its program. See the module's text for which thread may call
/// this.
///
/// # Errors
/// [`SpawnError`], with the call that failed; no process is left behind.
pub fn spawn(request: &Spawn<'_>) -> Result<Child, SpawnError> {
    let prepare = |call| move |source| SpawnError::Prepare { call, source };
    let stdio = [request.stdio.stdin, request.stdio.stdout, request.stdio.stderr];
    // Descriptors that are themselves 0 to 2 could be overwritten before they are duplicated.
    let mut raised = Vec::new();
    let mut numbers = [0; 3];
    for (number, fd) in numbers.iter_mut().zip(stdio) {
        *number = fd.as_raw_fd();
        if *number < 3 {
            let copy = fd.try_clone_to_owned().map_err(prepare("fcntl"))?;
            *number = copy.as_raw_fd();
            raised.push(copy);
        }
    }
    let parent = own_pidfd().map_err(prepare("pidfd_open"))?;
    let stack = Stack::new().map_err(prepare("mmap"))?;
    let mut launch = Launch {
        program: request.program,
        exec: request.exec,
        stdio: numbers,
        parent: parent.as_raw_fd(),
        stopped: None,
    };
    let child = clone_blocked(request.namespaces, &stack, &mut launch).map_err(prepare("clone3"))?;
    match launch.stopped {
        None => Ok(child),
        Some(stopped) => {
            drop(child);
            Err(stopped.explain(request))
        }
    }
}

/// Standard and real-time signals. `CLONE_CLEAR_SIGHAND` would leave those ignored that the parent, or its
/// parents, ignore.
const SIGNALS: usize = 64;

/// What the child reads, and the one thing it writes.
struct Launch<'a> {
    program: &'a Program,
    exec: &'a Exec,
    stdio: [RawFd; 3],
    parent: RawFd,
    stopped: Option<Stopped>,
}

/// Why there was no exec.
#[derive(Clone, Copy, Debug)]
enum Stopped {
    Stdio(i32),
    Call(Failure),
    ParentDied,
    Exec(i32),
}

impl Stopped {
    fn explain(self, request: &Spawn<'_>) -> SpawnError {
        let setup = |call: &str, errno| SpawnError::Setup { call: call.to_owned(), source: os_error(errno) };
        match self {
            Self::Stdio(errno) => setup("dup3", errno),
            Self::Call(Failure { index, errno }) => setup(&request.program.describe(index), errno),
            Self::ParentDied => setup("poll of the parent", libc::ESRCH),
            Self::Exec(errno) => request.exec.explain(errno),
        }
    }
}

/// Clones with every signal blocked in the calling thread.
fn clone_blocked(namespaces: Namespaces, stack: &Stack, launch: &mut Launch<'_>) -> io::Result<Child> {
    let mut before = 0_u64;
    set_signal_mask(u64::MAX, &mut before)?;
    let result = clone(namespaces, stack, launch);
    let mut ignored = 0;
    set_signal_mask(before, &mut ignored)?;
    result
}

fn clone(namespaces: Namespaces, stack: &Stack, launch: &mut Launch<'_>) -> io::Result<Child> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | namespaces.0;
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    let address = &raw mut pidfd as u64;
    let args = [flags as u32 as u64, address, 0, 0, libc::SIGCHLD as u64, stack.base(), stack.size(), 0];
    let call = [args.as_ptr() as usize, size_of_val(&args), 0, 0, 0];
    // SAFETY: the stack is mapped, fresh and page-aligned; `entry` only enters the kernel; CLONE_VFORK keeps
    // this frame, and so `launch` and `args`, alive until the child has left.
    let mut result =
        unsafe { raw::clone_shared(libc::SYS_clone3, &call, entry, std::ptr::from_mut(launch).cast()) };
    if result == -(libc::ENOSYS as isize) {
        // A filter around us that hides clone3. The older call takes the stack's top, and the pidfd where a
        // tid would go.
        let flags = (flags | libc::SIGCHLD) as u32 as usize;
        let call = [flags, (stack.base() + stack.size()) as usize, address as usize, 0, 0];
        // SAFETY: as above; clone's stack argument is the aligned end of the mapping.
        result =
            unsafe { raw::clone_shared(libc::SYS_clone, &call, entry, std::ptr::from_mut(launch).cast()) };
    }
    let pid = raw::check(result)?;
    Ok(Child::new(owned(pidfd.into())?, pid as i32))
}

/// The child. Everything it needs is in the launch; everything it does is a system call.
unsafe extern "C" fn entry(argument: *mut u8) -> ! {
    // SAFETY: `clone` passed a pointer to its caller's launch, which the suspended parent neither reads nor
    // frees.
    let launch = unsafe { &mut *argument.cast::<Launch<'_>>() };
    // SAFETY: this is the fresh child, whose state is there to be changed.
    let stopped = unsafe { become_program(launch) };
    launch.stopped = Some(stopped);
    loop {
        // SAFETY: exit_group ends this process only: threads of the parent are not in its group.
        unsafe { raw::syscall(libc::SYS_exit_group, &[127, 0, 0, 0, 0, 0]) };
    }
}

/// # Safety
/// Only in the child.
unsafe fn become_program(launch: &Launch<'_>) -> Stopped {
    let call = |number, args: [usize; 6]| {
        // SAFETY: each use below passes integers or pointers to live locals of the size the call wants.
        unsafe { raw::syscall(number, &args) }
    };
    // struct sigaction of the kernel: handler SIG_DFL, no flags, no restorer, no mask.
    let default = [0_u64; 4];
    for signal in 1..=SIGNALS {
        call(libc::SYS_rt_sigaction, [signal, default.as_ptr() as usize, 0, 8, 0, 0]);
    }
    for (target, source) in launch.stdio.iter().enumerate() {
        let result = call(libc::SYS_dup3, [*source as usize, target, 0, 0, 0, 0]);
        if result < 0 {
            return Stopped::Stdio(result.unsigned_abs() as i32);
        }
    }
    call(libc::SYS_close_range, [3, u32::MAX as usize, libc::CLOSE_RANGE_CLOEXEC as usize, 0, 0, 0]);
    // SAFETY: the caller says this is the child.
    if let Err(failure) = unsafe { launch.program.run() } {
        return Stopped::Call(failure);
    }
    call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0, 0, 0]);
    let mut look = libc::pollfd { fd: launch.parent, events: libc::POLLIN, revents: 0 };
    let now = [0_u64; 2];
    let result = call(libc::SYS_ppoll, [&raw mut look as usize, 1, now.as_ptr() as usize, 0, 0, 0]);
    if result != 0 {
        return Stopped::ParentDied;
    }
    let none = 0_u64;
    call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, &raw const none as usize, 0, 8, 0, 0]);
    // SAFETY: as above.
    Stopped::Exec(unsafe { launch.exec.run() })
}

/// Sets the calling thread's mask, with the signals libc keeps for itself; its own function would leave those
/// out.
fn set_signal_mask(mask: u64, before: &mut u64) -> io::Result<()> {
    let how = libc::SIG_SETMASK as usize;
    let args = [how, &raw const mask as usize, std::ptr::from_mut(before) as usize, 8, 0, 0];
    // SAFETY: both pointers are to eight bytes, the size given.
    raw::check(unsafe { raw::syscall(libc::SYS_rt_sigprocmask, &args) }).map(drop)
}

fn own_pidfd() -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) })
}

/// Text for the kernel, or the error that names it.
fn c_string(text: &std::ffi::OsStr, what: &str) -> Result<CString, SpawnError> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(text.as_bytes()).map_err(|_| SpawnError::Nul { what: format!("{what} {text:?}") })
}
