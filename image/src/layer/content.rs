//! What a layer contains, times apart: two layers with the same content digest make the same files.

use super::tar::layer_tar;
use crate::ImageError;
use rbuild_archive::{ArchiveError, Entry, EntryKind, TarReader};
use rbuild_cache::{Cancel, LayerId, Store};
use rbuild_oci::{Digest, Hasher};
use std::io::BufReader;

/// The digest of names, kinds, modes, owners, link targets, attributes and contents of all that is in the layer.
/// A change of what is hashed requires another name for the engine's facts that remember the digest. `None` when `cancel` was called
/// before all was read.
///
/// # Errors
/// When the layer is missing or damaged.
pub fn layer_content(store: &Store, layer: &LayerId, cancel: &Cancel) -> Result<Option<Digest>, ImageError> {
    let failed = |error| match error {
        ArchiveError::Read(source) => {
            ImageError::LayerFile { action: "read the tar of", path: store.layer_fs(layer), source }
        }
        damaged => damaged.into(),
    };
    let mut tar = TarReader::new(BufReader::with_capacity(256 << 10, layer_tar(store, layer)?));
    let mut hasher = Hasher::new();
    while let Some(entry) = tar.next_entry().map_err(failed)? {
        describe(&entry, &mut hasher);
        let hashed = tar.content(|piece| {
            hasher.update(piece);
            cancel.check()
        });
        if hashed.map_err(failed)?.is_err() || cancel.is_canceled() {
            return Ok(None);
        }
    }
    Ok(Some(hasher.finish()))
}

fn describe(entry: &Entry, hasher: &mut Hasher) {
    let Entry { kind, name, link, mode, uid, gid, device, attributes, sparse, stored, mtime: _, atime: _ } =
        entry;
    hasher.field(name);
    hasher.field(link);
    let kind = match kind {
        EntryKind::File => 0,
        EntryKind::HardLink => 1,
        EntryKind::Symlink => 2,
        EntryKind::CharDevice => 3,
        EntryKind::BlockDevice => 4,
        EntryKind::Directory => 5,
        EntryKind::Fifo => 6,
        EntryKind::Unknown(flag) => 0x100 | u64::from(*flag),
    };
    let numbers = [kind, (*mode).into(), (*uid).into(), (*gid).into(), device.0.into(), device.1.into()];
    for number in numbers.into_iter().chain([*stored, attributes.len() as u64]) {
        hasher.update(&number.to_be_bytes());
    }
    for (name, value) in attributes {
        hasher.field(name.as_bytes());
        hasher.field(value);
    }
    let pieces = sparse.as_ref().map(|map| (map.size(), map.pieces()));
    hasher.update(&[u8::from(pieces.is_some())]);
    if let Some((size, pieces)) = pieces {
        hasher.update(&size.to_be_bytes());
        hasher.update(&(pieces.len() as u64).to_be_bytes());
        for (offset, length) in pieces {
            hasher.update(&offset.to_be_bytes());
            hasher.update(&length.to_be_bytes());
        }
    }
}
