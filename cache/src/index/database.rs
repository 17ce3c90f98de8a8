//! The rows of the index, within one transaction under `locks/index`: the last ones in a journal, all others in a sled database.
//!
//! Most transactions ask for what is not there, or write a few rows. Neither opens the database: a filter beside it says what it may
//! have, and new rows are appended to the journal, from where they are moved when they have become many. Damage of the database is
//! met by starting it anew; the journal, which has no part in that, stays.

use super::{
    filter::{Filter, Mark},
    journal::{Batch, Journal},
    record::row_of_step,
    tree::{self, Failure, Tree},
};
use crate::{
    Store, StoreError, Warning,
    disk::{FileLock, FileStat, LockMode, OnUnlock, list, make_dirs, remove_tree},
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashSet},
    fs::File,
    ops::Bound,
    path::{Path, PathBuf},
};

/// Bytes of the journal, which every transaction reads, before its rows are moved into the database.
pub(super) const LONGEST_JOURNAL: u64 = 512 << 10;
/// Rows that a scan asks the database for at once.
const PAGE: usize = 256;

type Row = (Vec<u8>, Vec<u8>);

/// The rows. Every operation notes the first sign of damage; the transaction acts on it after closing.
pub(crate) struct Database {
    pub(super) path: PathBuf,
    pub(super) journal: RefCell<Journal>,
    pub(super) contents: RefCell<Contents>,
    /// The database, once something was asked of it.
    pub(super) tree: RefCell<Option<Tree>>,
    pub(super) damage: RefCell<Option<String>>,
    written: Cell<bool>,
    /// Whether the files may take more than they should.
    pub(super) bulk: Cell<Bulk>,
}

/// What is to be found out about how much the files take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bulk {
    Nothing,
    /// Rows were moved: look if there is reason to.
    Glance,
    /// A collection wants to know.
    Look,
}

/// What is known of the rows of the database while it is closed.
pub(super) enum Contents {
    /// It was never made.
    Nothing,
    /// It has no row that this has not.
    Among(Filter),
    Unknown,
}

impl Store {
    /// True if another process or handle has written to the index since this handle or a clone of it first used it, so
    /// that what was not found then may be there now. Costs one stat(2).
    #[must_use]
    pub fn index_has_other_writers(&self) -> bool {
        self.index_writers().others_wrote(&self.at("locks/index"))
    }

    /// Runs `transaction` on the rows. Other processes and threads wait meanwhile. A damaged database is replaced by an empty one.
    pub(crate) fn with_database<T>(
        &self,
        transaction: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let path = self.at("index");
        let lock = FileLock::wait(&self.at("locks/index"), LockMode::Exclusive, OnUnlock::Keep)?;
        self.index_writers().begin(lock.file());
        let database = Database::open(&path)?;
        self.mend_journal(&database);
        let result = transaction(&database);
        let _ = database.shrink(self.space()); // where it fails all is as before, and damage is noted
        let (written, damage) = (database.written.get(), database.close());
        if written {
            self.index_writers().end(lock.file());
        }
        if let Some(reason) = damage {
            self.warn(Warning::IndexReset { path: path.clone(), reason });
            start_anew(&path)?;
        }
        result
    }

    /// Removes what is damaged of the journal, with a warning. Where that fails, the next write does and says why.
    fn mend_journal(&self, database: &Database) {
        let mut journal = database.journal.borrow_mut();
        if let Some(reason) = journal.damage() {
            let _ = journal.mend(self.space());
            self.warn(Warning::IndexReset { path: database.path.clone(), reason: reason.to_owned() });
        }
    }

    /// Runs `transaction` on a copy of the rows, at `path`, of which nobody else knows.
    pub(crate) fn with_database_at<T>(
        path: &Path,
        transaction: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let database = Database::open(path)?;
        let result = transaction(&database);
        database.close();
        result
    }
}

/// Removes a damaged database, its file first: what is left without it is no database. The journal stays.
pub(super) fn start_anew(path: &Path) -> Result<(), StoreError> {
    make_dirs(path)?;
    let mut names = list(path)?;
    names.sort_by_key(|name| name != "db");
    for name in names.iter().filter(|name| *name != Journal::NAME) {
        remove_tree(&path.join(name))?;
    }
    Ok(())
}

