//! Detects that another handle has written to the index since a handle's first transaction. Each transaction that
//! writes makes the lock file `locks/index` a byte longer, so a changed length shows that there was another one.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

/// At this length in bytes, the file that counts transactions is emptied.
const COUNT_LIMIT: u64 = 64 << 10;

/// One handle's knowledge of the count of transactions.
#[derive(Debug, Default)]
pub(crate) struct IndexWriters {
    /// The length of the lock file after the handle's last transaction.
    seen: Option<u64>,
    /// True if the handle has met a transaction that was not its own.
    others: bool,
}

impl IndexWriters {
    /// True if another handle has written to the index, judging by the length of the lock file at `path`.
    pub(crate) fn others_wrote(&self, path: &Path) -> bool {
        self.others
            || self.seen.is_some_and(|seen| fs::metadata(path).map_or(true, |file| file.len() != seen))
    }

    /// Notes, with the index locked, whether others wrote since the last transaction.
    pub(crate) fn begin(&mut self, lock: &File) {
        let length = lock.metadata().map_or(0, |file| file.len());
        self.others |= self.seen.is_some_and(|seen| seen != length);
        self.seen = Some(length);
    }

    /// Counts a transaction that wrote. If the count cannot be written, other handles lose only time.
    pub(crate) fn end(&mut self, mut lock: &File) {
        let length = lock.metadata().map_or(0, |file| file.len());
        let counted = if length < COUNT_LIMIT { lock.write_all(b".") } else { lock.set_len(0) };
        if counted.is_ok() {
            self.seen = lock.metadata().ok().map(|file| file.len());
        }
    }
}
