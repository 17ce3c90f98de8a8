//! A step that failed, with its place and what is left of it.

use crate::{Diagnostic, Remains};
use rbuild_executor::ExecutorError;
use std::fmt;

/// A step that failed: the failure itself, with its place beside it.
#[derive(Debug)]
pub struct StepFailure {
    pub(crate) error: Box<ExecutorError>,
    /// Its place and last output.
    pub(crate) diagnostic: Box<Diagnostic>,
    /// Its files.
    pub(crate) remains: Remains,
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for StepFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
