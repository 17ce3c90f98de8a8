//! The clone calls.
//!
//! A container has a pid namespace of its own inside that of a guard. The kernel makes a pid namespace only below the
//! caller's own, so the way there has two calls: a process in the guard's namespace, which does nothing but make the
//! container's first process as a sibling of itself (`CLONE_PARENT`), so that rbuild is the parent that waits for it. The
//! process between shares rbuild's descriptors, because the container's pidfd must arrive there. It ends at once; rbuild
//! sleeps until the container's process executes its command, which closes a pipe.
//!
//! A further process of a container that runs is made in the same way. The process between enters the container's namespaces and is in
//! none of its pid namespace itself, so that all that the container ever sees of the other is inside.

use super::{
    Namespaces,
    launch::{Launch, entry},
    stack::Stack,
};
use crate::{
    mount::{done, owned},
    program::{Failure, Program},
    raw,
};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

/// Start in the control group of a descriptor (clone(2)); the C library's constant does not fit an `int`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child of the calling thread, which sleeps until the child has executed a program or ended. Returns its pidfd.
///
/// # Errors
/// The kernel's.
pub(super) fn direct(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    launch: &mut Launch<'_>,
) -> io::Result<OwnedFd> {
    let stack = Stack::new()?;
    let mut pidfd: RawFd = -1;
    let flags = (libc::CLONE_VM | libc::CLONE_VFORK) as u64 | namespaces.bits();
    let call = CloneCall::new(flags, libc::SIGCHLD, &stack).in_cgroup(cgroup).with_pidfd(&raw mut pidfd);
    let argument = std::ptr::from_mut(launch).cast();
    // SAFETY: the stack is mapped and fresh; `entry` only enters the kernel; CLONE_VFORK keeps this frame, and so
    // `launch` and `pidfd`, alive until the child has left.
    with_signals_blocked(|| raw::check(unsafe { call.make(entry, argument) }))?;
    owned(pidfd.into())
}

/// What the process between does before it makes its sibling, and how that failed.
pub(super) struct Inside<'a> {
    pub(super) program: &'a Program,
    pub(super) failed: Option<Failure>,
}

/// A child whose namespaces are made below the pid namespace that children of the calling thread begin in. Returns its
/// pidfd, and what it wrote to the pipe, whose ends are for reading and writing, when it could not execute its command. It begins
/// where the process between has gone, if that is told to go anywhere.
///
/// # Errors
/// The kernel's.
pub(super) fn nested(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    (launch, inside): (&mut Launch<'_>, Option<&mut Inside<'_>>),
    (report, channel): (&OwnedFd, &mut Option<OwnedFd>),
) -> io::Result<(OwnedFd, Option<i32>)> {
    let (outer, inner) = (Stack::new()?, Stack::new()?);
    let mut pidfd: RawFd = -1;
    let flags = (libc::CLONE_VM | libc::CLONE_PARENT) as u64 | namespaces.bits();
    let mut between = Between {
        // a sibling takes the exit signal of its maker
        call: CloneCall::new(flags, 0, &inner).in_cgroup(cgroup).with_pidfd(&raw mut pidfd),
        launch: std::ptr::from_mut(launch).cast(),
        inside,
        answer: 0,
    };
    let flags = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES) as u64;
    let call = CloneCall::new(flags, libc::SIGCHLD, &outer);
    let argument = (&raw mut between).cast();
    // SAFETY: the stacks are mapped and fresh; `make_sibling` and `entry` only enter the kernel. CLONE_VFORK keeps this
    // frame alive until the process between has left, and the read below until its sibling has.
    let maker = with_signals_blocked(|| raw::check(unsafe { call.make(make_sibling, argument) }))?;
    let errno = raw::check(between.answer).and_then(|_| {
        // The sibling reads the launch and its stack until it executes another program or ends. Either closes its end
        // of the pipe, the last one once this process has closed its own.
        drop(channel.take());
        crate::init::read_report(report)
    });
    // it ended long ago; a caller that waits for all children may have taken its end
    let _ = wait_for(maker as libc::id_t);
    let errno = errno?;
    Ok((owned(pidfd.into())?, errno))
}

