//! Laws that hold for any bytes that are read as a tar. The property tests and the fuzz target check them.

use rbuild_archive::{ArchiveError, Entry, Limits, Recorder, TarReader, decompressed, sniff};
use std::io::{BufReader, Cursor, Read};

/// The most that is read of what a compressed input becomes.
const DECOMPRESSED: u64 = 4 << 20;

/// Puts the tar together again from what a recorder sees, and from the contents it does not.
#[derive(Debug, Default)]
struct Copy {
    bytes: Vec<u8>,
    paths: Vec<Vec<u8>>,
}

impl Recorder for Copy {
    fn literal(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn content(&mut self, path: &[u8], size: u64) {
        self.paths.push([path, b" ", size.to_string().as_bytes()].concat());
    }
}

/// Checks the laws for `input`, compressed or not.
///
/// # Panics
/// When a law does not hold.
pub(crate) fn check(input: &[u8]) {
    let Ok((codec, sniffed)) = sniff(input) else { panic!("memory can be read") };
    let Ok(plain) = decompressed(codec, sniffed) else { return };
    let mut tar = Vec::new();
    // what is damaged is a tar up to the damage
    let _ = plain.take(DECOMPRESSED).read_to_end(&mut tar);
    a_recorder_sees_every_byte(&tar);
    seeking_finds_what_reading_finds(&tar);
    limits_hold(&tar);
}

/// The bytes that a recorder receives, together with the contents, are the tar; those of a damaged one, up to the damage.
fn a_recorder_sees_every_byte(tar: &[u8]) {
    let mut reader = TarReader::recording(tar, Copy::default());
    let mut contents = Vec::new();
    let is_whole = loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break true,
            Err(_) => break false,
        };
        let mut content = Vec::new();
        let at = reader.recorder().bytes.len();
        let read: Result<Result<(), ArchiveError>, _> = reader.content_of(&entry.name, |piece| {
            content.extend_from_slice(piece);
            Ok(())
        });
        let last = [&entry.name[..], b" ", entry.stored.to_string().as_bytes()].concat();
        assert_eq!(reader.recorder().paths.last(), Some(&last), "the content has its path and length");
        contents.push((at, content));
        if read.is_err() {
            break false;
        }
    };
    let copy = if is_whole {
        reader.finish().unwrap_or_else(|error| panic!("memory can be read: {error}"))
    } else {
        std::mem::take(reader.recorder())
    };
    let mut whole = copy.bytes;
    for (at, content) in contents.iter().rev() {
        whole.splice(at..at, content.iter().copied());
    }
    assert!(
        if is_whole { whole == tar } else { tar.starts_with(&whole) },
        "{} of {}",
        whole.len(),
        tar.len()
    );
}

/// The same entries are found if contents are read or skipped.
fn seeking_finds_what_reading_finds(tar: &[u8]) {
    let (mut reading, mut seeking) = (TarReader::new(tar), TarReader::new(BufReader::new(Cursor::new(tar))));
    loop {
        let (read, sought) = (reading.next_entry(), seeking.next_entry());
        assert_eq!(read.is_err(), sought.is_err(), "{read:?} and {sought:?}");
        let (Ok(Some(read)), Ok(Some(sought))) = (read, sought) else { return };
        assert_eq!(format!("{read:?}"), format!("{sought:?}"));
        assert_eq!(reading.position(), seeking.position());
        let read = reading.content(|_| Ok::<(), ArchiveError>(()));
        assert_eq!(read.is_err(), seeking.seek_past_content().is_err(), "{read:?}");
        if read.is_err() {
            return;
        }
    }
}

/// No entry has more than its limits, and there are no more entries than allowed.
fn limits_hold(tar: &[u8]) {
    let limits = Limits { entries: 8, extension: 600, path: 200, sparse_pieces: 4, ..Limits::STANDARD };
    let mut reader = TarReader::new(tar).within(limits);
    let mut entries = 0;
    while let Ok(Some(entry)) = reader.next_entry() {
        entries += 1;
        assert!(entries <= limits.entries, "{entries} entries");
        assert!(entry.name.len() <= limits.path && entry.link.len() <= limits.path, "{entry:?}");
        let attributes = entry.attributes.iter().map(|(name, value)| name.len() + value.len());
        assert!(attributes.sum::<usize>() as u64 <= limits.extension, "{entry:?}");
        pieces_fit(&entry, limits.sparse_pieces);
    }
}

/// The pieces of a sparse file follow each other within the file, and all of its content has a place in them.
fn pieces_fit(entry: &Entry, most: usize) {
    let Some(map) = &entry.sparse else { return };
    let mut end = 0;
    let mut stored = 0;
    for (offset, length) in map.pieces() {
        assert!(*offset >= end, "{entry:?}");
        (end, stored) = (offset + length, stored + length);
    }
    assert!(end <= entry.size() && stored == entry.stored && map.pieces().len() <= most, "{entry:?}");
}
