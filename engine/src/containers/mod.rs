//! Containers: started from an image, kept when they end, committed to images, removed.
//!
//! A container is a directory `containers/<id>/` of the store: `config.json` ([`record`]), `fs/` and `work/` (the
//! writable overlay layer), and `lock`, held by the process that runs it; a container whose lock nobody holds has ended.
//! A detached container will be held by a supervisor process of its own in the same way.

mod commit;
mod process;
mod record;
mod start;

pub use commit::CommitRequest;
pub(crate) use commit::apply_changes;
pub use process::RunningContainer;
pub use record::{Container, ContainerState};
pub use start::{ContainerRequest, ContainerStdio, Retention, Terminal, Volume};

use crate::{Engine, Error, Force};
use record::ContainerDirectory;

impl Engine {
    /// All containers, newest first.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        let mut containers: Vec<Container> = Vec::new();
        for directory in ContainerDirectory::all(&self.store)? {
            // one that is being made or removed at this moment is not listed
            if let Some(container) = directory.read()? {
                containers.push(container);
            }
        }
        containers.sort_by_key(|container| std::cmp::Reverse(container.created));
        Ok(containers)
    }

    /// The container called `name`: its name, its id, or the beginning of its id.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Io`].
    pub fn container(&self, name: &str) -> Result<Container, Error> {
        let all = self.containers()?;
        let exact = all.iter().find(|container| container.name == name || container.id == name);
        let by_prefix = || {
            let mut fitting =
                all.iter().filter(|container| !name.is_empty() && container.id.starts_with(name));
            fitting.next().filter(|_| fitting.next().is_none())
        };
        exact.or_else(by_prefix).cloned().ok_or_else(|| Error::NoSuchContainer(name.to_owned()))
    }

    /// Removes a container that has ended, or a running one by force; returns its id.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::ContainerRunning`], [`Error::Io`].
    pub fn remove_container(&self, name: &str, force: Force) -> Result<String, Error> {
        let container = self.container(name)?;
        if container.state == ContainerState::Running {
            match force {
                Force::No => return Err(Error::ContainerRunning(container.name)),
                Force::Yes => process::kill(&self.store, &container)?,
            }
        }
        ContainerDirectory::of(&self.store, &container.id).remove()?;
        Ok(container.id)
    }
}
