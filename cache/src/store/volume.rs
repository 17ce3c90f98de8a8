//! Volumes: directories that outlive the containers that see them. `volumes/<name>/` has the files of one in `_data`, and what is
//! known of it in `volume.json`.
//!
//! A volume is made whole in temporary space, with the files that it begins with, and a rename gives it its name; removing it
//! renames it back first. No volume goes while the record of a container has it: who makes a container with volumes holds
//! `locks/volumes` until that has its name, and who removes a volume holds it too ([`VolumesLock`]). What is in `_data` was
//! written by containers: nothing there is followed.

use super::{scratch::ScratchDir, volume_name::VolumeName};
use crate::{
    Store, StoreError,
    disk::{
        FileLock, LockMode, OnUnlock, list, make_dirs, make_dirs_with_mode, remove_tree, tree_size,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes},
    io,
    os::unix::fs::{MetadataExt, fchown},
    path::{Path, PathBuf},
};

/// The files of a volume, in its directory.
const DATA: &str = "_data";
/// What is known of it.
const RECORD: &str = "volume.json";

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// When it was made.
    pub created: Timestamp,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Volume {
    /// The label of those whose names were made up, as docker has it.
    pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

    /// True if its name was made up.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(Self::ANONYMOUS)
    }
}

/// A volume that has no name yet. Dropping it removes it.
#[derive(Debug)]
pub struct VolumeDraft {
    volume: Volume,
    directory: ScratchDir,
}

impl VolumeDraft {
    /// The volume that it becomes.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The directory for the files that it begins with.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join(DATA)
    }
}

/// The right to say which volumes there are, and which of them containers have.
#[derive(Debug)]
pub struct VolumesLock {
    _lock: FileLock,
}

/// What became of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptVolume {
    /// It has its name.
    Made,
    /// There is a volume of its name already.
    WasThere,
}

impl Store {
    /// Waits for the right to change which volumes there are.
    ///
    /// # Errors
    /// An I/O error when the lock file cannot be opened.
    pub fn lock_volumes(&self) -> Result<VolumesLock, StoreError> {
        let lock = FileLock::wait(&self.at("locks/volumes"), LockMode::Exclusive, OnUnlock::Keep)?;
        Ok(VolumesLock { _lock: lock })
    }

    /// Begins a volume, which is empty.
    ///
    /// # Errors
    /// An I/O error when it cannot be made.
    pub fn new_volume(&self, volume: Volume) -> Result<VolumeDraft, StoreError> {
        let directory = self.scratch_dir()?;
        let draft = VolumeDraft { volume, directory };
        let data = draft.data();
        make_dirs_with_mode(&data, 0o755).map_err(StoreError::on("create", &data))?;
        let json = serde_json::to_vec(&draft.volume).expect("names and labels are strings");
        let record = draft.directory.path().join(RECORD);
        whole_file::write(self.space(), &record, &json, Durability::DiskFirst)?;
        Ok(draft)
    }

    /// Gives a volume its name. If one of that name is there, that one stays as it is, but for one that is empty: it gets the
    /// files that the draft begins with.
    ///
    /// # Errors
    /// An I/O error when something of it cannot be moved; then the volume that was there is as it was.
    pub fn keep_volume(&self, draft: VolumeDraft, _turn: &VolumesLock) -> Result<KeptVolume, StoreError> {
        let VolumeDraft { volume, directory } = draft;
        let (place, data) = (self.volume_directory(&volume.name), directory.path().join(DATA));
        let has_files = !is_empty(&data);
        if has_files {
            // a volume that is not empty is never filled again, so its files must not be lost when the power is cut
            let open = File::open(&data).map_err(StoreError::on("open", &data))?;
            nix::unistd::syncfs(&open).map_err(|errno| StoreError::io("sync", &data, errno.into()))?;
        }
        if self.volume(&volume.name)?.is_some() {
            if has_files && is_empty(&place.join(DATA)) {
                fill(&data, &place.join(DATA))?;
            }
            return Ok(KeptVolume::WasThere);
        }
        make_dirs(&self.at("volumes"))?;
        whole_file::rename(directory.path(), &place)?;
        Ok(KeptVolume::Made)
    }

    /// The volume `name`; `None` when there is none. If its record is damaged, it is what its directory tells, without labels: the
    /// files of it are whole.
    ///
    /// # Errors
    /// An I/O error when its record cannot be read.
    pub fn volume(&self, name: &VolumeName) -> Result<Option<Volume>, StoreError> {
        let path = self.volume_directory(name).join(RECORD);
        let Some(bytes) = whole_file::read(&path)? else { return Ok(None) };
        let recorded = serde_json::from_slice(&bytes).ok().filter(|volume: &Volume| volume.name == *name);
        Ok(Some(recorded.unwrap_or_else(|| {
            let made = fs::metadata(&path).and_then(|file| file.modified());
            let created = made.map_or_else(|_| self.now().into(), Timestamp::from);
            Volume { name: name.clone(), created, labels: BTreeMap::new() }
        })))
    }

