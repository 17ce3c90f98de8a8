//! Long files are created with the others and filled last, on several threads.

use crate::counted::copied;
use rbuild_cache::{Store, Writer};
use rbuild_oci::Clock;
use rbuild_testkit::now;
use rustix::fs::{Timespec, Timestamps, futimens};
use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

const LENGTH: u64 = (4 << 20) + 1;

/// A file that is `LENGTH` bytes long and ends in `number`.
fn long(path: &Path, number: u8) {
    let mut file = File::create(path).unwrap();
    file.seek(SeekFrom::Start(LENGTH - 1)).unwrap();
    file.write_all(&[number]).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
    let time = Timespec { tv_sec: 1_000 + i64::from(number), tv_nsec: 5 };
    futimens(&file, &Timestamps { last_access: time, last_modification: time }).unwrap();
}

#[track_caller]
fn is_copied(path: &Path, number: u8) {
    let metadata = fs::metadata(path).unwrap();
    let time = (metadata.mtime(), metadata.mtime_nsec());
    let found = (metadata.len(), metadata.mode() & 0o7777, metadata.uid(), time);
    assert_eq!(found, (LENGTH, 0o640, 0, (1_000 + i64::from(number), 5)), "{}", path.display());
    let content = fs::read(path).unwrap();
    assert!(content.last() == Some(&number) && content[..LENGTH as usize - 1].iter().all(|byte| *byte == 0));
}

#[test]
fn long_files_are_whole_however_many_there_are_and_wherever_they_come_from() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store"), &Writer::Root, Clock::new(now)).unwrap();
    let context = directory.path().join("context");
    fs::create_dir_all(context.join("tree/below")).unwrap();
    // more than are open at once
    for number in 0..70 {
        long(&context.join(format!("tree/{number}")), number);
    }
    fs::hard_link(context.join("tree/0"), context.join("tree/below/same")).unwrap();
    for (name, number) in [("one", 101), ("two", 102), ("tree/below/two", 103)] {
        long(&context.join(name), number);
    }
    let draft = copied(&store, &context, &["one", "two", "tree", "tree/below/two"]);
    let to = draft.fs().join("to");
    for number in 0..70 {
        is_copied(&to.join(number.to_string()), number);
    }
    is_copied(&to.join("below/same"), 0);
    assert_eq!(fs::metadata(to.join("0")).unwrap().nlink(), 2);
    is_copied(&to.join("one"), 101);
    // the last source replaces what the second one has made
    is_copied(&to.join("two"), 103);
    is_copied(&to.join("below/two"), 103);
}
