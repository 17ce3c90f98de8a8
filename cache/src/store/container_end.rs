//! The end of a container whose program was killed with the process that ran it, which is written down by whoever sees it first.

use super::container::{ContainerDirectory, ContainerState, KILLED};
use crate::StoreError;
use rbuild_oci::Timestamp;

impl ContainerDirectory {
    /// Writes down that the program was killed, and `seen` as the moment: nobody knows a better one. Nothing changes if another
    /// process has started the container again, or has written that down.
    ///
    /// # Errors
    /// An I/O error when the record cannot be written, or [`StoreError::Document`] when it is damaged.
    pub fn note_killed(&self, seen: Timestamp) -> Result<(), StoreError> {
        // who starts it has the lock
        let (Some(_lock), Some(program)) = (self.try_lock()?, self.program()?) else { return Ok(()) };
        self.update(|container| {
            if container.state == ContainerState::Running || container.started != Some(program.started) {
                *container = container.clone().with(&program, ContainerState::Exited(KILLED));
                container.finished = Some(seen);
            }
        })
    }
}
