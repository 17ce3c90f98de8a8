//! Cache mounts: directories that `RUN --mount=type=cache` shows to steps and that outlive builds, below `mounts/<id>`.
//! A mount that steps use one after the other, or side by side, is the directory `0`; a step that wants one for itself
//! takes the first free number. Locks keep other steps out and collections away.

use crate::{
    Cancel, KeyBuilder, StepHash, Store, StoreError,
    disk::{FileLock, LockMode, OnUnlock, list, make_dirs, remove_tree, tree_size},
};
use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// The time between two attempts of a step that waits for a mount.
const PAUSE: Duration = Duration::from_millis(10);

/// A cache mount by all that distinguishes it from others: its id, and what it is at the first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheMountSpec<'a> {
    /// Its identity, with the namespace.
    pub id: &'a str,
    /// Mode of the directory; `None` means 0755.
    pub mode: Option<u32>,
    /// Owner of the directory; `None` means root.
    pub uid: Option<u32>,
    /// Group of the directory; `None` means root.
    pub gid: Option<u32>,
    /// Stands for the files that it begins with; `None` means that it begins empty.
    pub seed: Option<StepHash>,
}

/// The policy for steps that want the same mount at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountSharing {
    /// They write to it side by side.
    Shared,
    /// They get one each.
    Private,
    /// They wait for each other.
    Locked,
}

/// A cache mount in use: a directory, or a file if its seed is one. Until this is dropped, no collection takes it and, unless it is shared, no other step gets it.
#[derive(Debug)]
pub struct CacheMount {
    path: PathBuf,
    _in_use: FileLock,
    _alone: Option<FileLock>,
}

impl CacheMount {
    /// Its place. Do not follow links in it, because containers wrote what is in it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// Takes a cache mount, and waits while another step has it to itself; `None` when `cancel` was called meanwhile.
    ///
    /// # Errors
    /// An I/O error when it cannot be made or locked.
    pub fn cache_mount(
        &self,
        spec: &CacheMountSpec<'_>,
        sharing: MountSharing,
        cancel: &Cancel,
    ) -> Result<Option<CacheMount>, StoreError> {
        self.seeded_cache_mount(spec, sharing, cancel, |path| empty(path, spec))
    }

    /// The same of a mount that does not begin empty: `seed` makes what it begins with at the path that it is given.
    ///
    /// # Errors
    /// An I/O error when it cannot be made or locked; those of `seed`.
    pub fn seeded_cache_mount<E: From<StoreError>>(
        &self,
        spec: &CacheMountSpec<'_>,
        sharing: MountSharing,
        cancel: &Cancel,
        seed: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Option<CacheMount>, E> {
        let id = spec.directory_name();
        // waits while a collection removes it
        let in_use = FileLock::wait(&self.mount_lock_path(&id), LockMode::Shared, OnUnlock::Keep)?;
        let top = self.mounts_dir().join(&id);
        make_dirs(&top)?;
        self.note_mount_use(&top, spec);
        let Some((name, alone)) = claim(&top, sharing, cancel)? else { return Ok(None) };
        let path = top.join(name);
        create(&path, seed)?;
        Ok(Some(CacheMount { path, _in_use: in_use, _alone: alone }))
    }

    /// Moves the directory `content` to `path`, as what a cache mount begins with.
    ///
    /// # Errors
    /// An I/O error when it cannot be moved.
    pub fn begin_cache_mount(
        &self,
        spec: &CacheMountSpec<'_>,
        content: &Path,
        path: &Path,
    ) -> Result<(), StoreError> {
        own(content, spec)?;
        fs::rename(content, path).map_err(StoreError::on("create", path))
    }

    /// Makes the directory `content`, which is on the store's disk, all that a cache mount has; false when a step uses it.
    ///
    /// # Errors
    /// An I/O error when it cannot be made.
    pub fn replace_cache_mount(&self, spec: &CacheMountSpec<'_>, content: &Path) -> Result<bool, StoreError> {
        let id = spec.directory_name();
        let lock = FileLock::attempt(&self.mount_lock_path(&id), OnUnlock::Keep)?;
        let Some(_unused) = lock else { return Ok(false) };
        let top = self.mounts_dir().join(&id);
        make_dirs(&top)?;
        self.note_mount_use(&top, spec);
        own(content, spec)?;
        let (path, gone) = (top.join("0"), self.space().path("gone")?);
        if path.exists() {
            fs::rename(&path, &gone).map_err(StoreError::on("remove", &path))?;
        }
        fs::rename(content, &path).map_err(StoreError::on("create", &path))?;
        remove_tree(&gone)?;
        Ok(true)
    }

    /// Removes a cache mount; false when a step uses it.
    ///
    /// # Errors
    /// An I/O error when it cannot be removed.
    pub fn remove_cache_mount(&self, spec: &CacheMountSpec<'_>) -> Result<bool, StoreError> {
        let id = spec.directory_name();
        let (top, gone) = (self.mounts_dir().join(&id), self.space().path("gone")?);
        {
            let Some(_unused) = self.try_lock_mount(&id)? else { return Ok(false) };
            match fs::rename(&top, &gone) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed.map_err(StoreError::on("remove", &top))?,
            }
        }
        remove_tree(&gone)?;
        Ok(true)
    }

