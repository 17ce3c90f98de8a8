//! The index: cache records by key, and memoised facts. Everything in it is advice and may be lost at any time.
//!
//! The first byte of a row is its sort:
//! `r` key → record; `s` step, time, key → nothing; `f` fact key → fact.

mod bulk;
mod context_index;
mod database;
mod filter;
mod journal;
mod key;
mod recent;
mod recent_file;
mod record;
mod recorder;
mod tree;

pub use context_index::{ContextIndex, ContextIndexBuilder, Saved};
pub use key::{CacheKey, FactKey, KeyBuilder, SiteHash, StepHash};
pub use recent::{RecentPlace, RecentRecords};
pub use record::{CacheRecord, EvictedBy, StepInputs};
pub use recorder::Recorder;

use crate::{LayerId, Stamp, Store, StoreError, store::Durable};
use database::Database;
use journal::Batch;
use rbuild_oci::Timestamp;
use record::{decode, trailing_key};
use serde::{Deserialize, Serialize};
use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    path::Path,
};

/// The largest number of earlier records of a step that are returned.
const EARLIER: usize = 8;

/// The index within one transaction.
pub struct Index<'a> {
    database: &'a Database,
    store: &'a Store,
    durable: OnceCell<Durable>,
}

/// The result of looking up a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A result that can be used once [`crate::Lease::hold`] finds its layers.
    Hit(Box<CacheRecord>),
    /// No usable result, and the reason.
    Miss(Miss),
}

/// Why a key has no usable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The index has no record of it.
    NeverBuilt,
    /// Its layer was removed to make room, at the record's `evicted` time.
    Evicted(Box<CacheRecord>),
    /// It was written in an earlier boot of the system and perhaps never reached the disk.
    NotDurable(Box<CacheRecord>),
    /// The record or the index is damaged or of another version.
    Unreadable,
}

/// The value of a layer fact: the layer, and the time at which the fact was written.
#[derive(Serialize, Deserialize)]
struct LayerFact {
    layer: LayerId,
    stamp: Stamp,
}

impl Store {
    /// Runs one transaction on the index. Opening the index costs milliseconds and keeps every other process out, so
    /// use as few transactions as possible, and do nothing slow within one.
    ///
    /// # Errors
    /// The error that `transaction` returns, or an I/O error. A damaged index is not an error: an empty one replaces
    /// it, and [`Store::take_warnings`] reports that.
    pub fn index<T>(
        &self,
        transaction: impl FnOnce(&Index<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with_database(|database| transaction(&Index { database, store: self, durable: OnceCell::new() }))
    }
}

impl Store {
    /// Runs one transaction on a copy of this store's index at `path`.
    pub(crate) fn index_at<T>(
        &self,
        path: &Path,
        transaction: impl FnOnce(&Index<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let index =
            |database: &Database| transaction(&Index { database, store: self, durable: OnceCell::new() });
        Self::with_database_at(path, index)
    }
}

impl Store {
    /// Evicts the records whose layers are among `layers`, because these cannot be had, and returns how many there were.
    ///
    /// # Errors
    /// An I/O error when the index cannot be written.
    pub fn evict_records_of(&self, layers: &HashSet<LayerId>) -> Result<usize, StoreError> {
        self.index(|index| {
            let is_of_them =
                |record: &CacheRecord| record.evicted.is_none() && layers.contains(&record.layer);
            let records: Vec<_> =
                index.records().into_iter().filter(|(_, record)| is_of_them(record)).collect();
            if !records.is_empty() {
                self.forget_evicted(&records.iter().map(|(key, _)| *key).collect())?;
                index.mark_evicted(&records, self.now().into(), |_| EvictedBy::Lost)?;
            }
            Ok(records.len())
        })
    }
}

impl Index<'_> {
    /// Looks a key up.
    #[must_use]
    pub fn lookup(&self, key: &CacheKey) -> Lookup {
        let bytes = match self.get(&row(b'r', key.as_bytes())) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Lookup::Miss(Miss::NeverBuilt),
            Err(_) => return Lookup::Miss(Miss::Unreadable),
        };
        let Some(record) = decode::<CacheRecord>(&bytes).map(Box::new) else {
            return Lookup::Miss(Miss::Unreadable);
        };
        if record.evicted.is_some() {
            Lookup::Miss(Miss::Evicted(record))
        } else if record.stamp.is_some_and(|stamp| self.survived(&stamp)) {
            Lookup::Hit(record)
        } else {
            Lookup::Miss(Miss::NotDurable(record))
        }
    }

    /// The usable record of a key.
    #[must_use]
    pub fn record(&self, key: &CacheKey) -> Option<CacheRecord> {
        match self.lookup(key) {
            Lookup::Hit(record) => Some(*record),
            Lookup::Miss(_) => None,
        }
    }

    /// The record of a key, whether or not it can be used: it only explains.
    #[must_use]
    pub fn any_record(&self, key: &CacheKey) -> Option<CacheRecord> {
        self.read(key)
    }

    /// Writes records, stamped with this moment: their layers must be committed.
    ///
    /// # Errors
    /// An I/O error when the disk fails or is full.
    pub fn put_records(&self, records: &[(CacheKey, CacheRecord)]) -> Result<(), StoreError> {
        let (stamp, machine) = (self.store.stamp(), self.store.machine());
        let mut batch = Batch::default();
        for (key, record) in records {
            // the database is not opened for this: what is outdated in it goes when rows are moved there
            let old = self.database.written(&row(b'r', key.as_bytes()));
            if let Some(old) = old.as_deref().and_then(decode::<CacheRecord>) {
                batch.remove(old.step_row(key));
            }
            let machine = record.machine.or(machine);
            let record = CacheRecord { stamp: Some(stamp), machine, ..record.clone() };
            insert(&mut batch, key, &record);
        }
        self.apply(batch)
    }

