//! The stat index of one build context, as git's index: path → what stat(2) said and the content digest that was
//! computed then. A file whose stat is still the same is not read again.
//!
//! The racy rule: a file changed right after it was read may keep its times, as they are only as fine as the kernel's
//! tick. So an entry is trusted only if both its times are older than the beginning of the walk that made it, by more
//! than such a tick; a younger one is hashed again, and is trusted from the walk after that.
//!
//! The file is read in one piece and looked up in place, through a hash table that is part of it: no entry costs an
//! allocation. `docs/cache-format.md` has the bytes.

use crate::{
    Store, StoreError,
    disk::{
        FileStat, array, checksum,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::Digest;
use std::{path::PathBuf, time::SystemTime};

const MAGIC: &[u8; 8] = b"rbuildCI";
/// Version 1 had SHA-256 digests.
const VERSION: u32 = 2;
/// Magic, version, count, bytes of paths, number of slots, walk time, checksum.
const HEADER: usize = 8 + 4 + 4 + 4 + 4 + 8 + 8;
/// Path offset and length, mode, unused, device, inode, size, mtime, ctime, digest.
const ENTRY: usize = 4 * 4 + 5 * 8 + 32;
/// A kernel tick is at most 10 ms; as much again for the clock being read later than the tick.
const TICK: i64 = 20_000_000;
/// File systems that keep whole seconds only (or every second one, as FAT).
const COARSE: i64 = 2_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// The outcome of saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The index on the disk says the same and trusts every entry.
    Unchanged,
    /// It was replaced.
    Written,
}

/// The index as it was saved last. Read only; share it between threads.
#[derive(Debug, Default)]
pub struct ContextIndex {
    bytes: Vec<u8>,
    count: usize,
    slots: usize,
    walked: i64,
}

/// The index that a walk makes.
#[derive(Debug)]
pub struct ContextIndexBuilder {
    paths: Vec<u8>,
    entries: Vec<(u32, u32, FileStat, Digest)>,
    walked: i64,
}

impl ContextIndex {
    /// Loads the index of the context named by `key`, a hash of where the context is and of what its digests cover. One
    /// that is missing, damaged or of another version is empty.
    ///
    /// # Errors
    /// An I/O error when the file is there and cannot be read.
    pub fn load(store: &Store, key: &Digest) -> Result<Self, StoreError> {
        let bytes = whole_file::read_advice(&path(store, key))?;
        Ok(Self::parse(bytes).unwrap_or_default())
    }

    /// The digest of `path` if its stat is the one recorded and the entry can be trusted.
    #[must_use]
    pub fn digest(&self, path: &[u8], stat: &FileStat) -> Option<Digest> {
        let entry = self.find(path)?;
        (self.stat(entry) == *stat && !racy(stat, self.walked))
            .then(|| Digest::from_bytes(array(&self.entry(entry)[56..])))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let number = |at: usize| bytes.get(at..at + 4).map(|raw| u32::from_le_bytes(array(raw)) as usize);
        if bytes.get(..8)? != MAGIC || number(8)? != VERSION as usize {
            return None;
        }
        let (count, paths, slots) = (number(12)?, number(16)?, number(20)?);
        let walked = i64::from_le_bytes(array(bytes.get(24..32)?));
        let sum = u64::from_le_bytes(array(bytes.get(32..40)?));
        let length = count.checked_mul(ENTRY)?.checked_add(slots.checked_mul(4)?)?.checked_add(paths)?;
        let whole = slots.is_power_of_two()
            && slots > count
            && bytes.len() == HEADER.checked_add(length)?
            && checksum(&bytes[8..32]) ^ checksum(&bytes[HEADER..]) == sum;
        whole.then_some(Self { bytes, count, slots, walked })
    }

    /// The entry's number. Offsets are checked although the checksum holds, because an attacker can forge a checksum.
    fn find(&self, path: &[u8]) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        let table = HEADER + self.count * ENTRY;
        let paths = table + self.slots * 4;
        let mask = self.slots - 1;
        let mut slot = checksum(path) as usize & mask;
        for _ in 0..self.slots {
            let number = u32::from_le_bytes(array(&self.bytes[table + slot * 4..])) as usize;
            let entry = number.checked_sub(1).filter(|entry| *entry < self.count)?;
            let raw = self.entry(entry);
            let start = paths + u32::from_le_bytes(array(raw)) as usize;
            let length = u32::from_le_bytes(array(&raw[4..])) as usize;
            if length == path.len() && self.bytes.get(start..start + length) == Some(path) {
                return Some(entry);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    fn entry(&self, entry: usize) -> &[u8] {
        let at = HEADER + entry * ENTRY;
        &self.bytes[at..at + ENTRY]
    }

    fn stat(&self, entry: usize) -> FileStat {
        let raw = self.entry(entry);
        let long = |at: usize| u64::from_le_bytes(array(&raw[at..]));
        FileStat {
            mode: u32::from_le_bytes(array(&raw[8..])),
            device: long(16),
            inode: long(24),
            size: long(32),
            modified: long(40).cast_signed(),
            changed: long(48).cast_signed(),
        }
    }

    /// True if an entry is too young to be trusted; such an index is worth writing again.
    fn has_racy_entries(&self) -> bool {
        (0..self.count).any(|entry| racy(&self.stat(entry), self.walked))
    }
}

impl ContextIndexBuilder {
    /// An empty index for a walk that began at `started`: before the first file of it was looked at.
    #[must_use]
    pub fn new(started: SystemTime) -> Self {
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let walked = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        Self { paths: Vec::new(), entries: Vec::new(), walked }
    }

    /// Adds a file; each path once, in any order. What would make the index larger than 4 GiB is left out.
    pub fn insert(&mut self, path: &[u8], stat: &FileStat, digest: &Digest) {
        let end = self.paths.len() + path.len();
        if u32::try_from(end).is_ok() && self.entries.len() < (1 << 30) {
            self.entries.push((self.paths.len() as u32, path.len() as u32, *stat, *digest));
            self.paths.extend_from_slice(path);
        }
    }

    /// Saves the index under `key`, unless `previous`, which was loaded from there, says the same.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn save(self, store: &Store, key: &Digest, previous: &ContextIndex) -> Result<Saved, StoreError> {
        let bytes = match self.places_in(previous) {
            Some(places) => {
                let mut known = self.entries.iter().zip(&places);
                let same = known.all(|((_, _, stat, digest), place)| {
                    previous.stat(*place) == *stat && previous.entry(*place)[56..] == digest.as_bytes()[..]
                });
                if same && !previous.has_racy_entries() {
                    return Ok(Saved::Unchanged);
                }
                self.over(previous, &places)
            }
            None => self.encode(),
        };
        whole_file::write(store.space(), &path(store, key), &bytes, Durability::DiskLater)?;
        Ok(Saved::Written)
    }

    /// Where the entries are in `previous`, if it has the same paths.
    fn places_in(&self, previous: &ContextIndex) -> Option<Vec<usize>> {
        if self.entries.len() != previous.count || previous.count == 0 {
            return None;
        }
        let path = |(start, length, ..): &(u32, u32, FileStat, Digest)| {
            &self.paths[*start as usize..][..*length as usize]
        };
        self.entries.iter().map(|entry| previous.find(path(entry))).collect()
    }

    /// What [`Self::encode`] makes, written over `previous`, which has the entries at `places`: nothing has to be sorted.
    fn over(&self, previous: &ContextIndex, places: &[usize]) -> Vec<u8> {
        let mut bytes = previous.bytes.clone();
        bytes[24..32].copy_from_slice(&self.walked.to_le_bytes());
        for ((_, length, stat, digest), place) in self.entries.iter().zip(places) {
            let at = HEADER + place * ENTRY;
            let start = u32::from_le_bytes(array(&bytes[at..]));
            bytes[at..at + ENTRY].copy_from_slice(&entry((start, *length), stat, digest));
        }
        sealed(bytes)
    }

    fn encode(mut self) -> Vec<u8> {
        let path = |start: u32, length: u32| &self.paths[start as usize..][..length as usize];
        self.entries.sort_unstable_by(|a, b| path(a.0, a.1).cmp(path(b.0, b.1)));
        let slots = (self.entries.len() * 2).next_power_of_two().max(2);
        let mut table = vec![0u32; slots];
        let mut paths = Vec::with_capacity(self.paths.len());
        let mut bytes =
            Vec::with_capacity(HEADER + self.entries.len() * ENTRY + slots * 4 + self.paths.len());
        bytes.extend_from_slice(MAGIC);
        for number in [VERSION, self.entries.len() as u32, self.paths.len() as u32, slots as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.walked.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        for (number, (start, length, stat, digest)) in self.entries.iter().enumerate() {
            let path = path(*start, *length);
            let mut slot = checksum(path) as usize & (slots - 1);
            while table[slot] != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            table[slot] = number as u32 + 1;
            bytes.extend_from_slice(&entry((paths.len() as u32, *length), stat, digest));
            paths.extend_from_slice(path);
        }
        table.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes.extend_from_slice(&paths);
        sealed(bytes)
    }
}

/// The bytes of an entry whose path is at `start` among the paths.
fn entry((start, length): (u32, u32), stat: &FileStat, digest: &Digest) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    for (place, short) in [start, length, stat.mode, 0].into_iter().enumerate() {
        bytes[place * 4..][..4].copy_from_slice(&short.to_le_bytes());
    }
    let times = [stat.modified.cast_unsigned(), stat.changed.cast_unsigned()];
    for (place, long) in [stat.device, stat.inode, stat.size].into_iter().chain(times).enumerate() {
        bytes[16 + place * 8..][..8].copy_from_slice(&long.to_le_bytes());
    }
    bytes[56..].copy_from_slice(digest.as_bytes());
    bytes
}

/// An index with its checksum.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&bytes[8..32]) ^ checksum(&bytes[HEADER..]);
    bytes[32..40].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn path(store: &Store, key: &Digest) -> PathBuf {
    store.at(&format!("contexts/{}.idx", key.hex()))
}

/// True if a file with these times, seen by a walk that began at `walked`, may have changed later within one tick.
fn racy(stat: &FileStat, walked: i64) -> bool {
    // whole-second mtimes are common on any file system (tar, rsync), so only ctime reveals a coarse one
    let grain = if stat.changed % SECOND == 0 { COARSE } else { TICK };
    stat.changed.max(stat.modified).saturating_add(grain) >= walked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;
    use std::{fs, time::Duration, time::Instant};

    fn stat(inode: u64, time: i64) -> FileStat {
        FileStat { device: 1, inode, size: 10, modified: time, changed: time, mode: 0o100_644 }
    }

    fn at(nanoseconds: i64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds.unsigned_abs())
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        (directory, store)
    }

    const NOW: i64 = 1_700_000_000_123_456_789;

    #[test]
    fn unchanged_files_are_known_and_any_change_is_seen() {
        let (_directory, store) = store();
        let key = Digest::of(b"context");
        let old = stat(7, NOW - SECOND + 1);
        let mut builder = ContextIndexBuilder::new(at(NOW));
        for n in 0..1000u64 {
            builder.insert(
                format!("dir/{n}").as_bytes(),
                &stat(n, old.changed),
                &Digest::of(&n.to_le_bytes()),
            );
        }
        assert_eq!(builder.save(&store, &key, &ContextIndex::default()).unwrap(), Saved::Written);
        let index = ContextIndex::load(&store, &key).unwrap();
        assert_eq!(index.len(), 1000);
        assert_eq!(index.digest(b"dir/7", &old), Some(Digest::of(&7u64.to_le_bytes())));
        for changed in [
            FileStat { device: 2, ..old },
            FileStat { inode: 8, ..old },
            FileStat { size: 11, ..old },
            FileStat { modified: old.modified + 1, ..old },
            FileStat { changed: old.changed + 1, ..old },
            FileStat { mode: 0o100_755, ..old },
        ] {
            assert_eq!(index.digest(b"dir/7", &changed), None);
        }
        for absent in [&b"dir/1000"[..], b"", b"dir/", b"dir/77 "] {
            assert_eq!(index.digest(absent, &old), None);
        }
        assert!(ContextIndex::load(&store, &Digest::of(b"other")).unwrap().is_empty());
    }

    #[test]
    fn a_file_as_young_as_the_walk_is_not_trusted_until_the_next_walk() {
        let (_directory, store) = store();
        let key = Digest::of(b"context");
        let digest = Digest::of(b"d");
        let save = |walked: i64, stat: &FileStat| {
            let previous = ContextIndex::load(&store, &key).unwrap();
            let mut builder = ContextIndexBuilder::new(at(walked));
            builder.insert(b"f", stat, &digest);
            builder.save(&store, &key, &previous).unwrap()
        };
        let known = |stat: &FileStat| ContextIndex::load(&store, &key).unwrap().digest(b"f", stat);
        for young in [stat(1, NOW + 5), stat(1, NOW), stat(1, NOW - 5_000_000)] {
            assert_eq!(save(NOW, &young), Saved::Written);
            assert_eq!(known(&young), None);
            assert_eq!(save(NOW + SECOND, &young), Saved::Written, "rewritten to be trusted");
            assert_eq!(known(&young), Some(digest));
            assert_eq!(save(NOW + 2 * SECOND, &young), Saved::Unchanged);
        }
        let coarse = stat(1, NOW / SECOND * SECOND);
        save(coarse.changed + SECOND, &coarse);
        assert_eq!(known(&coarse), None, "whole seconds need a longer distance");
        save(coarse.changed + 3 * SECOND, &coarse);
        assert_eq!(known(&coarse), Some(digest));
    }

    #[test]
    fn an_index_over_another_is_as_if_made_anew() {
        let made = |walked: i64, time: i64| {
            let mut builder = ContextIndexBuilder::new(at(walked));
            for n in (0..100u64).rev() {
                builder.insert(format!("f{n}").as_bytes(), &stat(n, time), &Digest::of(&time.to_le_bytes()));
            }
            builder
        };
        let previous = ContextIndex::parse(made(NOW, 5).encode()).unwrap();
        let newer = made(NOW + SECOND, 6);
        let places = newer.places_in(&previous).unwrap();
        assert_eq!(newer.over(&previous, &places), made(NOW + SECOND, 6).encode());
        assert_eq!(made(NOW, 5).places_in(&ContextIndex::default()), None);
        let mut other = made(NOW, 5);
        other.paths[1] = b'x';
        assert_eq!(other.places_in(&previous), None, "another path");
    }

    #[test]
    fn a_damaged_or_newer_index_is_empty() {
        let (_directory, store) = store();
        let key = Digest::of(b"context");
        let mut builder = ContextIndexBuilder::new(at(NOW));
        for n in 0..50u64 {
            builder.insert(&n.to_le_bytes(), &stat(n, 5), &Digest::of(b""));
        }
        builder.save(&store, &key, &ContextIndex::default()).unwrap();
        let file = path(&store, &key);
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(ContextIndex::parse(bad).is_none(), "byte {at}");
        }
        for length in 0..good.len() {
            assert!(ContextIndex::parse(good[..length].to_vec()).is_none(), "length {length}");
        }
        fs::write(&file, b"junk").unwrap();
        assert!(ContextIndex::load(&store, &key).unwrap().is_empty());
    }

    #[test]
    fn fifty_thousand_entries_load_fast() {
        let (_directory, store) = store();
        let key = Digest::of(b"context");
        let paths: Vec<String> = (0..50_000).map(|n| format!("src/some/dir{}/file{n}.rs", n / 50)).collect();
        let mut builder = ContextIndexBuilder::new(at(NOW));
        paths.iter().for_each(|path| builder.insert(path.as_bytes(), &stat(1, 5), &Digest::of(b"")));
        let begun = Instant::now();
        builder.save(&store, &key, &ContextIndex::default()).unwrap();
        let saved = begun.elapsed();
        let begun = Instant::now();
        let index = ContextIndex::load(&store, &key).unwrap();
        let loaded = begun.elapsed();
        let begun = Instant::now();
        assert!(paths.iter().all(|path| index.digest(path.as_bytes(), &stat(1, 5)).is_some()));
        println!("50000 entries: save {saved:?}, load {loaded:?}, 50000 lookups {:?}", begun.elapsed());
    }
}
