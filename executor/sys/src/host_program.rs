//! Programs of the host that rbuild starts outside of any sandbox.

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

/// Makes the program that `command` starts end with the thread that starts it, and so with this process, whatever ends that
/// (`PR_SET_PDEATHSIG` of prctl(2)). It gets no more rights by the set-user-id or set-group-id bits of its file, such as `ssh-agent` has
/// on Debian, because the kernel would then forget the signal.
pub fn end_with_this_thread(command: &mut Command) {
    let parent = std::process::id();
    let set = move || {
        // SAFETY: prctl and getppid are plain system calls, which may be made between fork and exec (signal-safety(7)).
        let (held, set, is_parent) = unsafe {
            let held = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let set = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            (held, set, libc::getppid().cast_unsigned() == parent)
        };
        match (held, set, is_parent) {
            (0, 0, true) => Ok(()),
            // it ended before the signal was asked for
            (0, 0, false) => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes only system calls and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// Makes the program that `command` starts independent of this process: in a session of its own, with no descriptors but the first
/// three, which `command` gives it.
pub fn detach(command: &mut Command) {
    let detach = || {
        // SAFETY: setsid and close_range are plain system calls, which may be made between fork and exec; nothing is closed
        // before the exec, so every owner of a descriptor still has it.
        let (session, closed) = unsafe {
            let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
            (libc::setsid(), libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags))
        };
        if session < 0 || closed < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure makes only system calls and allocates nothing.
    unsafe { command.pre_exec(detach) };
}

/// Lets the program that `command` starts inherit `descriptors` under their numbers. They are open as long as the command is
/// there.
pub fn inherit(command: &mut Command, descriptors: Vec<OwnedFd>) {
    let keep = move || {
        for descriptor in &descriptors {
            // SAFETY: fcntl is a plain system call, which may be made between fork and exec; the descriptor is open.
            if unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes only system calls and allocates nothing.
    unsafe { command.pre_exec(keep) };
}
