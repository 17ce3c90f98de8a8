//! A copy of layers as it was before a command ran in it.

use super::held::on;
use crate::ExecutorError;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, Metadata},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

/// The kernel's clock for files stands still for up to 10 ms (`CONFIG_HZ` of 100): a change in the same moment as the
/// look at a file would not be seen.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// A tree as it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Before(pub(super) Directory);

/// A directory's entries as they were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directory(pub(super) BTreeMap<OsString, Entry>);

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stamp: Stamp,
    /// Of a directory: what is in it.
    pub(super) directory: Option<Directory>,
}

/// Identifies a file in one state of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    /// Since 1970. Inode numbers are used again; `None` where the file system does not keep it.
    born: Option<Duration>,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        Self { inode: metadata.ino(), born, changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }

    /// True if it is the same file or directory, changed or not.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.inode, self.born) == (other.inode, other.born)
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let (seconds, nanoseconds) =
            self.born.map_or((u64::MAX, 0), |born| (born.as_secs(), born.subsec_nanos()));
        bytes.extend_from_slice(&self.inode.to_le_bytes());
        bytes.extend_from_slice(&seconds.to_le_bytes());
        bytes.extend_from_slice(&nanoseconds.to_le_bytes());
        bytes.extend_from_slice(&self.changed.0.to_le_bytes());
        bytes.extend_from_slice(&self.changed.1.to_le_bytes());
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let inode = u64::from_le_bytes(take(bytes)?);
        let (seconds, nanoseconds) = (u64::from_le_bytes(take(bytes)?), u32::from_le_bytes(take(bytes)?));
        let born = (seconds != u64::MAX).then(|| Duration::new(seconds, nanoseconds));
        let changed = (i64::from_le_bytes(take(bytes)?), i64::from_le_bytes(take(bytes)?));
        Some(Self { inode, born, changed })
    }
}

impl Before {
    /// The tree at `root` as it is now.
    pub(super) fn of(root: &Path) -> Result<Self, ExecutorError> {
        let before = Directory::read(root)?;
        thread::sleep(CLOCK_STEP);
        Ok(Self(before))
    }

    /// Appends it to `bytes`, for [`Self::decode`].
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        self.0.encode(bytes);
    }

    /// Reads what [`Self::encode`] wrote; `None` when it is cut.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        Directory::decode(&mut bytes).map(Self)
    }
}

impl Directory {
    fn read(path: &Path) -> Result<Self, ExecutorError> {
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(path).map_err(on("read", path))? {
            let entry = entry.map_err(on("read", path))?;
            let path = entry.path();
            let metadata = entry.metadata().map_err(on("stat", &path))?;
            let directory = metadata.is_dir().then(|| Self::read(&path)).transpose()?;
            entries.insert(entry.file_name(), Entry { stamp: Stamp::of(&metadata), directory });
        }
        Ok(Self(entries))
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(self.0.len() as u64).to_le_bytes());
        for (name, Entry { stamp, directory }) in &self.0 {
            // the kernel's names have at most 255 bytes
            bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
            stamp.encode(bytes);
            bytes.push(u8::from(directory.is_some()));
            if let Some(directory) = directory {
                directory.encode(bytes);
            }
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let count = u64::from_le_bytes(take(bytes)?);
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let length = u32::from_le_bytes(take(bytes)?);
            let (name, rest) = bytes.split_at_checked(length as usize)?;
            *bytes = rest;
            let stamp = Stamp::decode(bytes)?;
            let [is_directory] = take(bytes)?;
            let directory = if is_directory == 1 { Some(Self::decode(bytes)?) } else { None };
            entries.insert(OsString::from_vec(name.to_vec()), Entry { stamp, directory });
        }
        Some(Self(entries))
    }
}

fn take<const LENGTH: usize>(bytes: &mut &[u8]) -> Option<[u8; LENGTH]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        for file in ["a/f", "a/b/g", "h"] {
            fs::write(directory.path().join(file), file).unwrap();
        }
        let before = Before::of(directory.path()).unwrap();
        let mut bytes = Vec::new();
        before.encode(&mut bytes);
        assert_eq!(Before::decode(&bytes), Some(before));
        for cut in 0..bytes.len() {
            assert_eq!(Before::decode(&bytes[..cut]), None, "{cut}");
        }
    }
}
