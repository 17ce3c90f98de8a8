//! Making an image of one layer from the tar of a root filesystem, as `docker import` does.

use crate::{
    Applied, BlobRetention, ImageError, apply_tar, assemble,
    known_layers::{self, KnownLayer},
};
use rbuild_cache::{ImageRecord, Lease, Store};
use rbuild_oci::{ContainerConfig, HistoryEntry, ImageConfig, Platform, Timestamp};
use std::io::Read;

/// The properties of an imported image besides its files.
#[derive(Clone, Debug)]
pub struct Import {
    /// How to run it.
    pub config: ContainerConfig,
    /// The platform it is for.
    pub platform: Platform,
    /// When it was made.
    pub created: Timestamp,
    /// The remark in its history; Docker's is `Imported from -`.
    pub comment: String,
}

/// Makes an image of `tar`, plain or compressed as [`rbuild_archive::Codec`] knows it, whose entries are all of its files. It
/// gets no name; `lease` holds it.
///
/// # Errors
/// As [`apply_tar`]; [`ImageError::EmptyArchive`].
pub fn import_tar(
    store: &Store,
    lease: &Lease,
    tar: impl Read,
    import: Import,
) -> Result<ImageRecord, ImageError> {
    let Applied { layer, diff_id, tar_size, .. } = apply_tar(store, lease, tar, &[], &BlobRetention::Recipe)?;
    // docker makes an image of it, in the place of the one that had the name
    if tar_size == 0 {
        return Err(ImageError::EmptyArchive);
    }
    known_layers::remember(store, &[KnownLayer::anywhere(layer, diff_id)]);
    let mut config = ImageConfig::scratch(&import.platform);
    config.config = import.config;
    config.created = Some(import.created);
    config.rootfs.diff_ids = vec![diff_id];
    config.history = vec![HistoryEntry {
        created: Some(import.created),
        comment: import.comment,
        ..HistoryEntry::default()
    }];
    assemble(store, lease, &config, &[layer])
}
