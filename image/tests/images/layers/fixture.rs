//! A store, layers in it, and tars made entry by entry.

use rbuild_cache::{LayerDraft, LayerId, LayerMeta, LayerSource, Lease, Store, Writer};
use rbuild_image::{BlobRetention, ImageError, apply_tar, layer_tar};
use rbuild_oci::Clock;
use rbuild_oci::{DiffId, Digest, Timestamp};
use rbuild_testkit::now;
use std::io::Read;

pub(crate) struct Fixture {
    _directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) lease: Lease,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::written_by(&Writer::Root)
    }

    /// A store of `writer`.
    pub(crate) fn written_by(writer: &Writer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), writer, Clock::new(now)).unwrap();
        let lease = store.lease().unwrap();
        Self { _directory: directory, store, lease }
    }

    pub(crate) fn apply(&self, tar: &[u8]) -> Result<LayerId, ImageError> {
        self.apply_above(tar, &[])
    }

    pub(crate) fn apply_above(&self, tar: &[u8], lower: &[LayerId]) -> Result<LayerId, ImageError> {
        let applied = apply_tar(&self.store, &self.lease, tar, lower, &BlobRetention::Recipe)?;
        assert_eq!(applied.diff_id, DiffId::from_digest(Digest::of(tar)));
        assert_eq!(applied.tar_size, tar.len() as u64);
        Ok(applied.layer)
    }

    /// A layer whose tar is written from its directory.
    pub(crate) fn own(&self, fill: impl FnOnce(&LayerDraft)) -> LayerId {
        let draft = self.store.new_layer().unwrap();
        fill(&draft);
        let meta = LayerMeta::new(Timestamp::from(now()), LayerSource::Own);
        draft.commit(&self.lease, &meta).unwrap()
    }

    pub(crate) fn tar(&self, layer: &LayerId) -> Vec<u8> {
        let mut bytes = Vec::new();
        layer_tar(&self.store, layer).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn fs(&self, layer: &LayerId) -> std::path::PathBuf {
        self.store.layer_fs(layer)
    }
}

/// Skips loudly what only root can do.
macro_rules! need_root {
    () => {
        if !rbuild_testkit::has_root() {
            return;
        }
    };
}
pub(crate) use need_root;

pub(crate) struct Builder(pub(crate) tar::Builder<Vec<u8>>);

impl Builder {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn entry(mut self, kind: tar::EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.entry(tar::EntryType::Regular, name, "", content.as_bytes())
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(tar::EntryType::Directory, name, "", b"")
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}
