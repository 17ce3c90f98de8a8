//! Durability without an fsync for each step.
//!
//! A record is stamped with the boot it was written in and the time since that boot. [`Store::sync`] takes the time,
//! syncs the whole file system once, and then notes in the file `durable`: in this boot, everything stamped up to this
//! time is on the disk. A record of an earlier boot is believed only if that note covers its stamp, because otherwise
//! the power may have been cut before its layer reached the disk. Records of the running boot are always believed: a
//! killed process loses nothing the kernel has.

use crate::{
    BootId, Stamp, Store, StoreError,
    disk::{
        FileLock, LockMode, OnUnlock,
        whole_file::{self, Durability},
    },
};
use std::{collections::BTreeMap, path::PathBuf, sync::atomic::Ordering};

/// Boots remembered in `durable`; records of boots before that are misses.
const BOOTS: usize = 512;

/// The last stamp that a sync covered in each boot: everything up to it is known to be on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durable(BTreeMap<BootId, u64>);

impl Store {
    /// Writes everything in the store to the disk, and makes every record written so far durable.
    ///
    /// # Errors
    /// An I/O error when the disk fails or is full.
    pub fn sync(&self) -> Result<(), StoreError> {
        let stamp = self.stamp();
        let path = self.at("durable");
        let seen = self.durable()?;
        // written before the sync, and named after it, so that it needs no sync of its own
        let note = whole_file::draft(self.space(), seen.with(&stamp).as_bytes(), Durability::DiskLater).ok();
        self.write_all_back()?;
        let _one_writer = FileLock::wait(&self.at("locks/durable"), LockMode::Exclusive, OnUnlock::Keep)?;
        let now = self.durable()?;
        let is_noted = |note: &PathBuf| now == seen && whole_file::replace_by(note, &path).is_ok();
        if !note.as_ref().is_some_and(is_noted) {
            // there was no room for the draft, or another process has synced meanwhile or removed it
            note.map_or(Ok(false), |note| whole_file::remove(&note))?;
            whole_file::write(self.space(), &path, now.with(&stamp).as_bytes(), Durability::DiskFirst)?;
        }
        self.synced().fetch_max(stamp.nanoseconds, Ordering::Relaxed);
        Ok(())
    }

    /// Syncs as [`Store::sync`] does, unless this handle has done so since `written`.
    ///
    /// # Errors
    /// As [`Store::sync`].
    pub fn sync_since(&self, written: &Stamp) -> Result<(), StoreError> {
        if self.synced().load(Ordering::Relaxed) < written.nanoseconds { self.sync() } else { Ok(()) }
    }

    /// The stamp of this moment.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp::now(self.boot())
    }

    /// The content of the `durable` file. A line that cannot be read is skipped.
    pub(crate) fn durable(&self) -> Result<Durable, StoreError> {
        let bytes = whole_file::read(&self.at("durable"))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let line = |line: &str| {
            let (boot, nanoseconds) = line.split_once(' ')?;
            Some((BootId::parse(boot)?, nanoseconds.parse().ok()?))
        };
        Ok(Durable(text.lines().filter_map(line).collect()))
    }
}

impl Durable {
    /// True if what was written at `stamp` is known to be on the disk.
    pub(crate) fn covers(&self, stamp: &Stamp) -> bool {
        self.0.get(&stamp.boot).is_some_and(|covered| stamp.nanoseconds <= *covered)
    }

    /// The content of the file when everything up to `stamp` is on the disk, too.
    fn with(&self, stamp: &Stamp) -> String {
        let mut durable = self.clone();
        let covered = durable.0.entry(stamp.boot).or_default();
        *covered = stamp.nanoseconds.max(*covered);
        durable.text(stamp.boot)
    }

    /// One line for each boot, with the running boot always among them.
    fn text(&self, running: BootId) -> String {
        let surplus = self.0.len().saturating_sub(BOOTS);
        let kept = self.0.iter().filter(|(boot, _)| **boot != running).skip(surplus);
        let running = self.0.get_key_value(&running);
        kept.chain(running).map(|(boot, covered)| format!("{boot} {covered}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;

    fn boot(number: u128) -> BootId {
        BootId::try_from(format!("{number:032x}")).unwrap()
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_and_nothing_later() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let before = store.stamp();
        assert!(!store.durable().unwrap().covers(&before));
        store.sync().unwrap();
        let after = store.stamp();
        let durable = store.durable().unwrap();
        assert!(durable.covers(&before) && !durable.covers(&after));
        assert!(!durable.covers(&Stamp { boot: boot(7), nanoseconds: 0 }));
        // what this handle has synced is not synced again, and what came later is
        store.sync_since(&before).unwrap();
        assert!(!store.durable().unwrap().covers(&after));
        store.clone().sync_since(&after).unwrap();
        assert!(store.durable().unwrap().covers(&after));
    }

    #[test]
    fn old_boots_are_forgotten_but_never_the_running_one() {
        let durable = Durable((1..=600).map(|number| (boot(number), 5)).collect());
        let text = durable.text(boot(1));
        assert_eq!(text.lines().count(), BOOTS);
        assert!(text.contains(&format!("{} 5", boot(1))));
    }
}
