//! Uploads to registries that were broken off: where each of them is, so that the next push of the same bytes sends those
//! that the registry lacks.
//!
//! `uploads/<hash>` holds the location that the registry gave. It is advice: the registry is asked before anything is sent
//! there. The file is locked while its upload is under way, so that two pushes never write into one.

use crate::{
    Store, StoreError,
    disk::{list, make_dirs, open_private_file},
};
use rbuild_oci::{Digest, Hasher};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::PathBuf,
};

const DIRECTORY: &str = "uploads";
/// More than any location has.
const LONGEST: u64 = 64 << 10;

/// The note of one upload, which no other process has.
#[derive(Debug)]
pub struct OpenUpload {
    path: PathBuf,
    file: File,
    earlier: Option<String>,
}

impl Store {
    /// The note of the upload of `content`, a name for the bytes that are to be sent, into `repository`. `None` when another
    /// process is sending the same there, or the note cannot be written: such an upload is not noted.
    #[must_use]
    pub fn open_upload(&self, repository: &str, content: &str) -> Option<OpenUpload> {
        let mut hasher = Hasher::new();
        [repository, content].iter().for_each(|text| hasher.field(text.as_bytes()));
        let path = self.upload_path(&hasher.finish());
        // a store that an older rbuild made does not have it
        make_dirs(&self.at(DIRECTORY)).ok()?;
        let file = open_private_file(&path).ok()?;
        if file.try_lock().is_err() {
            return None;
        }
        let mut earlier = String::new();
        let read = (&file).take(LONGEST).read_to_string(&mut earlier);
        let earlier = read.is_ok_and(|length| length > 0).then_some(earlier);
        Some(OpenUpload { path, file, earlier })
    }

    /// Removes the notes of uploads that no process goes on with.
    pub(super) fn sweep_open_uploads(&self) -> Result<u64, StoreError> {
        let directory = self.at(DIRECTORY);
        let mut freed = 0;
        for name in list(&directory)? {
            let path = directory.join(name);
            if let Ok(file) = File::open(&path)
                && file.try_lock().is_ok()
                && fs::remove_file(&path).is_ok()
            {
                freed += file.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        Ok(freed)
    }

    fn upload_path(&self, key: &Digest) -> PathBuf {
        self.at(&format!("{DIRECTORY}/{}", key.hex()))
    }
}

impl OpenUpload {
    /// Where the registry had the upload that was broken off.
    #[must_use]
    pub fn earlier(&self) -> Option<&str> {
        self.earlier.as_deref()
    }

    /// Notes where the registry has the upload now. A failure costs no more than the note.
    pub fn note(&self, location: &str) {
        let write = |mut file: &File| -> io::Result<()> {
            file.set_len(0)?;
            file.write_all(location.as_bytes())
        };
        if write(&self.file).is_err() {
            let _ = self.file.set_len(0);
        }
    }

    /// The upload has ended well, and there is nothing to go on with.
    pub fn done(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;

    #[test]
    fn a_note_is_for_one_process_and_one_content_and_goes_with_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let open = |content: &str| store.open_upload("r.example/app", content);
        let first = open("a").unwrap();
        assert_eq!(first.earlier(), None);
        first.note("https://r.example/v2/app/blobs/uploads/1?state=a-long-one");
        first.note("https://r.example/2");
        assert!(open("a").is_none(), "it is under way");
        assert_eq!(store.sweep().unwrap(), 0);
        assert_eq!(open("b").unwrap().earlier(), None);
        assert_eq!(store.open_upload("r.example/other", "a").unwrap().earlier(), None);
        drop(first);
        let again = open("a").unwrap();
        assert_eq!(again.earlier(), Some("https://r.example/2"));
        again.done();
        let after = open("a").unwrap();
        assert_eq!(after.earlier(), None);
        after.note("https://r.example/3");
        drop(after);
        assert_eq!(store.sweep().unwrap(), 19);
        assert_eq!(list(&store.at(DIRECTORY)).unwrap(), [""; 0]);
    }
}