    /// All volumes by their names.
    ///
    /// # Errors
    /// An I/O error when they cannot be listed.
    pub fn volumes(&self) -> Result<Vec<Volume>, StoreError> {
        let mut volumes = Vec::new();
        for name in list(&self.at("volumes"))? {
            let Ok(name) = name.parse::<VolumeName>() else { continue };
            volumes.extend(self.volume(&name)?);
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// The directory with the files of a volume, which need not be there.
    #[must_use]
    pub fn volume_data(&self, name: &VolumeName) -> PathBuf {
        self.volume_directory(name).join(DATA)
    }

    /// The bytes that a volume takes on the disk.
    #[must_use]
    pub fn volume_bytes(&self, name: &VolumeName) -> u64 {
        tree_size(&self.volume_data(name))
    }

    /// True if nothing is in a volume.
    #[must_use]
    pub fn volume_is_empty(&self, name: &VolumeName) -> bool {
        is_empty(&self.volume_data(name))
    }

    /// Removes a volume that no container has; fine when it is not there.
    fn remove_volume(&self, name: &VolumeName, turn: VolumesLock) -> Result<(), StoreError> {
        let (place, gone) = (self.volume_directory(name), self.space().path("gone")?);
        match fs::rename(&place, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(StoreError::on("remove", &place))?,
        }
        drop(turn);
        remove_tree(&gone)
    }

    /// The ids of the containers that have a volume.
    ///
    /// # Errors
    /// [`StoreError::Document`] when the record of a container is damaged, so that it is not known what that needs; an I/O error.
    pub fn volume_users(&self, name: &VolumeName, _turn: &VolumesLock) -> Result<Vec<String>, StoreError> {
        let mut users = Vec::new();
        for directory in self.containers()? {
            let Some(container) = directory.read()? else { continue };
            if container.volumes().any(|(volume, _)| volume == name) {
                users.push(container.id);
            }
        }
        Ok(users)
    }

    /// Removes a volume, unless a container has it; gives the ids of those that do.
    ///
    /// # Errors
    /// As [`Self::volume_users`]; an I/O error when something of it cannot be removed.
    pub fn remove_unused_volume(&self, name: &VolumeName) -> Result<Vec<String>, StoreError> {
        let turn = self.lock_volumes()?;
        let users = self.volume_users(name, &turn)?;
        if users.is_empty() {
            self.remove_volume(name, turn)?;
        }
        Ok(users)
    }

    fn volume_directory(&self, name: &VolumeName) -> PathBuf {
        self.at("volumes").join(name.as_str())
    }
}

/// Moves what is in `from` into `to`, which containers may see already, and makes `to` like `from`; all of it or nothing.
fn fill(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut moved = Vec::new();
    let mut move_all = || {
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            // only the names in `to` are a container's, and a rename follows none of them
            let target = to.join(&name);
            if fs::symlink_metadata(&target).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from.join(&name), target)?;
            moved.push(name);
        }
        Ok::<_, io::Error>(())
    };
    if let Err(error) = move_all() {
        for name in moved {
            let _ = fs::rename(to.join(&name), from.join(&name));
        }
        return Err(StoreError::io("fill", to, error));
    }
    make_like(from, to).map_err(StoreError::on("set the owner of", to))
}

/// Gives the directory `to` the owner, the mode and the times of `from`.
fn make_like(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    let directory = File::open(to)?;
    fchown(&directory, Some(found.uid()), Some(found.gid()))?;
    directory.set_permissions(found.permissions())?;
    directory.set_times(FileTimes::new().set_accessed(found.accessed()?).set_modified(found.modified()?))
}

/// True if nothing is in the directory.
fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_volume_is_filled_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        for name in ["a", "b"] {
            fs::write(from.join(name), name).unwrap();
        }
        fs::write(to.join("b"), "a container's").unwrap();
        assert!(fill(&from, &to).is_err());
        assert_eq!(list(&to).unwrap(), ["b"]);
        assert_eq!(fs::read_to_string(to.join("b")).unwrap(), "a container's");
        assert_eq!(list(&from).unwrap().len(), 2);
        fs::remove_file(to.join("b")).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1777)).unwrap();
        fill(&from, &to).unwrap();
        assert_eq!(list(&to).unwrap().len(), 2);
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o1777);
    }
}
