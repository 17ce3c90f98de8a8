//! What builds have learned of contexts that cannot change, such as a commit: texts of definitions, and the digests of the files
//! that instructions select. A build that finds all it asks for here brings no file of the context.

use crate::{Store, StoreError, disk::whole_file};
use rbuild_oci::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const DIRECTORY: &str = "sources/contexts";

/// The longest text that is kept, in bytes.
const LONGEST_TEXT: usize = 64 << 10;

/// The most that is kept of one context, of each kind.
const MOST: usize = 1000;

/// What is known of a context that cannot change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownContext {
    /// Texts of files, by their paths.
    texts: BTreeMap<String, String>,
    /// The digests of selections, by what selects.
    selections: BTreeMap<Digest, Digest>,
}

impl KnownContext {
    /// The text of the file at `path`.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Adds the content of the file at `path`, if it is a text of usual length.
    pub fn add_text(&mut self, path: &str, content: &[u8]) {
        if content.len() <= LONGEST_TEXT
            && self.texts.len() < MOST
            && let Ok(text) = std::str::from_utf8(content)
        {
            self.texts.insert(path.to_owned(), text.to_owned());
        }
    }

    /// The digest of the files that are selected by what has the digest `by`.
    #[must_use]
    pub fn selection(&self, by: &Digest) -> Option<Digest> {
        self.selections.get(by).copied()
    }

    /// Adds the digest of a selection.
    pub fn add_selection(&mut self, by: Digest, files: Digest) {
        if self.selections.len() < MOST {
            self.selections.insert(by, files);
        }
    }
}

impl Store {
    /// What is known of the context that `identity` names. It counts as used now.
    #[must_use]
    pub fn known_context(&self, identity: &Digest) -> Option<KnownContext> {
        let path = self.at(&file_of(identity));
        // a damaged file costs looking at the files again
        let known = serde_json::from_slice(&whole_file::read(&path).ok()??).ok()?;
        whole_file::refresh(&path);
        Some(known)
    }

    /// Records what is known of the context that `identity` names.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn put_known_context(&self, identity: &Digest, known: &KnownContext) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(known).expect("all keys are texts");
        let path = self.at(&file_of(identity));
        whole_file::write(self.space(), &path, &bytes, whole_file::Durability::DiskLater)
    }

    /// Forgets the contexts that were last used before `limit`; `None` means all.
    pub(crate) fn forget_known_contexts(&self, limit: Option<Timestamp>) -> Result<(), StoreError> {
        whole_file::remove_unused(&self.at(DIRECTORY), limit)
    }
}

fn file_of(identity: &Digest) -> String {
    format!("{DIRECTORY}/{}.json", identity.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PruneOptions, RecordPrune, Writer};
    use rbuild_oci::Clock;
    use rbuild_testkit::now;

    #[test]
    fn what_is_known_stays_until_it_is_pruned() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let (identity, by, files) = (Digest::of(b"a commit"), Digest::of(b"COPY"), Digest::of(b"files"));
        assert_eq!(store.known_context(&identity), None);
        let mut known = KnownContext::default();
        known.add_text("Dockerfile", b"FROM scratch");
        known.add_text("binary", b"\xff");
        known.add_text("long", &vec![b'#'; LONGEST_TEXT + 1]);
        known.add_selection(by, files);
        store.put_known_context(&identity, &known).unwrap();
        let read = store.known_context(&identity).unwrap();
        assert_eq!(
            (read.text("Dockerfile"), read.text("binary"), read.text("long")),
            (Some("FROM scratch"), None, None)
        );
        assert_eq!((read.selection(&by), read.selection(&files)), (Some(files), None));
        std::fs::write(store.root().join(file_of(&identity)), "{").unwrap();
        assert_eq!(store.known_context(&identity), None);
        store.put_known_context(&identity, &known).unwrap();
        store.prune(&PruneOptions { records: RecordPrune::All, ..PruneOptions::default() }).unwrap();
        assert_eq!(store.known_context(&identity), None);
    }
}
