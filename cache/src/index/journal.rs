//! The journal of the index: what was written to it last, in a file that is read whole. Appending to it costs one write, where the
//! database costs milliseconds and waits for the disk.
//!
//! A header is followed by batches, each with its length and checksum. A batch that a killed process or a power cut has left torn
//! ends the journal: what follows it counts for nothing, and the next batch takes its place.

use crate::{
    StoreError,
    disk::{
        DIRECTORY_MODE, FieldReader, FieldWriter, TemporarySpace, array, checksum, make_dirs_with_mode,
        open_private_file, remove_tree,
        whole_file::{self, Durability, Found},
    },
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    ops::Bound,
    path::{Path, PathBuf},
};

/// The beginning of the file, with its version.
const HEADER: &[u8] = b"rbuild-journal 1\n";
/// Length and checksum of a batch.
const FRAME: usize = 4 + 8;

/// Rows that are written or removed together.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// The rows written last; what is `None` was removed.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Bytes of the file up to the end of its last whole batch; 0 without a header.
    length: u64,
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What nobody can have left by being killed.
    damage: Option<&'static str>,
    /// It is no file of a length that a journal can have.
    is_strange: bool,
}

impl Batch {
    /// Writes a row.
    pub(super) fn insert(&mut self, row: Vec<u8>, value: impl Into<Vec<u8>>) {
        self.0.push((row, Some(value.into())));
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, row: Vec<u8>) {
        self.0.push((row, None));
    }

    /// True if it changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of its rows, about as many as it takes in a journal.
    pub(super) fn length(&self) -> u64 {
        self.0.iter().map(|(row, value)| (row.len() + value.as_ref().map_or(0, Vec::len)) as u64).sum()
    }

    /// What a journal has of it.
    fn encode(&self) -> Vec<u8> {
        let mut fields = FieldWriter::default();
        for (row, value) in &self.0 {
            fields.counted(row);
            fields.optional(value.as_deref(), FieldWriter::counted);
        }
        let rows = fields.into_bytes();
        let mut frame = FieldWriter::default();
        frame.raw(&u32::try_from(rows.len()).expect("a batch has less than 4 GiB").to_le_bytes());
        frame.number(checksum(&rows));
        frame.raw(&rows);
        frame.into_bytes()
    }

    fn decode(rows: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(rows);
        let mut batch = Self::default();
        while !fields.rest().is_empty() {
            let row = fields.counted()?.to_vec();
            batch.0.push((row, fields.optional(|fields| fields.counted().map(<[u8]>::to_vec))?));
        }
        Some(batch)
    }
}

impl Journal {
    /// The name of the file in the directory of the index.
    pub(super) const NAME: &str = "journal";
    /// The most bytes that it may have; longer it counts as damaged.
    pub(super) const LARGEST: u64 = 64 << 20;

    /// Reads the journal below `directory`; one that is not there is empty, and so is what follows damage.
    ///
    /// # Errors
    /// An I/O error when it is there and cannot be read.
    pub(super) fn read(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(Self::NAME);
        let found = whole_file::read_plain(&path, Self::LARGEST)?;
        let mut journal = Self { path, length: 0, rows: BTreeMap::new(), damage: None, is_strange: false };
        let bytes = match found {
            Found::Bytes(bytes) => bytes,
            Found::Nothing => Vec::new(),
            Found::Strange => {
                journal.is_strange = true;
                journal.damage = Some("its journal is no file, or far too long");
                return Ok(journal);
            }
        };
        let Some(mut batches) = bytes.strip_prefix(HEADER) else {
            let is_torn = HEADER.starts_with(&bytes) || bytes.iter().all(|byte| *byte == 0);
            journal.damage = (!is_torn).then_some("its journal does not begin as one");
            return Ok(journal);
        };
        journal.length = HEADER.len() as u64;
        while let Some((batch, length)) = next_batch(batches) {
            journal.take(batch);
            journal.length += length as u64;
            batches = &batches[length..];
        }
        let has_changed = batch_length(batches).is_some_and(|length| length > 0) || is_impossible(batches);
        journal.damage = has_changed.then_some("rows of its journal are not what was written");
        Ok(journal)
    }

