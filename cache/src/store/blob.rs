//! Blobs: immutable bytes named by their SHA-256. Writing hashes on the way and gives the name last; reading checks
//! length and digest, so a blob damaged on the disk (or emptied by a power cut) is found, removed, and then missing.

use crate::{
    Store, StoreError,
    disk::{create_private_file, tree_size, whole_file},
};
use rbuild_oci::{Digest, Hasher};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

impl Store {
    /// Where the blob's file is or would be.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.at(&format!("blobs/sha256/{}", digest.hex()))
    }

    /// True if a blob with this digest and this length in bytes is there. Its bytes are not read.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.blob_path(digest)).is_ok_and(|metadata| metadata.len() == size)
    }

    /// The blob's length in bytes, or `None` when it is not there.
    #[must_use]
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.blob_path(digest)).ok().map(|metadata| metadata.len())
    }

    /// A small blob's bytes, verified; `None` when it is not there.
    ///
    /// # Errors
    /// [`StoreError::BlobDamaged`] when its bytes are not what its name says; it is removed then.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        let Some(bytes) = whole_file::read(&path)? else { return Ok(None) };
        if Digest::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        whole_file::remove(&path)?;
        Err(StoreError::BlobDamaged { digest: *digest })
    }

    /// Opens a blob for reading from its beginning; `None` when it is not there.
    ///
    /// # Errors
    /// An I/O error when it cannot be opened.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<BlobReader>, StoreError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => {
                let damaged = (self.inner.access == super::Access::All).then_some(path);
                Ok(Some(BlobReader { file, hasher: Some(Hasher::new()), digest: *digest, damaged }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("open", &path, e)),
        }
    }

    /// Stores `bytes`.
    ///
    /// # Errors
    /// An I/O error when they cannot be written.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        // a file of the right length may still be damaged; comparing costs less than writing, and mends it
        let path = self.blob_path(&digest);
        if whole_file::read(&path)?.is_some_and(|old| old == bytes) {
            whole_file::refresh(&path);
        } else {
            self.counting_blob(&path, || {
                whole_file::write(self.space(), &path, bytes, whole_file::Durability::DiskLater)
            })?;
        }
        Ok(digest)
    }

    /// Lets `write` put a blob at `path`, and counts its bytes if the store's are counted.
    fn counting_blob(
        &self,
        path: &Path,
        write: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(mut count) = self.usage_count() else { return write() };
        let before = tree_size(path);
        write()?;
        count.add(tree_size(path) as i64 - before as i64, 0);
        Ok(())
    }

    /// A blob to be written piece by piece.
    ///
    /// # Errors
    /// An I/O error when its temporary file cannot be made.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        let path = self.space().path("blob")?;
        let file = create_private_file(&path).map_err(StoreError::on("create", &path))?;
        Ok(BlobWriter::new(file, path, OnDrop::Remove, self))
    }
}

/// Reads a blob and checks it: the read that would report its end reports [`io::ErrorKind::InvalidData`] instead when
/// the bytes were not what the name says, and the blob is removed, unless its store is only read.
pub struct BlobReader {
    file: File,
    hasher: Option<Hasher>,
    digest: Digest,
    /// What is removed when it is damaged.
    damaged: Option<PathBuf>,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
            && hasher.finish() != self.digest
        {
            self.damaged.as_ref().map_or(Ok(()), fs::remove_file)?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                StoreError::BlobDamaged { digest: self.digest },
            ));
        }
        Ok(count)
    }
}

/// What becomes of the file of a blob that was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDrop {
    Remove,
    Stay,
}

/// A blob being written. It has no name before it is committed; dropping it removes what was written, unless that is the
/// beginning of a download.
pub struct BlobWriter {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size: u64,
    on_drop: OnDrop,
    store: Store,
}

impl BlobWriter {
    fn new(file: File, path: PathBuf, on_drop: OnDrop, store: &Store) -> Self {
        Self { file, path, hasher: Hasher::new(), size: 0, on_drop, store: store.clone() }
    }

    /// One whose file stays at `path` when it is dropped before its commit.
    pub(super) fn staying(file: File, path: PathBuf, store: &Store) -> Self {
        Self::new(file, path, OnDrop::Stay, store)
    }

    /// Gives the blob its name; returns it and the length in bytes.
    ///
    /// # Errors
    /// An I/O error when it cannot be renamed.
    pub fn commit(mut self) -> Result<(Digest, u64), StoreError> {
        let digest = std::mem::take(&mut self.hasher).finish();
        self.name(&digest)
    }

    /// Gives the blob its name if it is the one that was expected.
    ///
    /// # Errors
    /// [`StoreError::BlobMismatch`] when it is another.
    pub fn commit_expecting(mut self, expected: &Digest, expected_size: u64) -> Result<(), StoreError> {
        let found = std::mem::take(&mut self.hasher).finish();
        if found != *expected || self.size != expected_size {
            self.on_drop = OnDrop::Remove;
            let (expected, found_size) = (*expected, self.size);
            return Err(StoreError::BlobMismatch { expected, expected_size, found, found_size });
        }
        self.name(&found).map(drop)
    }

    /// The number of bytes written so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    fn name(&self, digest: &Digest) -> Result<(Digest, u64), StoreError> {
        // an existing file is replaced: it may be damaged, and these bytes have just been hashed
        let path = self.store.blob_path(digest);
        self.store.counting_blob(&path, || whole_file::rename(&self.path, &path))?;
        Ok((*digest, self.size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // after a commit there is nothing under this name
        if self.on_drop == OnDrop::Remove {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        (directory, store)
    }

    #[test]
    fn blobs_come_back_and_unfinished_ones_leave_nothing() {
        let (_directory, store) = store();
        let digest = store.put_blob(b"hello").unwrap();
        assert_eq!(store.blob(&digest).unwrap().as_deref(), Some(&b"hello"[..]));
        assert!(store.has_blob(&digest, 5) && !store.has_blob(&digest, 6));

        let mut writer = store.blob_writer().unwrap();
        writer.write_all(b"half").unwrap();
        let path = writer.path.clone();
        drop(writer);
        assert!(!path.exists() && store.blob(&Digest::of(b"half")).unwrap().is_none());

        let mut writer = store.blob_writer().unwrap();
        writer.write_all(b"other").unwrap();
        let error = writer.commit_expecting(&digest, 5).unwrap_err();
        assert!(matches!(error, StoreError::BlobMismatch { .. }), "{error}");
        assert!(!store.has_blob(&Digest::of(b"other"), 5));
    }

    #[test]
    fn a_damaged_blob_is_reported_once_and_then_missing() {
        let (_directory, store) = store();
        for read in [
            (|store: &Store, digest: &Digest| store.blob(digest).map(drop).map_err(|e| e.to_string()))
                as fn(&Store, &Digest) -> Result<(), String>,
            |store, digest| {
                let mut reader = store.open_blob(digest).unwrap().unwrap();
                io::copy(&mut reader, &mut io::sink()).map(drop).map_err(|e| e.to_string())
            },
        ] {
            let digest = store.put_blob(b"precious").unwrap();
            read(&store, &digest).unwrap();
            fs::write(store.blob_path(&digest), b"prec1ous").unwrap();
            assert_eq!(read(&store, &digest).unwrap_err(), format!("blob {digest} in the store is damaged"));
            assert!(store.blob(&digest).unwrap().is_none());
        }
    }
}
