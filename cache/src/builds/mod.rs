//! Records of builds: what each one was to make, what became of every step and why, and its whole logs. They are there to
//! be looked at; nothing is decided by them.
//!
//! A build appends a line to a file that many builds share when it begins, and another one when it ends, because making
//! and removing a file for each build would cost a fully cached one more than all its look-ups. Only a step that writes
//! something gets a file of its own, its log. While a build runs it holds a lock; so a build without an end whose lock is
//! free is that of a process that was killed. Nothing here waits for the disk, and a line that cannot be read is as if it
//! had not been written.

mod budget;
mod build_id;
mod journal;
mod open_build;
mod reading;
mod record;
mod running;
mod step_log;

pub use budget::BuildBudget;
pub use build_id::BuildId;
pub use open_build::OpenBuild;
pub use reading::{BuildRecord, BuildState};
pub use record::{
    BuildEnd, BuildOutcome, BuildSubject, ChangedInput, MissReason, RecordedFinding, RecordedStep,
    StepOutcome,
};
pub use step_log::{LogReader, StepLog};
