//! Lists of manifests in the making (`manifest create`): `manifests/<hex>.json`, named by the digest of the list's name.

use crate::{
    Store, StoreError,
    disk::whole_file::{self, Durability},
};
use rbuild_oci::{Descriptor, Digest, ImageName, Reference};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A list of manifests that is to be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestList {
    /// The name that it is pushed under.
    pub name: ImageName,
    /// Its entries, in order.
    pub entries: Vec<ListedManifest>,
}

/// An entry of a [`ManifestList`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedManifest {
    /// The name that it was found under.
    pub reference: Reference,
    /// The manifest, with its platform.
    pub descriptor: Descriptor,
}

#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    entries: Vec<WrittenEntry>,
}

#[derive(Serialize, Deserialize)]
struct WrittenEntry {
    reference: String,
    descriptor: Descriptor,
}

impl Store {
    /// The list called `name`. A damaged one counts as absent.
    ///
    /// # Errors
    /// An I/O error when it cannot be read.
    pub fn manifest_list(&self, name: &ImageName) -> Result<Option<ManifestList>, StoreError> {
        let bytes = whole_file::read(&self.manifest_list_path(name))?;
        let written: Option<Written> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(written) = written.filter(|written| written.name == name.to_string()) else {
            return Ok(None);
        };
        let entry = |entry: WrittenEntry| {
            let reference = entry.reference.parse().ok()?;
            Some(ListedManifest { reference, descriptor: entry.descriptor })
        };
        let entries: Option<Vec<ListedManifest>> = written.entries.into_iter().map(entry).collect();
        Ok(entries.map(|entries| ManifestList { name: name.clone(), entries }))
    }

    /// Writes `list` in the place of what has its name.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn put_manifest_list(&self, list: &ManifestList) -> Result<(), StoreError> {
        let entry = |entry: &ListedManifest| WrittenEntry {
            reference: entry.reference.to_string(),
            descriptor: entry.descriptor.clone(),
        };
        let written =
            Written { name: list.name.to_string(), entries: list.entries.iter().map(entry).collect() };
        let json = serde_json::to_vec(&written).expect("a list is strings and numbers");
        whole_file::write(self.space(), &self.manifest_list_path(&list.name), &json, Durability::DiskFirst)
    }

    /// Forgets the list called `name`; returns true if it was there.
    ///
    /// # Errors
    /// An I/O error when it cannot be removed.
    pub fn remove_manifest_list(&self, name: &ImageName) -> Result<bool, StoreError> {
        whole_file::remove(&self.manifest_list_path(name))
    }

    fn manifest_list_path(&self, name: &ImageName) -> PathBuf {
        self.at(&format!("manifests/{}.json", Digest::of(name.to_string().as_bytes()).hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::{Clock, MediaType};
    use rbuild_testkit::now;
    use std::fs;

    #[test]
    fn a_list_comes_back_and_a_damaged_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let name: ImageName = "example.org/team/app:1".parse().unwrap();
        let mut descriptor = Descriptor::new(MediaType::OciManifest, Digest::of(b"m"), 1);
        descriptor.platform = Some("linux/arm/v7".parse().unwrap());
        let entry = ListedManifest { reference: "example.org/a:1".parse().unwrap(), descriptor };
        let list = ManifestList { name: name.clone(), entries: vec![entry] };
        assert_eq!(store.manifest_list(&name).unwrap(), None);
        store.put_manifest_list(&list).unwrap();
        assert_eq!(store.manifest_list(&name).unwrap(), Some(list));
        fs::write(store.manifest_list_path(&name), "{").unwrap();
        assert_eq!(store.manifest_list(&name).unwrap(), None);
        assert!(store.remove_manifest_list(&name).unwrap());
        assert!(!store.remove_manifest_list(&name).unwrap());
    }
}
