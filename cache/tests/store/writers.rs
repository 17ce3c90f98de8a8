//! The writer to whom a store belongs.

use rbuild_cache::{IdMaps, IdRange, Store, StoreError, Writer};
use rbuild_oci::Clock;
use rbuild_testkit::now;
use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Root as `root`, a user outside of a namespace as `5`, within one as `5 0:5:1 1:700:9`: runs for users and groups.
fn writer(text: &str) -> Writer {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    if name == "root" {
        return Writer::Root;
    }
    let range = |word: &str| {
        let numbers: Vec<u32> = word.split(':').map(|number| number.parse().unwrap()).collect();
        IdRange { inside: numbers[0], outside: numbers[1], count: numbers[2] }
    };
    let ids: Vec<IdRange> = words.map(range).collect();
    let ids = (!ids.is_empty()).then(|| Box::new(IdMaps { uids: ids.clone(), gids: ids }));
    Writer::User { uid: name.parse().unwrap(), ids }
}

/// The outcome of opening, as a word, and the writer that the store then records.
fn open(root: &Path, text: &str) -> (String, Writer) {
    let said = match Store::open(root, &writer(text), Clock::new(now)) {
        Ok(_) => "open",
        Err(StoreError::OtherWriter { .. }) => "other writer",
        Err(StoreError::OtherIds { .. }) => "other ids",
        Err(e) => panic!("{e:?}"),
    };
    (said.to_owned(), serde_json::from_slice(&fs::read(root.join("writer")).unwrap()).unwrap())
}

#[test]
fn a_store_is_its_writers() {
    // who made it, who opens it, what that says, who is recorded then
    let cases = [
        ("root", "root", "open", "root"),
        ("root", "5", "other writer", "root"),
        ("root", "0 0:0:1", "other writer", "root"),
        ("5", "root", "other writer", "5"),
        ("5", "6", "other writer", "5"),
        ("5", "5", "open", "5"),
        ("5", "5 0:5:1 1:700:9", "open", "5 0:5:1 1:700:9"),
        ("5 0:5:1 1:700:9", "5", "open", "5 0:5:1 1:700:9"),
        ("5 0:5:1 1:700:9", "5 0:5:1 1:700:9", "open", "5 0:5:1 1:700:9"),
        ("5 0:5:1 1:700:9", "5 0:5:1 1:700:90", "open", "5 0:5:1 1:700:90"),
        ("5 0:5:1 1:700:9", "5 0:5:1 1:800:9", "other ids", "5 0:5:1 1:700:9"),
        ("5 0:5:1 1:700:9", "6 0:5:1 1:700:9", "other writer", "5 0:5:1 1:700:9"),
    ];
    for (maker, opener, expected, recorded) in cases {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("s");
        assert_eq!(open(&root, maker), ("open".to_owned(), writer(maker)));
        assert_eq!(open(&root, opener), (expected.to_owned(), writer(recorded)), "{maker} then {opener}");
    }
}

#[test]
fn a_store_of_format_1_belongs_to_the_owner_of_its_files() {
    let own = fs::metadata("/proc/self").unwrap().uid();
    let (user, other) = (own.to_string(), (own + 1).to_string());
    let cases = if own == 0 {
        vec![("root", true), ("5 0:5:1", true), ("5", false)]
    } else {
        vec![(user.as_str(), true), (other.as_str(), false), ("root", false), ("5 0:5:1", false)]
    };
    for (opener, opens) in cases {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("s");
        let store = Store::open(&root, &Writer::Root, Clock::new(now)).unwrap();
        let blob = store.put_blob(b"kept").unwrap();
        fs::remove_file(root.join("writer")).unwrap();
        fs::write(root.join("version"), "1\n").unwrap();
        match Store::open(&root, &writer(opener), Clock::new(now)) {
            Ok(store) if opens => {
                assert_eq!(store.blob(&blob).unwrap().as_deref(), Some(&b"kept"[..]));
                assert_eq!(fs::read(root.join("version")).unwrap(), b"3\n");
                assert_eq!(open(&root, opener).1, writer(opener));
            }
            Err(StoreError::OtherWriter { .. }) if !opens => {
                assert_eq!(fs::read(root.join("version")).unwrap(), b"1\n", "a refused store is left alone");
            }
            other => panic!("{opener}: {other:?}"),
        }
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("s");
    Store::open(&root, &writer("5 0:5:1 1:700:9"), Clock::new(now)).unwrap();
    let said = |opener| {
        Store::open(&root, &writer(opener), Clock::new(now))
            .unwrap_err()
            .to_string()
            .replace(&root.display().to_string(), "/s")
    };
    assert_eq!(
        said("root"),
        "the store at /s was written by user 5, and root would misread its layers: work as user 5, or use another store"
    );
    assert_eq!(
        said("5 0:5:1 1:800:9"),
        "the layers of the store at /s belong to ids that user 5 no longer has (users 0 5 1, 1 700 9; groups 0 5 1, \
         1 700 9): restore them in /etc/subuid and /etc/subgid, or use another store"
    );
}
