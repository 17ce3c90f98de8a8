//! Cache mounts as things of their own: listed, exported to a tar and imported from one, filled for a machine that has none
//! yet, and kept within a size.
//!
//! The first entry of such a tar is a file that says which mount it was, so that the mount is the same one on another
//! machine. It is not a part of the mount.

use crate::{CacheMountError, CacheMountOptions, CacheMounts, Engine, Error};
use rbuild_archive::{BLOCK, EntryKind, TarHeader};
use rbuild_cache::{
    CacheMount, CacheMountSpec, Cancel, LayerDraft, MountSharing, MountUsage, StepHash, Store,
};
use rbuild_image::{BlobRetention, ImageError};
use rbuild_planner::{Filesystem, MountKind, RunAction};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::lchown,
    path::Path,
};

/// The entry that says which mount a tar is of.
const NAMEPLATE: &str = ".rbuild-cache-mount.json";

#[derive(Serialize, Deserialize)]
struct Nameplate {
    id: String,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    seed: Option<StepHash>,
}

impl CacheMounts {
    /// What is asked for of the mount with this id of the store.
    pub(crate) fn of(&self, id: &str) -> Option<&CacheMountOptions> {
        self.by_id.iter().find(|(typed, _)| rooted(typed) == id).map(|(_, options)| options)
    }

    /// The size that the mount with this id of the store may have.
    pub(crate) fn max_bytes(&self, id: &str) -> Option<u64> {
        self.of(id).and_then(|options| options.max_bytes).or(self.max_bytes)
    }
}

/// The id of a cache mount as people write it. In the store all of them are paths, as with Docker, so that `id=cargo` and
/// `id=/cargo` are one.
#[must_use]
pub fn familiar_mount_id(id: &str) -> &str {
    id.strip_prefix('/').filter(|rest| !rest.is_empty() && !rest.contains('/')).unwrap_or(id)
}

/// The id of a cache mount in the store.
pub(crate) fn rooted(id: &str) -> String {
    format!("/{}", id.trim_start_matches('/'))
}

impl Engine {
    /// The cache mounts, by id.
    ///
    /// # Errors
    /// [`Error::Store`] when they cannot be listed.
    pub fn cache_mounts(&self) -> Result<Vec<MountUsage>, Error> {
        Ok(self.store.measured_mounts()?)
    }

    /// Writes what the cache mount `id` has as a tar; of several with this id, the one that was used last.
    ///
    /// # Errors
    /// [`CacheMountError`]; [`Error::Image`] when it cannot be read or written.
    pub fn export_cache_mount(&self, id: &str, out: &mut dyn Write) -> Result<(), Error> {
        let held = held(&self.store, id, &Cancel::default())?;
        let mut tar = held.tar(&self.store)?;
        let copied = io::copy(&mut tar, out).and_then(|_| out.flush());
        copied.map_err(|source| Error::Image(ImageError::ArchiveWrite(source)))
    }

    /// Makes what is in a tar, compressed or not, all that a cache mount has. The tar of another kind of program becomes the
    /// mount `id`; one of [`Engine::export_cache_mount`] the same mount as there, under the id `id` if there is one. Returns
    /// the id.
    ///
    /// # Errors
    /// [`CacheMountError`]; [`Error::Image`] when it is no tar.
    pub fn import_cache_mount(&self, id: Option<&str>, tar: impl Read) -> Result<String, Error> {
        import(&self.store, id, tar)
    }

    /// Removes the cache mounts that `id` stands for; returns the bytes that this frees.
    ///
    /// # Errors
    /// [`CacheMountError`].
    pub fn remove_cache_mount(&self, id: &str) -> Result<u64, Error> {
        let _reserve = self.store.reserve();
        let mounts = mounts_called(&self.store, id)?;
        if mounts.is_empty() {
            return Err(CacheMountError::Absent(id.to_owned()).into());
        }
        for mount in &mounts {
            if !self.store.remove_cache_mount(&mount.spec())? {
                return Err(CacheMountError::InUse(id.to_owned()).into());
            }
        }
        Ok(mounts.iter().map(|mount| mount.bytes).sum())
    }
}

