//! The child's side: what it reads, what it does until it executes the program in memory, and what it leaves when it
//! cannot.

use super::{Exec, Spawn, gaps};
use crate::{
    SpawnError,
    init::CHANNEL,
    program::{Failure, Program, os_error},
    raw,
};
use std::os::fd::RawFd;

/// Standard and real-time signals. `CLONE_CLEAR_SIGHAND` would leave those ignored that the parent, or its
/// parents, ignore.
const SIGNALS: usize = 64;

/// Memory shared with the child, which writes `stopped` alone.
pub(super) struct Launch<'a> {
    program: &'a Program,
    exec: &'a Exec,
    stdio: [Option<RawFd>; 3],
    /// Ranges of descriptors to close, first and last.
    unneeded: Vec<(u32, u32)>,
    init: RawFd,
    channel: RawFd,
    stopped: Option<Stopped>,
}

/// The reason that there was no exec.
#[derive(Clone, Copy, Debug)]
enum Stopped {
    Stdio(i32),
    Call(Failure),
    Channel(i32),
    Init(i32),
}

impl<'a> Launch<'a> {
    /// The launch that `request` asks for, with the descriptors that become its first three, the program in memory and its channel.
    pub(super) fn new(request: &Spawn<'a>, stdio: [Option<RawFd>; 3], init: RawFd, channel: RawFd) -> Self {
        let needed = request.program.descriptors().chain([init, channel]);
        Self {
            program: request.program,
            exec: request.exec,
            stdio,
            unneeded: gaps::between(needed),
            init,
            channel,
            stopped: None,
        }
    }

    /// Why the child has ended without executing the program in memory; `None` if it executed it.
    pub(super) fn explain(&self, request: &Spawn<'_>) -> Option<SpawnError> {
        self.stopped.map(|stopped| stopped.explain(request))
    }
}

impl Stopped {
    fn explain(self, request: &Spawn<'_>) -> SpawnError {
        let setup = |call: &str, errno| SpawnError::Setup { call: call.to_owned(), source: os_error(errno) };
        let filtered = |call: String, errno| SpawnError::Filtered { call, source: os_error(errno) };
        match self {
            Self::Stdio(errno) => setup("dup3", errno),
            Self::Call(Failure { index, errno }) => {
                let (opened, written) =
                    (request.program.opened_path(index), request.program.written_path(index));
                let parameter = written.and_then(|path| path.to_str().ok()?.strip_prefix("/proc/sys/"));
                match (opened, parameter) {
                    _ if request.program.is_filtered(index) => {
                        filtered(request.program.describe(index), errno)
                    }
                    (Some(path), _) => SpawnError::ImagePath {
                        path: format!("/{}", path.to_string_lossy()),
                        source: os_error(errno),
                    },
                    (None, Some(file)) => {
                        SpawnError::Parameter { name: file.replace('/', "."), source: os_error(errno) }
                    }
                    (None, None) => setup(&request.program.describe(index), errno),
                }
            }
            Self::Channel(errno) => setup("dup3 of the report's pipe", errno),
            Self::Init(errno) if is_refusal(errno) && request.program.is_filtered(usize::MAX) => filtered(
                "execveat of a program in memory (see the sysctl vm.memfd_noexec, too)".to_owned(),
                errno,
            ),
            Self::Init(errno @ (libc::EACCES | libc::EPERM)) => {
                setup("execveat of a program in memory (see the sysctl vm.memfd_noexec)", errno)
            }
            Self::Init(errno @ libc::E2BIG) => {
                setup("execveat with this command line and environment", errno)
            }
            Self::Init(errno) => setup("execveat of a program in memory", errno),
        }
    }
}

/// The child. Everything it needs is in the launch; everything it does is a system call.
///
/// # Safety
/// `argument` points at a launch that stays as it is until the child has left.
pub(super) unsafe extern "C" fn entry(argument: *mut u8) -> ! {
    // SAFETY: the caller passed a pointer to a launch that the suspended parent neither reads nor frees.
    let launch = unsafe { &mut *argument.cast::<Launch<'_>>() };
    // SAFETY: this is the fresh child, whose state is there to be changed.
    let stopped = unsafe { become_program(launch) };
    launch.stopped = Some(stopped);
    // SAFETY: the parent is suspended until this process has left.
    unsafe { raw::leave(127) }
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
        let result = match source {
            Some(source) => call(libc::SYS_dup3, [*source as usize, target, 0, 0, 0, 0]),
            // the program opens it
            None => call(libc::SYS_close, [target, 0, 0, 0, 0, 0]),
        };
        if result < 0 && source.is_some() {
            return Stopped::Stdio(result.unsigned_abs() as i32);
        }
    }
    for (first, last) in &launch.unneeded {
        call(libc::SYS_close_range, [*first as usize, *last as usize, 0, 0, 0, 0]);
    }
    // SAFETY: the caller says this is the child.
    if let Err(failure) = unsafe { launch.program.run() } {
        return Stopped::Call(failure);
    }
    call(libc::SYS_close_range, [3, u32::MAX as usize, libc::CLOSE_RANGE_CLOEXEC as usize, 0, 0, 0]);
    let channel = launch.channel as usize;
    let result = if launch.channel == CHANNEL {
        call(libc::SYS_fcntl, [channel, libc::F_SETFD as usize, 0, 0, 0, 0])
    } else {
        call(libc::SYS_dup3, [channel, CHANNEL as usize, 0, 0, 0, 0])
    };
    if result < 0 {
        return Stopped::Channel(result.unsigned_abs() as i32);
    }
    let none = 0_u64;
    call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, &raw const none as usize, 0, 8, 0, 0]);
    // SAFETY: as above.
    Stopped::Init(unsafe { launch.exec.run(launch.init) })
}

/// True if it is what a filter answers.
fn is_refusal(errno: i32) -> bool {
    matches!(errno, libc::EACCES | libc::EPERM | libc::ENOSYS)
}
