//! Containers whose processes are made to stand still, from one process, and to go on, from another.
//!
//! That a container stands still is known to the kernel, and written down nowhere. Whoever makes one stand still, for a person or for as
//! long as its files are read, has the right to that meanwhile, so that none wakes it for another.

use crate::{Engine, Error, PauseError};
use rbuild_cache::{Container, ContainerState};

impl Engine {
    /// Makes the processes of a container stand still until they are told otherwise.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::ContainerNotRunning`], [`Error::Pause`], [`Error::Executor`] when they do not stop.
    pub fn pause_container(&self, name: &str) -> Result<(), Error> {
        let id = self.container(name)?.id;
        let _alone = self.store.container(&id).lock_pause(|| {})?;
        let container = self.running(&id)?;
        if container.paused {
            return Err(PauseError::Already(container.name).into());
        }
        let ended = || Error::ContainerNotRunning(container.name.clone());
        let process = self.process_of(&container)?.ok_or_else(ended)?;
        match process.freeze() {
            Ok(true) => Ok(()),
            Ok(false) => Err(PauseError::NoGroup(container.name).into()),
            // it ended meanwhile
            Err(error) => self.running(&id).and(Err(error.into())),
        }
    }

    /// Lets the processes of a paused container go on.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::ContainerNotRunning`], [`Error::Pause`], [`Error::Executor`].
    pub fn unpause_container(&self, name: &str) -> Result<(), Error> {
        let id = self.container(name)?.id;
        let _alone = self.store.container(&id).lock_pause(|| {})?;
        let container = self.running(&id)?;
        if !container.paused {
            return Err(PauseError::Not(container.name).into());
        }
        self.thaw(&container)
    }

    /// Lets the processes of a container that was asked to end go on, so that they can.
    pub(super) fn thaw(&self, container: &Container) -> Result<(), Error> {
        let Some(process) = self.process_of(container)? else { return Ok(()) };
        if process.thaw()? { Ok(()) } else { Err(PauseError::NoGroup(container.name.clone()).into()) }
    }

    fn running(&self, id: &str) -> Result<Container, Error> {
        let container = self.container(id)?;
        match container.state {
            ContainerState::Running => Ok(container),
            ContainerState::Created | ContainerState::Exited(_) => {
                Err(Error::ContainerNotRunning(container.name))
            }
        }
    }
}