/// A cache mount that no step uses meanwhile.
pub(crate) struct HeldMount {
    mount: MountUsage,
    held: CacheMount,
    /// What it takes on the disk.
    pub(crate) bytes: u64,
}

impl HeldMount {
    /// What it has as a tar.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn tar(&self, store: &Store) -> Result<impl Read + Send + use<>, Error> {
        Ok(nameplate(&self.mount.spec()).chain(rbuild_image::directory_tar(store, self.held.path())?))
    }
}

/// Takes the cache mount `id`, of several the one that was used last; waits while a step has it to itself.
///
/// # Errors
/// [`CacheMountError::Absent`].
pub(crate) fn held(store: &Store, id: &str, cancel: &Cancel) -> Result<HeldMount, Error> {
    let absent = || CacheMountError::Absent(familiar_mount_id(id).to_owned());
    let mount = mounts_called(store, id)?.into_iter().max_by_key(|mount| mount.last_used);
    let mount = mount.ok_or_else(absent)?;
    let held = store.cache_mount(&mount.spec(), MountSharing::Locked, cancel)?;
    let held = held.filter(|held| held.path().is_dir()).ok_or_else(absent)?;
    Ok(HeldMount { bytes: mount.bytes, mount, held })
}

/// Makes what is in a tar all that a cache mount has; see [`Engine::import_cache_mount`].
///
/// # Errors
/// [`CacheMountError`]; [`Error::Image`] when it is no tar.
pub(crate) fn import(store: &Store, id: Option<&str>, tar: impl Read) -> Result<String, Error> {
    let (files, nameplate) = unpacked(store, tar)?;
    let id = id.map(str::to_owned).or_else(|| nameplate.as_ref().map(|plate| plate.id.clone()));
    let id = rooted(&id.ok_or(CacheMountError::WithoutId)?);
    let spec = match &nameplate {
        Some(Nameplate { mode, uid, gid, seed, .. }) => {
            CacheMountSpec { id: &id, mode: *mode, uid: *uid, gid: *gid, seed: *seed }
        }
        None => CacheMountSpec { id: &id, mode: None, uid: None, gid: None, seed: None },
    };
    if !store.replace_cache_mount(&spec, files.fs())? {
        return Err(CacheMountError::InUse(familiar_mount_id(&id).to_owned()).into());
    }
    store.measure_mount(&spec);
    Ok(familiar_mount_id(&id).to_owned())
}

/// The failure of a mount that is larger than what may travel.
pub(crate) fn too_large(id: &str, bytes: u64, limit: u64) -> Error {
    CacheMountError::TooLarge { id: familiar_mount_id(id).to_owned(), bytes, limit }.into()
}

