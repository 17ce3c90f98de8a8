//! What a collection takes and what it leaves.

use crate::fixture::{image, layer, record, store, tag};
use rbuild_cache::{ContainerUse, ImagePrune, LayerId, Lookup, Miss, MountPrune, PruneOptions, RecordPrune};
use std::{fs, time::Duration};

#[test]
fn collection_keeps_what_is_needed_and_explains_what_is_not() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let [base, app, loose, held, contained, garbage] =
        ["base", "app", "loose", "held", "contained", "garbage"].map(|name| layer(&store, &lease, name));
    let tagged = image(&store, "tagged", &[base, app]);
    tag(&store, "app", &tagged);
    let dangling = image(&store, "dangling", &[base]);
    let uses = ContainerUse { image: None, layers: vec![contained] };
    store.set_container_use("c1", &uses).unwrap();
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
    let usage = store.usage().unwrap();
    assert_eq!(usage.garbage_bytes, "garbage".len() as u64);
    assert_eq!(usage.record_bytes, "looseheld".len() as u64);
    assert_eq!(usage.image_bytes, "baseappcontained".len() as u64);
    let of_tagged = usage.images.iter().find(|image| image.id == tagged.id).unwrap();
    assert_eq!((of_tagged.size_bytes, of_tagged.shared_bytes, of_tagged.unique_bytes()), (7, 4, 3));

    fs::create_dir(store.mounts_dir().join("m1")).unwrap();
    fs::create_dir(store.mounts_dir().join("m2")).unwrap();
    let _busy = store.use_mount("m2").unwrap();
    let options = PruneOptions {
        records: RecordPrune::Unused,
        images: ImagePrune::Dangling,
        mounts: MountPrune::Unused,
        ..PruneOptions::default()
    };
    let report = store.prune(&options).unwrap();
    assert_eq!(report.images, [dangling.id]);
    assert_eq!(report.mounts, ["m1"]);
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
    assert!(matches!(&lookups[1], Lookup::Miss(Miss::Evicted(record)) if record.evicted.is_some()));
    assert_eq!(store.reference(&"app".parse().unwrap()).unwrap().unwrap().image, tagged.id);

    drop(lease);
    let options = PruneOptions { images: ImagePrune::Unused, ..options };
    let report = store.prune(&options).unwrap();
    assert_eq!((report.images, report.references.len()), (vec![tagged.id], 1));
    assert!(store.has_layer(&contained) && !store.has_layer(&app));
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
    let options =
        PruneOptions { records: RecordPrune::Unused, keep_bytes: Some(45), ..PruneOptions::default() };
    let report = store.prune(&options).unwrap();
    let mut gone = report.layers.clone();
    gone.sort();
    let mut expected = vec![old[1], old[2]];
    expected.sort();
    assert_eq!(gone, expected, "the old chain's upper two");
    assert_eq!(report.freed_bytes, 20);
}
