//! Volumes: made, listed, removed.

mod error;

pub use error::VolumeError;

use crate::{Engine, Error, UnknownName, random_id::random_id};
use rbuild_cache::{Container, StoreError, Volume, VolumeDraft, VolumeName};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

/// A volume, and what is known of it besides its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Volume,
    /// How many containers have it.
    pub containers: usize,
    /// Its bytes on the disk.
    pub bytes: u64,
}

impl Engine {
    /// Makes a volume, with a name of its own when it is given none; one of that name that is there stays as it is.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be made.
    pub fn create_volume(
        &self,
        name: Option<VolumeName>,
        labels: BTreeMap<String, String>,
    ) -> Result<VolumeName, Error> {
        let draft = self.new_volume(name, labels)?;
        let name = draft.volume().name.clone();
        let turn = self.store.lock_volumes()?;
        self.store.keep_volume(draft, &turn)?;
        Ok(name)
    }

    /// A volume that has no name on the disk yet.
    pub(crate) fn new_volume(
        &self,
        name: Option<VolumeName>,
        mut labels: BTreeMap<String, String>,
    ) -> Result<VolumeDraft, Error> {
        if name.is_none() {
            labels.insert(Volume::ANONYMOUS.to_owned(), String::new());
        }
        let name = name.map_or_else(|| Ok::<_, Error>(random_id()?.parse()?), Ok)?;
        let created = self.store.now().into();
        Ok(self.store.new_volume(Volume { name, created, labels })?)
    }

    /// All volumes, by their names.
    ///
    /// # Errors
    /// [`Error::Store`] when they cannot be listed.
    pub fn volumes(&self) -> Result<Vec<Volume>, Error> {
        Ok(self.store.volumes()?)
    }

    /// The volume called `name`.
    ///
    /// # Errors
    /// [`VolumeError::NoSuch`], [`Error::Store`].
    pub fn volume(&self, name: &str) -> Result<Volume, Error> {
        let missing = || {
            // what cannot be read has no name to propose
            let known = self.store.volumes().unwrap_or_default();
            let known: Vec<&str> = known.iter().map(|volume| volume.name.as_str()).collect();
            VolumeError::NoSuch(UnknownName::among(name, &known))
        };
        let parsed: VolumeName = name.parse().map_err(|_: StoreError| missing())?;
        Ok(self.store.volume(&parsed)?.ok_or_else(missing)?)
    }

    /// The directory with the files of a volume.
    #[must_use]
    pub fn volume_mountpoint(&self, name: &VolumeName) -> PathBuf {
        self.store.volume_data(name)
    }

    /// The volumes that containers have, each with how many have it.
    ///
    /// # Errors
    /// [`Error::Store`] when the containers cannot be listed.
    pub fn used_volumes(&self) -> Result<HashMap<VolumeName, usize>, Error> {
        Ok(count_users(&self.containers()?))
    }

    /// All volumes with their sizes.
    pub(crate) fn volume_usage(&self, containers: &[Container]) -> Result<Vec<VolumeUsage>, Error> {
        let users = count_users(containers);
        let usage = |volume: Volume| VolumeUsage {
            containers: users.get(&volume.name).copied().unwrap_or(0),
            bytes: self.store.volume_bytes(&volume.name),
            volume,
        };
        Ok(self.store.volumes()?.into_iter().map(usage).collect())
    }

    /// Removes a volume that no container has.
    ///
    /// # Errors
    /// [`VolumeError::NoSuch`], [`VolumeError::InUse`]; [`Error::Store`], also when the record of a container is damaged.
    pub fn remove_volume(&self, name: &str) -> Result<(), Error> {
        let volume = self.volume(name)?.name;
        match self.store.remove_unused_volume(&volume)? {
            users if users.is_empty() => Ok(()),
            containers => Err(VolumeError::InUse { name: name.to_owned(), containers }.into()),
        }
    }

    /// Removes those of the volumes that no container has; gives their names, and the bytes that they took.
    pub(crate) fn remove_unused_volumes(&self, which: &[VolumeName]) -> Result<(Vec<String>, u64), Error> {
        let (mut removed, mut freed) = (Vec::new(), 0);
        for name in which {
            let bytes = self.store.volume_bytes(name);
            if self.store.remove_unused_volume(name)?.is_empty() {
                removed.push(name.to_string());
                freed += bytes;
            }
        }
        Ok((removed, freed))
    }
}

fn count_users(containers: &[Container]) -> HashMap<VolumeName, usize> {
    let mut users = HashMap::new();
    for container in containers {
        let mut volumes: Vec<&VolumeName> = container.volumes().map(|(name, _)| name).collect();
        volumes.sort();
        volumes.dedup();
        for name in volumes {
            *users.entry(name.clone()).or_default() += 1;
        }
    }
    users
}
