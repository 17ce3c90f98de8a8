//! The store as its users see it: opening, layers, images, records.

use crate::fixture::{image, layer, now, record, store, tag};
use rbuild_cache::{
    CacheKey, CacheRecord, Cancel, ImageRecord, KeyBuilder, LayerDiff, LayerId, LayerMeta, Lookup, Miss,
    PruneOptions, RecordPrune, Recorder, Saved, Store, StoreError, Writer,
};
use rbuild_oci::{Clock, DiffId, Digest, Timestamp};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_store_is_made_once_and_a_newer_or_foreign_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("a/b");
    let store = Store::open(&root, &Writer::Root, Clock::new(rbuild_testkit::now)).unwrap();
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(store.empty_dir()).unwrap().count(), 0);
    Store::open(&root, &Writer::Root, Clock::new(rbuild_testkit::now)).unwrap();

    fs::write(root.join("version"), "999\n").unwrap();
    let error = Store::open(&root, &Writer::Root, Clock::new(rbuild_testkit::now)).unwrap_err();
    assert!(matches!(error, StoreError::NewerStore { found: 999, .. }));
    assert!(error.to_string().contains("has format 999"), "{error}");
    fs::write(root.join("version"), "what?").unwrap();
    assert!(matches!(
        Store::open(&root, &Writer::Root, Clock::new(rbuild_testkit::now)),
        Err(StoreError::NotAStore { .. })
    ));

    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("thesis.tex"), "").unwrap();
    assert!(matches!(
        Store::open(&home, &Writer::Root, Clock::new(rbuild_testkit::now)),
        Err(StoreError::NotAStore { .. })
    ));
    assert_eq!(fs::read_dir(&home).unwrap().count(), 1, "nothing was made there");
}

#[test]
fn a_draft_becomes_a_layer_or_nothing() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let id = layer(&store, &lease, "x");
    assert_eq!(fs::read_to_string(store.layer_fs(&id).join("file")).unwrap(), "x");
    assert_eq!(fs::metadata(store.layer_fs(&id)).unwrap().mode() & 0o777, 0o755);
    assert_eq!(id.to_string().parse::<LayerId>().unwrap(), id);
    let mut meta = store.layer_meta(&id).unwrap();
    meta.tar_size = Some(10240);
    store.update_layer_meta(&id, &meta).unwrap();
    assert_eq!(store.layer_meta(&id).unwrap(), meta);

    let draft = store.new_layer().unwrap();
    let path = draft.fs().to_owned();
    drop(draft);
    assert!(!path.exists());
    let absent: LayerId = "0123456789abcdef".parse().unwrap();
    assert!(!store.has_layer(&absent));
    assert!(matches!(store.layer_meta(&absent), Err(StoreError::LayerMissing { .. })));
    assert_eq!(lease.hold(&[id, absent], &[]).unwrap().layers, [absent]);
}

#[test]
fn images_are_found_by_prefix() {
    let (_directory, store) = store();
    let images: Vec<ImageRecord> = (0..20).map(|n| image(&store, &n.to_string(), &[])).collect();
    for image in &images {
        let hex = image.id.as_digest().hex();
        assert_eq!(store.find_image(&hex).unwrap(), Some(image.id));
        assert_eq!(store.find_image(&image.id.to_string()[..30]).unwrap(), Some(image.id));
        assert_eq!(store.image(&image.id).unwrap().as_ref(), Some(image));
    }
    // 20 images over 16 digits
    let digits = "0123456789abcdef".chars().map(|digit| store.find_image(&digit.to_string()));
    assert!(digits.into_iter().any(|found| matches!(found, Err(StoreError::AmbiguousImage { .. }))));
    assert_eq!(store.find_image("xyz").unwrap(), None);
    assert_eq!(store.find_image("").unwrap(), None);
    assert_eq!(store.images().unwrap().len(), 20);
}

#[test]
fn setting_a_reference_again_writes_nothing() {
    let (_directory, store) = store();
    let image = image(&store, "a", &[]);
    tag(&store, "app:1", &image);
    let file = || fs::metadata(store.root().join("refs/docker.io/library/app/_1.json")).unwrap().ino();
    let before = file();
    tag(&store, "app:1", &image);
    assert_eq!(file(), before);
}

