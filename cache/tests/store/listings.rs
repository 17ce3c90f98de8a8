//! Listings: whatever happens to a store, they show what the files say, and no file is opened for them twice.

use crate::fixture::{child, now, parent, store};
use rbuild_cache::{ImageRecord, RefRecord, Store, StoreError};
use rbuild_oci::{Digest, ImageId, ImageName, Reference};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Longer than a tick of any kernel's clock: what was written before it is trusted.
const TICKS: Duration = Duration::from_millis(40);

fn image(store: &Store, name: &str) -> ImageId {
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05.6Z","config":{{"Labels":{{"name":"{name}"}}}},"rootfs":{{"type":"layers"}}}}"#
    );
    let id = ImageId::from_digest(store.put_blob(config.as_bytes()).unwrap());
    let record =
        ImageRecord { id, layers: Vec::new(), manifest: None, created: now(), platforms: Vec::new() };
    store.put_image(&record).unwrap();
    id
}

fn name(store: &Store, name: &str, image: ImageId) {
    let record = RefRecord { image, manifest: None, tagged_at: now() };
    store.set_name(&name.parse::<ImageName>().unwrap(), &record).unwrap();
}

/// A store with names in several repositories and a listing of them.
fn listed() -> (tempfile::TempDir, Store) {
    let (directory, store) = store();
    for n in 0..6 {
        let id = image(&store, &n.to_string());
        for repository in ["app", "localhost:5000/a/b", "localhost:5000/a"] {
            name(&store, &format!("{repository}:{n}"), id);
        }
    }
    thread::sleep(TICKS);
    check(&store, "a new store");
    assert!(lists(&store).iter().all(|list| list.exists()));
    (directory, store)
}

fn lists(store: &Store) -> [PathBuf; 2] {
    ["names", "images"].map(|name| store.root().join("lists").join(name))
}

/// Sees that the listings say what the files say.
fn check(store: &Store, after: &str) {
    let read = store.references().unwrap();
    assert_eq!(store.names().unwrap(), read, "{after}");
    let ids: Vec<ImageId> = store.images().unwrap().iter().map(|image| image.id).collect();
    let whole = |id: &&ImageId| store.blob(id.as_digest()).ok().flatten().is_some();
    let ids: Vec<ImageId> = ids.iter().filter(whole).copied().collect();
    let rows: Vec<ImageId> = store.image_rows().unwrap().iter().map(|row| row.id).collect();
    assert_eq!(rows, ids, "{after}");
    for id in ids {
        let of_image: Vec<_> = read.iter().filter(|(_, record)| record.image == id).cloned().collect();
        assert_eq!(store.names_of(&id).unwrap(), of_image, "{after}");
    }
}

#[test]
fn a_row_has_what_record_and_config_say() {
    let (_directory, store) = store();
    let id = image(&store, "one");
    thread::sleep(TICKS);
    for _ in 0..2 {
        let row = store.image_rows().unwrap().remove(0);
        assert_eq!((row.id, row.size, row.parts), (id, Some(0), Vec::new()));
        assert_eq!(row.created.unwrap().to_string(), "2024-01-02T03:04:05.6Z");
        assert_eq!(row.labels.get("name").map(String::as_str), Some("one"));
    }
}

#[test]
fn each_change_is_seen_whichever_program_made_it() {
    let (_directory, store) = listed();
    let root = store.root().to_owned();
    let refs = root.join("refs/localhost:5000/a");
    let other = image(&store, "other");
    let copied = |from: &Path, to: &Path| {
        let temporary = root.join("tmp/copy");
        fs::copy(from, &temporary).unwrap();
        fs::rename(&temporary, to).unwrap();
    };
    let changes: [(&str, &dyn Fn()); 9] = [
        ("a new name", &|| name(&store, "app:new", other)),
        ("a new repository", &|| name(&store, "localhost:5000/a/b/c/d", other)),
        ("a name that points elsewhere", &|| name(&store, "app:new", image(&store, "0"))),
        ("a file renamed by an older version", &|| copied(&refs.join("_1.json"), &refs.join("_2.json"))),
        ("a file removed by an older version", &|| fs::remove_file(refs.join("_3.json")).unwrap()),
        ("a repository removed", &|| fs::remove_dir_all(refs.join("b")).unwrap()),
        ("an image removed", &|| assert!(store.remove_image(&other).unwrap())),
        ("a config removed", &|| fs::remove_file(store.blob_path(image(&store, "5").as_digest())).unwrap()),
        ("a config made again", &|| assert_eq!(image(&store, "5").to_string().len(), 71)),
    ];
    for (what, change) in changes {
        change();
        check(&store, what);
        thread::sleep(TICKS);
        check(&store, what);
    }
}

