//! What a collection takes and what it leaves.

use crate::fixture::{
    child, container, image, layer, layer_with, mount_spec, now, parent, record, store, tag,
};
use rbuild_cache::{
    Budget, CacheKey, Cancel, Effect, EvictedBy, ImagePrune, LayerId, LayerMeta, LayerSource, Limit, Lookup,
    Miss, MountPrune, MountSharing, PruneOptions, RecordPrune, Store,
};
use rbuild_oci::Digest;
use std::{
    fs,
    process::{Child, Command},
    str::FromStr,
    sync::mpsc::channel,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// The space that a layer takes on the disk, by du.
fn disk_bytes(store: &Store, layer: &LayerId) -> u64 {
    let directory = store.layer_fs(layer).parent().unwrap().to_owned();
    let output = Command::new("du").args(["-s", "--block-size=1"]).arg(directory).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn collection_keeps_what_is_needed_and_explains_what_is_not() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let [base, app, loose, held, contained, garbage] =
        ["base", "app", "loose", "held", "contained", "garbage"].map(|name| layer(&store, &lease, name));
    let tagged = image(&store, "tagged", &[base, app]);
    tag(&store, "app", &tagged);
    let dangling = image(&store, "dangling", &[base]);
    store.container("c1").write(&container("c1", &[contained])).unwrap();
    let records =
        [record(app, &[base], "app"), record(loose, &[base], "loose"), record(held, &[base], "held")];
    store.index(|index| index.put_records(&records)).unwrap();
    let junk = store.put_blob(b"junk").unwrap();

    // everything is young and leased: nothing goes
    let report =
        store.prune(&PruneOptions { images: ImagePrune::Dangling, ..PruneOptions::default() }).unwrap();
    assert_eq!((report.layers.len(), report.images.len(), report.blobs), (0, 0, 0));

    drop(lease);
    std::thread::sleep(Duration::from_millis(20));
    let lease = store.lease().unwrap();
    assert!(lease.hold(&[held], &[]).unwrap().is_empty());
    let [unused, busy] = ["unused", "busy"].map(|id| {
        store.cache_mount(&mount_spec(id), MountSharing::Shared, &Cancel::default()).unwrap().unwrap()
    });
    let unused_id = unused.path().parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    drop(unused);
    let options = PruneOptions {
        records: RecordPrune::Unused,
        images: ImagePrune::Dangling,
        mounts: MountPrune::Unused,
        ..PruneOptions::default()
    };
    let report = store.prune(&options).unwrap();
    assert_eq!(report.images, [dangling.id]);
    assert_eq!(report.mounts.iter().map(|mount| &mount.directory).collect::<Vec<_>>(), [&unused_id]);
    assert_eq!(report.mounts[0].id, "unused");
    assert!(busy.path().is_dir());
    assert_eq!(report.blobs, 2, "the junk and the dangling image's config");
    assert!(!store.has_blob(&junk, 4));
    assert_eq!(report.records.len(), 1);
    let mut gone = [loose, garbage];
    let mut removed = report.layers.clone();
    gone.sort();
    removed.sort();
    assert_eq!(removed, gone);
    for kept in [base, app, held, contained] {
        assert!(store.has_layer(&kept));
    }
    let lookups = store.index(|index| Ok(records.each_ref().map(|(key, _)| index.lookup(key)))).unwrap();
    assert!(matches!(&lookups[0], Lookup::Hit(_)) && matches!(&lookups[2], Lookup::Hit(_)));
    assert!(matches!(&lookups[1], Lookup::Miss(Miss::Evicted(record))
        if record.evicted.is_some() && record.evicted_by == Some(EvictedBy::Prune)));
    assert_eq!(store.reference(&"app".parse().unwrap()).unwrap().unwrap().image, tagged.id);

    drop(lease);
    let options = PruneOptions { images: ImagePrune::Unused, ..options };
    let report = store.prune(&options).unwrap();
    assert_eq!((report.images, report.references.len()), (vec![tagged.id], 1));
    assert!(store.has_layer(&contained) && !store.has_layer(&app));
}

#[test]
fn usage_counts_what_is_on_the_disk() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let [base, contained, garbage] = ["base", "contained", "garbage"].map(|name| layer(&store, &lease, name));
    let app = layer_with(&store, &lease, |fs| {
        fs::write(fs.join("large"), vec![1; 100_000]).unwrap();
        fs::hard_link(fs.join("large"), fs.join("link")).unwrap();
    });
    let loose = layer_with(&store, &lease, |fs| {
        fs::File::create(fs.join("sparse")).unwrap().set_len(1 << 30).unwrap();
    });
    let tagged = image(&store, "tagged", &[base, app]);
    image(&store, "other", &[base]);
    store.container("c1").write(&container("c1", &[contained])).unwrap();
    store.index(|index| index.put_records(&[record(loose, &[base], "loose")])).unwrap();
    let size = |layers: &[LayerId]| layers.iter().map(|layer| disk_bytes(&store, layer)).sum::<u64>();
    let sizes = [[garbage].as_slice(), &[loose], &[base, app, contained], &[base, app], &[base]].map(size);
    // the second time measured, as layers of early versions are
    for measured in [false, true] {
        for layer in [base, app, loose, contained, garbage].iter().filter(|_| measured) {
            let meta = LayerMeta { disk_bytes: None, ..store.layer_meta(layer).unwrap() };
            store.update_layer_meta(layer, &meta).unwrap();
        }
        let usage = store.usage().unwrap();
        let of_tagged = usage.images.iter().find(|image| image.id == tagged.id).unwrap();
        let (of_image, shared) = (of_tagged.size_bytes, of_tagged.shared_bytes);
        assert_eq!(of_tagged.unique_bytes(), of_image - shared);
        assert_eq!([usage.garbage_bytes, usage.record_bytes, usage.image_bytes, of_image, shared], sizes);
    }
}

