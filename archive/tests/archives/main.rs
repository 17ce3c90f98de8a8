//! Tars of all formats, compressed in all ways, read as streams.

#![expect(clippy::unwrap_used, reason = "what a test prepares must succeed")]

mod codecs;
mod formats;
mod hostile;
mod laws;
mod tar_laws;

use rbuild_archive::{ArchiveError, Entry, TarReader};
use std::io::BufRead;

/// All entries of a tar, each with its content as a file has it.
fn entries(input: impl BufRead) -> Result<Vec<(Entry, Vec<u8>)>, ArchiveError> {
    let mut tar = TarReader::new(input);
    let mut found = Vec::new();
    while let Some(entry) = tar.next_entry()? {
        let mut content = Vec::new();
        if let Some(map) = &entry.sparse {
            content.resize(usize::try_from(entry.size()).unwrap(), 0);
            let mut places = map.places();
            let read: Result<(), ArchiveError> = tar.content(|mut stored| {
                while let Some((offset, piece)) = places.take(&mut stored) {
                    content[offset as usize..][..piece.len()].copy_from_slice(piece);
                }
                Ok(())
            })?;
            read?;
        } else {
            let read: Result<(), ArchiveError> = tar.content(|piece| {
                content.extend_from_slice(piece);
                Ok(())
            })?;
            read?;
        }
        found.push((entry, content));
    }
    Ok(found)
}
