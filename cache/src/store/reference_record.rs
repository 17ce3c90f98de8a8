//! References: what a name points at. One file for each name, `refs/<domain>/<path>/_<tag>.json`; a path component
//! never begins with `_`, so no repository's directory can meet another one's tag.

use super::listing::{Listing, ListingOf, Row};
use crate::{
    Stamp, Store, StoreError,
    disk::{
        FieldReader, FieldWriter, list,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::{Digest, ImageId, ImageName, Reference, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

/// The listing of all of them.
const NAMES: &str = "names";

/// The target of a reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefRecord {
    /// The image.
    pub image: ImageId,
    /// The manifest (or index) the registry had under the name, if it was pulled or pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// When the name began to point here.
    pub tagged_at: Timestamp,
}

/// A name that has its file already, in temporary space.
#[derive(Debug)]
pub struct DraftedName {
    name: ImageName,
    record: RefRecord,
    draft: PathBuf,
    written: Stamp,
}

impl RefRecord {
    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a reference record is strings")
    }
}

impl DraftedName {
    /// True if it is `name`, and is to lead to `image`.
    #[must_use]
    pub fn points(&self, name: &ImageName, image: &ImageId) -> bool {
        self.name == *name && self.record.image == *image
    }
}

impl Store {
    /// The record of `reference`. With a digest, only what [`Store::set_pin`] recorded under that digest counts,
    /// because earlier versions let every command give a name with a digest. `None` for a damaged record.
    ///
    /// # Errors
    /// An I/O error when the record cannot be read.
    pub fn reference(&self, reference: &Reference) -> Result<Option<RefRecord>, StoreError> {
        let Some(bytes) = whole_file::read(&self.reference_path(reference))? else { return Ok(None) };
        let record = genuine(reference, &bytes);
        if record.is_none() {
            self.forget_listings();
        }
        Ok(record)
    }

    /// Points `name` somewhere; the file is replaced in one step and is on the disk before the name is. Writes
    /// nothing when it already points there. Call [`Store::sync`] and [`Store::put_image`] first.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn set_name(&self, name: &ImageName, record: &RefRecord) -> Result<(), StoreError> {
        self.point(name.as_reference(), record)
    }

    /// Points the digest of `manifest`, in the repository of `fetched`, at `image`, which that manifest or index led
    /// to. Only this method makes a name with a digest, so such a name always has the digest of bytes that were seen.
    /// In all other respects it works as [`Store::set_name`].
    ///
    /// # Errors
    /// As [`Store::set_name`].
    pub fn set_pin(
        &self,
        fetched: &Reference,
        manifest: &[u8],
        image: ImageId,
        tagged_at: Timestamp,
    ) -> Result<(), StoreError> {
        let digest = Digest::of(manifest);
        self.point(&fetched.with_digest(digest), &RefRecord { image, manifest: Some(digest), tagged_at })
    }

    /// Prepares [`Store::set_drafted_name`]. What is drafted before a sync needs none of its own.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn draft_name(&self, name: &ImageName, record: RefRecord) -> Result<DraftedName, StoreError> {
        self.expect_writes()?;
        let draft = whole_file::draft(self.space(), &record.to_json(), Durability::DiskLater)?;
        Ok(DraftedName { name: name.clone(), record, draft, written: self.stamp() })
    }

    /// Points a name somewhere as [`Store::set_name`] does, by the file that was drafted if the store was synced since.
    ///
    /// # Errors
    /// As [`Store::set_name`].
    pub fn set_drafted_name(&self, drafted: &DraftedName) -> Result<(), StoreError> {
        let is_on_disk = self.synced().load(Ordering::Relaxed) >= drafted.written.nanoseconds;
        let draft = is_on_disk.then_some(drafted.draft.as_path());
        self.point_by(drafted.name.as_reference(), &drafted.record, draft)
    }

    pub(super) fn point(&self, reference: &Reference, record: &RefRecord) -> Result<(), StoreError> {
        self.point_by(reference, record, None)
    }

    /// The same by a file that is on the disk; without it, or when it is not there any more, one is written.
    fn point_by(
        &self,
        reference: &Reference,
        record: &RefRecord,
        draft: Option<&Path>,
    ) -> Result<(), StoreError> {
        let same = |old: &RefRecord| old.image == record.image && old.manifest == record.manifest;
        let old = self.reference(reference)?;
        if old.as_ref().is_some_and(same) {
            return Ok(());
        }
        let path = self.reference_path(reference);
        if draft.is_none_or(|draft| whole_file::rename(draft, &path).is_err()) {
            whole_file::write(self.space(), &path, &record.to_json(), Durability::DiskFirst)?;
        }
        if let Some(old) = old.filter(|old| old.image != record.image) {
            self.note_replaced(&old.image);
        }
        Ok(())
    }

    /// Forgets `reference`; returns true if it was there.
    ///
    /// # Errors
    /// An I/O error when it cannot be removed.
    pub fn remove_reference(&self, reference: &Reference) -> Result<bool, StoreError> {
        let path = self.reference_path(reference);
        let removed = whole_file::remove(&path)?;
        let refs = self.at("refs");
        for parent in path.ancestors().skip(1).take_while(|parent| *parent != refs) {
            // the first directory that still holds something ends this
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(removed)
    }

    /// All references in the order of their full names, of which each file is read. Damaged records are left out.
    ///
    /// # Errors
    /// An I/O error when the directories cannot be read.
    pub fn references(&self) -> Result<Vec<(Reference, RefRecord)>, StoreError> {
        self.names_where(&[], |_| true)
    }

    /// All references in the order of their full names, from a listing where that is as new as their directories. Damage
    /// within a file that was listed before is seen by the first who uses that file.
    ///
    /// # Errors
    /// An I/O error when a directory or file cannot be read.
    pub fn names(&self) -> Result<Vec<(Reference, RefRecord)>, StoreError> {
        self.names_where(&self.kept_listing(NAMES), |_| true)
    }

    /// Those of [`Store::names`] that point at `image`.
    ///
    /// # Errors
    /// As [`Store::names`].
    pub fn names_of(&self, image: &ImageId) -> Result<Vec<(Reference, RefRecord)>, StoreError> {
        self.names_where(&self.kept_listing(NAMES), |row| row.starts_with(image.as_digest().as_bytes()))
    }

    /// The files of names that are damaged, or another digest's.
    pub(crate) fn unreadable_names(&self) -> Result<Vec<PathBuf>, StoreError> {
        let top = self.at("refs");
        let (mut open, mut unreadable) = (vec![top.clone()], Vec::new());
        while let Some(directory) = open.pop() {
            for name in list(&directory)? {
                let path = directory.join(&name);
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                let repository = directory.strip_prefix(&top).ok().and_then(|path| path.to_str());
                let reference = repository.and_then(|repository| name_in(repository, &name));
                let bytes = whole_file::read(&path)?.unwrap_or_default();
                if reference.and_then(|reference| genuine(&reference, &bytes)).is_none() {
                    unreadable.push(path);
                }
            }
        }
        unreadable.sort();
        Ok(unreadable)
    }

    fn names_where(
        &self,
        kept: &[u8],
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<(Reference, RefRecord)>, StoreError> {
        let read = |path: &str, bytes: &[u8]| {
            let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
            let record = name_in(directory, file).and_then(|reference| genuine(&reference, bytes));
            Ok(record.map_or(Row::Absent, |record| Row::Kept(encode(&record).into())))
        };
        let of = ListingOf { name: NAMES, tree: "refs", needs: None, read: &read, holds: &|_| true };
        let listing = Listing::take(self, &of, kept)?;
        let wanted = listing.rows().filter(|(_, _, row)| wanted(row));
        let mut named: Vec<(String, &[u8])> =
            wanted.filter_map(|(directory, file, row)| Some((full_name(directory, file)?, row))).collect();
        named.sort_unstable();
        Ok(named.into_iter().filter_map(|(name, row)| Some((name.parse().ok()?, decode(row)?))).collect())
    }

    pub(super) fn reference_path(&self, reference: &Reference) -> PathBuf {
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => format!("_@{digest}.json"),
            (None, tag) => format!("_{}.json", tag.unwrap_or("latest")),
        };
        self.at("refs").join(reference.domain()).join(reference.path()).join(name)
    }
}