#[test]
fn a_size_limit_takes_the_oldest_and_the_upper_ends_of_chains_first() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let old: Vec<LayerId> = (0..3).map(|_| layer(&store, &lease, "0123456789")).collect();
    let new: Vec<LayerId> = (0..3).map(|_| layer(&store, &lease, "0123456789")).collect();
    drop(lease);
    let chain = |layers: &[LayerId], name: &str| {
        (0..3).map(|n| record(layers[n], &layers[..n], &format!("{name}{n}"))).collect::<Vec<_>>()
    };
    store.index(|index| index.put_records(&chain(&old, "old"))).unwrap();
    store.index(|index| index.put_records(&chain(&new, "new"))).unwrap();
    let one = disk_bytes(&store, &old[0]);
    let options = PruneOptions {
        records: RecordPrune::Unused,
        limit: Some(Limit::Within(Budget { max_used_space: Some(one * 4 + one / 2), ..Budget::default() })),
        ..PruneOptions::default()
    };
    let only_told = store.prune(&PruneOptions { effect: Effect::Report, ..options.clone() }).unwrap();
    assert!(old.iter().chain(&new).all(|layer| store.has_layer(layer)), "a dry run takes nothing");
    let report = store.prune(&options).unwrap();
    let mut gone = report.layers.clone();
    gone.sort();
    let mut expected = vec![old[1], old[2]];
    expected.sort();
    assert_eq!(gone, expected, "the old chain's upper two");
    assert_eq!((only_told.layers.len(), only_told.freed_bytes), (2, one * 2), "a dry run says what goes");
    assert!(report.freed_bytes >= one * 2 && report.freed_bytes < one * 4, "{}", report.freed_bytes);
}

#[test]
#[ignore = "a part of the test below, run in a child process"]
fn child_that_collects() {
    let (store, word) = parent();
    let keep_all = Limit::Within(Budget { max_used_space: Some(u64::MAX), ..Budget::default() });
    let limit = (word == "measure").then_some(keep_all);
    store.prune(&PruneOptions { records: RecordPrune::Unused, limit, ..PruneOptions::default() }).unwrap();
}

