//! How much room the files of the index take: sled frees little of what it has taken, so an index that takes much more than its rows is
//! written anew.

use super::{
    database::{Bulk, Contents, Database, LONGEST_JOURNAL, start_anew},
    journal::{Batch, Journal},
    record::row_of_step,
    tree::{self, Failure, Tree},
};
use crate::{
    StoreError,
    disk::{TemporarySpace, tree_size},
};
use std::collections::HashSet;

/// Bytes of the files below which they are never written anew.
const SMALL: u64 = 8 << 20;
/// How many times what its rows take an index may take.
const WASTE: u64 = 8;
/// The fewest bytes of a row, by and large: half of them are records.
const ROW: u64 = 1 << 10;

impl Database {
    /// Has the index written anew at the end of the transaction if its files take much more than its rows.
    pub(super) fn shrink_soon(&self) {
        self.bulk.set(Bulk::Look);
    }

    /// Writes the index anew if its files take much more than its rows: sled frees little of what it has taken. All rows are put into the
    /// journal, then the database is removed; killed in between, the journal has them.
    pub(super) fn shrink(&self, space: &TemporarySpace) -> Result<(), StoreError> {
        let taken = match self.bulk.get() {
            Bulk::Nothing => return Ok(()),
            Bulk::Glance | Bulk::Look => tree_size(&self.path),
        };
        let likely = match (self.bulk.get(), &*self.contents.borrow()) {
            (Bulk::Glance, Contents::Among(filter)) => filter.rows() * ROW,
            (Bulk::Glance | Bulk::Look | Bulk::Nothing, _) => 0,
        };
        let most = (taken / WASTE).min(Journal::LARGEST / 2);
        if taken <= SMALL || likely > most {
            return Ok(());
        }
        let (mut rows, mut bytes, mut of_records) = (Batch::default(), 0, HashSet::new());
        self.scan(b"", |row, value| {
            // records come before the rows of steps, of which some may be outdated
            match row.first() {
                Some(b'r') => of_records.extend(row_of_step(row, value)),
                Some(b's') if !of_records.contains(row) => return,
                Some(_) | None => {}
            }
            bytes += (row.len() + value.len()) as u64;
            if bytes <= most {
                rows.insert(row.to_vec(), value);
            }
        })?;
        if bytes > most || self.damage.borrow().is_some() {
            return Ok(());
        }
        let mut journal = self.journal.borrow_mut();
        journal.replace(space, rows)?;
        match self.tree.take().map(Tree::close) {
            Some(Err(Failure::Damaged(reason))) => {
                self.damage.replace(Some(reason));
                return Ok(());
            }
            Some(Err(Failure::System(_) | Failure::Stalled(_))) => return Ok(()),
            Some(Ok(())) | None => {}
        }
        if !tree::is_left(&self.path) {
            return Ok(());
        }
        start_anew(&self.path)?;
        self.contents.replace(Contents::Nothing);
        if journal.length() > LONGEST_JOURNAL && tree::has_room(&self.path, journal.length()) {
            self.move_rows(&mut journal)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, Writer};
    use rbuild_oci::Clock;
    use rbuild_testkit::now;

    fn row(number: u32) -> Vec<u8> {
        [&[b'f'; 33][..], &number.to_be_bytes()].concat()
    }

    #[test]
    fn an_index_that_takes_much_more_than_its_rows_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &Writer::Root, Clock::new(now)).unwrap();
        let size = || tree_size(&store.at("index"));
        let write = |count, value: &[u8]| {
            let mut batch = Batch::default();
            (0..count).for_each(|number| batch.insert(row(number), value));
            store.with_database(|database| database.apply(batch)).unwrap();
        };
        let mut largest = 0;
        for round in 0..60 {
            write(20, &vec![round; 40_000]);
            largest = largest.max(size());
        }
        assert!(largest < 24 << 20, "{largest} bytes of 800,000");
        write(400, &[1; 40_000]);
        write(400, b"short");
        assert!(size() > SMALL, "of many rows much is left");
        let collect = |database: &Database| {
            database.shrink_soon();
            Ok(())
        };
        store.with_database(collect).unwrap();
        assert!(size() < LONGEST_JOURNAL, "{} bytes", size());
        let get = |number| store.with_database(|database| database.get(&row(number))).unwrap();
        assert!((0..400).all(|number| get(number).as_deref() == Some(b"short")) && get(400).is_none());
        assert_eq!(store.take_warnings(), []);
    }
}
