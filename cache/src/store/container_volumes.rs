//! The volumes of containers.

use super::{
    container::{Container, ContainerDirectory},
    container_mount::MountedFrom,
    volume_name::VolumeName,
};
use crate::StoreError;

impl Container {
    /// The volumes that it has, each with whether it was made for this container.
    pub fn volumes(&self) -> impl Iterator<Item = (&VolumeName, bool)> {
        let mounts = self.settings.iter().flat_map(|settings| &settings.mounts);
        mounts.filter_map(|mount| match &mount.from {
            MountedFrom::Volume { volume, anonymous, .. } => Some((volume, *anonymous)),
            MountedFrom::Tmpfs { .. } | MountedFrom::Host { .. } => None,
        })
    }
}

impl ContainerDirectory {
    /// Removes everything, and the volumes that were made for it and that no other container has.
    ///
    /// # Errors
    /// As [`Self::remove`], or [`StoreError::Document`] when the record of a container is damaged.
    pub fn remove_with_volumes(&self) -> Result<(), StoreError> {
        let container = self.recorded()?;
        self.remove()?;
        let volumes = container.iter().flat_map(Container::volumes);
        for (volume, _) in volumes.filter(|(_, anonymous)| *anonymous) {
            // one that another container has stays
            let _users = self.store.remove_unused_volume(volume)?;
        }
        Ok(())
    }
}
