//! Fills the index of a store with records like those that it has, to measure what a large index costs: copies under keys that no
//! step has, of the steps and layers of the store's own records, whose times lie before theirs.
//!
//!     cargo run --release -p rbuild-bench --example grow_index STORE COUNT

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use rbuild_cache::{CacheKey, CacheRecord, KeyBuilder, StepHash, Store, Writer};
use rbuild_oci::{Clock, Timestamp};
use std::{error::Error, path::Path};

/// Records of one transaction.
const AT_ONCE: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(store), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: grow_index STORE COUNT".into());
    };
    let count: usize = count.parse()?;
    let store = Store::open(Path::new(&store), &Writer::Root, Clock::new(rbuild_testkit::now))?;
    let own = store.index(|index| Ok(index.records()))?;
    if own.is_empty() {
        return Err("the store has no records: build something in it first".into());
    }
    for first in (0..count).step_by(AT_ONCE) {
        let numbers = first..count.min(first + AT_ONCE);
        let records: Vec<_> = numbers.map(|number| copy(&own[number % own.len()].1, number)).collect();
        store.index(|index| index.put_records(&records))?;
    }
    println!("{} records", store.index(|index| Ok(index.records().len()))?);
    Ok(())
}

/// A record of a step that never was, like `record`.
fn copy(record: &CacheRecord, number: usize) -> (CacheKey, CacheRecord) {
    let fact =
        |what: &str| *KeyBuilder::new(what).field("number", number.to_string()).finish_fact().as_bytes();
    let step = StepHash::from_bytes(fact("step"));
    let created = Timestamp::from_seconds(record.created.seconds() - 1 - number as i64);
    let created = created.unwrap_or(record.created);
    (CacheKey::from_bytes(fact("key")), CacheRecord { step, created, ..record.clone() })
}
