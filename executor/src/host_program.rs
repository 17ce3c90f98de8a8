//! A program of the host that runs beside a build and ends with it.

use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use rbuild_sys::host_program::end_with_this_thread;
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

/// Asked when a program has ended by itself: the command that starts it again, if that is to be done.
pub(crate) type Again = Box<dyn FnMut() -> Option<Command> + Send>;

/// A running program. Dropping it kills the program, which also dies with this process.
pub(crate) struct HostProgram {
    child: Arc<Mutex<Child>>,
    /// Closed to end it.
    stop: Option<OwnedFd>,
    keeper: Option<JoinHandle<()>>,
}

impl HostProgram {
    /// Starts what `command` says, and waits as long as `ready` does.
    ///
    /// # Errors
    /// Those of starting it and of `ready`; it is killed then.
    pub(crate) fn start(
        command: Command,
        ready: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> io::Result<Self> {
        Self::start_lasting(command, Box::new(|| None), ready)
    }

    /// The same for a program that is started `again` when it has ended by itself.
    ///
    /// # Errors
    /// As [`HostProgram::start`].
    pub(crate) fn start_lasting(
        mut command: Command,
        mut again: Again,
        ready: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> io::Result<Self> {
        end_with_this_thread(&mut command);
        let (stopped, stop) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let (started, is_started) = mpsc::channel();
        // a thread of its own, because the program ends with the thread that started it
        let keeper = thread::Builder::new().name("host program".to_owned()).spawn(move || {
            let child = command.spawn().map(|child| Arc::new(Mutex::new(child)));
            // the files that the command holds for the program, such as the other ends of pipes
            drop(command);
            let held = child.as_ref().ok().cloned();
            let _ = started.send(child);
            let Some(child) = held else { return };
            while ends_by_itself(&child, &stopped) {
                let Some(mut command) = again() else {
                    wait_for([Some(&stopped), None]);
                    break;
                };
                end_with_this_thread(&mut command);
                if let Ok(new) = command.spawn() {
                    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                    // no zombie is left of the one before
                    let _ = child.wait();
                    *child = new;
                }
            }
            let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = child.kill();
            let _ = child.wait();
        })?;
        let child = is_started.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
        let program = Self { child, stop: Some(stop), keeper: Some(keeper) };
        ready(&mut program.child.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(program)
    }

    /// True if it has not ended by itself.
    pub(crate) fn is_running(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(child.try_wait(), Ok(None))
    }

    /// Kills it, and leaves the waiting for its end to others.
    pub(crate) fn kill(mut self) {
        // before the keeper, which has it as long as the program takes to end
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // first, so that its end is not one by itself
        self.stop = None;
        // one that has ended needs no signal
        let _ = child.kill();
        drop(child);
        self.keeper = None;
    }
}

/// Waits for the end of the program, or of who wants it; true for the first.
fn ends_by_itself(child: &Mutex<Child>, stopped: &OwnedFd) -> bool {
    let id = child.lock().unwrap_or_else(PoisonError::into_inner).id();
    let process = rustix::process::Pid::from_raw(id.cast_signed())
        .and_then(|id| rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty()).ok());
    !wait_for([Some(stopped), process.as_ref()])
}

/// Waits until one of the descriptors is ready; true if the first is.
fn wait_for(descriptors: [Option<&OwnedFd>; 2]) -> bool {
    loop {
        let watched = descriptors.into_iter().flatten();
        let mut watched: Vec<_> = watched.map(|one| PollFd::new(one.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            _ => return watched[0].any() != Some(false),
        }
    }
}

impl Drop for HostProgram {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}
