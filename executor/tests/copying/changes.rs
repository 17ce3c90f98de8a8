//! Sources that change while they are copied, and copies that are given up.

use flate2::{Compression, write::GzEncoder};
use rbuild_cache::{Cancel, Store, Writer};
use rbuild_executor::{
    ContextRoot, ExecutorError, IgnoreRules, Selection, Snapshots, SourceRoot, copy, select,
};
use rbuild_oci::Clock;
use rbuild_planner::{CopyAction, CopySource, Filesystem, Unpack};
use rbuild_testkit::now;
use rbuild_testkit::{has_root, skip};
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

struct Fixture {
    directory: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), &Writer::Root, Clock::new(now)).unwrap();
        let this = Self { directory, store };
        fs::create_dir_all(this.path("tree/sub")).unwrap();
        fs::write(this.path("tree/sub/file"), "x").unwrap();
        fs::write(this.path("long"), vec![7; 1 << 20]).unwrap();
        this
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("context").join(path)
    }

    fn select(&self, source: &str, cancel: &Cancel) -> Result<Selection, ExecutorError> {
        let context = self.directory.path().join("context");
        let root = ContextRoot::open(&self.store, &context, IgnoreRules::none(), now())?;
        select(&SourceRoot::Context(root), &add(source), cancel)
    }

    fn copy(&self, source: &str, selection: &Selection) -> Result<(), ExecutorError> {
        copy(&Snapshots::new(&self.store), &add(source), selection, &[], SystemTime::UNIX_EPOCH).map(drop)
    }

    /// True if a draft has a file called `name`.
    fn has_begun(&self, name: &str) -> bool {
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        let drafts = entries(&self.store.root().join("tmp")).flat_map(|process| entries(&process.path()));
        drafts.into_iter().any(|draft| draft.path().join("fs").join(name).exists())
    }
}

fn add(source: &str) -> CopyAction {
    CopyAction {
        unpack: Unpack::Local,
        ..CopyAction::plain(
            Filesystem::Context,
            vec![CopySource::Path(source.to_owned())],
            "/".parse().unwrap(),
        )
    }
}

/// An archive of an empty file `first` and one that takes a while.
fn archive(zeros: u64) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, size) in [("first", 0), ("zeros", zeros)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        builder.append_data(&mut header, name, std::io::repeat(0).take(size)).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn an_archive_that_changes_while_it_is_extracted_is_noticed() {
    if !has_root() {
        return;
    }
    let fixture = Fixture::new();
    for zeros in [16 << 20, 128 << 20, 512 << 20] {
        fs::write(fixture.path("a.tgz"), archive(zeros)).unwrap();
        let selection = fixture.select("a.tgz", &Cancel::default()).unwrap();
        let done = AtomicBool::new(false);
        let (copied, changed_meanwhile) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                while !fixture.has_begun("first") {
                    if done.load(Ordering::Relaxed) {
                        return false;
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                fs::File::options()
                    .append(true)
                    .open(fixture.path("a.tgz"))
                    .unwrap()
                    .write_all(b"x")
                    .unwrap();
                !done.load(Ordering::Relaxed)
            });
            let copied = fixture.copy("a.tgz", &selection);
            done.store(true, Ordering::Relaxed);
            (copied, writer.join().unwrap())
        });
        // a machine that was too busy to change it in time gets a longer archive
        if changed_meanwhile {
            assert!(matches!(copied, Err(ExecutorError::SourceChanged { .. })), "{copied:?}");
            return;
        }
    }
    skip("the archive could not be changed in time");
}

#[test]
fn an_archive_that_changed_before_is_noticed_too() {
    if !has_root() {
        return;
    }
    let fixture = Fixture::new();
    fs::write(fixture.path("a.tgz"), archive(10)).unwrap();
    let selection = fixture.select("a.tgz", &Cancel::default()).unwrap();
    fixture.copy("a.tgz", &selection).unwrap();
    fs::write(fixture.path("a.tgz"), archive(11)).unwrap();
    let changed = fixture.copy("a.tgz", &selection).unwrap_err();
    assert_eq!(changed.to_string(), "the source of /a.tgz changed while it was copied");
}

#[test]
fn what_was_given_up_is_neither_read_nor_copied() {
    if !has_root() {
        return;
    }
    let fixture = Fixture::new();
    fs::write(fixture.path("a.tgz"), archive(10)).unwrap();
    for source in ["tree", "long", "a.tgz"] {
        let cancel = Cancel::default();
        let selection = fixture.select(source, &cancel).unwrap();
        cancel.cancel();
        let copied = fixture.copy(source, &selection);
        assert!(matches!(copied, Err(ExecutorError::Canceled)), "{source}: {copied:?}");
        fs::OpenOptions::new().append(true).open(fixture.path("long")).unwrap().write_all(b"y").unwrap();
        let selected = fixture.select(source, &cancel);
        // what the stat index knows is not read
        assert!(matches!(selected, Err(ExecutorError::Canceled)) || source == "a.tgz", "{source}");
    }
    let left = fs::read_dir(fixture.store.root().join("layers")).unwrap().count();
    assert_eq!((left, fixture.has_begun("")), (0, false), "nothing half-written stays");
}
