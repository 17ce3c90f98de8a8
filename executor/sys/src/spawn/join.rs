//! Starting a process in the pid namespace of one that runs.
//!
//! Processes of that namespace see the new one as soon as it is cloned, when it still shares memory with rbuild, and may have its
//! capabilities before it has executed anything (CVE-2016-9962). So rbuild's memory is closed to them first, which the kernel does
//! for both, and the command line in it is blank meanwhile; executing the program in memory leaves it behind.

use super::{
    Child, Launch, STARTER_STACK, Spawn,
    arguments::BlankArguments,
    clone,
    guard::{begin_in, changing, program},
    raised,
};
use crate::{SpawnError, init::read_report, member::refuse_tracers};
use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    thread,
};

/// Starts a process in the pid namespace of `member`, with which it ends; returns when it executes its command.
///
/// # Errors
/// [`SpawnError`], with the call that failed; no process is left behind.
pub fn join(request: &Spawn<'_>, member: BorrowedFd<'_>) -> Result<Child, SpawnError> {
    let prepare = |call| move |source| SpawnError::Prepare { call, source };
    refuse_tracers().map_err(prepare("prctl"))?;
    let _blank = BlankArguments::new().map_err(prepare("reading /proc/self/stat"))?;
    // a thread whose children begin in another pid namespace may never come back to its own: so it ends with the call
    thread::scope(|scope| {
        let start = || {
            begin_in(member).map_err(changing)?;
            start(request)
        };
        let starter = thread::Builder::new()
            .name("entering".to_owned())
            .stack_size(STARTER_STACK)
            .spawn_scoped(scope, start);
        let starter = starter.map_err(prepare("clone of a thread"))?;
        starter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn start(request: &Spawn<'_>) -> Result<Child, SpawnError> {
    let prepare = |call| move |source| SpawnError::Prepare { call, source };
    let init = program()?;
    let (stdio, _raised) = raised(request.stdio.as_ref()).map_err(prepare("fcntl"))?;
    let (report, channel) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|errno| prepare("pipe2")(errno.into()))?;
    let mut launch = Launch::new(request, stdio, init.as_fd().as_raw_fd(), channel.as_raw_fd());
    let process = clone::direct(request.namespaces, request.cgroup, &mut launch);
    drop(channel);
    let child = Child::new(process.map_err(prepare("clone3"))?);
    if let Some(failure) = launch.explain(request) {
        return Err(failure);
    }
    match read_report(&report).map_err(prepare("read"))? {
        Some(errno) => Err(request.exec.explain(errno)),
        None => Ok(child),
    }
}
