//! Why a failed step cannot be looked into.

use crate::UnknownStep;
use std::fmt;

/// A step that cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// No build that is remembered has a failed step.
    #[error("no build has failed in a step: there is nothing to look into")]
    NoFailure,
    /// The build has no failed step.
    #[error("build {build} has no step that failed")]
    NoFailedStep {
        /// The build.
        build: String,
    },
    /// The build has no such step.
    #[error(transparent)]
    NoSuchStep(#[from] UnknownStep),
    /// Nothing of the step is here.
    #[error("step {step} of build {build} ({instruction}) cannot be looked into: {why}")]
    Nothing {
        /// The build.
        build: String,
        /// The number.
        step: u32,
        /// The instruction.
        instruction: String,
        /// The reason.
        why: Nothing,
    },
}

/// Why nothing is left of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// It did not fail.
    NotFailed,
    /// Its command did not run, so that it changed nothing.
    NotRun,
    /// It was removed, or too large to be kept.
    Removed,
    /// Layers that it stood on were removed.
    NoLayers,
    /// Another version of rbuild has kept it.
    Unreadable,
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFailed => "it did not fail",
            Self::NotRun => "no command of it ran, so it left no files",
            Self::Removed => {
                "its files are not kept: they were too many, the disk was full, or a prune or later failures took their place"
            }
            Self::NoLayers => "layers that it stood on have been removed",
            Self::Unreadable => "another version of rbuild has kept it",
        })
    }
}