    /// Removes a record.
    ///
    /// # Errors
    /// An I/O error when the disk fails or is full.
    pub fn remove_record(&self, key: &CacheKey) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        if let Some(old) = self.read(key) {
            batch.remove(old.step_row(key));
        }
        batch.remove(row(b'r', key.as_bytes()));
        self.apply(batch)
    }

    /// The last 8 records of a step, on whatever parents, newest first; evicted ones included.
    #[must_use]
    pub fn records_of_step(&self, step: &StepHash) -> Vec<(CacheKey, CacheRecord)> {
        self.newest(&row(b's', step.as_bytes()))
    }

    /// All readable records, evicted ones included, in the order of their keys. What is not readable is left out.
    #[must_use]
    pub fn records(&self) -> Vec<(CacheKey, CacheRecord)> {
        let mut records = Vec::new();
        let scanned = self.database.scan(b"r", |row, bytes| {
            records.extend(trailing_key(row).zip(decode(bytes)));
        });
        // damage found half way is remembered by the database; what was read before it is good
        drop(scanned);
        records
    }

    /// The keys of records that cannot be read: damaged, or of another version.
    pub(crate) fn unreadable_records(&self) -> Vec<CacheKey> {
        let mut unreadable = Vec::new();
        let scanned = self.database.scan(b"r", |row, bytes| {
            unreadable.extend(trailing_key(row).filter(|_| decode::<CacheRecord>(bytes).is_none()));
        });
        // as for [`Index::records`]
        drop(scanned);
        unreadable
    }

    /// What records say of the sizes of layers, without the rest of each record.
    pub(crate) fn layer_bytes(&self) -> HashMap<LayerId, u64> {
        #[derive(Deserialize)]
        struct Sized {
            layer: LayerId,
            layer_bytes: Option<u64>,
        }
        let mut bytes = HashMap::new();
        let scanned = self.database.scan(b"r", |_, value| {
            bytes.extend(decode::<Sized>(value).and_then(|sized| Some((sized.layer, sized.layer_bytes?))));
        });
        // as above
        drop(scanned);
        bytes
    }

    /// A memoised fact.
    #[must_use]
    pub fn fact(&self, key: &FactKey) -> Option<Vec<u8>> {
        self.get(&row(b'f', key.as_bytes())).ok().flatten()
    }

    /// Memoises a fact that is true of what its key names, whatever the store holds.
    ///
    /// # Errors
    /// An I/O error when the disk fails or is full.
    pub fn put_fact(&self, key: &FactKey, value: &[u8]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.insert(row(b'f', key.as_bytes()), value);
        self.apply(batch)
    }

    /// The layer a fact names, under the same durability rule as a record's; [`crate::Lease::hold`] finds out whether
    /// it is still there.
    #[must_use]
    pub fn layer_fact(&self, key: &FactKey) -> Option<LayerId> {
        let fact: LayerFact = serde_json::from_slice(&self.fact(key)?).ok()?;
        self.survived(&fact.stamp).then_some(fact.layer)
    }

    /// Memoises which layer holds something, such as the unpacked form of a pulled blob. The layer must be committed.
    ///
    /// # Errors
    /// An I/O error when the disk fails or is full.
    pub fn put_layer_fact(&self, key: &FactKey, layer: &LayerId) -> Result<(), StoreError> {
        let fact = LayerFact { layer: *layer, stamp: self.store.stamp() };
        self.put_fact(key, &serde_json::to_vec(&fact).expect("a layer fact is strings and numbers"))
    }

    /// Marks records as evicted, with what did it.
    pub(crate) fn mark_evicted(
        &self,
        evicted: &[(CacheKey, CacheRecord)],
        when: Timestamp,
        by: impl Fn(&CacheKey) -> EvictedBy,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (key, record) in evicted {
            let (evicted, evicted_by) = (Some(when), Some(by(key)));
            insert(&mut batch, key, &CacheRecord { evicted, evicted_by, ..record.clone() });
        }
        self.apply(batch)
    }

    /// True if what was written at `stamp` has certainly outlived every power cut since.
    pub(crate) fn survived(&self, stamp: &Stamp) -> bool {
        stamp.boot == self.store.boot()
            || self.durable.get_or_init(|| self.store.durable().unwrap_or_default()).covers(stamp)
    }

    /// Has the files of the index made smaller at the end of the transaction, if they take much more than what is in them.
    pub(crate) fn shrink_soon(&self) {
        self.database.shrink_soon();
    }

    fn get(&self, row: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get(row)
    }

    fn read(&self, key: &CacheKey) -> Option<CacheRecord> {
        decode(&self.get(&row(b'r', key.as_bytes())).ok()??)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.database.apply(batch)
    }

    fn newest(&self, prefix: &[u8]) -> Vec<(CacheKey, CacheRecord)> {
        // each record may be preceded by an outdated row
        let rows = self.database.last(prefix, 2 * EARLIER).unwrap_or_default();
        let found = rows.iter().filter_map(|row| {
            let key = trailing_key(row)?;
            self.read(&key).filter(|record| record.step_row(&key) == *row).map(|record| (key, record))
        });
        found.take(EARLIER).collect()
    }
}

fn row(sort: u8, name: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + name.len() + 44);
    row.push(sort);
    row.extend_from_slice(name);
    row
}

fn insert(batch: &mut Batch, key: &CacheKey, record: &CacheRecord) {
    batch.insert(row(b'r', key.as_bytes()), record.encode());
    batch.insert(record.step_row(key), []);
}
