//! A running process, held by its descriptor.

use super::Guard;
use crate::{
    mount::{done, owned},
    read_proc,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};
use std::{
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    ptr,
    sync::Arc,
    time::Duration,
};

/// A process started by this one. Dropping it kills the process, with all of its pid namespace, and reaps it.
#[derive(Debug)]
pub struct Child {
    pidfd: OwnedFd,
    ended: Option<Ended>,
    /// True if it is to go on by itself.
    is_left: bool,
    /// In whose pid namespace it is; let go of after it has been waited for.
    guard: Option<Arc<Guard>>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// The sum of what it and the processes that it waited for have used.
    pub usage: Usage,
}

/// What processes have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory of the largest of them at its peak. The kernel counts what this process had when it started the first one
    /// for that one, because they share memory until it executes its command; so `None` when none of them had more.
    pub peak_memory: Option<u64>,
    /// Time on processors, in the kernel and outside of it.
    pub processor_time: Duration,
}

impl Child {
    pub(super) fn new(pidfd: OwnedFd) -> Self {
        Self { pidfd, ended: None, is_left: false, guard: None }
    }

    /// Keeps the guard in whose pid namespace it was started.
    pub(super) fn below(mut self, guard: Arc<Guard>) -> Self {
        self.guard = Some(guard);
        self
    }

    /// The process, for [`send_signal`] and for polling: readable once it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// True if it has not ended yet.
    pub(super) fn is_running(&self) -> bool {
        let mut look = [PollFd::new(self.pidfd(), PollFlags::POLLIN)];
        matches!(poll(&mut look, PollTimeout::ZERO), Ok(0))
    }

    /// Its id in the caller's pid namespace; it is not used again before it has been waited for. The calls that start a
    /// process return the id in another namespace, so the kernel is asked (proc_pid_fdinfo(5)).
    ///
    /// # Errors
    /// If `/proc` cannot be read, or the process has been waited for.
    pub fn pid(&self) -> io::Result<i32> {
        let text = read_proc(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd()))?;
        let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        pid.filter(|pid| *pid > 0).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
    }

    /// Its mount namespace; `None` where the kernel does not give it (before 6.11), or when the process has ended.
    pub(crate) fn mount_namespace(&self) -> Option<OwnedFd> {
        const PIDFD_GET_MNT_NAMESPACE: libc::c_ulong = 0xff03;
        // SAFETY: the call takes integers, and returns a new descriptor, which nothing else owns.
        owned(unsafe { libc::ioctl(self.pidfd.as_raw_fd(), PIDFD_GET_MNT_NAMESPACE, 0) }.into()).ok()
    }

    /// Waits for the end. Asked again, answers the same.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.wait_measured().map(|ended| ended.status)
    }

    /// Waits for the end as [`Child::wait`] does, and says what the process and all that it waited for have used.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait_measured(&mut self) -> io::Result<Ended> {
        if let Some(ended) = self.ended {
            return Ok(ended);
        }
        let mut ended = loop {
            match wait_pidfd(self.pidfd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => break answer?,
            }
        };
        let shared = |peak: &u64| self.guard.as_ref().is_some_and(|guard| guard.process_has_had(*peak));
        ended.usage.peak_memory = ended.usage.peak_memory.filter(|peak| !shared(peak));
        self.ended = Some(ended);
        Ok(ended)
    }

    /// Lets it go on by itself.
    pub fn leave(mut self) {
        self.is_left = true;
    }

    /// Kills the process, and with it everything in its pid namespace. Fine if it has ended.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kill(&self) -> io::Result<()> {
        match send_signal(self.pidfd(), Signal::SIGKILL) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            answer => answer,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() && !self.is_left && self.kill().is_ok() {
            drop(self.wait());
        }
    }
}

/// By the bare call: nix knows no real-time signals, and a process may die of one; the C library's `waitid` hides what was used.
fn wait_pidfd(process: BorrowedFd<'_>) -> io::Result<Ended> {
    let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    let (kind, id) = (libc::P_PIDFD as libc::c_long, libc::c_long::from(process.as_raw_fd()));
    let (options, information) = (libc::c_long::from(libc::WEXITED), found.as_mut_ptr());
    // SAFETY: the kernel writes one siginfo structure and one rusage structure to the spaces given.
    done(unsafe { libc::syscall(libc::SYS_waitid, kind, id, information, options, used.as_mut_ptr()) })?;
    // SAFETY: zeroed bytes were a valid structure before the kernel filled it.
    let usage = usage(&unsafe { used.assume_init() });
    // SAFETY: the call succeeded; zeroed bytes were a valid structure even before.
    let found = unsafe { found.assume_init() };
    // SAFETY: waitid fills the fields of a SIGCHLD.
    let status = unsafe { found.si_status() };
    let status = ExitStatus::from_raw(match found.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    });
    Ok(Ended { status, usage })
}

fn usage(used: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        let (seconds, micros) = (time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs());
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    // Linux counts kilobytes
    let peak_memory = Some(used.ru_maxrss.unsigned_abs() * 1024);
    Usage { peak_memory, processor_time: time(used.ru_utime) + time(used.ru_stime) }
}

/// Sends a signal to the process behind a descriptor, which cannot be another one with a reused id
/// (pidfd_send_signal(2)). The first process of a pid namespace gets only signals it has a handler for, and
/// `SIGKILL`.
///
/// # Errors
/// The kernel's; `ESRCH` if the process has ended.
pub fn send_signal(process: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    let number = signal as libc::c_int;
    let nothing = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed; the rest are integers.
    done(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), number, nothing, 0) })
}
