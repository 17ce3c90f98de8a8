//! The records a build used last, in one small file. A build that finds all its keys there never opens the index, and
//! so saves most of the cost of a fully cached build. A record here is only as good as one of the index: its user must
//! hold its layers first, and a collection that evicts records removes the files that have one of them.

use super::{CacheKey, CacheRecord, Saved, SiteHash};
use crate::{
    LayerId, Store, StoreError,
    disk::{
        list, make_dirs, remove_tree,
        whole_file::{self, Durability},
    },
};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, renameat},
};
use rbuild_oci::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Version of the file, its first byte.
const VERSION: u8 = 1;

/// Records by key, as one build left them.
#[derive(Clone, Debug, Default)]
pub struct RecentRecords {
    records: HashMap<CacheKey, CacheRecord>,
}

/// The directory in which a build may keep its records. It is another one once they have been forgotten.
#[derive(Debug, Default)]
pub struct RecentPlace(Option<File>);

impl RecentRecords {
    /// The record of a key; when it is `None`, the index may still have one.
    #[must_use]
    pub fn record(&self, key: &CacheKey) -> Option<&CacheRecord> {
        self.records.get(key)
    }

    /// All of them, in no order.
    pub fn records(&self) -> impl Iterator<Item = &CacheRecord> {
        self.records.values()
    }
}

impl Store {
    /// The records that [`Store::keep_recent`] kept for `build`, without those a power cut may have struck; empty when
    /// the file is missing, damaged or of another version.
    ///
    /// # Errors
    /// An I/O error when a file is there and cannot be read.
    pub fn recent(&self, build: &SiteHash) -> Result<RecentRecords, StoreError> {
        let bytes = whole_file::read(&self.recent_path(build))?.unwrap_or_default();
        let kept = kept(&bytes);
        let mut durable = None;
        let mut records = HashMap::with_capacity(kept.len());
        for (key, record) in kept {
            let Some(stamp) = record.stamp else { continue };
            if stamp.boot != self.boot() {
                if durable.is_none() {
                    durable = Some(self.durable()?);
                }
                if !durable.as_ref().is_some_and(|durable| durable.covers(&stamp)) {
                    continue;
                }
            }
            records.insert(key, record);
        }
        Ok(RecentRecords { records })
    }

    /// The directory where a build that begins now may keep its records.
    #[must_use]
    pub fn recent_place(&self) -> RecentPlace {
        let path = self.at("recent");
        // it is missing for a moment while another process replaces it
        let again = |_| make_dirs(&path).ok().and_then(|()| File::open(&path).ok());
        RecentPlace(File::open(&path).map_or_else(again, Some))
    }

    /// When the layers of the records that builds kept were last used.
    pub(crate) fn recent_uses(&self) -> HashMap<LayerId, Timestamp> {
        let mut uses: HashMap<LayerId, Timestamp> = HashMap::new();
        let directory = self.at("recent");
        for path in list(&directory).unwrap_or_default().iter().map(|name| directory.join(name)) {
            let Ok(used) = fs::metadata(&path).and_then(|file| file.modified()) else { continue };
            let used = Timestamp::from(used);
            for (_, record) in
                whole_file::read(&path).ok().flatten().map(|bytes| kept(&bytes)).unwrap_or_default()
            {
                for layer in record.stack() {
                    let last = uses.entry(*layer).or_insert(used);
                    *last = used.max(*last);
                }
            }
        }
        uses
    }

    /// Forgets what every build kept, and what those that have begun will keep. Call this when results are made anew under
    /// keys that others kept: what a build looked up before differs from the index from then on, and a cached build must
    /// not have one image id by its own records and another by the index.
    ///
    /// # Errors
    /// An I/O error when they cannot be removed.
    pub fn forget_recent(&self) -> Result<(), StoreError> {
        self.forget_recent_but(|_| false)
    }

    /// Forgets the same because these records are evicted. What builds kept that have none of them stays.
    pub(crate) fn forget_evicted(&self, evicted: &HashSet<CacheKey>) -> Result<(), StoreError> {
        self.forget_recent_but(|file| {
            let bytes = whole_file::read(file).ok().flatten().unwrap_or_default();
            kept(&bytes).iter().all(|(key, _)| !evicted.contains(key))
        })
    }

    fn forget_recent_but(&self, stays: impl Fn(&Path) -> bool) -> Result<(), StoreError> {
        let (recent, gone) = (self.at("recent"), self.space().path("gone")?);
        match fs::rename(&recent, &gone) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(StoreError::on("remove", &recent))?,
        }
        make_dirs(&recent)?;
        for name in list(&gone)? {
            if stays(&gone.join(&name)) {
                // one that a build has written meanwhile is newer
                let _ = fs::hard_link(gone.join(&name), recent.join(&name));
            }
        }
        // a build that ends at this moment may still write there; what stays is swept with this process's temporary space
        let _ = remove_tree(&gone);
        Ok(())
    }

    /// Keeps the records a build has used or made, under a name for that build (which Dockerfile, context and target).
    /// Their layers must be committed. Writes nothing if the file says the same, or if `place` was forgotten meanwhile.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn keep_recent(
        &self,
        RecentPlace(place): &RecentPlace,
        build: &SiteHash,
        records: &[(CacheKey, CacheRecord)],
    ) -> Result<Saved, StoreError> {
        let now = self.stamp();
        let path = self.recent_path(build);
        let old = self.recent(build)?;
        let same = |(key, record): &(CacheKey, CacheRecord)| {
            old.record(key).is_some_and(|old| CacheRecord { stamp: record.stamp, ..old.clone() } == *record)
        };
        if old.records.len() == records.len() && records.iter().all(same) {
            self.note_recent_use(build);
            return Ok(Saved::Unchanged);
        }
        let stamped: Vec<(&CacheKey, CacheRecord)> = records
            .iter()
            .map(|(key, record)| (key, CacheRecord { stamp: record.stamp.or(Some(now)), ..record.clone() }))
            .collect();
        let mut bytes = vec![VERSION];
        serde_json::to_writer(&mut bytes, &stamped).expect("records are strings and numbers");
        let Some(place) = place else {
            return whole_file::write(self.space(), &path, &bytes, Durability::DiskLater)
                .map(|()| Saved::Written);
        };
        let draft = whole_file::draft(self.space(), &bytes, Durability::DiskLater)?;
        match renameat(AT_FDCWD, &draft, place, build.to_string().as_str()) {
            Ok(()) => Ok(Saved::Written),
            Err(errno) => {
                let _ = fs::remove_file(&draft);
                // the directory has been removed
                if errno == Errno::ENOENT {
                    Ok(Saved::Unchanged)
                } else {
                    Err(StoreError::io("create", &path, errno.into()))
                }
            }
        }
    }

    /// Notes that `build` has used the records that it kept: a collection sees by that how old they are.
    pub fn note_recent_use(&self, build: &SiteHash) {
        whole_file::refresh(&self.recent_path(build));
    }

    fn recent_path(&self, build: &SiteHash) -> PathBuf {
        self.at(&format!("recent/{build}"))
    }
}

/// The records in such a file; none of a damaged one, or one of another version.
fn kept(bytes: &[u8]) -> Vec<(CacheKey, CacheRecord)> {
    let Some((&VERSION, json)) = bytes.split_first() else { return Vec::new() };
    serde_json::from_slice(json).unwrap_or_default()
}
