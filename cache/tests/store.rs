//! The store as its users see it: opening, layers, images, leases, collection.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

use rbuild_cache::{
    CacheError, CacheKey, CacheRecord, ContainerUse, ImageLayer, ImagePrune, ImageRecord, KeyBuilder,
    LayerId, LayerMeta, LayerSource, Lease, Lookup, Miss, MountPrune, PruneOptions, RecordPrune, Recorder,
    RefRecord, Saved, StepInputs, Store,
};
use rbuild_oci::{DiffId, Digest, ImageId, Timestamp};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    time::{Duration, Instant, SystemTime},
};
use tempfile::TempDir;

fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    (directory, store)
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn layer(store: &Store, lease: &Lease, text: &str) -> LayerId {
    let draft = store.new_layer().unwrap();
    fs::write(draft.fs().join("file"), text).unwrap();
    // what overlayfs leaves in a work directory
    fs::create_dir(draft.work().join("work")).unwrap();
    fs::set_permissions(draft.work().join("work"), fs::Permissions::from_mode(0o000)).unwrap();
    let meta = LayerMeta::new(now(), LayerSource::Own);
    draft.commit(lease, &meta).unwrap()
}

fn record(layer: LayerId, stack: &[LayerId], name: &str) -> (CacheKey, CacheRecord) {
    let step = KeyBuilder::new("run").field("name", name).finish_step();
    let record = CacheRecord {
        layer,
        created: now(),
        step,
        parent: None,
        parent_layers: stack.to_vec(),
        sources: None,
        inputs: StepInputs::new("run").with("argv", name),
        duration_ms: 5,
        instruction: format!("RUN {name}"),
        evicted: None,
        stamp: None,
    };
    (CacheKey::definition(None, &step), record)
}

fn image(store: &Store, name: &str, layers: &[LayerId]) -> ImageRecord {
    let id = ImageId::from_digest(store.put_blob(format!("config of {name}").as_bytes()).unwrap());
    let layer = |layer: &LayerId| ImageLayer {
        layer: *layer,
        diff_id: DiffId::from_digest(Digest::of(layer.to_string().as_bytes())),
        tar_size: 1024,
        size: 0,
        blob: None,
    };
    let image =
        ImageRecord { id, layers: layers.iter().map(layer).collect(), manifest: None, created: now() };
    store.sync().unwrap();
    store.put_image(&image).unwrap();
    image
}

fn tag(store: &Store, name: &str, image: &ImageRecord) {
    let record = RefRecord { image: image.id, manifest: None, tagged_at: now() };
    store.set_reference(&name.parse().unwrap(), &record).unwrap();
}

#[test]
fn a_store_is_made_once_and_a_newer_or_foreign_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("a/b");
    let store = Store::open(&root).unwrap();
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(store.empty_dir()).unwrap().count(), 0);
    Store::open(&root).unwrap();

    fs::write(root.join("version"), "999\n").unwrap();
    let error = Store::open(&root).unwrap_err();
    assert!(matches!(error, CacheError::NewerStore { found: 999, .. }));
    assert!(error.to_string().contains("has format 999"), "{error}");
    fs::write(root.join("version"), "what?").unwrap();
    assert!(matches!(Store::open(&root), Err(CacheError::NotAStore { .. })));

    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("thesis.tex"), "").unwrap();
    assert!(matches!(Store::open(&home), Err(CacheError::NotAStore { .. })));
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
    assert!(matches!(store.layer_meta(&absent), Err(CacheError::LayerMissing { .. })));
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
    assert!(digits.into_iter().any(|found| matches!(found, Err(CacheError::AmbiguousImage { .. }))));
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
        let waited = store.wait_step(&key, || true).unwrap().expect("the recorder ends the lock");
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
    assert!(store.recent(&build).unwrap().record(&records[0].0).is_none());
    assert_eq!(store.keep_recent(&build, &records).unwrap(), Saved::Written);
    assert_eq!(store.keep_recent(&build, &records).unwrap(), Saved::Unchanged);
    let begun = Instant::now();
    let recent = store.recent(&build).unwrap();
    println!("recent records of 20 steps: {:?}", begun.elapsed());
    for (key, record) in &records {
        assert_eq!(recent.record(key).unwrap().instruction, record.instruction);
    }
    assert_eq!(store.keep_recent(&build, &records[1..]).unwrap(), Saved::Written);
    assert!(store.recent(&build).unwrap().record(&records[0].0).is_none());
    store.index(|index| index.put_records(&records)).unwrap();
    store.prune(&PruneOptions { records: RecordPrune::All, ..PruneOptions::default() }).unwrap();
    assert!(store.recent(&build).unwrap().record(&records[1].0).is_none(), "eviction forgets them");
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
fn whoever_else_writes_to_the_index_is_noticed() {
    let (_directory, store) = store();
    let other = Store::open(store.root()).unwrap();
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
    let begun = Instant::now();
    let waited = store.wait_step(&key, || begun.elapsed() < Duration::from_millis(30)).unwrap();
    assert!(waited.is_none() && begun.elapsed() < Duration::from_secs(60));
}
