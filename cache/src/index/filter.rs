//! Which rows the database may have: a Bloom filter in a file beside it, so that nothing has to be opened for what is not there. It
//! is right for one state of the database's file, whose stat(2) it has: after another program has written there, nothing is known.

use crate::disk::{
    FieldReader, FieldWriter, FileStat, array, checksum, create_private_file, remove_tree, whole_file,
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The beginning of the file, with its version.
const MAGIC: [u8; 8] = *b"rbuildF1";
/// Magic, checksum of what follows in the header, five numbers of the stat, rows, capacity, checksum of the bits.
const HEADER: usize = 10 * 8;
/// Bits for each row, and how many of them a row sets: one row in a hundred is taken to be there and is not.
const BITS: u64 = 10;
const PROBES: u64 = 7;
/// The fewest rows that a filter is made for.
const LEAST: u64 = 4096;

/// The rows of a database, as a set that may have more.
#[derive(Debug)]
pub(super) struct Filter {
    path: PathBuf,
    /// Rows that were noted, those that were noted twice counted twice.
    rows: u64,
    capacity: u64,
    bits: Vec<u8>,
    /// The file has other bits.
    is_new: bool,
}

/// A row's place in a filter: all rows of a step have the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

impl Mark {
    /// That of `row`, or of all rows of a step, whose beginning it is.
    pub(super) fn of(row: &[u8]) -> Self {
        Self(checksum(&row[..row.len().min(33)]))
    }
}

impl Filter {
    /// The name of the file in the directory of the index.
    pub(super) const NAME: &str = "filter";

    /// The filter below `directory` of a database whose file has this stat; `None` when there is none, or it is of another state.
    pub(super) fn read(directory: &Path, database: &FileStat) -> Option<Self> {
        let path = directory.join(Self::NAME);
        let bytes = whole_file::read_advice(&path).ok()?;
        let (header, bits) = bytes.split_at_checked(HEADER)?;
        let mut fields = FieldReader::new(header);
        if fields.raw()? != MAGIC || fields.number()? != checksum(fields.rest()) {
            return None;
        }
        let stat = fields.raw::<40>()?;
        let (rows, capacity, sum) = (fields.number()?, fields.number()?, fields.number()?);
        let is_whole = bits.len() as u64 == length(capacity)? && sum == checksum(bits);
        let is_of_this = stat == array::<40>(&encoded(database));
        (is_whole && is_of_this).then(|| Self { path, rows, capacity, bits: bits.to_vec(), is_new: false })
    }

    /// A filter for rows with these marks and as many more.
    pub(super) fn new(directory: &Path, marks: &[Mark]) -> Self {
        let capacity = LEAST.max(2 * marks.len() as u64);
        let bytes = length(capacity).and_then(|bytes| usize::try_from(bytes).ok());
        let bits = vec![0; bytes.expect("rows that are in memory have bits that fit there")];
        let mut filter = Self { path: directory.join(Self::NAME), rows: 0, capacity, bits, is_new: true };
        marks.iter().for_each(|mark| filter.note(*mark));
        filter
    }

    /// False if the database has no such row.
    pub(super) fn may_have(&self, mark: Mark) -> bool {
        self.places(mark).all(|(byte, bit)| self.bits[byte] & bit != 0)
    }

    /// The database has a row with this mark.
    pub(super) fn note(&mut self, mark: Mark) {
        for (byte, bit) in self.places(mark).collect::<Vec<_>>() {
            self.bits[byte] |= bit;
        }
        self.rows += 1;
        self.is_new = true;
    }

    /// Rows that were noted: those that the database has, and some of them more than once.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// True if it has become too full to say much.
    pub(super) fn is_full(&self) -> bool {
        self.rows > self.capacity
    }

    /// Writes it, or what is new of it, for a database whose file has this stat.
    ///
    /// # Errors
    /// The system call's error; a part of a filter counts as none.
    pub(super) fn save(&self, database: &FileStat) -> io::Result<()> {
        let file = if self.is_new {
            // whatever is there: if it stays, no file can be made
            let _ = remove_tree(&self.path);
            let file = create_private_file(&self.path)?;
            file.write_all_at(&self.bits, HEADER as u64)?;
            file
        } else {
            whole_file::open_plain(&self.path, File::options().write(true))?
                .ok_or(io::ErrorKind::InvalidInput)?
        };
        file.write_all_at(&self.header(database), 0)
    }

    fn header(&self, database: &FileStat) -> Vec<u8> {
        let mut facts = FieldWriter::default();
        facts.raw(&encoded(database));
        [self.rows, self.capacity, checksum(&self.bits)].into_iter().for_each(|number| facts.number(number));
        let facts = facts.into_bytes();
        let mut header = FieldWriter::default();
        header.raw(&MAGIC);
        header.number(checksum(&facts));
        header.raw(&facts);
        header.into_bytes()
    }

    fn places(&self, Mark(mark): Mark) -> impl Iterator<Item = (usize, u8)> + use<> {
        let (first, step) = (mark & 0xffff_ffff, (mark >> 32) | 1);
        let bits = self.bits.len() as u64 * 8;
        (0..PROBES).map(move |probe| {
            let place = (first + probe * step) % bits;
            ((place / 8) as usize, 1 << (place % 8))
        })
    }
}

/// Bytes of the bits of a filter for so many rows.
fn length(capacity: u64) -> Option<u64> {
    Some(capacity.checked_mul(BITS)?.div_ceil(8))
}

/// What is compared of a stat.
fn encoded(stat: &FileStat) -> Vec<u8> {
    let mut fields = FieldWriter::default();
    for number in [stat.device, stat.inode, stat.size, stat.modified as u64, stat.changed as u64] {
        fields.number(number);
    }
    fields.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn marks(numbers: std::ops::Range<u32>) -> Vec<Mark> {
        numbers.map(|number| Mark::of(format!("row {number}").as_bytes())).collect()
    }

    #[test]
    fn what_was_noted_may_be_there_and_hardly_anything_else() {
        let directory = tempfile::tempdir().unwrap();
        let stat = FileStat { inode: 5, size: 7, ..FileStat::default() };
        let mut filter = Filter::new(directory.path(), &marks(0..3000));
        marks(3000..6000).into_iter().for_each(|mark| filter.note(mark));
        assert!(!filter.is_full());
        filter.save(&stat).unwrap();
        let filter = Filter::read(directory.path(), &stat).unwrap();
        assert!(marks(0..6000).into_iter().all(|mark| filter.may_have(mark)));
        let others = marks(6000..16000).into_iter().filter(|mark| filter.may_have(*mark)).count();
        assert!(others < 300, "{others} of 10,000");
        let step = [b's'].into_iter().chain([9; 32]).collect::<Vec<_>>();
        let row = [&step[..], b"time and key"].concat();
        assert_eq!(Mark::of(&step).0, Mark::of(&row).0);
    }

    #[test]
    fn it_is_right_for_one_state_of_the_database_and_only_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (FileStat { modified: 1, ..FileStat::default() }, FileStat::default());
        let filter = Filter::new(directory.path(), &marks(0..5));
        filter.save(&one).unwrap();
        assert!(Filter::read(directory.path(), &one).is_some());
        assert!(Filter::read(directory.path(), &other).is_none());
        Filter::read(directory.path(), &one).unwrap().save(&other).unwrap();
        assert!(Filter::read(directory.path(), &one).is_none());
        assert!(Filter::read(directory.path(), &other).is_some());
        let path = directory.path().join("filter");
        let bytes = fs::read(&path).unwrap();
        for at in [0, 9, 20, 60, 75, HEADER, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            assert!(Filter::read(directory.path(), &other).is_none(), "byte {at}");
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(Filter::read(directory.path(), &other).is_none(), "{at} bytes");
        }
    }
}
