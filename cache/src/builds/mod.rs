//! Records of builds: the goal of each one, the outcome of every step with its reason, and the whole logs. People read
//! them; rbuild decides nothing by them.
//!
//! When a build begins, it appends a line to a file that many builds share, and another line when it ends, because
//! making and removing a file for each build would cost a fully cached build more than all its look-ups. Only a step
//! that writes something gets a file of its own, its log. A build holds a lock while it runs, so if a build has no end
//! and its lock is free, its process was killed. Nothing here waits for the disk, and readers skip lines that they
//! cannot read.

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
    BuildEnd, BuildOutcome, BuildSubject, ChangedInput, FileAspect, MissReason, RecordedFinding,
    RecordedStep, StepOutcome,
};
pub use step_log::{LogReader, StepLog};
