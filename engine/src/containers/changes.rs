//! Reading what a container has changed, also while it runs.

use super::process::{KILL_CHECKS, KILL_PAUSE};
use crate::{Engine, Error};
use rbuild_cache::{Container, ContainerState, LayerDraft, Lease, StoreError};
use rbuild_executor::ExecutorError;
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    thread,
};

/// What happens to a container that runs while its files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pause {
    /// Its processes stand still, where it has a control group that can be frozen.
    #[default]
    Container,
    /// Nothing: what goes or changes meanwhile is read as it happens to be.
    Nothing,
}

/// What a container did while its files were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    /// It stood still, or had ended.
    AtRest,
    /// It ran.
    Running,
}

impl Engine {
    /// A draft of the layer that `container` has made so far, and the layers below it held by `lease`. `busy` is called before
    /// another process that makes it stand still is waited for.
    ///
    /// # Errors
    /// [`Error::ImageDamaged`] when its layers are gone, [`Error::NoSuchContainer`] when it was removed meanwhile.
    pub(crate) fn held_changes(
        &self,
        container: &Container,
        lease: &Lease,
        (pause, busy): (Pause, &mut dyn FnMut()),
    ) -> Result<(LayerDraft, During), Error> {
        if !lease.hold(&container.layers, &[])?.is_empty() {
            return Err(Error::ImageDamaged(container.image.clone()));
        }
        self.read_changes(&container.id, (pause, busy))
    }

    fn read_changes(
        &self,
        id: &str,
        (pause, busy): (Pause, &mut dyn FnMut()),
    ) -> Result<(LayerDraft, During), Error> {
        loop {
            let container = self.container(id)?;
            let draft = self.store.new_layer()?;
            let full = |error| of_store(error, draft.fs());
            let read = if container.state == ContainerState::Running {
                self.read_running(&container, &draft, (pause, &mut *busy))
            } else {
                let changes = self.store.container(id).fs();
                rbuild_executor::clone_layer(&changes, draft.fs())
                    .map_err(full)
                    .map(|()| Some(During::AtRest))
            };
            // what was removed or ended while it was read was not read whole, whatever the answer is
            if self.container(id)?.state == container.state
                && let Some(during) = read?
            {
                return Ok((draft, during));
            }
        }
    }

    /// Fills `draft` from a container that runs; `None` when it has ended meanwhile, and the process that ran it too or is done
    /// with it.
    fn read_running(
        &self,
        container: &Container,
        draft: &LayerDraft,
        (pause, busy): (Pause, &mut dyn FnMut()),
    ) -> Result<Option<During>, Error> {
        let directory = self.store.container(&container.id);
        let Some((pid, process)) = pinned(container)? else {
            return self.wait_for_end(container).map(|()| None);
        };
        // two that pause it would wake it for each other
        let lock = match pause {
            Pause::Container => Some(directory.lock_pause(busy)?),
            Pause::Nothing => None,
        };
        // a person has paused it, and lets it go on when they want to
        let rests = self.container(&container.id)?.paused;
        let paused = match &lock {
            Some(lock) if !rests => rbuild_executor::pause_container(pid, lock.as_fd())?,
            Some(_) | None => None,
        };
        let during = if rests || paused.is_some() { During::AtRest } else { During::Running };
        let read = rbuild_executor::collect_running(&self.store, &directory.copy(), draft.fs()).and_then(
            |is_copy| {
                if is_copy { Ok(()) } else { rbuild_executor::clone_layer(&directory.fs(), draft.fs()) }
            },
        );
        drop(paused);
        if rbuild_executor::has_ended(process.as_fd())? {
            return self.wait_for_end(container).map(|()| None);
        }
        read.map_err(|error| of_store(error, draft.fs()))?;
        Ok(Some(during))
    }

    /// Waits until the process that runs a container whose program has ended has recorded that, which it does at once.
    fn wait_for_end(&self, container: &Container) -> Result<(), Error> {
        for _ in 0..KILL_CHECKS {
            if self.container(&container.id)?.state != ContainerState::Running {
                return Ok(());
            }
            thread::sleep(KILL_PAUSE);
        }
        Err(Error::ContainerRunning(container.name.clone()))
    }
}

/// The failure of a copy into the store at `place`; a full disk is the store's, not the file's that is copied.
fn of_store(error: ExecutorError, place: &Path) -> Error {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error {
        ExecutorError::System { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded) => {
            StoreError::NoSpace { path: place.to_owned(), source }.into()
        }
        error => error.into(),
    }
}

/// The first process of a container that runs, held so that its number means no other; `None` when it has ended.
fn pinned(container: &Container) -> Result<Option<(i32, OwnedFd)>, Error> {
    let Some(pid) = container.pid else { return Ok(None) };
    Ok(rbuild_executor::open_process(pid)?.map(|process| (pid, process)))
}