impl Database {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let contents = match FileStat::at(&file(path)).map_err(StoreError::on("use", path))? {
            None => Contents::Nothing,
            Some(stat) => Filter::read(path, &stat).map_or(Contents::Unknown, Contents::Among),
        };
        Ok(Self {
            path: path.to_owned(),
            journal: RefCell::new(Journal::read(path)?),
            contents: RefCell::new(contents),
            tree: RefCell::default(),
            damage: RefCell::default(),
            written: Cell::new(false),
            bulk: Cell::new(Bulk::Nothing),
        })
    }

    /// The value of a row.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`] when the database turns out to be damaged, else the system's error.
    pub(super) fn get(&self, row: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(written) = self.journal.borrow().row(row) {
            return Ok(written.map(<[u8]>::to_vec));
        }
        if !self.may_have(row) {
            return Ok(None);
        }
        let row = row.to_vec();
        self.run(move |tree| Ok(tree.get(row)?.map(|value| value.to_vec())))
    }

    /// The value of a row that was written since rows were last moved into the database.
    pub(super) fn written(&self, row: &[u8]) -> Option<Vec<u8>> {
        self.journal.borrow().row(row)?.map(<[u8]>::to_vec)
    }

    /// The last `count` rows that begin with `prefix`, of 33 bytes or more, the last one first.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) fn last(&self, prefix: &[u8], count: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let journal = self.journal.borrow();
        let written = journal.rows(prefix).filter(|(_, value)| value.is_some());
        let mut rows: BTreeSet<Vec<u8>> = written.map(|(row, _)| row.to_vec()).collect();
        if self.may_have(prefix) {
            let prefix = prefix.to_vec();
            let known: HashSet<Vec<u8>> = journal.rows(&prefix).map(|(row, _)| row.to_vec()).collect();
            let found: Vec<Vec<u8>> = self.run(move |tree| {
                let names = tree.scan_prefix(prefix).rev().map(|entry| entry.map(|(row, _)| row.to_vec()));
                let names = names.filter(|name| !name.as_ref().is_ok_and(|row| known.contains(row)));
                names.take(count).collect()
            })?;
            rows.extend(found);
        }
        Ok(rows.into_iter().rev().take(count).collect())
    }

    /// Gives `take` all rows that begin with `prefix`, in order.
    ///
    /// # Errors
    /// As [`Self::get`]; what was given before is good.
    pub(super) fn scan(&self, prefix: &[u8], mut take: impl FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let journal = self.journal.borrow();
        let mut written = journal.rows(prefix).peekable();
        let mut page = self.page(prefix, None)?;
        while let Some((last, _)) = page.last().cloned() {
            for (row, value) in &page {
                while let Some((before, value)) = written.next_if(|(written, _)| *written < &**row) {
                    value.into_iter().for_each(|value| take(before, value));
                }
                if written.peek().is_none_or(|(written, _)| *written != &**row) {
                    take(row, value);
                }
            }
            page = self.page(prefix, Some(last))?;
        }
        written.for_each(|(row, value)| value.into_iter().for_each(|value| take(row, value)));
        Ok(())
    }

    /// The next rows of the database that begin with `prefix`; what comes before damage is good.
    fn page(&self, prefix: &[u8], after: Option<Vec<u8>>) -> Result<Vec<Row>, StoreError> {
        if matches!(*self.contents.borrow(), Contents::Nothing) {
            return Ok(Vec::new());
        }
        let prefix = prefix.to_vec();
        self.run(move |tree| {
            let from = after.map_or_else(|| Bound::Included(prefix.clone()), Bound::Excluded);
            let mut rows: Vec<Row> = Vec::new();
            for entry in tree.range::<Vec<u8>, _>((from, Bound::Unbounded)).take(PAGE) {
                match entry {
                    Ok((row, _)) if !row.starts_with(&prefix) => break,
                    Ok((row, value)) => rows.push((row.to_vec(), value.to_vec())),
                    Err(error) if rows.is_empty() => return Err(error),
                    Err(_) => break,
                }
            }
            Ok(rows)
        })
    }

    /// Writes and removes rows, all of them or none. Rows that the database has no room for stay in the journal.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        // in a journal it would look like the end
        if batch.is_empty() {
            return Ok(());
        }
        self.written.set(true);
        let mut journal = self.journal.borrow_mut();
        let is_kept = journal.length() + batch.length() <= Journal::LARGEST / 2;
        if is_kept {
            journal.append(batch).map_err(StoreError::on("use", &self.path))?;
        } else {
            journal.take(batch);
        }
        if is_kept && (journal.length() <= LONGEST_JOURNAL || !tree::has_room(&self.path, journal.length())) {
            return Ok(());
        }
        self.bulk.set(Bulk::Glance);
        match self.move_rows(&mut journal) {
            // the disk has become full meanwhile
            Err(StoreError::NoSpace { .. }) if is_kept => Ok(()),
            moved => moved,
        }
    }

    /// Moves the rows of the journal into the database. Killed before the end, this is done once more by the next transaction that writes
    /// much, to the same effect.
    pub(super) fn move_rows(&self, journal: &mut Journal) -> Result<(), StoreError> {
        let owned = |(row, value): (&[u8], Option<&[u8]>)| (row.to_vec(), value.map(<[u8]>::to_vec));
        let rows: Vec<_> = journal.rows(b"").map(owned).collect();
        self.run(move |tree| {
            let mut batch = sled::Batch::default();
            // records come before the rows of steps, so one that is written again stays
            for (row, value) in rows {
                let replaced = if row.starts_with(b"r") { tree.get(&row)? } else { None };
                replaced
                    .and_then(|old| row_of_step(&row, &old))
                    .into_iter()
                    .for_each(|row| batch.remove(row));
                match value {
                    Some(value) => batch.insert(row, value),
                    None => batch.remove(row),
                }
            }
            tree.apply_batch(batch)?;
            tree.flush()
        })?;
        // after a power cut they are here or there
        let on_disk = File::open(file(&self.path)).and_then(|file| file.sync_data());
        on_disk.map_err(StoreError::on("sync", &self.path))?;
        let contents = self.contents.replace(Contents::Unknown);
        let kept = match contents {
            Contents::Among(mut filter) => {
                let written = journal.rows(b"").filter(|(_, value)| value.is_some());
                written.for_each(|(row, _)| filter.note(Mark::of(row)));
                Some(filter).filter(|filter| !filter.is_full())
            }
            Contents::Nothing | Contents::Unknown => None,
        };
        let filter = kept.map_or_else(|| self.filter(), Ok)?;
        self.contents.replace(Contents::Among(filter));
        journal.clear().map_err(StoreError::on("use", &self.path))
    }

    /// A filter for what the database has.
    fn filter(&self) -> Result<Filter, StoreError> {
        let mark = |row: sled::Result<sled::IVec>| Ok(Mark::of(&row?));
        let marks = self.run(move |tree| tree.iter().keys().map(mark).collect::<sled::Result<Vec<_>>>())?;
        Ok(Filter::new(&self.path, &marks))
    }

    fn may_have(&self, row: &[u8]) -> bool {
        match &*self.contents.borrow() {
            Contents::Nothing => false,
            Contents::Among(filter) => filter.may_have(Mark::of(row)),
            Contents::Unknown => true,
        }
    }

    /// Runs `operation` on the database, which is opened for the first one.
    fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&sled::Db) -> sled::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.damage.borrow().is_some() {
            return Err(StoreError::IndexDamaged { path: self.path.clone() });
        }
        let opened = self.tree.borrow_mut().take().map_or_else(|| Tree::open(&self.path), Ok);
        let done = opened.and_then(|tree| {
            let done = tree.call(operation);
            // what does not answer any more is left to its thread
            if !matches!(done, Err(Failure::Stalled(_))) {
                self.tree.replace(Some(tree));
            }
            done
        });
        done.map_err(|failure| {
            if let Failure::Damaged(reason) = &failure {
                self.damage.replace(Some(reason.clone()));
            }
            failure.into_error(&self.path)
        })
    }

    /// Closes the database, and has the filter be right for its file as it is now. Returns what is damaged.
    fn close(self) -> Option<String> {
        if self.tree.borrow().is_some() && matches!(*self.contents.borrow(), Contents::Unknown) {
            // this once, so that the next transaction need not open it; damage is noted
            let _ = self.filter().map(|filter| self.contents.replace(Contents::Among(filter)));
        }
        let mut damage = self.damage.into_inner();
        let Some(tree) = self.tree.into_inner() else { return damage };
        if let Err(Failure::Damaged(reason)) = tree.close() {
            damage.get_or_insert(reason);
        }
        if let (None, Contents::Among(filter)) = (&damage, self.contents.into_inner())
            && let Ok(Some(stat)) = FileStat::at(&file(&self.path))
        {
            // without it the next transaction opens the database
            let _ = filter.save(&stat);
        }
        damage
    }
}

