//! Programs that could not be started, as shells tell them apart.

use crate::Error;
use rbuild_executor::ExecutorError;
use rbuild_sys::SpawnError;
use std::io;

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// It is not there (a shell's 127).
    NotFound,
    /// It cannot be executed (a shell's 126).
    NotExecutable,
}

impl Error {
    /// Why the program of a container could not be started, when that is what failed.
    #[must_use]
    pub fn start_failure(&self) -> Option<StartFailure> {
        match self {
            Self::Executor(ExecutorError::ProgramNotStarted(SpawnError::Exec { .. })) => {
                Some(StartFailure::NotExecutable)
            }
            Self::Executor(ExecutorError::ProgramNotStarted(SpawnError::ImagePath { source, .. }))
                if source.kind() != io::ErrorKind::NotFound =>
            {
                Some(StartFailure::NotExecutable)
            }
            Self::Executor(ExecutorError::ProgramNotStarted(_)) => Some(StartFailure::NotFound),
            _ => None,
        }
    }
}
