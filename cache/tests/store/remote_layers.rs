//! Layers that are known and elsewhere: held, kept and collected like others, and filled once.

use crate::fixture::{image, layer, now, record, store};
use rbuild_cache::{
    FoundIn, LayerId, LayerMeta, LayerOrigin, LayerSource, Lease, Lookup, PruneOptions, RecordPrune,
    RemoteLayer, Store, StoreError, Writer,
};
use rbuild_oci::{Clock, Compression, Descriptor, DiffId, Digest, MediaType};
use std::fs;

fn remote(text: &str) -> RemoteLayer {
    let blob = Descriptor::new(MediaType::OciLayer(Compression::Gzip), Digest::of(text.as_bytes()), 7);
    let diff_id = DiffId::from_digest(Digest::of(format!("tar of {text}").as_bytes()));
    let origin = LayerOrigin::Registry("registry.test/base:1".parse().unwrap());
    RemoteLayer { blob, diff_id, origin, found_in: FoundIn::Image }
}

fn elsewhere(store: &Store, lease: &Lease, text: &str) -> LayerId {
    store.add_remote_layer(lease, remote(text)).unwrap()
}

/// Makes `text` the content of the layer's only file.
fn fill(store: &Store, layer: &LayerId, text: &str) {
    let draft = store.new_layer().unwrap();
    fs::write(draft.fs().join("file"), text).unwrap();
    fs::create_dir(draft.fs().parent().unwrap().join("lost")).unwrap();
    let lock = store.try_lock_layer(layer).unwrap().unwrap();
    let source = LayerSource::Blob(store.remote_layer(layer).unwrap().unwrap().blob);
    let filled = draft.fill(lock, &LayerMeta::new(now(), source)).unwrap();
    assert!(store.remote_layer(layer).unwrap().is_some(), "it counts when it is finished");
    store.sync().unwrap();
    assert_eq!(filled.finish().unwrap(), *layer);
}

#[test]
fn a_layer_that_is_elsewhere_is_known_and_is_filled_under_its_own_name() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let id = elsewhere(&store, &lease, "x");
    assert!(store.has_layer(&id) && lease.hold(&[id], &[]).unwrap().is_empty());
    assert!(!store.layer_fs(&id).exists());
    assert_eq!(store.remote_layer(&id).unwrap(), Some(remote("x")));
    assert_eq!(store.layer_meta(&id).unwrap().diff_id, Some(remote("x").diff_id));
    let own = layer(&store, &lease, "own");
    assert_eq!(store.remote_layer(&own).unwrap(), None);

    fill(&store, &id, "content");
    assert_eq!(store.remote_layer(&id).unwrap(), None);
    assert_eq!(store.layer_meta(&id).unwrap().source, LayerSource::Blob(remote("x").blob));
    assert_eq!(fs::read_to_string(store.layer_fs(&id).join("file")).unwrap(), "content");
    assert!(store.layer_fs(&id).parent().unwrap().join("lost").exists());
    assert_eq!(fs::read_dir(store.root().join("locks/layers")).unwrap().count(), 0);
}

#[test]
fn one_fetch_has_a_layer_at_a_time_and_may_say_where_it_is() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let id = elsewhere(&store, &lease, "x");
    let lock = store.try_lock_layer(&id).unwrap().unwrap();
    assert!(store.try_lock_layer(&id).unwrap().is_none());
    let moved =
        RemoteLayer { origin: LayerOrigin::Registry("mirror.test/base:1".parse().unwrap()), ..remote("x") };
    store.set_remote_layer(&lock, moved.clone()).unwrap();
    assert_eq!(store.remote_layer(&id).unwrap(), Some(moved));
    drop(lock);
    assert!(store.try_lock_layer(&id).unwrap().is_some());
}

