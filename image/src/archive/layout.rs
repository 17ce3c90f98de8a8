//! An OCI layout directory as a place to take base images from. Nothing in it is believed before its digest was checked,
//! and nothing of it gets a name in the store.

use super::{
    file::ArchiveFile,
    load::record_as,
    manifest::{self, ArchivedImage},
    save::blob_name,
    unpack_layers::unpack_layers,
};
use crate::{ImageError, assemble, event::OnEvent, known_layers};
use rbuild_cache::{ImageLayer, ImageRecord, LayerId, Lease, Store};
use rbuild_oci::{Descriptor, Digest, ImageConfig, ImageId, ImageName, Platform, Timestamp};
use std::{io::Read, path::Path};

/// The tag looked for when none is given.
const DEFAULT_TAG: &str = "latest";

/// A layout directory.
pub struct Layout(ArchiveFile);

/// An image of a layout. Its record is not written: its layers are the store's, its config and name are not.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutImage {
    /// The image.
    pub image: ImageRecord,
    /// Its config.
    pub config: ImageConfig,
}

impl Layout {
    /// Opens the directory `path`.
    ///
    /// # Errors
    /// [`ImageError::LayerFile`] when it is not a directory.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        ArchiveFile::open_directory(path).map(Self)
    }

    /// Sees that its list of images can be read.
    ///
    /// # Errors
    /// [`ImageError::ArchiveFile`] without an index, [`ImageError::Document`] for one that is none.
    pub fn check(&self) -> Result<(), ImageError> {
        manifest::index(&self.0).map(drop)
    }

    /// The digest of the manifest or index called `tag`, or `latest`. A layout with one image gives that, whatever its
    /// name, as `docker buildx` does.
    ///
    /// # Errors
    /// [`ImageError::LayoutTag`] when there are several, and none is it; [`ImageError::ArchiveFile`] without an index.
    pub fn find(&self, tag: Option<&str>) -> Result<Digest, ImageError> {
        const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        let tag = tag.unwrap_or(DEFAULT_TAG);
        let index = manifest::index(&self.0)?;
        for name in NAMES {
            let called = |entry: &&Descriptor| entry.annotations.get(name).is_some_and(|text| text == tag);
            if let Some(entry) = index.manifests.iter().find(called) {
                return Ok(entry.digest);
            }
        }
        if let [only] = index.manifests.as_slice() {
            return Ok(only.digest);
        }
        let tags = index.manifests.iter().filter_map(|entry| entry.annotations.get(NAMES[1]).cloned());
        Err(ImageError::LayoutTag { tag: tag.to_owned(), available: tags.collect() })
    }

    /// The entries of its index.
    ///
    /// # Errors
    /// [`ImageError::ArchiveFile`] without an index; [`ImageError::Document`] for one that is none.
    pub fn entries(&self) -> Result<Vec<Descriptor>, ImageError> {
        Ok(manifest::index(&self.0)?.manifests)
    }

    /// A small document, whose digest was checked.
    ///
    /// # Errors
    /// [`ImageError::ArchiveFile`] when it is not there, [`ImageError::TooLong`], [`ImageError::ArchiveDigest`].
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        self.0.document(&blob_name(digest))
    }

    /// The bytes of a blob, whose length is right and whose digest the reader has to check.
    ///
    /// # Errors
    /// [`ImageError::ArchiveFile`] when it is not there or has another length.
    pub fn blob(&self, blob: &Descriptor) -> Result<impl Read + Send + use<>, ImageError> {
        let file = blob_name(&blob.digest);
        let section = self.0.section(&file)?;
        if section.size != blob.size {
            return Err(ImageError::ArchiveFile { archive: self.0.kind(), file });
        }
        Ok(section.reader())
    }

    /// True if it has a blob with this digest and this length. Its bytes are not read.
    #[must_use]
    pub fn has_blob(&self, blob: &Descriptor) -> bool {
        let found = self.0.find(&blob_name(&blob.digest));
        matches!(found, Ok(Some(section)) if section.size == blob.size)
    }

    /// The digest of the manifest or index whose entry has this name in full; a bare tag names no repository.
    ///
    /// # Errors
    /// [`ImageError::ArchiveFile`] without an index, [`ImageError::Document`] for a name that is none.
    pub fn find_named(&self, name: &ImageName) -> Result<Option<Digest>, ImageError> {
        for entry in &manifest::index(&self.0)?.manifests {
            if manifest::name_of(entry)?.is_some_and(|called| called == *name) {
                return Ok(Some(entry.digest));
            }
        }
        Ok(None)
    }

    /// Loads the image `digest` for `platform` into the store under this name.
    ///
    /// # Errors
    /// As [`crate::load`]; [`ImageError::NoPlatform`].
    pub fn load_as(
        &self,
        store: &Store,
        (digest, platform): (&Digest, &Platform),
        name: &ImageName,
        on_event: OnEvent<'_>,
    ) -> Result<ImageId, ImageError> {
        let image = manifest::oci_image(&self.0, digest, platform)?.1;
        record_as(store, &[image], name, on_event)
    }

    /// Brings the layers of the image `digest` for `platform` into the store; `lease` holds them.
    ///
    /// # Errors
    /// As [`crate::load`]; [`ImageError::NoPlatform`].
    pub fn load(
        &self,
        store: &Store,
        lease: &Lease,
        (digest, platform): (&Digest, &Platform),
        on_event: OnEvent<'_>,
    ) -> Result<LayoutImage, ImageError> {
        let images = [manifest::oci_image(&self.0, digest, platform)?.1];
        let stacks = unpack_layers(store, lease, &images, on_event)?;
        let [image] = images;
        described(store, image, &stacks.into_iter().flatten().collect::<Vec<_>>())
    }

    /// The image `digest` for `platform`, without its layers unless the store has them all; nothing is written.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn known(
        &self,
        store: &Store,
        lease: &Lease,
        (digest, platform): (&Digest, &Platform),
    ) -> Result<LayoutImage, ImageError> {
        let (_, image) = manifest::oci_image(&self.0, digest, platform)?;
        let known = known_layers::find(store, lease, &image.parsed.rootfs.diff_ids)?;
        let layers: Vec<LayerId> = known.into_iter().collect::<Option<_>>().unwrap_or_default();
        described(store, image, &layers)
    }
}

fn described(store: &Store, image: ArchivedImage, layers: &[LayerId]) -> Result<LayoutImage, ImageError> {
    let layers: Vec<ImageLayer> =
        layers.iter().map(|layer| assemble::image_layer(store, layer)).collect::<Result<_, _>>()?;
    let id = ImageId::from_digest(Digest::of(&image.config));
    let created = Timestamp::from(store.now());
    Ok(LayoutImage {
        image: ImageRecord { id, layers, manifest: None, created, platforms: Vec::new() },
        config: image.parsed,
    })
}
