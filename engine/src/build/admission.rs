//! When a step that is ready may begin: when fewer steps run on the store than its build allows at once, whichever processes
//! they belong to, and when the memory that it needed before is free.

use crate::{Error, Note, report::reporter::Running};
use rbuild_cache::{Cancel, JobSlot, MemoryClaim, Store};
use rbuild_executor::ExecutorError;
use rbuild_sys::memory;
use std::{
    collections::HashMap,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// A step that needed less than this begins without a look at the memory.
const MUCH: u64 = 64 << 20;
/// A wait of less than this is not announced.
const SHORT: Duration = Duration::from_millis(250);
/// The longest time between two looks, short enough for a cancel.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The rules of one build.
pub(crate) struct Admission {
    store: Store,
    asked: Option<usize>,
    /// What was asked for, or else what is usual here.
    jobs: OnceLock<usize>,
    cancel: Cancel,
}

/// Why a step does not begin yet.
enum Wait {
    Jobs,
    Memory { available: u64 },
}

impl Admission {
    /// Lets steps of a build begin as long as fewer than `jobs` run on `store`.
    pub(crate) fn new(store: &Store, jobs: Option<usize>, cancel: &Cancel) -> Self {
        Self { store: store.clone(), asked: jobs, jobs: OnceLock::new(), cancel: cancel.clone() }
    }

    /// How many steps may run at once. Unless the caller says, these are more than there are processors, because steps wait for
    /// networks and disks more than they compute.
    pub(crate) fn jobs(&self) -> usize {
        const LEAST: usize = 16;
        let usual = || (4 * thread::available_parallelism().map_or(1, usize::from)).max(LEAST);
        *self.jobs.get_or_init(|| self.asked.unwrap_or_else(usual).max(1))
    }

    /// Waits until a step may begin that is expected to need `memory` bytes, and says on `activity` what it waits for. The
    /// step runs as long as the slot is held.
    ///
    /// # Errors
    /// When the build was canceled, or the store fails.
    pub(crate) fn enter(&self, memory: Option<u64>, activity: &Running) -> Result<JobSlot, Error> {
        let memory = memory.filter(|bytes| *bytes >= MUCH);
        let (began, mut pause, mut announced) = (Instant::now(), Duration::from_millis(1), false);
        loop {
            let wait = match self.attempt(memory)? {
                Ok(slot) => return Ok(slot),
                Err(wait) => wait,
            };
            if began.elapsed() >= SHORT && !std::mem::replace(&mut announced, true) {
                activity.note(match wait {
                    Wait::Jobs => Note::AwaitsJob { jobs: self.jobs() },
                    Wait::Memory { available } => {
                        Note::AwaitsMemory { expected: memory.unwrap_or_default(), available }
                    }
                });
            }
            if self.cancel.is_canceled() {
                return Err(Error::Executor(ExecutorError::Canceled));
            }
            thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn attempt(&self, memory: Option<u64>) -> Result<Result<JobSlot, Wait>, Error> {
        let Some(slot) = self.store.try_job_slot(self.jobs())? else { return Ok(Err(Wait::Jobs)) };
        let Some(bytes) = memory else { return Ok(Ok(slot)) };
        let Some(turn) = self.store.try_memory_turn()? else { return Ok(Err(Wait::Jobs)) };
        let claims = self.store.memory_claims(&turn)?;
        // a step that is alone begins, however much it needs: waiting would not make more room
        if !claims.is_empty()
            && let Some(available) = memory::available()
            && !fits(bytes, available, &claims, memory::resident_below)
        {
            return Ok(Err(Wait::Memory { available }));
        }
        let process = i32::try_from(std::process::id()).unwrap_or_default();
        slot.claim(&turn, MemoryClaim { process, bytes })?;
        Ok(Ok(slot))
    }
}

/// True if `bytes` are free when those that run have taken all that they are expected to need. What they have taken already is
/// not in `available`; it is asked for only when it matters, because that takes a look at all processes.
fn fits(
    bytes: u64,
    available: u64,
    claims: &[MemoryClaim],
    resident: impl FnOnce(&[i32]) -> HashMap<i32, u64>,
) -> bool {
    let sum = |process: i32| -> u64 {
        claims.iter().filter(|claim| claim.process == process).map(|claim| claim.bytes).sum()
    };
    let mut processes: Vec<i32> = claims.iter().map(|claim| claim.process).collect();
    processes.sort_unstable();
    processes.dedup();
    let claimed: u64 = processes.iter().map(|process| sum(*process)).sum();
    if bytes.saturating_add(claimed) <= available {
        return true;
    }
    let taken = resident(&processes);
    let still = |process: &i32| sum(*process).saturating_sub(taken.get(process).copied().unwrap_or(0));
    let outstanding: u64 = processes.iter().map(still).sum();
    bytes.saturating_add(outstanding) <= available
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_will_still_take_is_not_free() {
        let claim = |process, bytes| MemoryClaim { process, bytes };
        let nothing = |_: &[i32]| Default::default();
        let claims = [claim(1, 400), claim(2, 300)];
        assert!(fits(300, 1000, &claims, |_| panic!("it fits in any case")));
        assert!(!fits(301, 1000, &claims, nothing));
        // process 1 has taken 300 of its 400 already, so that only 100 are still to come from it
        assert!(fits(301, 702, &claims, |asked| {
            assert_eq!(asked, [1, 2]);
            [(1, 300), (2, 0)].into()
        }));
        assert!(!fits(303, 702, &claims, |_| [(1, 300), (2, 0)].into()));
        assert!(
            fits(1, 1, &[claim(1, 5)], |_| [(1, 500)].into()),
            "it may take more than it was expected to"
        );
    }
}
