//! What is known of each cache mount besides its contents: `mounts/<directory>/mount.json`. The time of that file is when
//! a step last used the mount. How much it takes is measured after a step, when a limit asks for that, or when a person
//! asks; until then the last size counts.

use super::cache_mount::CacheMountSpec;
use crate::{
    StepHash, Store, StoreError,
    disk::{
        list, tree_size,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

/// A cache mount of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountUsage {
    /// The name of its directory, which stands for all that distinguishes it from others.
    pub directory: String,
    /// Its identity, with the namespace; empty for a mount of an early version, which did not note it.
    pub id: String,
    /// Mode of the directory; `None` means 0755.
    pub mode: Option<u32>,
    /// Owner of the directory; `None` means root.
    pub uid: Option<u32>,
    /// Group of the directory; `None` means root.
    pub gid: Option<u32>,
    /// Stands for the files that it began with; `None` means that it began empty.
    pub seed: Option<StepHash>,
    /// When it was made.
    pub created: Timestamp,
    /// When a step last used it.
    pub last_used: Timestamp,
    /// Bytes of the disk that it took when it was measured.
    pub bytes: u64,
    /// True if a step uses it at this moment.
    pub in_use: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MountRecord {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<StepHash>,
    created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// True if a step has used it since it was measured.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
}

impl MountUsage {
    /// By all that distinguishes it from others.
    #[must_use]
    pub fn spec(&self) -> CacheMountSpec<'_> {
        let Self { id, mode, uid, gid, seed, .. } = self;
        CacheMountSpec { id, mode: *mode, uid: *uid, gid: *gid, seed: *seed }
    }
}

impl Store {
    /// All cache mounts with the sizes they had when they were last measured; one that never was is measured now.
    ///
    /// # Errors
    /// An I/O error when they cannot be listed.
    pub fn mount_usage(&self) -> Result<Vec<MountUsage>, StoreError> {
        self.mounts(|record| record.bytes.is_none())
    }

    /// All cache mounts; those that steps have used since they were measured are measured again.
    ///
    /// # Errors
    /// An I/O error when they cannot be listed.
    pub fn measured_mounts(&self) -> Result<Vec<MountUsage>, StoreError> {
        self.mounts(|record| record.stale || record.bytes.is_none())
    }

    /// Measures a cache mount, and notes how much it takes; `None` when it is not there.
    pub fn measure_mount(&self, spec: &CacheMountSpec<'_>) -> Option<u64> {
        let directory = self.mounts_dir().join(spec.directory_name());
        directory
            .is_dir()
            .then(|| self.measure(&directory, &read(&directory).unwrap_or_else(|| self.unknown(&directory))))
    }

    /// Notes that a step uses the mount.
    pub(super) fn note_mount_use(&self, directory: &Path, spec: &CacheMountSpec<'_>) {
        match read(directory) {
            Some(record) if record.stale => whole_file::refresh(&directory.join("mount.json")),
            Some(record) => self.describe(directory, &MountRecord { stale: true, ..record }),
            None => {
                let CacheMountSpec { id, mode, uid, gid, seed } = *spec;
                let created = self.now().into();
                let (id, bytes) = (id.to_owned(), None);
                self.describe(
                    directory,
                    &MountRecord { id, mode, uid, gid, seed, created, bytes, stale: true },
                );
            }
        }
    }

    fn mounts(
        &self,
        has_to_be_measured: impl Fn(&MountRecord) -> bool,
    ) -> Result<Vec<MountUsage>, StoreError> {
        let mut mounts = Vec::new();
        for name in list(&self.mounts_dir())? {
            let directory = self.mounts_dir().join(&name);
            let record = read(&directory).unwrap_or_else(|| self.unknown(&directory));
            let bytes = match record.bytes.filter(|_| !has_to_be_measured(&record)) {
                Some(bytes) => bytes,
                None => self.measure(&directory, &record),
            };
            let used = fs::metadata(directory.join("mount.json")).and_then(|file| file.modified());
            let last_used = used.map_or(record.created, Timestamp::from);
            let in_use = self.try_lock_mount(&name)?.is_none();
            let MountRecord { id, mode, uid, gid, seed, created, .. } = record;
            mounts.push(MountUsage {
                directory: name,
                id,
                mode,
                uid,
                gid,
                seed,
                created,
                last_used,
                bytes,
                in_use,
            });
        }
        mounts.sort_by(|a, b| (&a.id, &a.directory).cmp(&(&b.id, &b.directory)));
        Ok(mounts)
    }

    fn measure(&self, directory: &Path, record: &MountRecord) -> u64 {
        let bytes = tree_size(directory);
        let path = directory.join("mount.json");
        let used = fs::metadata(&path).and_then(|file| file.modified());
        self.describe(directory, &MountRecord { bytes: Some(bytes), stale: false, ..record.clone() });
        // measuring is no use
        if let Ok(used) = used
            && let Ok(file) = fs::File::options().write(true).open(&path)
        {
            let _ = file.set_modified(used);
        }
        bytes
    }

    /// Describes a mount. It is advice: a mount that cannot be described is one that is not known by its id.
    fn describe(&self, directory: &Path, record: &MountRecord) {
        let json = serde_json::to_vec(record).expect("strings and numbers");
        let _ =
            whole_file::replace(self.space(), &directory.join("mount.json"), &json, Durability::DiskLater);
    }

    /// A mount of an early version, or one whose description is damaged.
    fn unknown(&self, directory: &Path) -> MountRecord {
        let made = fs::metadata(directory).and_then(|directory| directory.modified());
        let created = made.map_or_else(|_| self.now().into(), Timestamp::from);
        MountRecord {
            id: String::new(),
            mode: None,
            uid: None,
            gid: None,
            seed: None,
            created,
            bytes: None,
            stale: true,
        }
    }
}

fn read(directory: &Path) -> Option<MountRecord> {
    serde_json::from_slice(&whole_file::read(&directory.join("mount.json")).ok()??).ok()
}
