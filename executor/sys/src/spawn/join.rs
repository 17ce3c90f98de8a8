//! Starting a process in the namespaces of one that runs.
//!
//! Processes of its pid namespace see the new one as soon as it is cloned, when it still shares memory with rbuild, and may have its
//! capabilities before it has executed anything (CVE-2016-9962). So rbuild's memory is closed to them first, which the kernel does
//! for both, and the command line in it is blank meanwhile; executing the program in memory leaves it behind. The mounts and the
//! network of a process are open to all that see it (`/proc/PID/mountinfo`, `/proc/PID/net`), so it is in the others before it is seen.

use super::{
    Child, Launch, Spawn,
    arguments::BlankArguments,
    clone::{self, Inside},
    guard::program,
    raised,
};
use crate::{
    SpawnError,
    member::refuse_tracers,
    program::{Program, os_error},
};
use std::os::fd::{AsFd, AsRawFd};

/// Starts a process where `inside` leads, with whose pid namespace it ends; returns when it executes its command.
///
/// # Errors
/// [`SpawnError`], with the call that failed; no process is left behind.
pub fn join(request: &Spawn<'_>, inside: &Program) -> Result<Child, SpawnError> {
    let prepare = |call| move |source| SpawnError::Prepare { call, source };
    refuse_tracers().map_err(prepare("prctl"))?;
    let _blank = BlankArguments::new().map_err(prepare("reading /proc/self/stat"))?;
    let init = program()?;
    let (stdio, _raised) = raised(request.stdio.as_ref()).map_err(prepare("fcntl"))?;
    let (report, channel) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|errno| prepare("pipe2")(errno.into()))?;
    let mut launch = Launch::new(request, stdio, init.as_fd().as_raw_fd(), channel.as_raw_fd());
    let (mut inside, mut channel) = (Inside { program: inside, failed: None }, Some(channel));
    let (namespaces, cgroup) = (request.namespaces, request.cgroup);
    let cloned = clone::nested(namespaces, cgroup, (&mut launch, Some(&mut inside)), (&report, &mut channel));
    if let Some(failure) = inside.failed {
        let call = inside.program.describe(failure.index);
        return Err(SpawnError::Setup { call, source: os_error(failure.errno) });
    }
    let (process, errno) = cloned.map_err(prepare("clone3"))?;
    let child = Child::new(process);
    let failed = launch.explain(request).or_else(|| errno.map(|errno| request.exec.explain(errno)));
    // a child that failed has ended, and is waited for as it is dropped
    failed.map_or(Ok(child), Err)
}