/// The file of the database in the directory of the index.
fn file(path: &Path) -> PathBuf {
    path.join("db")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;
    use std::collections::BTreeMap;

    type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    fn store(root: &Path) -> Store {
        Store::open(root, &Writer::Root, Clock::new(now)).unwrap()
    }

    /// A row of one of three steps.
    fn row(number: u64) -> Vec<u8> {
        let step = [b's'].into_iter().chain([number as u8 % 3; 32]);
        step.chain(number.to_be_bytes()).collect()
    }

    fn batch(numbers: std::ops::Range<u64>, value: &[u8]) -> Batch {
        let mut batch = Batch::default();
        numbers.for_each(|number| batch.insert(row(number), value));
        batch
    }

    fn stat(store: &Store) -> Option<FileStat> {
        FileStat::at(&file(&store.at("index"))).unwrap()
    }

    /// What the store says of all rows, and of the last ones of each step.
    fn assert_same(store: &Store, rows: &Rows) {
        let index = |database: &Database| {
            let mut found = Vec::new();
            database.scan(b"s", |row, value| found.push((row.to_vec(), value.to_vec())))?;
            assert!(
                found.iter().map(|(row, value)| (row, value)).eq(rows),
                "rows are missing or out of order"
            );
            for step in 0..3 {
                let prefix = &row(step)[..33];
                let last = rows.keys().rev().filter(|row| row.starts_with(prefix)).take(8);
                assert!(database.last(prefix, 8)?.iter().eq(last));
            }
            (0..600).step_by(7).try_for_each(|number| {
                assert_eq!(database.get(&row(number))?.as_ref(), rows.get(&row(number)));
                Ok(())
            })
        };
        store.with_database(index).unwrap();
    }

    #[test]
    fn rows_are_the_same_wherever_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let (store, mut rows) = (store(directory.path()), Rows::new());
        let (mut moved, mut random) = (0, 0x2545_f491_4f6c_dd1d_u64);
        for round in 0..60 {
            let (mut batch, before) = (Batch::default(), stat(&store));
            for _ in 0..12 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let row = row((random >> 33) % 600);
                if random >> 62 == 0 {
                    batch.remove(row.clone());
                    rows.remove(&row);
                } else {
                    let value = vec![round; 4000];
                    batch.insert(row.clone(), value.clone());
                    rows.insert(row, value);
                }
            }
            store.with_database(|database| database.apply(batch)).unwrap();
            moved += usize::from(stat(&store) != before);
            if round % 6 == 0 {
                assert_same(&store, &rows);
            }
        }
        assert!((2..20).contains(&moved), "rows were moved {moved} times");
        assert_same(&store, &rows);
        assert_eq!(store.take_warnings(), []);
    }

    #[test]
    fn what_is_not_there_opens_no_database() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let get = |number| store.with_database(|database| database.get(&row(number))).unwrap();
        assert_eq!((get(1), stat(&store)), (None, None));
        store.with_database(|database| database.apply(batch(0..300, &[7; 2000]))).unwrap();
        let before = stat(&store);
        assert!(before.is_some(), "that many rows are moved");
        let absent = [&[b'r'][..], &[9; 32]].concat();
        assert_eq!(store.with_database(|database| database.get(&absent)).unwrap(), None);
        assert_eq!(stat(&store), before);
        assert_eq!(get(5), Some(vec![7; 2000]));
    }

    #[test]
    fn what_a_version_without_a_journal_writes_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store.with_database(|database| database.apply(batch(0..300, &[7; 2000]))).unwrap();
        let path = store.at("index");
        let write = |number, value: &[u8]| {
            let (tree, value) = (Tree::open(&path).ok().unwrap(), value.to_vec());
            let written = tree.call(move |tree| tree.insert(row(number), value).and_then(|_| tree.flush()));
            written.ok().unwrap();
            tree.close().ok().unwrap();
        };
        write(2000, b"theirs");
        let get = |number| store.with_database(|database| database.get(&row(number))).unwrap();
        assert_eq!(get(2000).as_deref(), Some(&b"theirs"[..]));
        // now it is known again what the database has
        let known = Filter::read(&path, &stat(&store).unwrap()).unwrap();
        assert!(known.may_have(Mark::of(&row(2000))));
    }

    #[test]
    fn a_damaged_database_costs_no_row_of_the_journal() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        for name in ["index/snap.FFFFFFFFFFFFFFFF", "index/conf"] {
            store.with_database(|database| database.apply(batch(0..300, &[7; 2000]))).unwrap();
            store.with_database(|database| database.apply(batch(300..301, b"last"))).unwrap();
            let path = store.at(name);
            match std::fs::remove_file(&path) {
                Ok(()) => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                Err(_) => std::fs::write(&path, b"of nothing that ever was").unwrap(),
            }
            let get = |number| store.with_database(|database| database.get(&row(number)));
            assert!(matches!(get(5), Err(StoreError::IndexDamaged { .. })), "{name}");
            assert!(matches!(store.take_warnings()[..], [Warning::IndexReset { .. }]), "{name}");
            assert_eq!(get(5).unwrap(), None);
            assert_eq!(get(300).unwrap().as_deref(), Some(&b"last"[..]));
            assert_eq!(store.take_warnings(), []);
        }
    }
}
