//! What a layer contains, times apart: two layers with the same content digest make the same files.

use crate::{ImageError, layer_tar};
use rbuild_cache::{LayerId, Store};
use rbuild_oci::{Digest, Hasher};
use std::io::Read;

/// The digest of names, kinds, modes, owners, link targets, attributes and contents of all that is in the layer.
///
/// # Errors
/// When the layer is missing or damaged.
pub fn layer_content(store: &Store, layer: &LayerId) -> Result<Digest, ImageError> {
    let failed =
        |source| ImageError::LayerFile { action: "read the tar of", path: store.layer_fs(layer), source };
    let mut archive = tar::Archive::new(layer_tar(store, layer)?);
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        hasher.field(&entry.path_bytes());
        hasher.field(&entry.link_name_bytes().unwrap_or_default());
        let header = entry.header();
        let mode = header.mode().map_err(failed)?;
        let uid = header.uid().map_err(failed)?;
        let gid = header.gid().map_err(failed)?;
        hasher.field(&[header.entry_type().as_byte()]);
        for number in [u64::from(mode), uid, gid, entry.size()] {
            hasher.update(&number.to_be_bytes());
        }
        let device =
            (entry.header().device_major().ok().flatten(), entry.header().device_minor().ok().flatten());
        hasher.field(format!("{device:?}").as_bytes());
        for extension in entry.pax_extensions().map_err(failed)?.into_iter().flatten() {
            let extension = extension.map_err(failed)?;
            if extension.key_bytes() != b"mtime" {
                hasher.field(extension.key_bytes());
                hasher.field(extension.value_bytes());
            }
        }
        loop {
            let count = entry.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
        }
    }
    Ok(hasher.finish())
}
