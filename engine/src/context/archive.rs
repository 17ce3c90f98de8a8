//! A context that is an archive: its files are unpacked into the store for the time of the build.

use crate::Error;
use rbuild_cache::{Cancel, LayerDraft, Store};
use rbuild_executor::ContextDirectory;
use std::{fs::File, io::Seek as _};

/// Unpacks `archive`; the files go when the draft is dropped.
///
/// # Errors
/// When it is not a tar, is damaged, or cannot be written.
pub(super) fn open(
    store: &Store,
    archive: &File,
    cancel: &Cancel,
) -> Result<(ContextDirectory, LayerDraft), Error> {
    let copied = archive.try_clone().and_then(|mut file| file.rewind().map(|()| file));
    let archive = copied.map_err(|source| Error::ContextUnreadable { path: "an archive".into(), source })?;
    let unpacked = rbuild_executor::unpack_context(store, archive, store.now(), cancel)?;
    Ok((ContextDirectory::open_temporary(unpacked.fs())?.with_owners(), unpacked))
}
