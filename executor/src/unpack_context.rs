//! A build context that comes as an archive: unpacked once, into a directory of the store that goes with the build.

use crate::{
    ExecutorError, Snapshots, add,
    draft::{Destination, Policy},
};
use rbuild_cache::{Cancel, LayerDraft, Store};
use std::{fs::File, time::SystemTime};

/// Unpacks the tar in `archive`, compressed or not, into a directory of `store`, which goes when the result is dropped. The
/// rules are those of ADD (`spec` §6.9), except that there are no devices, because a context is a stranger's and a user may not make
/// any. A compressed archive is read to its checksum.
///
/// # Errors
/// [`ExecutorError::NotAnArchive`], [`ExecutorError::BadArchive`] and its kin, or what writing brings.
pub fn unpack_context(
    store: &Store,
    archive: File,
    now: SystemTime,
    cancel: &Cancel,
) -> Result<LayerDraft, ExecutorError> {
    const NAME: &str = "the build context";
    let view = Snapshots::new(store).view(&[])?;
    let draft = store.new_layer()?;
    let mut destination = Destination::new(&draft, &view, now)?;
    let archive = add::recognise(archive.into(), NAME.as_bytes(), add::Purpose::Context)?
        .ok_or_else(|| ExecutorError::NotAnArchive { name: NAME.to_owned() })?;
    add::extract(archive, b"", &mut destination, &Policy::new(None, None)?, cancel)?;
    Ok(draft.counted(destination.finish()?))
}

#[cfg(test)]
mod tests {
    use super::add::Purpose;

    #[test]
    fn a_context_has_no_more_entries_than_memory_can_hold() {
        assert_eq!(Purpose::Context.limits().entries, 4_194_304);
        assert!(Purpose::Add.limits().entries > 10_000_000, "an ADD keeps none in memory");
    }
}
