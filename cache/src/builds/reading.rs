//! Finding and reading the records of builds.

use super::{
    build_id::{BuildId, is_hexadecimal},
    journal::{self, Line},
    record::{BuildEnd, BuildSubject, RecordedStep},
    running::Running,
    step_log::{LogReader, log_directory, log_path, logged_step},
};
use crate::{Store, StoreError, disk::list};
use rbuild_oci::Timestamp;
use std::collections::HashMap;

/// The record of one build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRecord {
    /// Its id.
    pub id: BuildId,
    /// The time at which it began.
    pub begun: Timestamp,
    /// The goal it was started with.
    pub subject: BuildSubject,
    /// Its state.
    pub state: BuildState,
    planned: Vec<RecordedStep>,
}

impl BuildRecord {
    /// The record of a build that is over.
    pub(super) fn ended(Line { id, begun, subject, planned, end }: Line) -> Self {
        let state = end.map_or(BuildState::Unfinished, |end| BuildState::Ended(Box::new(end)));
        Self { id, begun, subject, state, planned }
    }

    /// The steps of its plan, each after those it stands on. A build without an end has them as they stood before the
    /// first one was carried out, or has none if it had no plan yet.
    #[must_use]
    pub fn steps(&self) -> &[RecordedStep] {
        match &self.state {
            BuildState::Ended(end) => &end.steps,
            BuildState::Running | BuildState::Unfinished => &self.planned,
        }
    }
}

/// The state of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildState {
    /// It runs.
    Running,
    /// Its process was killed; its logs go as far as it came.
    Unfinished,
    /// It is over.
    Ended(Box<BuildEnd>),
}

impl Store {
    /// All builds that are remembered, newest first.
    ///
    /// # Errors
    /// An I/O error when they cannot be read.
    pub fn builds(&self) -> Result<Vec<BuildRecord>, StoreError> {
        self.records_of(self.build_lines()?)
    }

    /// The build with this id; `None` when it is not remembered.
    ///
    /// # Errors
    /// An I/O error when it cannot be read.
    pub fn build(&self, id: &BuildId) -> Result<Option<BuildRecord>, StoreError> {
        let lines = self.build_lines()?.into_iter().filter(|line| line.id == *id).collect();
        Ok(self.records_of(lines)?.pop())
    }

    /// The build whose id begins with `prefix`; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::AmbiguousBuild`] when there are several.
    pub fn find_build(&self, prefix: &str) -> Result<Option<BuildId>, StoreError> {
        if prefix.is_empty() || !is_hexadecimal(prefix) {
            return Ok(None);
        }
        let mut fitting = self.build_lines()?.into_iter().map(|line| line.id);
        let mut next = || fitting.find(|id| id.as_str().starts_with(prefix));
        match (next(), next()) {
            (Some(second), Some(first)) => {
                Err(StoreError::AmbiguousBuild { prefix: prefix.to_owned(), first, second })
            }
            (found, _) => Ok(found),
        }
    }

    /// The numbers of the steps of a build that have logs, in order.
    ///
    /// # Errors
    /// An I/O error when they cannot be listed.
    pub fn build_logs(&self, id: &BuildId) -> Result<Vec<u32>, StoreError> {
        let names = list(&log_directory(&self.builds_dir(), id))?;
        let mut steps: Vec<u32> = names.iter().filter_map(|name| logged_step(name)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// The whole log of a step; `None` when the step wrote nothing, or its log was removed to make room. While the
    /// build runs, the log holds what the step has written so far.
    ///
    /// # Errors
    /// An I/O error when it cannot be opened.
    pub fn build_log(&self, id: &BuildId, step: u32) -> Result<Option<LogReader>, StoreError> {
        LogReader::open(&log_path(&self.builds_dir(), id, step))
    }

    /// The same, for a reader that waits for more.
    ///
    /// # Errors
    /// As [`Store::build_log`].
    pub fn growing_build_log(&self, id: &BuildId, step: u32) -> Result<Option<LogReader>, StoreError> {
        LogReader::follow(&log_path(&self.builds_dir(), id, step))
    }

    /// True while the build runs.
    ///
    /// # Errors
    /// An I/O error when its lock cannot be looked at.
    pub fn build_runs(&self, id: &BuildId) -> Result<bool, StoreError> {
        Running::is(&self.running_builds(), id)
    }

    /// The last line of each build, newest build first.
    fn build_lines(&self) -> Result<Vec<Line>, StoreError> {
        let builds = self.builds_dir();
        let mut numbers = journal::numbers(&builds)?;
        numbers.sort_unstable();
        let mut last: HashMap<BuildId, Line> = HashMap::new();
        for number in numbers {
            let lines = journal::read(&journal::path(&builds, number))?;
            last.extend(lines.into_iter().map(|line| (line.id.clone(), line)));
        }
        let mut lines: Vec<Line> = last.into_values().collect();
        lines.sort_by(|a, b| (b.begun, &b.id).cmp(&(a.begun, &a.id)));
        Ok(lines)
    }

    fn records_of(&self, lines: Vec<Line>) -> Result<Vec<BuildRecord>, StoreError> {
        let mut records = Vec::with_capacity(lines.len());
        for Line { id, begun, subject, planned, end } in lines {
            let state = match end {
                Some(end) => BuildState::Ended(Box::new(end)),
                None if Running::is(&self.running_builds(), &id)? => BuildState::Running,
                None => BuildState::Unfinished,
            };
            records.push(BuildRecord { id, begun, subject, state, planned });
        }
        let is_unfinished = |record: &&mut BuildRecord| record.state == BuildState::Unfinished;
        if records.iter_mut().any(|record| is_unfinished(&record)) {
            // some may have ended after their lines were read and before their locks were tested
            let ends = self.build_lines()?.into_iter().filter_map(|line| Some((line.id, line.end?)));
            let mut ends: HashMap<BuildId, BuildEnd> = ends.collect();
            for record in records.iter_mut().filter(is_unfinished) {
                if let Some(end) = ends.remove(&record.id) {
                    record.state = BuildState::Ended(Box::new(end));
                }
            }
        }
        Ok(records)
    }
}
