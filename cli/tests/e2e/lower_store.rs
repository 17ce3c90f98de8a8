//! `--cache-ro`: images and results of a store that is only read, in a store of one's own.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Workspace, is_root};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

const TEXT: &str = "FROM busybox AS made\nRUN echo made > /made; mkdir /d; echo gone > /d/gone\nRUN rm /d/gone\n\
                    FROM busybox\nCOPY --from=made /made /made\nCOPY f /f\nRUN cat /made /f > /both\n";

/// Every file below `directory` with the times of its last changes.
fn state(directory: &Path) -> BTreeMap<PathBuf, (i64, i64, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec(), meta.size()));
    }
    found
}

/// A read-only mount of a directory, for as long as the value lives.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn of(directory: &Path, place: &Path) -> Self {
        fs::create_dir(place).unwrap();
        let mount = |arguments: &[&str]| {
            assert!(Command::new("mount").args(arguments).arg(place).status().unwrap().success());
        };
        mount(&["--bind", directory.to_str().unwrap()]);
        mount(&["-o", "remount,bind,ro"]);
        Self(place.to_owned())
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_store_that_cannot_be_written_is_used_where_it_is() {
    let Some(shared) = with_busybox("a_store_that_cannot_be_written_is_used_where_it_is") else { return };
    let context = shared.context("c", TEXT, &[("f", "mine\n")]);
    shared.build("x", &context);
    let made = shared.ok(["inspect", "--format", "{{.Id}}", "x"]);
    let before = state(shared.store());

    let own = Workspace::new(RBUILD);
    let volume = ReadOnly::of(shared.store(), &own.path().join("volume"));
    let place = volume.0.clone();
    let lower = place.to_str().unwrap();
    let context = context.to_str().unwrap();
    let build = |tag: &str| {
        let ran = own.run(["build", "--pull=never", "--cache-ro", lower, "-t", tag, context]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stderr
    };
    let said = build("x");
    assert_eq!(said.matches(" CACHED").count(), 5, "{said}");
    assert_eq!(own.ok(["inspect", "--format", "{{.Id}}", "x"]), made, "the same image");
    assert_eq!(own.ok(["run", "--rm", "x", "cat", "/both"]), "made\nmine\n");
    let layers = fs::read_dir(own.store().join("layers")).unwrap();
    for layer in layers {
        assert!(layer.unwrap().path().join("fs").is_symlink(), "nothing is copied");
    }
    own.ok(["cache", "verify"]);
    // what changes is made here, on what is there
    shared.write("c/f", "other\n");
    let said = build("y");
    assert_eq!(said.matches(" CACHED").count(), 3, "{said}");
    assert_eq!(own.ok(["run", "--rm", "y", "cat", "/both"]), "made\nother\n");
    own.ok(["save", "-o", own.path().join("y.tar").to_str().unwrap(), "y"]);
    // what was found is known without the other store's index
    let ran = own.run(["build", "--pull=never", "-t", "z", context]);
    assert!(ran.code == 0 && ran.stderr.matches(" CACHED").count() == 5, "{ran:?}");
    own.ok(["rmi", "x"]);
    own.ok(["prune", "-af"]);
    assert!(state(shared.store()) == before, "nothing is written there, and nothing removed");
    assert_eq!(shared.ok(["run", "--rm", "x", "cat", "/both"]), "made\nmine\n");

    // without the volume its layers are missing, like any that were removed
    build("x");
    drop(volume);
    let failed = own.fails(["build", "--pull=never", "--cache-ro", lower, context]);
    assert!(failed.stderr.contains("volume is not a store"), "{}", failed.stderr);
    own.import(rbuild_testkit::Base::Busybox);
    let ran = own.run(["build", "--pull=never", "-t", "x", context]);
    assert_eq!((ran.code, ran.stderr.matches(" CACHED").count()), (0, 0), "{}", ran.stderr);
    assert_eq!(own.ok(["run", "--rm", "x", "cat", "/both"]), "made\nother\n");
}

#[test]
fn of_several_lower_stores_the_first_that_has_it_counts() {
    let Some(one) = with_busybox("of_several_lower_stores_the_first_that_has_it_counts") else { return };
    let other = Workspace::new(RBUILD);
    other.import(rbuild_testkit::Base::Debian);
    let context = one.context("c", "FROM busybox\nRUN echo one > /one\n", &[]);
    one.build("x", &context);
    let second = other.context("c", "FROM debian:12\nRUN echo two > /two\n", &[]);
    other.build("x", &second);
    let own = Workspace::new(RBUILD);
    let lower = |workspace: &Workspace| format!("--cache-ro={}", workspace.store().display());
    for context in [&context, &second] {
        let context = context.to_str().unwrap();
        let ran = own.run(["build", "--pull=never", &lower(&one), &lower(&other), context]);
        assert!(ran.code == 0 && ran.stderr.matches(" CACHED").count() == 1, "{ran:?}");
    }
    let refused = own.fails(["build", "--cache-ro=/etc", context.to_str().unwrap()]);
    assert!(refused.stderr.contains("/etc is not a store"), "{}", refused.stderr);
}

#[test]
fn another_user_s_store_is_no_lower_store() {
    if !is_root("another_user_s_store_is_no_lower_store") {
        return;
    }
    let (own, user) = (Workspace::new(RBUILD), Workspace::for_user(RBUILD, 1000));
    user.ok(["images"]);
    let context = own.context("c", "FROM scratch\nCOPY f /f\n", &[("f", "mine")]);
    let lower = format!("--cache-ro={}", user.store().display());
    let refused = own.fails(["build", &lower, context.to_str().unwrap()]);
    assert!(refused.stderr.contains("would misread its layers"), "{}", refused.stderr);
}
