//! Images: `images/<config hex>.json` says which layers of this store make up an image. The config itself is a blob.

use crate::{
    LayerId, Store, StoreError,
    disk::{
        create_private_file, list,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::{Descriptor, DiffId, Digest, ImageId, Platform, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// An image of this store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of its config, or of the index of an image for several platforms. It is a blob.
    pub id: ImageId,
    /// Its layers, lowest first.
    pub layers: Vec<ImageLayer>,
    /// Digest of the manifest it was pulled or last exported with, if that is a blob here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The time at which it came into the store.
    pub created: Timestamp,
    /// The images of an image for several platforms, in order; its own layers are theirs, each once. Its id is the digest of
    /// an index, which is a blob.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<PlatformImage>,
}

/// An image for one of several platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformImage {
    /// The platform.
    pub platform: Platform,
    /// The image, which has a record of its own.
    pub image: ImageId,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// The layer in this store.
    pub layer: LayerId,
    /// Digest of its tar.
    pub diff_id: DiffId,
    /// Length of its tar in bytes, if that was known when the image was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tar_size: Option<u64>,
    /// Sum of its regular files' lengths, if that was known when the image was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The compressed blob that its registry has, if it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Descriptor>,
}

impl ImageRecord {
    /// Its layers in this store, lowest first.
    #[must_use]
    pub fn stack(&self) -> Vec<LayerId> {
        self.layers.iter().map(|layer| layer.layer).collect()
    }

    /// True if `image` is one of its images for several platforms.
    #[must_use]
    pub fn includes(&self, image: &ImageId) -> bool {
        self.platforms.iter().any(|one| one.image == *image)
    }

    /// Of its images for several platforms the best for `wanted`.
    #[must_use]
    pub fn for_platform(&self, wanted: &Platform) -> Option<ImageId> {
        let near = |one: &PlatformImage| Some((one.platform.distance(wanted)?, one.image));
        self.platforms.iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, image)| image)
    }
}

impl Store {
    /// Records an image. Call [`Store::sync`] first, so that a power cut never leaves an image without its layers; an
    /// image that is recorded already costs one read.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn put_image(&self, image: &ImageRecord) -> Result<(), StoreError> {
        let path = self.image_path(&image.id);
        let json = serde_json::to_vec(image).expect("an image record is strings and numbers");
        if whole_file::read(&path)?.is_some_and(|old| old == json) {
            return Ok(());
        }
        whole_file::write(self.space(), &path, &json, Durability::DiskFirst)
    }

    /// Syncs as [`Store::sync`] does, and then records an image: with one sync, where [`Store::put_image`] after it needs another.
    ///
    /// # Errors
    /// As [`Store::sync`] and [`Store::put_image`].
    pub fn sync_and_put_image(&self, image: &ImageRecord) -> Result<(), StoreError> {
        let json = serde_json::to_vec(image).expect("an image record is strings and numbers");
        let draft = whole_file::draft(self.space(), &json, Durability::DiskLater);
        self.sync()?;
        let path = self.image_path(&image.id);
        // another process may have removed the draft
        match draft.and_then(|draft| whole_file::replace_by(&draft, &path)) {
            Ok(()) => Ok(()),
            Err(_) => whole_file::write(self.space(), &path, &json, Durability::DiskFirst),
        }
    }

    /// The image with this id. A damaged record counts as absent; making the image again replaces it.
    ///
    /// # Errors
    /// An I/O error when its record cannot be read.
    pub fn image(&self, id: &ImageId) -> Result<Option<ImageRecord>, StoreError> {
        Ok(self.image_document(id)?.map(|(image, _)| image))
    }

    /// The same, with the bytes that say so.
    pub(crate) fn image_document(&self, id: &ImageId) -> Result<Option<(ImageRecord, Vec<u8>)>, StoreError> {
        let Some(bytes) = whole_file::read(&self.image_path(id))? else { return Ok(None) };
        let image = serde_json::from_slice(&bytes).ok().filter(|image: &ImageRecord| image.id == *id);
        if image.is_none() {
            self.forget_listings();
        }
        Ok(image.map(|image| (image, bytes)))
    }

    /// True if the record of the image `id` still has these bytes.
    pub(crate) fn image_has_bytes(&self, id: &ImageId, bytes: &[u8]) -> Result<bool, StoreError> {
        Ok(whole_file::read(&self.image_path(id))?.is_some_and(|there| there == bytes))
    }

    /// All images, by id. Damaged records are left out.
    ///
    /// # Errors
    /// An I/O error when the directory cannot be read.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        let mut images = Vec::new();
        for id in self.image_ids()? {
            images.extend(self.image(&id)?);
        }
        images.sort_by(|a: &ImageRecord, b| a.id.as_digest().cmp(b.id.as_digest()));
        Ok(images)
    }

    /// Forgets an image; returns true if it was there. Its references, layers and blobs stay until they are removed or
    /// collected.
    ///
    /// # Errors
    /// An I/O error when it cannot be removed.
    pub fn remove_image(&self, id: &ImageId) -> Result<bool, StoreError> {
        let removed = whole_file::remove(&self.image_path(id))?;
        whole_file::remove(&self.replaced_path(id))?;
        Ok(removed)
    }

    /// True if a name of the image was given to another one.
    pub(crate) fn image_was_replaced(&self, id: &ImageId) -> bool {
        self.replaced_path(id).exists()
    }

    /// Notes that a name of the image is given to another one. Without the note it stays longer.
    pub(super) fn note_replaced(&self, id: &ImageId) {
        let _ = create_private_file(&self.replaced_path(id));
    }

    /// The image whose id begins with `prefix` (hexadecimal digits, `sha256:` before them allowed); `None` when there
    /// is none or `prefix` cannot begin an id.
    ///
    /// # Errors
    /// [`StoreError::AmbiguousImage`] when there are several.
    pub fn find_image(&self, prefix: &str) -> Result<Option<ImageId>, StoreError> {
        let hex = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        if hex.is_empty() || hex.len() > 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(None);
        }
        if let Ok(digest) = Digest::from_hex(hex) {
            let id = ImageId::from_digest(digest);
            return Ok(self.image_path(&id).exists().then_some(id));
        }
        let mut found: Vec<ImageId> = self.image_ids()?;
        found.retain(|id| id.as_digest().hex().starts_with(hex));
        found.sort();
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            [first, second, ..] => {
                Err(StoreError::AmbiguousImage { prefix: prefix.to_owned(), first: *first, second: *second })
            }
        }
    }

    pub(crate) fn image_path(&self, id: &ImageId) -> PathBuf {
        self.at(&format!("images/{}.json", id.as_digest().hex()))
    }

    fn replaced_path(&self, id: &ImageId) -> PathBuf {
        self.at(&format!("images/{}.replaced", id.as_digest().hex()))
    }

    fn image_ids(&self) -> Result<Vec<ImageId>, StoreError> {
        let names = list(&self.at("images"))?;
        let id = |name: &String| Digest::from_hex(name.strip_suffix(".json")?).ok().map(ImageId::from_digest);
        Ok(names.iter().filter_map(id).collect())
    }
}
