//! Making room: what goes, what stays, and what the store says it takes.

use crate::fixture::{image, layer_with, mount_spec, record, store, tag};
use rbuild_cache::{
    Budget, CacheKey, CacheRecord, Cancel, EvictedBy, LayerId, Lease, Lookup, Miss, MountSharing, Room, Store,
};
use std::{fs, path::Path};

const KIB: u64 = 1024;

/// A layer of a file with so many KiB.
fn large(store: &Store, lease: &Lease, kib: u64) -> LayerId {
    layer_with(store, lease, |fs| fs::write(fs.join("file"), vec![1; (kib * KIB) as usize]).unwrap())
}

fn took(milliseconds: u64, (key, record): (CacheKey, CacheRecord)) -> (CacheKey, CacheRecord) {
    (key, CacheRecord { duration_ms: milliseconds, ..record })
}

fn at_most(kib: u64) -> Budget {
    Budget { max_used_space: Some(kib * KIB), ..Budget::default() }
}

fn make_room(store: &Store, budget: Budget, expected: u64) -> Room {
    store.clone().within(budget).make_room(expected).unwrap()
}

/// Bytes that du finds in what counts.
fn disk_bytes(store: &Store) -> u64 {
    let size = |path: &Path| {
        let output =
            std::process::Command::new("du").args(["-s", "--block-size=1"]).arg(path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let entries = |name: &str| fs::read_dir(store.root().join(name)).unwrap();
    ["layers", "blobs/sha256", "mounts"]
        .into_iter()
        .flat_map(entries)
        .map(|entry| size(&entry.unwrap().path()))
        .sum()
}

#[test]
fn what_is_cheap_to_make_again_goes_first_and_says_why() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let [cheap, dear, named] = [(); 3].map(|()| large(&store, &lease, 400));
    let records = [
        took(60_000, record(dear, &[], "dear")),
        took(40, record(cheap, &[], "cheap")),
        took(10, record(named, &[], "named")),
    ];
    tag(&store, "app", &image(&store, "app", &[named]));
    store.index(|index| index.put_records(&records)).unwrap();
    drop(lease);
    assert_eq!(store.used_bytes().unwrap(), disk_bytes(&store));

    let enough = make_room(&store, at_most(4000), 0);
    assert_eq!((enough.made, enough.lacking), (None, 0));
    let expected = make_room(&store, at_most(1300), 300 * KIB);
    assert_eq!(expected.made.unwrap().layers, [cheap], "room for what comes");
    assert_eq!(store.used_bytes().unwrap(), disk_bytes(&store));
    let lookup = store.index(|index| Ok(index.lookup(&records[1].0))).unwrap();
    let Lookup::Miss(Miss::Evicted(evicted)) = lookup else { panic!("{lookup:?}") };
    assert_eq!(evicted.evicted_by, Some(EvictedBy::MaxUsedSpace));

    let too_small = make_room(&store, at_most(100), 0);
    assert!(store.has_layer(&named) && !store.has_layer(&dear), "an image is needed");
    assert_eq!(too_small.lacking, store.used_bytes().unwrap() - 100 * KIB);
}

#[test]
fn the_reserved_part_and_what_a_build_holds_stay() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let [held, first, second] = [(); 3].map(|()| large(&store, &lease, 400));
    let records = [
        took(1, record(held, &[], "held")),
        took(5, record(first, &[], "first")),
        took(5000, record(second, &[], "second")),
    ];
    store.index(|index| index.put_records(&records)).unwrap();
    drop(lease);
    let building = store.lease().unwrap();
    assert!(building.hold(&[held], &[]).unwrap().is_empty());
    let floor = Budget { max_used_space: Some(0), min_free_space: None, reserved_space: Some(900 * KIB) };
    assert_eq!(make_room(&store, floor, 0).made.unwrap().layers, [first]);
    // so much can never be free
    let none_free = Budget { min_free_space: Some(u64::MAX / 4), ..Budget::default() };
    assert_eq!(make_room(&store, none_free, 0).made.unwrap().layers, [second]);
    let lookup = store.index(|index| Ok(index.lookup(&records[2].0))).unwrap();
    assert!(matches!(lookup, Lookup::Miss(Miss::Evicted(record))
        if record.evicted_by == Some(EvictedBy::MinFreeSpace)));
    assert!(store.has_layer(&held));
}

