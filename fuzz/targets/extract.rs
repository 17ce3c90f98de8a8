//! Any bytes as an archive that is a build context, unpacked for real: nothing is made but below its own directory, what stands
//! beside the store stays as it is, and nothing is left once the files are dropped. Headers get the checksum they should have, in
//! a second try.

#![no_main]

use rbuild_cache::{Cancel, Store, Writer};
use rbuild_oci::Clock;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Seek, Write},
    os::unix::fs::{MetadataExt, symlink},
    path::PathBuf,
    sync::LazyLock,
    time::SystemTime,
};

/// Where a header has its checksum, and the name of its format (ustar).
const CHECKSUM: std::ops::Range<usize> = 148..156;
const MAGIC: std::ops::Range<usize> = 257..262;

/// A store, and beside it what archives would like to reach.
struct Place {
    root: PathBuf,
    store: Store,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let root = PathBuf::from(format!("/tmp/rbuild-fuzz-extract-{}", std::process::id()));
    fs::create_dir_all(root.join("bait")).expect("a temporary directory");
    fs::write(root.join("bait/secret"), "hidden").expect("a file");
    symlink("bait", root.join("link")).expect("a link");
    let user = fs::metadata(&root).expect("it is there").uid();
    assert_eq!(user, 0, "archives have owners: run this target as root, or below `unshare -r`");
    let store = Store::open(&root.join("store"), &Writer::Root, Clock::new(|| SystemTime::UNIX_EPOCH))
        .expect("a store");
    Place { root, store }
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    unpack(bytes);
    let mut summed = bytes.to_vec();
    for block in summed.chunks_exact_mut(512) {
        if &block[MAGIC] == b"ustar" {
            block[CHECKSUM].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    if summed != bytes {
        unpack(&summed);
    }
});

fn unpack(bytes: &[u8]) {
    let Place { root, store } = &*PLACE;
    let path = root.join("archive");
    let mut file =
        File::options().create(true).truncate(true).read(true).write(true).open(&path).expect("a file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("it can be written");
    let unpacked = rbuild_executor::unpack_context(store, file, SystemTime::UNIX_EPOCH, &Cancel::default());
    drop(unpacked);
    let names: BTreeSet<_> =
        fs::read_dir(root).expect("it is there").map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(names.iter().eq(["archive", "bait", "link", "store"]), "{names:?}");
    assert_eq!(fs::read(root.join("bait/secret")).expect("it is there"), b"hidden");
    assert_eq!(fs::read_dir(root.join("bait")).expect("it is there").count(), 1);
    assert_eq!(
        fs::metadata(root.join("bait/secret")).expect("it is there").nlink(),
        1,
        "it has no other name"
    );
    let left = fs::read_dir(store.root().join("tmp")).expect("a store has it");
    let below = left.flat_map(|owner| fs::read_dir(owner.expect("an entry").path()).expect("a directory"));
    assert_eq!(below.count(), 0, "what was unpacked goes");
}
