//! A program of the host that runs beside a build and ends with it.

use rbuild_sys::host_program::end_with_this_thread;
use std::{
    io,
    process::{Child, Command},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
};

/// A running program. Dropping it kills the program, which also dies with this process.
pub(crate) struct HostProgram {
    child: Arc<Mutex<Child>>,
    /// Closed to end it.
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl HostProgram {
    /// Starts what `command` says, and waits as long as `ready` does.
    ///
    /// # Errors
    /// Those of starting it and of `ready`; it is killed then.
    pub(crate) fn start(
        mut command: Command,
        ready: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> io::Result<Self> {
        end_with_this_thread(&mut command);
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, is_started) = mpsc::channel();
        // a thread of its own, because the program ends with the thread that started it
        let keeper = thread::Builder::new().name("host program".to_owned()).spawn(move || {
            let child = command.spawn().map(|child| Arc::new(Mutex::new(child)));
            // the files that the command holds for the program, such as the other ends of pipes
            drop(command);
            let held = child.as_ref().ok().cloned();
            let _ = started.send(child);
            let Some(child) = held else { return };
            // an error is the end of the one who could send
            let _ = stopped.recv();
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
        // one that has ended needs no signal
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        self.keeper = None;
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