/// A store and a collection of it that stands still while it has a directory open of which the path has `walked` in it; the key of a
/// record. `None` when the collection was too fast to be caught.
fn stopped_collection(word: &str, walked: &str) -> Option<(TempDir, Store, CacheKey, Child)> {
    let (directory, store) = store();
    let lease = store.lease().unwrap();
    for number in 0..20 {
        let draft = store.new_layer().unwrap();
        (0..1000).for_each(|file| fs::write(draft.fs().join(file.to_string()), "").unwrap());
        let layer = draft.commit(&lease, &LayerMeta::new(now(), LayerSource::Own)).unwrap();
        // as early versions have left it
        let meta = LayerMeta { disk_bytes: None, ..store.layer_meta(&layer).unwrap() };
        store.update_layer_meta(&layer, &meta).unwrap();
        store.index(|index| index.put_records(&[record(layer, &[], &number.to_string())])).unwrap();
    }
    drop(lease);
    let key = record(LayerId::from_str("0123456789abcdef").unwrap(), &[], "0").0;
    let mut collection = child("collection::child_that_collects", store.root(), word);
    let pid = collection.id().to_string();
    while collection.try_wait().unwrap().is_none() {
        if has_open(&pid, walked) {
            signal(&pid, "-STOP");
            if has_open(&pid, walked) {
                return Some((directory, store, key, collection));
            }
            signal(&pid, "-CONT");
        }
    }
    None
}

fn signal(pid: &str, name: &str) {
    assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
}

#[test]
fn builds_go_on_while_layers_are_measured_and_removed() {
    for (word, walked) in [("measure", "/layers/"), ("remove", "/gone-")] {
        let caught = (0..5).find_map(|_| stopped_collection(word, walked));
        let (_directory, store, key, mut collection) = caught.expect("a collection that can be caught");
        let (sender, looked_up) = channel();
        let waiting = thread::spawn(move || {
            let lease = store.lease().unwrap();
            let lookup = store.index(|index| Ok(index.lookup(&key))).unwrap();
            assert!(lease.hold(&[], &[Digest::of(b"missing")]).unwrap().layers.is_empty());
            let _ = sender.send(lookup);
        });
        let lookup = looked_up.recv_timeout(Duration::from_secs(20));
        signal(&collection.id().to_string(), "-CONT");
        assert!(collection.wait().unwrap().success());
        waiting.join().unwrap();
        let found = matches!(lookup.expect(word), Lookup::Hit(_));
        assert_eq!(found, word == "measure", "{word}: before or after the records go");
    }
}

fn has_open(pid: &str, part: &str) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let path = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    entries.flatten().filter_map(path).any(|path| path.to_string_lossy().contains(part))
}

#[test]
fn the_parts_of_a_removed_image_go_and_nothing_else() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let [shared, own, cached, garbage] =
        ["shared", "own", "cached", "garbage"].map(|name| layer(&store, &lease, name));
    let (gone, kept) =
        (image(&store, "gone", &[shared, cached, own]), image(&store, "kept", &[shared, cached]));
    store.index(|index| index.put_records(&[record(cached, &[shared], "cached")])).unwrap();
    let [manifest, junk] = [b"manifest".as_slice(), b"junk"].map(|bytes| store.put_blob(bytes).unwrap());
    drop(lease);
    store.remove_image(&gone.id).unwrap();
    let report = store.remove_parts(&gone, &[manifest]).unwrap();
    assert_eq!(
        (report.layers.as_slice(), report.blobs),
        ([own].as_slice(), 2),
        "its config and its manifest"
    );
    assert!(report.freed_bytes > 0 && report.records.is_empty());
    for (layer, stays) in [(shared, true), (cached, true), (own, false), (garbage, true)] {
        assert_eq!(store.has_layer(&layer), stays);
    }
    assert!(store.has_blob(&junk, 4) && !store.has_blob(&manifest, 8));
    // with the other image, what the cache has stays
    store.remove_image(&kept.id).unwrap();
    assert!(store.remove_parts(&kept, &[]).unwrap().layers.is_empty());
    assert!(store.has_layer(&cached) && store.has_layer(&shared), "the record stands on it");
}
