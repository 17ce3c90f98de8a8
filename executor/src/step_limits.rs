//! What a RUN may use, and how long it may take.

use crate::ExecutorError;
use rbuild_cache::Cancel;
use rbuild_oci::go_quoted;
use rbuild_planner::RunAction;
use rbuild_sys::{
    cgroup::MemoryUse,
    limits::{Limits, UnmetLimit},
    memory::killed_for_memory,
    sandbox::Running,
};
use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// The signal's exit code of a process that the kernel has killed for its memory.
const KILLED: i32 = 137;

/// The limits of each RUN of a build.
pub struct StepLimits {
    pub(crate) limits: Limits,
    /// How long one may take.
    longest: Option<Duration>,
    /// Those that are not in force, until somebody has asked for them.
    unmet: Mutex<Unmet>,
    /// Processes that the kernel of the machine had killed for their memory before the first step.
    killed: OnceLock<u64>,
}

#[derive(Default)]
struct Unmet {
    limits: Vec<UnmetLimit>,
    told: bool,
}

impl StepLimits {
    /// Limits for the RUNs of a build that begins now.
    #[must_use]
    pub fn new(limits: Limits, longest: Option<Duration>) -> Self {
        Self { limits, longest, unmet: Mutex::default(), killed: OnceLock::new() }
    }

    /// The limits that could not be put into force; returned once.
    pub fn report_unmet(&self) -> Vec<UnmetLimit> {
        let mut unmet = self.unmet.lock().unwrap_or_else(PoisonError::into_inner);
        if unmet.limits.is_empty() {
            return Vec::new();
        }
        unmet.told = true;
        std::mem::take(&mut unmet.limits)
    }

    /// Keeps what is not in force in a step that runs now.
    pub(crate) fn note_unmet(&self, running: &Running) {
        let mut unmet = self.unmet.lock().unwrap_or_else(PoisonError::into_inner);
        if !unmet.told {
            unmet.limits = running.unmet_limits().to_vec();
        }
    }

    /// Watches over a step that begins now.
    pub(crate) fn watch<'a>(&self, action: &'a RunAction, cancel: &'a Cancel) -> Watch<'a> {
        self.killed.get_or_init(killed_for_memory);
        Watch { action, cancel, began: Instant::now(), longest: self.longest }
    }

    /// The error of a command that ended with `code`, if want of memory explains it.
    pub(crate) fn out_of_memory(
        &self,
        (command, code): (&str, i32),
        memory: Option<MemoryUse>,
    ) -> Option<ExecutorError> {
        let command = command.to_owned();
        if let Some(MemoryUse { peak, limit, killed: 1.. }) = memory {
            return Some(ExecutorError::MemoryLimit { command, code, peak, limit });
        }
        (code == KILLED && self.killed.get().is_some_and(|before| killed_for_memory() > *before))
            .then_some(ExecutorError::MachineMemory { command, code })
    }
}

/// Ends a step that nobody waits for any longer, or that takes too long.
pub(crate) struct Watch<'a> {
    action: &'a RunAction,
    cancel: &'a Cancel,
    began: Instant,
    longest: Option<Duration>,
}

impl Watch<'_> {
    /// # Errors
    /// [`ExecutorError::Canceled`], [`ExecutorError::TookTooLong`]; the process is killed then.
    pub(crate) fn check(&self, running: &Running) -> Result<(), ExecutorError> {
        let error = match self.longest.filter(|longest| self.began.elapsed() >= *longest) {
            _ if self.cancel.is_canceled() => ExecutorError::Canceled,
            Some(longest) => {
                ExecutorError::TookTooLong { command: go_quoted(&self.action.argv.join(" ")), longest }
            }
            None => return Ok(()),
        };
        // what is left of the process dies with `running`
        let _ = running.child.kill();
        Err(error)
    }
}