/// The reference that the file of that name stands for.
fn name_in(directory: &str, file: &str) -> Option<Reference> {
    full_name(directory, file)?.parse().ok()
}

/// The text of that reference.
fn full_name(directory: &str, file: &str) -> Option<String> {
    let tag = file.strip_prefix('_')?.strip_suffix(".json")?;
    let separator = if tag.starts_with('@') { "" } else { ":" };
    Some([directory, separator, tag].concat())
}

/// The record in the file of `reference`, unless it is damaged or another digest's.
pub(super) fn genuine(reference: &Reference, bytes: &[u8]) -> Option<RefRecord> {
    let record: RefRecord = serde_json::from_slice(bytes).ok()?;
    reference.digest().is_none_or(|digest| record.manifest == Some(*digest)).then_some(record)
}

/// The image comes first, so that the names of one image are found without the others being read.
fn encode(record: &RefRecord) -> Vec<u8> {
    let mut fields = FieldWriter::default();
    fields.digest(record.image.as_digest());
    fields.optional(record.manifest.as_ref(), FieldWriter::digest);
    fields.moment(record.tagged_at);
    fields.into_bytes()
}

fn decode(row: &[u8]) -> Option<RefRecord> {
    let mut fields = FieldReader::new(row);
    let image = ImageId::from_digest(fields.digest()?);
    Some(RefRecord { image, manifest: fields.optional(FieldReader::digest)?, tagged_at: fields.moment()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;

    #[test]
    fn names_come_back_and_never_collide() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let digest = Digest::of(b"m");
        let names = [
            "debian",
            "debian:12",
            "a/b:c",
            "a:b",
            "localhost:5000/x/y.json:v1",
            "localhost:5000/x:y.json",
            &format!("me/app@{digest}"),
        ];
        for name in names {
            let (image, tagged_at) = (ImageId::from_digest(Digest::of(name.as_bytes())), now().into());
            match name.parse() {
                Ok(given) => store.set_name(&given, &RefRecord { image, manifest: None, tagged_at }).unwrap(),
                Err(_) => store.set_pin(&name.parse().unwrap(), b"m", image, tagged_at).unwrap(),
            }
        }
        let all = store.references().unwrap();
        assert_eq!(all.len(), names.len());
        for name in names {
            let reference: Reference = name.parse().unwrap();
            let record = store.reference(&reference).unwrap().unwrap();
            assert_eq!(record.image, ImageId::from_digest(Digest::of(name.as_bytes())), "{name}");
            let listed = all.iter().find(|(listed, _)| listed.to_string() == reference.to_string());
            assert_eq!(listed.map(|(_, listed)| listed), Some(&record), "{name}");
            assert!(store.remove_reference(&reference).unwrap());
            assert!(!store.remove_reference(&reference).unwrap());
        }
        assert_eq!(fs::read_dir(store.at("refs")).unwrap().count(), 0, "empty directories are removed");
    }
    #[test]
    fn a_pin_has_the_digest_of_the_manifest_whatever_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let image = ImageId::from_digest(Digest::of(b"image"));
        let pin = |bytes: &[u8]| format!("a@{}", Digest::of(bytes)).parse::<Reference>().unwrap();
        store.set_pin(&pin(b"asked for"), b"fetched", image, now().into()).unwrap();
        assert_eq!(store.reference(&pin(b"asked for")).unwrap(), None);
        assert_eq!(store.reference(&pin(b"fetched")).unwrap().unwrap().image, image);
    }

    #[test]
    fn a_pin_that_somebody_gave_is_absent() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let pin: Reference = format!("a@{}", Digest::of(b"good")).parse().unwrap();
        let image = ImageId::from_digest(Digest::of(b"evil"));
        for manifest in [None, Some(Digest::of(b"evil manifest"))] {
            let record = RefRecord { image, manifest, tagged_at: now().into() };
            let path = store.reference_path(&pin);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
            assert_eq!(store.reference(&pin).unwrap(), None);
            assert_eq!(store.references().unwrap(), []);
        }
        store.set_pin(&pin, b"good", image, now().into()).unwrap();
        assert!(store.reference(&pin).unwrap().is_some(), "a fetched one takes its place");
    }

    #[test]
    fn a_drafted_name_is_given_whatever_became_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let name: ImageName = "a".parse().unwrap();
        let points =
            |image| store.reference(name.as_reference()).unwrap().is_some_and(|to| to.image == image);
        let drafted = |word: &[u8]| {
            let image = ImageId::from_digest(Digest::of(word));
            let record = RefRecord { image, manifest: None, tagged_at: now().into() };
            (image, store.draft_name(&name, record).unwrap())
        };
        let (one, draft) = drafted(b"one");
        store.set_drafted_name(&draft).unwrap();
        assert!(points(one) && draft.draft.exists(), "nothing has synced the file");
        let (two, draft) = drafted(b"two");
        store.sync().unwrap();
        store.set_drafted_name(&draft).unwrap();
        assert!(points(two) && !draft.draft.exists());
        assert!(draft.points(&name, &two) && !draft.points(&name, &one));
        let (three, draft) = drafted(b"three");
        store.sync().unwrap();
        fs::remove_file(&draft.draft).unwrap();
        store.set_drafted_name(&draft).unwrap();
        assert!(points(three));
    }
}
