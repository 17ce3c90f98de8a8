//! The records a build used last, in one small file. A build that finds all its keys there never opens the index, and
//! so saves most of the cost of a fully cached build. A record here is only as good as one of the index: its user must
//! hold its layers first, and a collection that evicts records removes the files that have one of them.

use super::{
    CacheKey, CacheRecord, Saved, SiteHash,
    recent_file::{self, Kept},
};
use crate::{
    LayerDiff, LayerId, Lease, Store, StoreError,
    disk::{
        list, make_dirs, remove_tree,
        whole_file::{self, Durability},
    },
    store::DescribedDiff,
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
    sync::Arc,
};

/// Records by key, as one build left them.
#[derive(Clone, Debug, Default)]
pub struct RecentRecords {
    records: HashMap<CacheKey, Arc<CacheRecord>>,
    /// What the descriptions of their layers said.
    diffs: HashMap<LayerId, DescribedDiff>,
}

/// The directory in which a build may keep its records. It is another one once they have been forgotten.
#[derive(Debug, Default)]
pub struct RecentPlace(Option<File>);

impl RecentRecords {
    /// The record of a key; when it is `None`, the index may still have one.
    #[must_use]
    pub fn record(&self, key: &CacheKey) -> Option<&Arc<CacheRecord>> {
        self.records.get(key)
    }

    /// The identity of the tar of a layer of theirs that `lease` holds, if it was known when they were kept, and nothing has
    /// changed the layer's description since.
    #[must_use]
    pub fn diff(&self, layer: &LayerId, lease: &Lease) -> Option<LayerDiff> {
        let known = self.diffs.get(layer)?;
        (lease.description_of(layer)? == known.description).then_some(known.diff)
    }

    /// All of them, in no order.
    pub fn records(&self) -> impl Iterator<Item = &CacheRecord> {
        self.records.values().map(|record| &**record)
    }
}

impl Store {
    /// The records that [`Store::keep_recent`] kept for `build`, without those a power cut may have struck; empty when
    /// the file is missing, damaged or of another version.
    ///
    /// # Errors
    /// An I/O error when a file is there and cannot be read.
    pub fn recent(&self, build: &SiteHash) -> Result<RecentRecords, StoreError> {
        let bytes = whole_file::read_advice(&self.recent_path(build))?;
        let kept = recent_file::read(&bytes);
        let mut durable = None;
        let (mut records, mut diffs) =
            (HashMap::with_capacity(kept.len()), HashMap::with_capacity(kept.len()));
        for Kept { key, record, diff } in kept {
            let Some(stamp) = record.stamp else { continue };
            if stamp.boot != self.boot() {
                if durable.is_none() {
                    durable = Some(self.durable()?);
                }
                if !durable.as_ref().is_some_and(|durable| durable.covers(&stamp)) {
                    continue;
                }
            }
            diffs.extend(diff.map(|diff| (record.layer, diff)));
            records.insert(key, record);
        }
        Ok(RecentRecords { records, diffs })
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
            for Kept { record, .. } in recent_file::read(&bytes(&path)) {
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
            recent_file::read(&bytes(file)).iter().all(|kept| !evicted.contains(&kept.key))
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

    /// Keeps the records a build has used or made, under a name for that build (which Dockerfile, context and target), and
    /// what is known of the tars of their layers. These must be committed. Writes nothing if the file says the same, or if
    /// `place` was forgotten meanwhile.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn keep_recent(
        &self,
        RecentPlace(place): &RecentPlace,
        build: &SiteHash,
        records: &[(CacheKey, Arc<CacheRecord>)],
    ) -> Result<Saved, StoreError> {
        let now = self.stamp();
        let path = self.recent_path(build);
        let old = self.recent(build)?;
        let diff = |layer: &LayerId| {
            let known = old.diffs.get(layer).copied();
            known
                .filter(|known| self.description_of(layer) == Some(known.description))
                .or_else(|| self.described_diff(layer))
        };
        let kept = records.iter().map(|(key, record)| {
            let same = |old: &&Arc<CacheRecord>| {
                CacheRecord { stamp: record.stamp, ..CacheRecord::clone(old) } == **record
            };
            let stamped = || CacheRecord { stamp: record.stamp.or(Some(now)), ..CacheRecord::clone(record) };
            let stamped = old.record(key).filter(same).cloned().unwrap_or_else(|| Arc::new(stamped()));
            Kept { key: *key, record: stamped, diff: diff(&record.layer) }
        });
        let kept: Vec<Kept> = kept.collect();
        let is_kept = |kept: &Kept| {
            old.record(&kept.key) == Some(&kept.record)
                && old.diffs.get(&kept.record.layer).copied() == kept.diff
        };
        if old.records.len() == kept.len() && kept.iter().all(is_kept) {
            self.note_recent_use(build);
            return Ok(Saved::Unchanged);
        }
        let bytes = recent_file::write(&kept);
        let Some(place) = place else {
            return whole_file::write(self.space(), &path, &bytes, Durability::DiskLater)
                .map(|()| Saved::Written);
        };
        let draft = whole_file::draft(self.space(), &bytes, Durability::DiskLater)?;
        let name = || renameat(AT_FDCWD, &draft, place, build.to_string().as_str());
        let mut named = name();
        if named == Err(Errno::EISDIR) {
            remove_tree(&path)?;
            named = name();
        }
        match named {
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

/// What a file holds; nothing when it cannot be read.
fn bytes(file: &Path) -> Vec<u8> {
    whole_file::read_advice(file).unwrap_or_default()
}
