//! A build that is being recorded.

use super::{
    budget::{self, BuildBudget},
    build_id::BuildId,
    journal::{self, Appended, Line, Lines},
    reading::BuildRecord,
    record::{BuildEnd, BuildSubject, RecordedStep},
    running::Running,
    step_log::{StepLog, log_directory, log_path},
};
use crate::{Store, StoreError};
use rbuild_oci::Timestamp;
use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

/// The record of a build that runs. Dropping it without [`OpenBuild::finish`] leaves the record without an end, as
/// killing the process does.
#[derive(Debug)]
pub struct OpenBuild {
    line: Line,
    lines: Lines,
    began: Appended,
    /// A log was given out.
    is_logged: AtomicBool,
    store: Store,
    _running: Running,
}

impl Store {
    /// Begins the record of a build that begins at `begun`.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn begin_build(&self, subject: BuildSubject, begun: Timestamp) -> Result<OpenBuild, StoreError> {
        let line = Line { id: BuildId::random(), begun, subject, planned: Vec::new(), end: None };
        // the lock first, because a line with neither an end nor a lock counts as a killed build's
        let running = Running::begin(&self.running_builds(), &line.id)?;
        let (lines, began) = journal::append(&self.builds_dir(), &line)?;
        let is_logged = AtomicBool::new(false);
        Ok(OpenBuild { line, lines, began, is_logged, store: self.clone(), _running: running })
    }

    pub(crate) fn builds_dir(&self) -> PathBuf {
        self.at("builds")
    }

    pub(crate) fn logs_dir(&self) -> PathBuf {
        self.at("builds/logs")
    }

    /// The directories of what the steps of builds that have ended wrote, each with its bytes.
    pub(crate) fn ended_logs(&self) -> Result<Vec<(PathBuf, u64)>, StoreError> {
        budget::ended_logs(&self.builds_dir(), &self.running_builds())
    }

    pub(super) fn running_builds(&self) -> PathBuf {
        self.at("locks/builds")
    }
}

impl OpenBuild {
    /// The build's id.
    #[must_use]
    pub fn id(&self) -> &BuildId {
        &self.line.id
    }

    /// The log of the step with this number. Nothing is made before something is written to it.
    #[must_use]
    pub fn log(&self, step: u32) -> StepLog {
        self.is_logged.store(true, Ordering::Relaxed);
        StepLog::new(log_path(&self.store.builds_dir(), &self.line.id, step))
    }

    /// Writes the plan of a build before it carries out the first step, so that readers see it while the build runs,
    /// and after its process was killed.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn planned(&mut self, steps: Vec<RecordedStep>) -> Result<(), StoreError> {
        self.line.planned = steps;
        let planned = self.lines.append(&self.store.builds_dir(), &self.line);
        self.line.planned = Vec::new();
        if planned? == Appended::ToNew {
            self.began = Appended::ToNew;
        }
        Ok(())
    }

    /// Writes how the build ended, which gives its whole record, and removes the oldest records that are over `budget`. Finish the logs first.
    ///
    /// # Errors
    /// An I/O error when it cannot be written; the record has no end then.
    pub fn finish(mut self, end: BuildEnd, budget: &BuildBudget) -> Result<BuildRecord, StoreError> {
        self.line.end = Some(end);
        let builds = self.store.builds_dir();
        let ended = self.lines.append(&builds, &self.line)?;
        let filled_one = [self.began, ended].contains(&Appended::ToNew);
        let mut is_large =
            || *self.is_logged.get_mut() && budget::is_large(&log_directory(&builds, &self.line.id));
        if filled_one || is_large() {
            budget::enforce(&builds, &self.store.running_builds(), &self.line.id, budget)?;
        }
        Ok(BuildRecord::ended(self.line))
    }
}
