//! Durability without an fsync for each step.
//!
//! A record is stamped with the boot it was written in and the time since that boot. [`Store::sync`] takes the time,
//! syncs the whole file system once, and then notes in the file `durable`: in this boot, everything stamped up to this
//! time is on the disk. A record of an earlier boot is believed only if that note covers its stamp, for otherwise the
//! power may have been cut before its layer reached the disk. Records of the running boot are always believed: a
//! killed process loses nothing the kernel has.

use crate::{
    CacheError, Store,
    file_lock::{Afterwards, FileLock, Hold},
    whole_file::{self, Reaches},
};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, fs::File};

/// Boots remembered in `durable`; records of boots before that are misses.
const BOOTS: usize = 512;

/// One run of the kernel, as `/proc/sys/kernel/random/boot_id` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BootId(u128);

/// When something was written: which boot, and nanoseconds since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The boot.
    pub boot: BootId,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub nanoseconds: u64,
}

/// What is known to be on the disk: for each boot, the last stamp a sync covered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable(BTreeMap<BootId, u64>);

impl Store {
    /// Writes everything in the store to the disk, and makes every record written so far durable.
    ///
    /// # Errors
    /// An I/O error when the disk fails or is full.
    pub fn sync(&self) -> Result<(), CacheError> {
        let stamp = self.stamp();
        let root = File::open(self.root()).map_err(CacheError::on("open", self.root()))?;
        nix::unistd::syncfs(&root).map_err(|e| CacheError::io("sync", self.root(), e.into()))?;
        let _one_writer = FileLock::wait(&self.at("locks/durable"), Hold::Exclusive, Afterwards::Keep)?;
        let mut durable = self.durable()?;
        let covered = durable.0.entry(stamp.boot).or_default();
        *covered = stamp.nanoseconds.max(*covered);
        whole_file::write(self, &self.at("durable"), durable.text(stamp.boot).as_bytes(), Reaches::DiskFirst)
    }

    /// Now.
    pub(crate) fn stamp(&self) -> Stamp {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
            u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
                + u64::try_from(time.tv_nsec()).unwrap_or(0)
        });
        Stamp { boot: self.boot(), nanoseconds: now }
    }

    /// What the `durable` file says; a line that cannot be read says nothing.
    pub(crate) fn durable(&self) -> Result<Durable, CacheError> {
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
    /// Whether what was written at `stamp` is known to be on the disk.
    pub(crate) fn covers(&self, stamp: &Stamp) -> bool {
        self.0.get(&stamp.boot).is_some_and(|covered| stamp.nanoseconds <= *covered)
    }

    /// One line for each boot, with the running boot always among them.
    fn text(&self, running: BootId) -> String {
        let surplus = self.0.len().saturating_sub(BOOTS);
        let kept = self.0.iter().filter(|(boot, _)| **boot != running).skip(surplus);
        let running = self.0.get_key_value(&running);
        kept.chain(running).map(|(boot, covered)| format!("{boot} {covered}\n")).collect()
    }
}

impl BootId {
    fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten().map(Self)
    }
}

/// The running boot. Without /proc it is unknown, and never the boot of a record: nothing is then believed unsynced.
pub(crate) fn current_boot() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    BootId::parse(&text).unwrap_or(BootId(0))
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<BootId> for String {
    fn from(boot: BootId) -> Self {
        boot.to_string()
    }
}

impl TryFrom<String> for BootId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a boot id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_covers_what_was_written_before_it_and_nothing_later() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s")).unwrap();
        let before = store.stamp();
        assert!(!store.durable().unwrap().covers(&before));
        store.sync().unwrap();
        let after = store.stamp();
        let durable = store.durable().unwrap();
        assert!(durable.covers(&before) && !durable.covers(&after));
        assert!(!durable.covers(&Stamp { boot: BootId(7), nanoseconds: 0 }));
    }

    #[test]
    fn old_boots_are_forgotten_but_never_the_running_one() {
        let durable = Durable((1..=600).map(|boot| (BootId(boot), 5)).collect());
        let text = durable.text(BootId(1));
        assert_eq!(text.lines().count(), BOOTS);
        assert!(text.contains(&format!("{} 5", BootId(1))));
    }
}
