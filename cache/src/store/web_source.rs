//! Files of the web that were downloaded: what is known of the file at a URL, whose bytes are a blob. The blob stays as long
//! as this is here.

use crate::{
    Store, StoreError,
    disk::{list, whole_file},
};
use rbuild_oci::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::Path;

const DIRECTORY: &str = "sources/web";

/// The file that a URL led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebSource {
    /// Of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// `ETag`, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// `Content-Disposition`, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<String>,
}

impl Store {
    /// What `url` led to the last time, if its bytes are here. It counts as used now.
    #[must_use]
    pub fn web_source(&self, url: &str) -> Option<WebSource> {
        let path = self.at(&file_of(url));
        // a damaged file costs a download
        let source: WebSource = serde_json::from_slice(&whole_file::read(&path).ok()??).ok()?;
        whole_file::refresh(&path);
        self.has_blob(&source.digest, source.size).then_some(source)
    }

    /// Records what `url` led to.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn put_web_source(&self, url: &str, source: &WebSource) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(source).expect("all keys are texts");
        whole_file::write(self.space(), &self.at(&file_of(url)), &bytes, whole_file::Durability::DiskLater)
    }

    /// The blobs of all files of the web.
    pub(crate) fn web_blobs(&self) -> Result<Vec<Digest>, StoreError> {
        self.blobs_of_web(|_| true)
    }

    /// The blobs of the files of the web that [`Store::forget_web_sources`] would leave.
    pub(crate) fn remembered_web_blobs(&self, limit: Option<Timestamp>) -> Result<Vec<Digest>, StoreError> {
        self.blobs_of_web(|path| !whole_file::is_unused(path, limit))
    }

    fn blobs_of_web(&self, counts: impl Fn(&Path) -> bool) -> Result<Vec<Digest>, StoreError> {
        let mut blobs = Vec::new();
        let paths = list(&self.at(DIRECTORY))?.into_iter().map(|name| self.at(DIRECTORY).join(name));
        for path in paths.filter(|path| counts(path)) {
            let read = whole_file::read(&path)?;
            let source = read.and_then(|bytes| serde_json::from_slice::<WebSource>(&bytes).ok());
            blobs.extend(source.map(|source| source.digest));
        }
        Ok(blobs)
    }

    /// Forgets the files of the web that were last used before `limit`; `None` means all. Their blobs are garbage then.
    pub(crate) fn forget_web_sources(&self, limit: Option<Timestamp>) -> Result<(), StoreError> {
        whole_file::remove_unused(&self.at(DIRECTORY), limit)
    }
}

/// The name does not show the URL, which may contain a login.
fn file_of(url: &str) -> String {
    format!("{DIRECTORY}/{}.json", Digest::of(url.as_bytes()).hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PruneOptions, RecordPrune, Writer};
    use rbuild_oci::Clock;
    use rbuild_testkit::now;

    #[test]
    fn bytes_stay_as_long_as_their_url_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let digest = store.put_blob(b"hello").unwrap();
        let source =
            WebSource { digest, size: 5, etag: Some("1".into()), last_modified: None, disposition: None };
        assert_eq!(store.web_source("http://h/a"), None);
        store.put_web_source("http://h/a", &source).unwrap();
        let prune = |records| store.prune(&PruneOptions { records, ..PruneOptions::default() }).unwrap();
        prune(RecordPrune::Useless);
        assert_eq!(store.web_source("http://h/a"), Some(source));
        assert_eq!(store.web_source("http://h/b"), None);
        prune(RecordPrune::All);
        assert_eq!(store.web_source("http://h/a"), None);
        assert_eq!(store.blob_size(&digest), None);
    }
}
