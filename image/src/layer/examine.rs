//! Comparing the files of a layer with what is recorded of them.

use super::{directory_tar, known_layer_diff, layer_tar, tar::rehash};
use crate::{Change, Difference, FileTree, ImageError};
use rbuild_archive::EntryKind;
use rbuild_cache::{LayerFiles, LayerId, LayerSource, Store, TarBlob, Writer, proves_damage};
use rbuild_oci::Hasher;
use std::{
    error::Error,
    fs,
    io::{self, Read},
};

const BUFFER: usize = 256 << 10;

/// Compares the files of `layer` with the digest of its tar, or with its tar if that is kept as a blob. `blob` says whether the
/// blob can be read. Nothing is written.
#[must_use]
pub fn examine_layer(store: &Store, layer: &LayerId, blob: TarBlob) -> LayerFiles {
    match state(store, layer, blob) {
        Ok(state) => state,
        Err(ImageError::LayerDamaged { expected, found, .. }) => {
            LayerFiles::Damaged(format!("its tar should be {expected} and is {found}"))
        }
        Err(error) => {
            let (mut reason, mut is_proof) =
                (error.to_string(), matches!(error, ImageError::LayerBlobMissing { .. }));
            let mut cause = error.source();
            while let Some(source) = cause {
                reason = format!("{reason}: {source}");
                is_proof |= source.downcast_ref().is_some_and(proves_damage);
                cause = source.source();
            }
            if is_proof { LayerFiles::Damaged(reason) } else { LayerFiles::Unseen(reason) }
        }
    }
}

fn state(store: &Store, layer: &LayerId, blob: TarBlob) -> Result<LayerFiles, ImageError> {
    let source = store.layer_meta(layer)?.source;
    if matches!(source, LayerSource::Elsewhere(_)) {
        return Ok(LayerFiles::Unknown);
    }
    let files = store.layer_fs(layer);
    // those of a lower store are behind a link
    if !fs::metadata(&files).is_ok_and(|files| files.is_dir()) {
        return Ok(LayerFiles::Damaged("its files are missing".to_owned()));
    }
    let Some(expected) = known_layer_diff(store, layer)? else { return Ok(LayerFiles::Unknown) };
    match (source, blob) {
        (LayerSource::Blob(_), TarBlob::Whole) => compare(store, layer),
        (LayerSource::Own | LayerSource::Recipe(_), TarBlob::Whole) => {
            // the stream itself ends with an error when its digest is another one
            rehash(store, layer).map(|_| LayerFiles::Sound)
        }
        (LayerSource::Own | LayerSource::Recipe(_) | LayerSource::Blob(_), TarBlob::Gone) => {
            let mut tar = directory_tar(store, &files)?;
            let failed =
                |source| ImageError::LayerFile { action: "read the files of", path: files.clone(), source };
            let found = hash(&mut tar).map_err(failed)?;
            Ok(if found == *expected.diff_id.as_digest() {
                LayerFiles::Sound
            } else {
                LayerFiles::Damaged(
                    "the blob that it came as is missing, and its files give another tar".to_owned(),
                )
            })
        }
        (LayerSource::Elsewhere(_), _) => Ok(LayerFiles::Unknown),
    }
}

fn hash(tar: &mut impl Read) -> io::Result<rbuild_oci::Digest> {
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; BUFFER]);
    loop {
        match tar.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Compares the files of a layer that was pulled with the tar that it was unpacked from.
fn compare(store: &Store, layer: &LayerId) -> Result<LayerFiles, ImageError> {
    let (mut packed, mut unpacked) = (FileTree::default(), FileTree::default());
    packed.add(layer_tar(store, layer)?, 0)?;
    unpacked.add(directory_tar(store, &store.layer_fs(layer))?, 0)?;
    let is_root = *store.writer() == Writer::Root;
    let is_damage = |change: &Change| match change {
        // directories that the tar only implies
        Change::Added(_) => false,
        // a user cannot unpack devices
        Change::Removed => is_root,
        Change::Changed(differences) => differences.iter().any(|difference| match difference {
            Difference::Content(..) | Difference::Target(..) => true,
            Difference::Kind(packed, _) => is_root || *packed == EntryKind::File,
            Difference::Mode(..) | Difference::Owner(..) => is_root,
            // a file system may not take them
            Difference::Device | Difference::Attributes | Difference::Time => false,
        }),
    };
    let changes = packed.changes_to(&unpacked);
    let damaged = changes.iter().find(|change| is_damage(&change.change));
    Ok(match damaged {
        Some(damaged) => {
            let path = String::from_utf8_lossy(&damaged.path);
            LayerFiles::Damaged(format!("its file {path:?} is not what its tar has"))
        }
        None => LayerFiles::Sound,
    })
}
