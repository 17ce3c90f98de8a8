//! A running count of bytes in one small file, so that nobody has to add up a store to know how large it is. The file has
//! two decimal numbers: what is counted, and the part of it that belongs to files which outlived the layer they were
//! counted with, because a later layer links to them. It is advice: without it, or with a damaged one, the store is
//! added up again.

use super::create_private_file;
use crate::StoreError;
use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// The count, locked until this is dropped.
#[derive(Debug)]
pub(crate) struct UsageCount {
    file: File,
    path: PathBuf,
}

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Bytes that are counted.
    pub(crate) bytes: u64,
    /// Of these, bytes of files whose own layer is gone.
    pub(crate) inherited: u64,
}

impl UsageCount {
    /// Locks the count at `path`; `None` when the store has none, and then changes need not be counted.
    pub(crate) fn existing(path: &Path) -> Option<Self> {
        let file = File::options().read(true).write(true).open(path).ok()?;
        file.lock().ok()?;
        Some(Self { file, path: path.to_owned() })
    }

    /// Locks the count at `path`, which is made empty when it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        match create_private_file(path) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(StoreError::io("create", path, e)),
            Ok(_) | Err(_) => {}
        }
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(StoreError::on("open", path))?;
        file.lock().map_err(StoreError::on("lock", path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// What was counted; `None` when the file is new or damaged.
    pub(crate) fn read(&mut self) -> Option<Counted> {
        let mut text = String::new();
        self.file.rewind().ok()?;
        self.file.read_to_string(&mut text).ok()?;
        let (bytes, inherited) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Counted { bytes: bytes.parse().ok()?, inherited: inherited.parse().ok()? })
    }

    /// Replaces what was counted.
    pub(crate) fn write(&mut self, counted: Counted) -> Result<(), StoreError> {
        let text = format!("{} {}\n", counted.bytes, counted.inherited);
        let written = self.file.set_len(0).and_then(|()| self.file.rewind());
        let written = written.and_then(|()| self.file.write_all(text.as_bytes()));
        written.map_err(StoreError::on("write", &self.path))
    }

    /// Counts a change. One that cannot be written leaves a file that is added up again.
    pub(crate) fn add(&mut self, bytes: i64, inherited: i64) {
        let Some(counted) = self.read() else { return };
        let _ = self.write(Counted {
            bytes: counted.bytes.saturating_add_signed(bytes),
            inherited: counted.inherited.saturating_add_signed(inherited),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_add_up_and_damage_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("usage");
        assert!(UsageCount::existing(&path).is_none(), "a store without a budget counts nothing");
        let mut count = UsageCount::open(&path).unwrap();
        assert_eq!(count.read(), None);
        count.add(5, 0);
        assert_eq!(count.read(), None, "a change of nothing is nothing");
        count.write(Counted { bytes: 100_000, inherited: 0 }).unwrap();
        drop(count);
        UsageCount::existing(&path).unwrap().add(-99_000, 7);
        let mut count = UsageCount::open(&path).unwrap();
        assert_eq!(count.read(), Some(Counted { bytes: 1000, inherited: 7 }));
        count.add(-5000, -8);
        assert_eq!(count.read(), Some(Counted::default()));
        std::fs::write(&path, "12").unwrap();
        assert_eq!(count.read(), None);
    }
}