#[test]
fn what_a_killed_fetch_left_counts_for_nothing() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let id = elsewhere(&store, &lease, "x");
    let draft = store.new_layer().unwrap();
    fs::write(draft.fs().join("half"), "").unwrap();
    fs::create_dir(draft.fs().parent().unwrap().join("lost")).unwrap();
    fs::write(draft.fs().parent().unwrap().join("lost/0"), "").unwrap();
    let lock = store.try_lock_layer(&id).unwrap().unwrap();
    let source = LayerSource::Blob(remote("x").blob);
    // killed here, its description would be swept with its temporary files
    drop(draft.fill(lock, &LayerMeta::new(now(), source)).unwrap());
    assert!(store.layer_fs(&id).join("half").exists() && store.remote_layer(&id).unwrap().is_some());
    store.usage().unwrap();

    fill(&store, &id, &"content".repeat(10_000));
    let names = fs::read_dir(store.layer_fs(&id)).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["file"]);
    assert!(!store.layer_fs(&id).parent().unwrap().join("lost/0").exists());
    let usage = store.usage().unwrap();
    assert!(usage.layers[0].size_bytes > 60_000, "it is measured again: {:?}", usage.layers);
}

#[test]
fn a_layer_that_is_elsewhere_stays_while_it_is_needed_and_takes_no_room() {
    let (_directory, store) = store();
    let (of_image, of_record, blob, _loose) = {
        let lease = store.lease().unwrap();
        let blob = store.put_blob(b"kept for later").unwrap();
        let kept = Descriptor::new(MediaType::OciLayer(Compression::Gzip), blob, 14);
        let of_image = store.add_remote_layer(&lease, RemoteLayer { blob: kept, ..remote("i") }).unwrap();
        image(&store, "base", &[of_image]);
        let of_record = elsewhere(&store, &lease, "r");
        let (key, made) = record(layer(&store, &lease, "own"), &[of_record], "made");
        store.index(|index| index.put_records(&[(key, made.clone())])).unwrap();
        (of_image, of_record, blob, elsewhere(&store, &lease, "loose"))
    };
    let usage = store.usage().unwrap();
    let size = |layer| usage.layers.iter().find(|usage| usage.layer == layer).unwrap().size_bytes;
    assert_eq!((size(of_image), size(of_record), usage.image_bytes), (0, 0, 0));
    let report = store.prune(&PruneOptions::default()).unwrap();
    assert_eq!(report.layers.len(), 1, "what nothing names goes");
    assert!(store.has_layer(&of_image) && store.has_layer(&of_record) && store.has_blob(&blob, 14));
    let options = PruneOptions { records: RecordPrune::All, ..PruneOptions::default() };
    store.prune(&options).unwrap();
    assert!(store.has_layer(&of_image) && !store.has_layer(&of_record));

    let image = store.images().unwrap().remove(0);
    store.remove_image(&image.id).unwrap();
    store.remove_parts(&image, &[]).unwrap();
    assert!(!store.has_layer(&of_image) && !store.has_blob(&blob, 14));
    // a fetch that is late puts nothing there
    let draft = store.new_layer().unwrap();
    let lock = store.try_lock_layer(&of_image).unwrap().unwrap();
    assert!(matches!(draft.fill(lock, &LayerMeta::new(now(), LayerSource::Own)), Err(StoreError::Io { .. })));
    assert!(!store.has_layer(&of_image));
}

#[test]
fn a_store_of_format_2_becomes_one_of_format_3() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let id = layer(&store, &lease, "x");
    let (key, made) = record(id, &[], "made");
    store.index(|index| index.put_records(&[(key, made.clone())])).unwrap();
    let config = store.put_blob(b"a config").unwrap();
    let (version, hex) = (store.root().join("version"), config.hex());
    // as that format had it
    let layers = format!(r#"[{{"layer":"{id}","diff_id":"{config}","tar_size":1024,"size":5}}]"#);
    let json = format!(r#"{{"id":"{config}","layers":{layers},"created":"2024-01-02T03:04:05Z"}}"#);
    fs::write(store.root().join(format!("images/{hex}.json")), json).unwrap();
    fs::write(&version, "2\n").unwrap();
    let opened = Store::open(store.root(), &Writer::Root, Clock::new(rbuild_testkit::now)).unwrap();
    assert_eq!(fs::read_to_string(&version).unwrap(), "3\n");
    let images = opened.images().unwrap();
    assert_eq!((images[0].layers[0].tar_size, images[0].layers[0].size), (Some(1024), Some(5)));
    assert!(matches!(opened.index(|index| Ok(index.lookup(&key))).unwrap(), Lookup::Hit(_)));
}