#[test]
fn records_come_back_with_their_history() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let layers: Vec<LayerId> = (0..12).map(|n| layer(&store, &lease, &n.to_string())).collect();
    let recorder = Recorder::start(&store).unwrap();
    for (n, id) in layers.iter().enumerate() {
        let (key, record) = record(*id, &[], &n.to_string());
        let lock = store.try_lock_step(&key).unwrap().unwrap();
        assert!(store.try_lock_step(&key).unwrap().is_none(), "a held step is locked");
        recorder.record_and_unlock(key, record, lock);
        let waited = store.wait_step(&key, &Cancel::default()).unwrap().expect("the recorder ends the lock");
        assert!(
            store.index(|index| Ok(index.record(&key))).unwrap().is_some(),
            "and the record is there then"
        );
        drop(waited);
    }
    recorder.fact(KeyBuilder::new("f").finish_fact(), b"value".to_vec());
    recorder.layer_fact(KeyBuilder::new("l").finish_fact(), layers[0]);
    recorder.flush().unwrap();
    drop(recorder);
    store
        .index(|index| {
            let all = index.records();
            let step = all[0].1.step;
            assert_eq!(index.records_of_step(&step), [all[0].clone()]);
            assert_eq!(index.fact(&KeyBuilder::new("f").finish_fact()).as_deref(), Some(&b"value"[..]));
            assert_eq!(index.layer_fact(&KeyBuilder::new("l").finish_fact()), Some(layers[0]));
            index.remove_record(&all[0].0)?;
            assert_eq!(index.lookup(&all[0].0), Lookup::Miss(Miss::NeverBuilt));
            assert!(index.records_of_step(&step).is_empty());
            assert_eq!(index.records().len(), 11);
            Ok(())
        })
        .unwrap();
    assert_eq!(fs::read_dir(store.root().join("locks/steps")).unwrap().count(), 0);
}

#[test]
fn what_a_build_used_last_is_found_without_the_index() {
    let (_directory, store) = store();
    let build = KeyBuilder::new("build").field("dockerfile", "a").finish_site();
    let records: Vec<_> =
        (0..20).map(|n| record("0123456789abcdef".parse().unwrap(), &[], &n.to_string())).collect();
    let shared = |records: &[(CacheKey, CacheRecord)]| -> Vec<_> {
        records.iter().map(|(key, record)| (*key, Arc::new(record.clone()))).collect()
    };
    assert!(store.recent(&build).unwrap().record(&records[0].0).is_none());
    let place = store.recent_place();
    assert_eq!(store.keep_recent(&place, &build, &shared(&records)).unwrap(), Saved::Written);
    assert_eq!(store.keep_recent(&place, &build, &shared(&records)).unwrap(), Saved::Unchanged);
    let begun = Instant::now();
    let recent = store.recent(&build).unwrap();
    println!("recent records of 20 steps: {:?}", begun.elapsed());
    for (key, record) in &records {
        assert_eq!(recent.record(key).unwrap().instruction, record.instruction);
    }
    assert_eq!(store.keep_recent(&place, &build, &shared(&records[1..])).unwrap(), Saved::Written);
    assert!(store.recent(&build).unwrap().record(&records[0].0).is_none());
    store.index(|index| index.put_records(&records)).unwrap();
    store.prune(&PruneOptions { records: RecordPrune::All, ..PruneOptions::default() }).unwrap();
    assert!(store.recent(&build).unwrap().record(&records[1].0).is_none(), "eviction forgets them");
    // a build that looked them up before does not bring them back
    assert_eq!(store.keep_recent(&place, &build, &shared(&records)).unwrap(), Saved::Unchanged);
    assert!(store.recent(&build).unwrap().record(&records[1].0).is_none());
    assert_eq!(store.keep_recent(&store.recent_place(), &build, &shared(&records)).unwrap(), Saved::Written);
}

#[test]
fn what_a_description_said_of_a_tar_is_kept_until_the_description_changes() {
    let (_directory, store) = store();
    let build = KeyBuilder::new("build").field("dockerfile", "b").finish_site();
    let lease = store.lease().unwrap();
    let ids = [layer(&store, &lease, "a"), layer(&store, &lease, "b")];
    let records: Vec<_> = ids
        .iter()
        .map(|id| record(*id, &[], &id.to_string()))
        .map(|(key, record)| (key, Arc::new(record)))
        .collect();
    let known = |id: &LayerId| {
        let lease = store.lease().unwrap();
        assert!(lease.hold(&ids, &[]).unwrap().is_empty());
        store.recent(&build).unwrap().diff(id, &lease)
    };
    let keep = || store.keep_recent(&store.recent_place(), &build, &records).unwrap();
    keep();
    assert_eq!(known(&ids[0]), None, "it was not computed yet");
    let diff_id = DiffId::from_digest(Digest::of(b"tar"));
    let described = |tar_size| LayerMeta {
        diff_id: Some(diff_id),
        tar_size: Some(tar_size),
        ..store.layer_meta(&ids[0]).unwrap()
    };
    store.update_layer_meta(&ids[0], &described(10)).unwrap();
    assert_eq!(keep(), Saved::Written, "there is something new to keep");
    assert_eq!(keep(), Saved::Unchanged);
    assert_eq!(known(&ids[0]), Some(LayerDiff { diff_id, tar_size: Some(10) }));
    assert_eq!(known(&ids[1]), None);
    store.update_layer_meta(&ids[0], &described(11)).unwrap();
    assert_eq!(known(&ids[0]), None, "its description is another one");
    keep();
    assert_eq!(known(&ids[0]), Some(LayerDiff { diff_id, tar_size: Some(11) }));
    fs::write(store.root().join(format!("layers/{}/meta.json", ids[0])), "{").unwrap();
    assert_eq!(known(&ids[0]), None, "its description is damaged");
}