    /// Removes the directories of cache mounts that were never made, as builds leave them that are killed at the first use; returns how
    /// many bytes that freed.
    pub(super) fn sweep_unmade_mounts(&self) -> Result<u64, StoreError> {
        let mut freed = 0;
        for id in list(&self.mounts_dir())? {
            let top = self.mounts_dir().join(&id);
            // what cannot be listed is no mount
            let is_made = || {
                list(&top).map_or(true, |names| {
                    names.iter().any(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
                })
            };
            if is_made() {
                continue;
            }
            // who makes one holds its lock
            let Some(_unused) = self.try_lock_mount(&id)? else { continue };
            if is_made() {
                continue;
            }
            let gone = self.space().path("gone")?;
            if fs::rename(&top, &gone).is_ok() {
                freed += tree_size(&gone);
                remove_tree(&gone)?;
            }
        }
        Ok(freed)
    }

    /// Takes a cache mount that no step uses, to remove it.
    pub(crate) fn try_lock_mount(&self, id: &str) -> Result<Option<FileLock>, StoreError> {
        FileLock::attempt(&self.mount_lock_path(id), OnUnlock::Remove)
    }

    fn mount_lock_path(&self, id: &str) -> PathBuf {
        self.at("locks/mounts").join(id)
    }
}

impl CacheMountSpec<'_> {
    /// The name of its directory.
    pub(super) fn directory_name(&self) -> String {
        let hash = KeyBuilder::new("cache mount")
            .field("id", self.id)
            .optional("mode", self.mode.map(|mode| mode.to_string()))
            .optional("uid", self.uid.map(|uid| uid.to_string()))
            .optional("gid", self.gid.map(|gid| gid.to_string()));
        // mounts without a seed keep the names that they had before there were seeds
        let hash = match &self.seed {
            Some(seed) => hash.field("seed", seed.as_bytes()),
            None => hash,
        };
        hash.finish_fact().to_string()[..32].to_owned()
    }
}

/// The name of the directory to use below `top`, and the lock that keeps others out of it; `None` when canceled.
fn claim(
    top: &Path,
    sharing: MountSharing,
    cancel: &Cancel,
) -> Result<Option<(String, Option<FileLock>)>, StoreError> {
    let attempt = |number: u32| FileLock::attempt(&top.join(format!("{number}.lock")), OnUnlock::Keep);
    match sharing {
        MountSharing::Shared => Ok(Some(("0".to_owned(), None))),
        MountSharing::Locked => loop {
            if let Some(lock) = attempt(0)? {
                return Ok(Some(("0".to_owned(), Some(lock))));
            }
            if cancel.is_canceled() {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        },
        MountSharing::Private => {
            let mut number = 0;
            loop {
                if let Some(lock) = attempt(number)? {
                    return Ok(Some((number.to_string(), Some(lock))));
                }
                number += 1;
            }
        }
    }
}

/// Makes the mount at its first use. Only one process makes it, and it gets its name when it is whole, so that neither a
/// killed process nor a slower one leaves a directory without all its files, or one that its users may not write to.
fn create<E: From<StoreError>>(path: &Path, seed: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    if path.exists() {
        return Ok(());
    }
    let _making = FileLock::wait(&path.with_extension("making"), LockMode::Exclusive, OnUnlock::Keep)?;
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension("new");
    // what a killed process left
    remove_tree(&draft)?;
    seed(&draft)?;
    Ok(fs::rename(&draft, path).map_err(StoreError::on("create", path))?)
}

/// An empty directory with the owner and mode that `spec` asks for.
fn empty(path: &Path, spec: &CacheMountSpec<'_>) -> Result<(), StoreError> {
    fs::create_dir(path).map_err(StoreError::on("create", path))?;
    own(path, spec)
}

/// Gives a directory the owner and mode that `spec` asks for.
fn own(path: &Path, spec: &CacheMountSpec<'_>) -> Result<(), StoreError> {
    chown(path, Some(spec.uid.unwrap_or(0)), Some(spec.gid.unwrap_or(0)))
        .map_err(StoreError::on("set the owner of", path))?;
    fs::set_permissions(path, Permissions::from_mode(spec.mode.unwrap_or(0o755)))
        .map_err(StoreError::on("set the mode of", path))
}
