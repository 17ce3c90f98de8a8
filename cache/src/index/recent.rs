//! The records a build used last, in one small file. A build that finds all its keys there never opens the index, and
//! so saves most of the cost of a fully cached build. A record here is only as good as one of the index: its user must
//! hold its layers first, and a collection that evicts records removes all these files.

use super::{CacheKey, CacheRecord, Saved, SiteHash};
use crate::{
    Store, StoreError,
    disk::{
        remove_files,
        whole_file::{self, Durability},
    },
};
use std::{collections::HashMap, path::PathBuf};

/// Version of the file, its first byte.
const VERSION: u8 = 1;

/// Records by key, as one build left them.
#[derive(Clone, Debug, Default)]
pub struct RecentRecords {
    records: HashMap<CacheKey, CacheRecord>,
}

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
        let Some((&VERSION, json)) = bytes.split_first() else { return Ok(RecentRecords::default()) };
        let kept: Vec<(CacheKey, CacheRecord)> = serde_json::from_slice(json).unwrap_or_default();
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

    /// Forgets the records that every build kept. Call this when results are made anew under keys that others kept.
    ///
    /// # Errors
    /// An I/O error when a file cannot be removed.
    pub fn forget_recent(&self) -> Result<(), StoreError> {
        remove_files(&self.at("recent"))
    }

    /// Keeps the records a build has used or made, under a name for that build (which Dockerfile, context and target).
    /// Their layers must be committed. Writes nothing if the file says the same.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn keep_recent(
        &self,
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
            return Ok(Saved::Unchanged);
        }
        let stamped: Vec<(&CacheKey, CacheRecord)> = records
            .iter()
            .map(|(key, record)| (key, CacheRecord { stamp: record.stamp.or(Some(now)), ..record.clone() }))
            .collect();
        let mut bytes = vec![VERSION];
        serde_json::to_writer(&mut bytes, &stamped).expect("records are strings and numbers");
        whole_file::write(self.space(), &path, &bytes, Durability::DiskLater)?;
        Ok(Saved::Written)
    }

    fn recent_path(&self, build: &SiteHash) -> PathBuf {
        self.at(&format!("recent/{build}"))
    }
}