/// Those with this id, or the one whose directory's name begins so.
fn mounts_called(store: &Store, id: &str) -> Result<Vec<MountUsage>, Error> {
    let all = store.measured_mounts()?;
    let (exact, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(|mount| mount.id == rooted(id));
    others.retain(|mount| id.len() >= 4 && mount.directory.starts_with(id) && !mount.id.is_empty());
    Ok(if exact.is_empty() && others.len() == 1 { others } else { exact })
}

/// Sees that the mount begins with the files of `options`, if the store has none.
///
/// # Errors
/// When they cannot be read or copied.
pub(crate) fn fill(
    store: &Store,
    spec: &CacheMountSpec<'_>,
    options: &CacheMountOptions,
    cancel: &Cancel,
) -> Result<(), Error> {
    let Some(source) = &options.source else { return Ok(()) };
    let begin = |path: &Path| -> Result<(), Error> {
        let files = if source.is_dir() {
            let (files, _) = unpacked(store, rbuild_image::directory_tar(store, source)?)?;
            give(files.fs(), spec)?;
            files
        } else {
            let opened = File::open(source);
            let file =
                opened.map_err(|error| Error::Io { action: "open", path: source.clone(), source: error })?;
            unpacked(store, file)?.0
        };
        Ok(store.begin_cache_mount(spec, files.fs(), path)?)
    };
    store.seeded_cache_mount(spec, MountSharing::Shared, cancel, begin).map(drop)
}

/// The cache mounts of a RUN; `seen` are the hashes of what its mounts showed when the build began.
pub(crate) fn of_run<'a>(
    action: &'a RunAction,
    seen: &'a [Option<StepHash>],
) -> impl Iterator<Item = CacheMountSpec<'a>> {
    action.mounts.iter().zip(seen).filter_map(|(mount, seen)| match &mount.kind {
        MountKind::Cache { id, from, mode, uid, gid, .. } => {
            let seed = if *from == Filesystem::Scratch { None } else { *seen };
            Some(CacheMountSpec { id, mode: *mode, uid: *uid, gid: *gid, seed })
        }
        MountKind::Bind { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Secret { .. }
        | MountKind::Ssh { .. } => None,
    })
}

/// Measures a mount that a step has used, if a limit asks for that, and empties it when it is too large. Returns its size and
/// its limit then. A mount that another step uses is looked at after that one.
///
/// # Errors
/// [`Error::Store`] when it cannot be removed.
pub(crate) fn limit(
    store: &Store,
    spec: &CacheMountSpec<'_>,
    mounts: &CacheMounts,
) -> Result<Option<(u64, u64)>, Error> {
    let most = mounts.max_bytes(spec.id);
    if most.is_none() && !store.budget().is_set() {
        return Ok(None);
    }
    let found = store.measure_mount(spec).zip(most).filter(|(bytes, most)| bytes > most);
    Ok(match found {
        Some(found) if store.remove_cache_mount(spec)? => Some(found),
        Some(_) | None => None,
    })
}

/// The first entry of a tar.
fn nameplate(spec: &CacheMountSpec<'_>) -> io::Cursor<Vec<u8>> {
    let CacheMountSpec { id, mode, uid, gid, seed } = *spec;
    let plate = Nameplate { id: id.to_owned(), mode, uid, gid, seed };
    let json = serde_json::to_vec(&plate).expect("strings and numbers");
    let mut out = Vec::new();
    TarHeader::new(EntryKind::File, NAMEPLATE.as_bytes(), 0o644, json.len() as u64).write(&mut out);
    out.extend_from_slice(&json);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    io::Cursor::new(out)
}

/// The files of a tar in temporary space, without the first entry that says what they are.
fn unpacked(store: &Store, tar: impl Read) -> Result<(LayerDraft, Option<Nameplate>), Error> {
    let files = rbuild_image::unpack_layer(store, tar, &BlobRetention::Nothing)?.into_files()?;
    let path = files.fs().join(NAMEPLATE);
    // a link of that name is a file of the mount
    let is_plate = fs::symlink_metadata(&path).is_ok_and(|file| file.is_file());
    let plate = fs::read(&path).ok().filter(|_| is_plate).and_then(|json| serde_json::from_slice(&json).ok());
    if plate.is_some() {
        fs::remove_file(&path).map_err(|source| Error::Io { action: "remove", path, source })?;
    }
    Ok((files, plate))
}

/// Gives everything in a tree to the owner of the mount.
fn give(top: &Path, spec: &CacheMountSpec<'_>) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action: "set the owner of", path, source }
    };
    let mut pending = vec![top.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).map_err(failed(&directory))? {
            let path = entry.map_err(failed(&directory))?.path();
            lchown(&path, Some(spec.uid.unwrap_or(0)), Some(spec.gid.unwrap_or(0))).map_err(failed(&path))?;
            if fs::symlink_metadata(&path).is_ok_and(|file| file.is_dir()) {
                pending.push(path);
            }
        }
    }
    Ok(())
}