    /// What is damaged.
    pub(super) fn damage(&self) -> Option<&'static str> {
        self.damage
    }

    /// Removes what is damaged.
    ///
    /// # Errors
    /// An I/O error when it cannot be removed.
    pub(super) fn mend(&mut self, space: &TemporarySpace) -> Result<(), StoreError> {
        if self.damage.take().is_none() {
            return Ok(());
        }
        if !self.is_strange {
            return self.cut(self.length).map_err(StoreError::on("use", &self.path));
        }
        self.is_strange = false;
        let gone = space.path("gone")?;
        whole_file::rename(&self.path, &gone)?;
        remove_tree(&gone)
    }

    /// What was written of `row` last: a value, or that it was removed; `None` when the database knows.
    pub(super) fn row(&self, row: &[u8]) -> Option<Option<&[u8]>> {
        self.rows.get(row).map(Option::as_deref)
    }

    /// Its rows that begin with `prefix`, in order.
    pub(super) fn rows<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let from = self.rows.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let among = from.take_while(move |(row, _)| row.starts_with(prefix));
        among.map(|(row, value)| (row.as_slice(), value.as_deref()))
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends `batch`. What another process has left torn is overwritten.
    ///
    /// # Errors
    /// The system call's error; the journal is then as it was.
    pub(super) fn append(&mut self, batch: Batch) -> io::Result<()> {
        let mut file = match open_private_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.path.parent().map_or(Ok(()), |parent| make_dirs_with_mode(parent, DIRECTORY_MODE))?;
                open_private_file(&self.path)?
            }
            opened => opened?,
        };
        if file.metadata()?.len() != self.length {
            file.set_len(self.length)?;
        }
        let mut bytes = if self.length == 0 { HEADER.to_vec() } else { Vec::new() };
        bytes.extend(batch.encode());
        if let Err(error) = file.write_all(&bytes) {
            // a part of it would be a torn batch, which counts for nothing either
            let _ = file.set_len(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.take(batch);
        Ok(())
    }

    /// Takes `batch` without writing it, for what is moved on at once.
    pub(super) fn take(&mut self, batch: Batch) {
        self.rows.extend(batch.0);
    }

    /// Empties it, because the database has its rows.
    ///
    /// # Errors
    /// The system call's error; the database then gets them once more.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.rows.clear();
        if std::mem::take(&mut self.length) > 0 { self.cut(0) } else { Ok(()) }
    }

    /// Replaces it by one that has its own rows and these, on the disk.
    ///
    /// # Errors
    /// An I/O error; the journal is then as it was.
    pub(super) fn replace(&mut self, space: &TemporarySpace, batch: Batch) -> Result<(), StoreError> {
        let mut rows = batch.0.into_iter().collect::<BTreeMap<_, _>>();
        rows.append(&mut self.rows.clone());
        let batch = Batch(rows.into_iter().collect());
        let bytes = [HEADER, &batch.encode()].concat();
        whole_file::write(space, &self.path, &bytes, Durability::DiskFirst)?;
        let directory = self.path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all());
        directory.map_err(StoreError::on("sync", &self.path))?;
        self.length = bytes.len() as u64;
        self.take(batch);
        Ok(())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let file = whole_file::open_plain(&self.path, File::options().write(true))?;
        file.ok_or(io::ErrorKind::InvalidInput)?.set_len(length)
    }
}

/// The batch at the beginning of `bytes`, if it is whole, and how long it is.
fn next_batch(bytes: &[u8]) -> Option<(Batch, usize)> {
    let length = batch_length(bytes).filter(|length| *length > 0)?;
    let (frame, rows) = bytes[..FRAME + length].split_at(FRAME);
    let is_whole = u64::from_le_bytes(array(&frame[4..])) == checksum(rows);
    Some((Batch::decode(rows).filter(|_| is_whole)?, FRAME + length))
}

/// True if the batch at the beginning of `bytes` says that it is longer than any.
fn is_impossible(bytes: &[u8]) -> bool {
    bytes.len() >= FRAME && u64::from(u32::from_le_bytes(array(bytes))) > Journal::LARGEST
}