/// Memory shared with the process between, which writes `answer` alone, and the failure of what it does before.
struct Between<'a, 'b> {
    call: CloneCall,
    launch: *mut u8,
    inside: Option<&'a mut Inside<'b>>,
    answer: isize,
}

/// The process between. It does not wait for its sibling, which runs on a stack of its own.
unsafe extern "C" fn make_sibling(argument: *mut u8) -> ! {
    // SAFETY: `nested` passed a pointer to its own value, which it neither reads nor frees until this process has left.
    let between = unsafe { &mut *argument.cast::<Between<'_, '_>>() };
    if let Some(inside) = &mut between.inside {
        // SAFETY: this process was made to go where the program says.
        if let Err(failure) = unsafe { inside.program.run() } {
            between.answer = -(failure.errno as isize);
            inside.failed = Some(failure);
            // SAFETY: as below.
            unsafe { raw::leave(0) }
        }
    }
    // SAFETY: the call's stack is the second one that `nested` made, and the launch is the caller's.
    between.answer = unsafe { between.call.make(entry, between.launch) };
    // SAFETY: `nested` reads what they share when this process has left.
    unsafe { raw::leave(0) }
}

/// `struct clone_args`: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
/// cgroup.
struct CloneCall([u64; 11]);

impl CloneCall {
    fn new(flags: u64, exit_signal: i32, stack: &Stack) -> Self {
        let mut args = [0; 11];
        args[0] = flags;
        args[4] = exit_signal as u64;
        args[5] = stack.base();
        args[6] = stack.size();
        Self(args)
    }

    fn in_cgroup(mut self, cgroup: Option<BorrowedFd<'_>>) -> Self {
        if let Some(cgroup) = cgroup {
            self.0[0] |= CLONE_INTO_CGROUP;
            self.0[10] = cgroup.as_raw_fd() as u64;
        }
        self
    }

    fn with_pidfd(mut self, place: *mut RawFd) -> Self {
        self.0[0] |= libc::CLONE_PIDFD as u64;
        self.0[1] = place as u64;
        self
    }

    /// Makes the call; returns in the caller only, once the child has left: its id, or a negated errno.
    ///
    /// # Safety
    /// As for [`raw::clone_shared`].
    unsafe fn make(&self, entry: raw::Entry, argument: *mut u8) -> isize {
        let Self(args) = self;
        let call = [args.as_ptr() as usize, size_of_val(args), 0, 0, 0];
        // SAFETY: the caller answers for stack, entry and argument; the structure is read during the call.
        let result = unsafe { raw::clone_shared(libc::SYS_clone3, &call, entry, argument) };
        if result != -(libc::ENOSYS as isize) || args[0] & CLONE_INTO_CGROUP != 0 {
            return result;
        }
        // A filter around us that hides clone3. The older call takes the exit signal among the flags, the stack's
        // top, and the pidfd where a tid would go.
        let call = [(args[0] | args[4]) as usize, (args[5] + args[6]) as usize, args[1] as usize, 0, 0];
        // SAFETY: as above; clone's stack argument is the aligned end of the mapping.
        unsafe { raw::clone_shared(libc::SYS_clone, &call, entry, argument) }
    }
}

/// Waits for the end of a child.
fn wait_for(process: libc::id_t) -> io::Result<()> {
    loop {
        // SAFETY: a null siginfo is allowed; the rest are integers.
        let answer = unsafe { libc::waitid(libc::P_PID, process, std::ptr::null_mut(), libc::WEXITED) };
        match done(answer.into()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// Calls `clone` with every signal blocked in the calling thread.
fn with_signals_blocked(clone: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    let mut before = 0_u64;
    set_signal_mask(u64::MAX, &mut before)?;
    let result = clone();
    let mut ignored = 0;
    set_signal_mask(before, &mut ignored)?;
    result
}

/// Sets the calling thread's mask, with the signals libc keeps for itself; its own function would leave those
/// out.
fn set_signal_mask(mask: u64, before: &mut u64) -> io::Result<()> {
    let how = libc::SIG_SETMASK as usize;
    let args = [how, &raw const mask as usize, std::ptr::from_mut(before) as usize, 8, 0, 0];
    // SAFETY: both pointers are to eight bytes, the size given.
    raw::check(unsafe { raw::syscall(libc::SYS_rt_sigprocmask, &args) }).map(drop)
}