#[test]
fn a_change_right_after_a_listing_is_seen() {
    let (_directory, store) = listed();
    let (one, two) = (image(&store, "1"), image(&store, "2"));
    let app: Reference = "app:again".parse().unwrap();
    for _ in 0..200 {
        for id in [one, two] {
            name(&store, "app:again", id);
            assert_eq!(store.names().unwrap().iter().find(|(name, _)| *name == app).unwrap().1.image, id);
        }
        store.remove_reference(&app).unwrap();
        assert!(store.names().unwrap().iter().all(|(name, _)| *name != app));
        store.remove_image(&one).unwrap();
        assert!(store.image_rows().unwrap().iter().all(|row| row.id != one));
        image(&store, "1");
        assert!(store.image_rows().unwrap().iter().any(|row| row.id == one));
    }
}

#[test]
fn a_damaged_missing_or_foreign_listing_costs_time_only() {
    let (_directory, store) = listed();
    for list in lists(&store) {
        let good = fs::read(&list).unwrap();
        let flipped = (0..good.len()).step_by(7).map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            bad
        });
        let cut = (0..good.len()).step_by(97).map(|length| good[..length].to_vec());
        for bad in flipped.chain(cut) {
            fs::write(&list, bad).unwrap();
            assert_eq!(store.names().unwrap().len(), 18);
            assert_eq!(store.image_rows().unwrap().len(), 6);
            assert!(fs::read(&list).unwrap() == good, "it is mended");
        }
        fs::remove_file(&list).unwrap();
        fs::create_dir(&list).unwrap();
        check(&store, "a directory in a listing's place");
        assert!(fs::read(&list).unwrap() == good, "what was in its place goes");
    }
    fs::remove_dir_all(store.root().join("lists")).unwrap();
    check(&store, "lists/ removed");
}

#[test]
fn nothing_is_opened_that_has_not_changed_and_damage_met_is_remembered() {
    let (_directory, store) = listed();
    let reference: Reference = "app:3".parse().unwrap();
    let file = store.root().join("refs/docker.io/library/app/_3.json");
    // in its place, which no rbuild does and no directory shows
    fs::write(&file, "junk").unwrap();
    assert_eq!(store.names().unwrap().len(), 18, "the file is not opened again");
    assert_eq!(store.reference(&reference).unwrap(), None);
    check(&store, "damage that was met");
    let id = store.image_rows().unwrap()[0].id;
    thread::sleep(TICKS);
    check(&store, "later");
    fs::write(store.root().join(format!("images/{}.json", id.as_digest().hex())), "junk").unwrap();
    assert_eq!(store.image_rows().unwrap().len(), 6, "nor is an image's record");
    assert_eq!(store.image(&id).unwrap(), None);
    check(&store, "a damaged record that was met");
    let id = store.image_rows().unwrap()[0].id;
    fs::write(store.blob_path(id.as_digest()), "junk").unwrap();
    assert!(matches!(store.blob(id.as_digest()), Err(StoreError::BlobDamaged { .. })));
    check(&store, "a damaged config that was met");
}

#[test]
#[ignore = "a part of the test below, run in a child process"]
fn child_that_names() {
    let (store, word) = parent();
    for n in 0.. {
        let id = image(&store, &format!("{word} {n}"));
        name(&store, &format!("killed/{word}:{n}"), id);
        println!("\n{n}");
        assert!(store.names().unwrap().len() > n && store.image_rows().unwrap().len() > n);
    }
}

#[test]
fn killed_processes_leave_listings_that_are_true() {
    let (_directory, store) = listed();
    for round in 0..6u32 {
        let mut child = child("listings::child_that_names", store.root(), &round.to_string());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said = lines.find(|line| line.parse() == Ok(5 * round)).expect("it names images");
        thread::sleep(Duration::from_micros(u64::from(round) * 700));
        child.kill().unwrap();
        child.wait().unwrap();
        check(&store, &format!("killed after {said}"));
    }
    let repositories: BTreeSet<Digest> =
        store.names().unwrap().iter().map(|(_, record)| *record.image.as_digest()).collect();
    assert!(repositories.len() > 6 * 5, "{repositories:?}");
}
