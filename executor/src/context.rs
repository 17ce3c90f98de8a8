//! A build context: a directory, what its ignore file leaves out of it, and the stat index that knows the content
//! digests of files that did not change since an earlier build.

use crate::{ContextDirectory, ExecutorError, IgnoreRules, rooted::Rooted, select::Owner};
use rbuild_cache::{ContextIndex, ContextIndexBuilder, FileStat, Store};
use rbuild_oci::{Digest, Hasher};
use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

/// Changes when what a recorded digest covers does.
const DIGESTS: &[u8] = b"context files 1";

/// A directory files are copied from.
///
/// Its stat index is written by [`ContextRoot::save`], or when it is dropped.
#[derive(Debug)]
pub struct ContextRoot {
    root: Rooted,
    owner: Owner,
    ignore: IgnoreRules,
    store: Store,
    /// That of the index; a temporary directory has none.
    key: Option<Digest>,
    index: ContextIndex,
    opened: SystemTime,
    seen: Mutex<Vec<FileSeen>>,
    changed: AtomicBool,
}

impl ContextRoot {
    /// Opens the directory `path` and its stat index. `now` is the time of the call: files younger than it are not
    /// trusted to be unchanged the next time.
    ///
    /// # Errors
    /// [`ExecutorError::ContextNotFound`] when there is no such directory.
    pub fn open(
        store: &Store,
        path: &Path,
        ignore: IgnoreRules,
        now: SystemTime,
    ) -> Result<Self, ExecutorError> {
        Ok(Self::in_directory(store, &ContextDirectory::open(path)?, ignore, now))
    }

    /// As [`ContextRoot::open`], for a directory that is open already.
    #[must_use]
    pub fn in_directory(
        store: &Store,
        directory: &ContextDirectory,
        ignore: IgnoreRules,
        now: SystemTime,
    ) -> Self {
        let key = directory.place().map(|place| {
            let mut hasher = Hasher::new();
            hasher.field(DIGESTS);
            hasher.field(place.as_os_str().as_encoded_bytes());
            hasher.finish()
        });
        Self {
            root: directory.root().clone(),
            owner: directory.owner(),
            ignore,
            store: store.clone(),
            key,
            // an index that cannot be read only costs reading the files again
            index: key.and_then(|key| ContextIndex::load(store, &key).ok()).unwrap_or_default(),
            opened: now,
            seen: Mutex::default(),
            changed: AtomicBool::new(false),
        }
    }

    /// True if it has a stat index; what is unpacked for one build has none.
    pub(crate) fn has_index(&self) -> bool {
        self.key.is_some()
    }

    /// True if files were read that the stat index did not know.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.key.is_some() && self.changed.load(Ordering::Relaxed)
    }

    /// Writes the stat index if files were read that it did not know.
    ///
    /// # Errors
    /// [`ExecutorError::Store`] when it cannot be written.
    pub fn save(&self) -> Result<(), ExecutorError> {
        let Some(key) = &self.key else { return Ok(()) };
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut builder = ContextIndexBuilder::new(self.opened);
        let mut paths = HashSet::with_capacity(seen.iter().map(|files| files.files.len()).sum());
        for files in seen.iter().rev() {
            for (path, stat, digest) in files.iter().filter(|(path, ..)| paths.insert(*path)) {
                builder.insert(path, stat, digest);
            }
        }
        builder.save(&self.store, key, &self.index)?;
        Ok(())
    }

    pub(crate) fn rooted(&self) -> &Rooted {
        &self.root
    }

    /// Whose its files are once copied.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    pub(crate) fn ignore(&self) -> &IgnoreRules {
        &self.ignore
    }

    /// The digest of the unchanged file at `path`.
    pub(crate) fn known(&self, path: &[u8], stat: &FileStat) -> Option<Digest> {
        self.index.digest(path, stat)
    }

    /// Remembers files that were looked at, for [`Self::save`].
    pub(crate) fn note(&self, files: FileSeen) {
        if files.any_read() {
            self.changed.store(true, Ordering::Relaxed);
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(files);
    }
}

impl Drop for ContextRoot {
    fn drop(&mut self) {
        // losing the index loses time only
        let _ = self.save();
    }
}

/// Files of a context that were looked at, with their digests.
#[derive(Debug, Default)]
pub(crate) struct FileSeen {
    paths: Vec<u8>,
    files: Vec<(usize, FileStat, Digest)>,
    read: usize,
}

impl FileSeen {
    /// Room for so many files, whose paths have so many bytes.
    pub(crate) fn with_room(files: usize, bytes: usize) -> Self {
        Self { paths: Vec::with_capacity(bytes), files: Vec::with_capacity(files), read: 0 }
    }

    /// Paths, stats and digests.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &FileStat, &Digest)> {
        let starts = std::iter::once(0).chain(self.files.iter().map(|(end, ..)| *end));
        starts.zip(&self.files).map(|(start, (end, stat, digest))| (&self.paths[start..*end], stat, digest))
    }

    /// True if some had to be read.
    pub(crate) fn any_read(&self) -> bool {
        self.read > 0
    }

    /// Counts a file whose digest the index did not know.
    pub(crate) fn count_read(&mut self) {
        self.read += 1;
    }

    /// Adds a file.
    pub(crate) fn push(&mut self, path: &[u8], stat: FileStat, digest: Digest) {
        self.paths.extend_from_slice(path);
        self.files.push((self.paths.len(), stat, digest));
    }
}
