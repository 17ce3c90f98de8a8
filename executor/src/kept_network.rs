//! A network whose pasta has ended by itself, as by a signal or for want of memory: it is started again in the same namespace, where it
//! makes another interface with the same addresses, or the network is lost.

use crate::{host_program::Again, pasta_command::PastaCommand};
use std::{
    os::fd::OwnedFd,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How often it is started again that does not go on for [`LASTING`], and the pause before each but the first.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
const LASTING: Duration = Duration::from_secs(10);

/// What has become of a network whose pasta has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkNews {
    /// It is connected again; what it carried has broken off.
    StartedAgain,
    /// It leads nowhere any more, for this reason.
    Lost(String),
}

/// What is done when the pasta of a network ends.
#[derive(Clone)]
pub(crate) struct Keeper(Arc<Mutex<State>>);

struct State {
    command_line: PastaCommand,
    namespace: OwnedFd,
    /// There once it is to be kept.
    kept: Option<Kept>,
}

struct Kept {
    hardware: Option<[u8; 6]>,
    tell: Box<dyn FnMut(NetworkNews) + Send>,
    started: Instant,
    tries: u32,
}

impl Keeper {
    /// Nothing is done yet.
    pub(crate) fn new(command_line: PastaCommand, namespace: OwnedFd) -> Self {
        Self(Arc::new(Mutex::new(State { command_line, namespace, kept: None })))
    }

    /// From now on it is started again, with an interface of that address.
    pub(crate) fn keep(&self, hardware: Option<[u8; 6]>, tell: Box<dyn FnMut(NetworkNews) + Send>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept = Some(Kept { hardware, tell, started: Instant::now(), tries: 0 });
    }

    /// What is asked when it has ended.
    pub(crate) fn again(&self) -> Again {
        let keeper = self.clone();
        Box::new(move || keeper.0.lock().unwrap_or_else(PoisonError::into_inner).again())
    }
}

impl State {
    fn again(&mut self) -> Option<Command> {
        let kept = self.kept.as_mut()?;
        if kept.started.elapsed() >= LASTING {
            kept.tries = 0;
        }
        let is_first = kept.tries == 0;
        if kept.tries == TRIES {
            (kept.tell)(NetworkNews::Lost(self.command_line.last_words()));
            self.kept = None;
            return None;
        }
        if !is_first {
            thread::sleep(PAUSE);
        }
        kept.tries += 1;
        kept.started = Instant::now();
        match self.command_line.prepare(&self.namespace, None, kept.hardware) {
            Ok(command) => {
                if is_first {
                    (kept.tell)(NetworkNews::StartedAgain);
                }
                Some(command)
            }
            Err(error) => {
                (kept.tell)(NetworkNews::Lost(error.to_string()));
                self.kept = None;
                None
            }
        }
    }
}