#[test]
fn images_whose_names_moved_on_go_and_others_without_a_name_stay() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let layers = [(); 3].map(|()| large(&store, &lease, 100));
    let [replaced, current, never_named] = [0, 1, 2].map(|n| image(&store, &n.to_string(), &[layers[n]]));
    tag(&store, "app", &replaced);
    tag(&store, "app", &current);
    drop(lease);
    let room = make_room(&store, at_most(10), 0);
    assert_eq!(room.made.unwrap().images, [replaced.id]);
    assert_eq!(layers.map(|layer| store.has_layer(&layer)), [false, true, true]);
    assert!(store.image(&never_named.id).unwrap().is_some());
}

#[test]
fn a_cache_mount_counts_as_much_as_it_had_when_it_was_measured() {
    let (_directory, store) = store();
    let spec = mount_spec("cargo");
    let mount = store.cache_mount(&spec, MountSharing::Shared, &Cancel::default()).unwrap().unwrap();
    let empty = store.used_bytes().unwrap();
    fs::write(mount.path().join("crate"), vec![1; 300_000]).unwrap();
    assert_eq!(store.used_bytes().unwrap(), empty, "nothing is walked to see whether there is room");
    assert!(store.measure_mount(&spec).unwrap() >= 300_000);
    assert_eq!(store.used_bytes().unwrap(), disk_bytes(&store));
    let room = make_room(&store, at_most(100), 0);
    assert!(room.made.unwrap().mounts.is_empty() && mount.path().exists(), "a step uses it");
    drop(mount);
    let room = make_room(&store, at_most(50), 0);
    assert_eq!(room.made.unwrap().mounts[0].id, "cargo");
    assert_eq!(store.mount_usage().unwrap(), []);
}

#[test]
fn layers_that_link_to_each_other_count_once() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    assert_eq!(store.used_bytes().unwrap(), 0);
    let first = large(&store, &lease, 500);
    let second = layer_with(&store, &lease, |fs| {
        fs::hard_link(store.layer_fs(&first).join("file"), fs.join("linked")).unwrap();
    });
    assert_eq!(store.used_bytes().unwrap(), disk_bytes_once(&store));
    let records = [took(1, record(first, &[], "first")), took(90_000, record(second, &[], "second"))];
    store.index(|index| index.put_records(&records)).unwrap();
    drop(lease);
    let room = make_room(&store, at_most(510), 0);
    assert!(room.made.unwrap().layers.contains(&first));
    assert_eq!(store.used_bytes().unwrap(), disk_bytes_once(&store), "the other one has the file now");
    store.prune(&Default::default()).unwrap();
    assert_eq!(store.used_bytes().unwrap(), disk_bytes_once(&store), "counted anew");
}

/// As [`disk_bytes`], with links between layers counted once.
fn disk_bytes_once(store: &Store) -> u64 {
    let layers = store.root().join("layers");
    let output =
        std::process::Command::new("du").args(["-s", "--block-size=1"]).arg(&layers).output().unwrap();
    let all: u64 =
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    all - std::os::unix::fs::MetadataExt::blocks(&fs::metadata(layers).unwrap()) * 512
}

#[test]
fn a_prune_counts_anew_what_a_killed_process_did_not_count() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    store.used_bytes().unwrap();
    tag(&store, "app", &image(&store, "app", &[large(&store, &lease, 50)]));
    fs::write(store.root().join("usage"), "7 0\n").unwrap();
    assert_eq!(store.used_bytes().unwrap(), 7);
    drop(lease);
    store.prune(&Default::default()).unwrap();
    assert_eq!(store.used_bytes().unwrap(), disk_bytes(&store));
    fs::write(store.root().join("usage"), "noise").unwrap();
    assert_eq!(store.used_bytes().unwrap(), disk_bytes(&store));
}