/// The length that the batch at the beginning of `bytes` says that it has, if there are as many.
fn batch_length(bytes: &[u8]) -> Option<usize> {
    let (frame, rest) = bytes.split_at_checked(FRAME)?;
    usize::try_from(u32::from_le_bytes(array(frame))).ok().filter(|length| *length <= rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    fn mend(journal: &mut Journal) -> bool {
        let is_damaged = journal.damage().is_some();
        let space = TemporarySpace::new(&journal.path.parent().unwrap().join("store"));
        journal.mend(&space).unwrap();
        is_damaged
    }

    fn batch(rows: &[(&str, Option<&str>)]) -> Batch {
        Batch(rows.iter().map(|(row, value)| (row.as_bytes().to_vec(), value.map(Into::into))).collect())
    }

    fn shown(journal: &Journal, prefix: &str) -> String {
        let shown = |(row, value): (&[u8], Option<&[u8]>)| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            format!("{}={} ", text(row), value.map_or_else(|| "-".to_owned(), text))
        };
        journal.rows(prefix.as_bytes()).map(shown).collect()
    }

    #[test]
    fn the_last_batch_that_names_a_row_counts() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::read(directory.path()).unwrap();
        assert_eq!((journal.length(), shown(&journal, "")), (0, String::new()));
        journal.append(batch(&[("ra", Some("1")), ("rb", Some("2")), ("s", Some(""))])).unwrap();
        journal.append(batch(&[("ra", None), ("rb", Some("3")), ("q", Some("4"))])).unwrap();
        let again = Journal::read(directory.path()).unwrap();
        for journal in [&journal, &again] {
            assert_eq!(shown(journal, "r"), "ra=- rb=3 ");
            assert_eq!(journal.row(b"rb"), Some(Some(&b"3"[..])));
            assert_eq!((journal.row(b"ra"), journal.row(b"rc")), (Some(None), None));
        }
        assert_eq!(again.length(), fs::metadata(directory.path().join("journal")).unwrap().len());
        journal.clear().unwrap();
        assert_eq!(shown(&Journal::read(directory.path()).unwrap(), ""), "");
    }

    #[test]
    fn a_torn_batch_ends_the_journal_and_the_next_one_takes_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::read(directory.path()).unwrap();
        journal.append(batch(&[("ra", Some("1"))])).unwrap();
        let good = fs::read(&path).unwrap();
        journal.append(batch(&[("rb", Some("2"))])).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        let empty = [&good[..], &[0; 40]].concat();
        let mut endless = whole.clone();
        endless[good.len() + 3] ^= 0x80;
        let torn = (good.len()..whole.len()).map(|end| whole[..end].to_vec()).chain([empty]);
        for (bytes, is_damage) in torn.map(|bytes| (bytes, false)).chain([(changed, true), (endless, true)]) {
            fs::write(&path, bytes).unwrap();
            let mut journal = Journal::read(directory.path()).unwrap();
            assert_eq!(shown(&journal, ""), "ra=1 ");
            assert_eq!(mend(&mut journal), is_damage);
            journal.append(batch(&[("rc", Some("3"))])).unwrap();
            assert_eq!(shown(&Journal::read(directory.path()).unwrap(), ""), "ra=1 rc=3 ");
        }
        fs::write(&path, "rbuild-journal 2\nsomething else").unwrap();
        let mut newer = Journal::read(directory.path()).unwrap();
        assert_eq!((shown(&newer, ""), mend(&mut newer)), (String::new(), true));
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        newer.append(batch(&[("rc", Some("3"))])).unwrap();
        assert_eq!(shown(&Journal::read(directory.path()).unwrap(), ""), "rc=3 ");
    }

    #[test]
    fn what_is_no_file_is_damage_and_makes_room_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("journal"), directory.path().join("other"));
        fs::write(&other, [HEADER, &batch(&[("ra", Some("theirs"))]).encode()].concat()).unwrap();
        let strange: [&dyn Fn(); 4] = [
            &|| symlink(&other, &path).unwrap(),
            &|| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            &|| fs::create_dir_all(path.join("a/b")).unwrap(),
            &|| File::create(&path).unwrap().set_len(3 << 30).unwrap(),
        ];
        for make in strange {
            make();
            let mut journal = Journal::read(directory.path()).unwrap();
            assert_eq!(shown(&journal, ""), "");
            assert!(mend(&mut journal) && !mend(&mut journal));
            journal.append(batch(&[("rc", Some("3"))])).unwrap();
            assert_eq!(shown(&Journal::read(directory.path()).unwrap(), ""), "rc=3 ");
            fs::remove_file(&path).unwrap();
        }
        assert!(fs::read(&other).unwrap().ends_with(b"theirs"));
    }

    #[test]
    fn rows_of_the_journal_win_over_those_that_join_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::read(directory.path()).unwrap();
        journal.append(batch(&[("ra", None), ("rb", Some("2"))])).unwrap();
        let older = batch(&[("ra", Some("1")), ("rb", Some("1")), ("rc", Some("1"))]);
        journal.replace(&TemporarySpace::new(&directory.path().join("store")), older).unwrap();
        let again = Journal::read(directory.path()).unwrap();
        for journal in [&journal, &again] {
            assert_eq!(shown(journal, ""), "ra=- rb=2 rc=1 ");
        }
        assert_eq!(again.length(), journal.length());
    }
}
