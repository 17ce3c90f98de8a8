//! Downloads that were broken off: what arrived stays under `partial/`, so that the next try need not ask for it again.
//!
//! The file is locked while it is written, so one that is free was left behind. Nothing in it is believed: it is the
//! beginning of a stream that is checked as a whole.

use super::blob::BlobWriter;
use crate::{
    Store, StoreError,
    disk::{create_private_file, list, make_dirs},
};
use rbuild_oci::Digest;
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const DIRECTORY: &str = "partial";

impl Store {
    /// What an earlier download of the blob left: the file, at its beginning, and its length. It belongs to the caller, and
    /// is gone from the store. `None` when there is nothing, or another process is downloading the blob.
    ///
    /// # Errors
    /// An I/O error when the file is there and cannot be taken.
    pub fn take_partial_blob(&self, digest: &Digest) -> Result<Option<(File, u64)>, StoreError> {
        let path = self.partial_path(digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(StoreError::on("open", &path))?,
        };
        if file.try_lock().is_err() || !is_named(&file, &path) {
            return Ok(None);
        }
        let length = file.metadata().map_err(StoreError::on("look at", &path))?.len();
        fs::remove_file(&path).map_err(StoreError::on("remove", &path))?;
        Ok((length > 0).then_some((file, length)))
    }

    /// A blob to be written piece by piece as it arrives. What was written stays when the writer is dropped, for
    /// [`Self::take_partial_blob`].
    ///
    /// # Errors
    /// An I/O error when its file cannot be made.
    pub fn download_writer(&self, digest: &Digest) -> Result<BlobWriter, StoreError> {
        let path = self.partial_path(digest);
        // a store that an older rbuild made does not have it
        make_dirs(&self.at(DIRECTORY))?;
        match create_private_file(&path) {
            Ok(file) if file.try_lock().is_ok() => Ok(BlobWriter::staying(file, path, self)),
            // another process is downloading the same
            Ok(_) | Err(_) => self.blob_writer(),
        }
    }

    /// Removes what a download left, because it cannot become the blob.
    pub fn drop_partial_blob(&self, digest: &Digest) {
        // one that is not there is what is wanted
        let _ = fs::remove_file(self.partial_path(digest));
    }

    /// Removes what all downloads left that no process goes on with; returns how many bytes that freed.
    pub(super) fn sweep_partial_blobs(&self) -> Result<u64, StoreError> {
        let directory = self.at(DIRECTORY);
        let mut freed = 0;
        for name in list(&directory)? {
            let path = directory.join(name);
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_ok() && is_named(&file, &path) {
                let length = file.metadata().map_or(0, |metadata| metadata.len());
                freed += if fs::remove_file(&path).is_ok() { length } else { 0 };
            }
        }
        Ok(freed)
    }

    fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.at(&format!("{DIRECTORY}/{}", digest.hex()))
    }
}

/// True if the open file still has this name: its writer may have finished, or another process may have taken it.
fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;
    use std::io::{Read, Write};

    #[test]
    fn what_arrived_is_there_once_and_for_one_process_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let digest = Digest::of(b"hello");
        assert!(store.take_partial_blob(&digest).unwrap().is_none());
        let mut first = store.download_writer(&digest).unwrap();
        first.write_all(b"hel").unwrap();
        assert!(store.take_partial_blob(&digest).unwrap().is_none(), "it is being written");
        assert_eq!(store.sweep().unwrap(), 0);
        let mut second = store.download_writer(&digest).unwrap();
        second.write_all(b"hello").unwrap();
        second.commit_expecting(&digest, 5).unwrap();
        drop(first);
        let (mut left, length) = store.take_partial_blob(&digest).unwrap().unwrap();
        let mut text = String::new();
        left.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), length), ("hel", 3));
        assert!(store.take_partial_blob(&digest).unwrap().is_none(), "it is taken");

        let mut wrong = store.download_writer(&digest).unwrap();
        wrong.write_all(b"hallo").unwrap();
        assert!(wrong.commit_expecting(&digest, 5).is_err());
        assert!(store.take_partial_blob(&digest).unwrap().is_none(), "what is wrong does not stay");
        let mut kept = store.download_writer(&digest).unwrap();
        kept.write_all(b"he").unwrap();
        drop(kept);
        assert_eq!(store.sweep().unwrap(), 2);
        assert!(store.take_partial_blob(&digest).unwrap().is_none());
    }
}