#[test]
fn the_last_records_of_a_step_are_found_newest_first() {
    let (_directory, store) = store();
    let on = |parent: u32| {
        let (_, record) = record("0123456789abcdef".parse().unwrap(), &[], "same");
        let parent =
            CacheKey::definition(None, &KeyBuilder::new("p").field("n", parent.to_be_bytes()).finish_step());
        let key = CacheKey::definition(Some(&parent), &record.step);
        (key, CacheRecord { created: now(), instruction: parent.to_string(), ..record })
    };
    let records: Vec<_> = (0..12).map(on).collect();
    store.index(|index| index.put_records(&records)).unwrap();
    let found = store.index(|index| Ok(index.records_of_step(&records[0].1.step))).unwrap();
    let keys: Vec<CacheKey> = found.iter().map(|(key, _)| *key).collect();
    let expected: Vec<CacheKey> = records.iter().rev().take(8).map(|(key, _)| *key).collect();
    assert_eq!(keys, expected);
}

#[test]
fn a_record_that_is_made_again_opens_no_database_and_is_found_once() {
    let (_directory, store) = store();
    let made = |number: u32, at: i64| {
        let (_, record) = record("0123456789abcdef".parse().unwrap(), &[], "same");
        let parent = KeyBuilder::new("p").field("n", number.to_be_bytes()).finish_step();
        let key = CacheKey::definition(Some(&CacheKey::definition(None, &parent)), &record.step);
        let created = Timestamp::from_seconds(at).unwrap();
        (key, CacheRecord { created, instruction: "x".repeat(2000), ..record })
    };
    let put = |records: &[(CacheKey, CacheRecord)]| store.index(|index| index.put_records(records)).unwrap();
    let database = || fs::metadata(store.root().join("index/db")).unwrap();
    // so many at once are moved into the database
    let all: Vec<_> = (0..300).map(|number| made(number, i64::from(number))).collect();
    put(&all);
    let before = database();
    let mut expected: Vec<CacheKey> = all.iter().rev().take(7).map(|(key, _)| *key).collect();
    expected.insert(0, all[0].0);
    for again in 1000..1020 {
        put(&[made(0, again)]);
        if again == 1000 {
            let after = database();
            assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
        }
        let found = store.index(|index| Ok(index.records_of_step(&all[0].1.step))).unwrap();
        assert_eq!(found[0].1.created.seconds(), again);
        assert_eq!(found.iter().map(|(key, _)| *key).collect::<Vec<_>>(), expected);
        put(&all[1..]);
    }
}

#[test]
fn whoever_else_writes_to_the_index_is_noticed() {
    let (_directory, store) = store();
    let other = Store::open(store.root(), &Writer::Root, Clock::new(rbuild_testkit::now)).unwrap();
    let [first, second] =
        ["first", "second"].map(|name| record("0123456789abcdef".parse().unwrap(), &[], name));
    assert!(!store.index_has_other_writers());
    store.index(|index| Ok(index.record(&first.0))).unwrap();
    store.index(|index| index.put_records(std::slice::from_ref(&first))).unwrap();
    assert!(!store.index_has_other_writers(), "its own records are no news");
    other.index(|index| Ok(index.record(&first.0))).unwrap();
    assert!(!store.index_has_other_writers(), "neither is a look");
    other.index(|index| index.put_records(std::slice::from_ref(&second))).unwrap();
    assert!(store.index_has_other_writers());
    store.index(|index| index.put_records(std::slice::from_ref(&first))).unwrap();
    assert!(store.index_has_other_writers(), "it stays so");
    assert!(other.index_has_other_writers());
}

#[test]
fn a_layer_without_a_description_is_missing() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let id = layer(&store, &lease, "x");
    // what a power cut leaves of a file that was renamed and not yet written
    fs::write(store.root().join(format!("layers/{id}/meta.json")), "").unwrap();
    assert!(!store.has_layer(&id));
    assert_eq!(lease.hold(&[id], &[]).unwrap().layers, [id]);
}

#[test]
fn a_cancelled_wait_ends() {
    let (_directory, store) = store();
    let (key, _) = record("0123456789abcdef".parse().unwrap(), &[], "x");
    let _held = store.try_lock_step(&key).unwrap().unwrap();
    let cancel = Cancel::default();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| store.wait_step(&key, &cancel).unwrap());
        thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished());
        cancel.cancel();
        assert!(waiting.join().unwrap().is_none());
    });
}
