//! A COPY of which little has changed shares the files of the last one's layer, and nothing shows it.

use crate::{as_root_and_user, with_busybox};
use rbuild_testkit::Workspace;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

const DOCKERFILE: &str = "FROM busybox\nCOPY src /src\n";

/// A context of 200 files in 10 directories, two of which are one file.
fn context(here: &Workspace) -> std::path::PathBuf {
    let context = here.context("c", DOCKERFILE, &[]);
    for number in 0..200 {
        here.write(&format!("c/src/d{}/f{number}", number % 10), format!("content {number}"));
    }
    fs::hard_link(context.join("src/d0/f0"), context.join("src/d9/linked")).unwrap();
    fs::set_permissions(context.join("src/d1/f1"), fs::Permissions::from_mode(0o4755)).unwrap();
    context
}

fn layers(here: &Workspace, image: &str) -> Vec<String> {
    let text = here.ok(["inspect", image]);
    let inspected: Value = serde_json::from_str(&text).unwrap();
    let layers = inspected[0]["RootFS"]["Layers"].as_array().unwrap();
    layers.iter().map(|layer| layer.as_str().unwrap().to_owned()).collect()
}

/// How many regular files of layers have another name in another layer, by the number of their names.
fn shared(here: &Workspace) -> usize {
    let mut count = 0;
    let mut pending: Vec<_> = vec![here.store().join("layers")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let found = fs::symlink_metadata(entry.path()).unwrap();
            if found.is_dir() {
                pending.push(entry.path());
            }
            let is_copy = entry.path().components().any(|part| part.as_os_str() == "src");
            count += usize::from(is_copy && found.is_file() && found.nlink() > 1);
        }
    }
    count
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn whole(here: &Workspace) {
    let ran = here.run(["cache", "verify"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
}

fn what_did_not_change_is_shared(here: &Workspace) {
    let context = context(here);
    here.build("one", &context);
    let first = layers(here, "one");
    assert_eq!(shared(here), 2, "the two names of one file");

    let path = |name: &str| context.join("src").join(name);
    fs::write(path("d2/f2"), "other text").unwrap();
    fs::remove_file(path("d3/f3")).unwrap();
    fs::write(path("d4/new"), "new").unwrap();
    fs::set_permissions(path("d5/f5"), fs::Permissions::from_mode(0o604)).unwrap();
    set_time(&path("d6/f6"), 1_000_000);
    // the same bytes, but no link any more
    fs::remove_file(path("d9/linked")).unwrap();
    fs::copy(path("d0/f0"), path("d9/linked")).unwrap();
    fs::remove_dir_all(path("d8")).unwrap();
    std::os::unix::fs::symlink("d7", path("d8")).unwrap();
    here.build("two", &context);
    // 200 and the linked one, without 2, 3, 5, 6, the link's two, and the twenty of d8; in each of two layers
    assert_eq!(shared(here), 2 * (201 - 6 - 20) + 2);

    let other = here.path().join("other");
    let fresh = |image: &str| {
        let layers = |arguments: &[&str]| {
            let output = here.command(arguments).env("RBUILD_ROOT", &other).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let archive = here.path().join("base.tar");
        here.ok(["save", "-o", archive.to_str().unwrap(), "busybox"]);
        layers(&["load", "-i", archive.to_str().unwrap()]);
        layers(&["build", "-q", "-t", image, context.to_str().unwrap()]);
        let inspected: Value = serde_json::from_str(&layers(&["inspect", image])).unwrap();
        inspected[0]["RootFS"]["Layers"].to_string()
    };
    let second = layers(here, "two");
    assert_eq!(
        fresh("two"),
        Value::from(second.clone()).to_string(),
        "the layer is that of a copy from nothing"
    );
    assert_eq!(layers(here, "one"), first);
    whole(here);

    // what a container does to a shared file is its own
    let change = "chmod 777 /src/d1/* && for f in /src/d0/*; do echo >> $f; done && test $(stat -c %h /src/d0/f10) = 1";
    let changed = format!("FROM two\nRUN {change}\n");
    here.build("three", &here.context("changed", &changed, &[]));
    here.ok(["run", "--name", "writer", "one", "sh", "-c", change]);
    here.ok(["commit", "writer", "four"]);
    whole(here);
    let saved = here.path().join("two.tar");
    here.ok(["save", "-o", saved.to_str().unwrap(), "two"]);
    assert_eq!(hard_links(&saved, here.path()), 0, "names of other layers are not the image's");

    here.ok(["rm", "writer"]);
    here.ok(["rmi", "one", "four"]);
    here.ok(["builder", "prune", "-a", "-f"]);
    here.ok(["image", "prune", "-f"]);
    whole(here);
    here.ok(["run", "--rm", "two", "test", "-u", "/src/d1/f1"]);
    assert_eq!(layers(here, "two"), second);
}

/// Entries of the layers in an archive that are links to others.
fn hard_links(archive: &Path, directory: &Path) -> usize {
    let out = directory.join("unpacked");
    fs::create_dir(&out).unwrap();
    let tar = |words: &[&std::ffi::OsStr]| Command::new("tar").args(words).output().unwrap();
    assert!(tar(&["-C".as_ref(), out.as_ref(), "-xf".as_ref(), archive.as_ref()]).status.success());
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    let last = manifest[0]["Layers"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
    let listed = tar(&["-tvf".as_ref(), out.join(last).as_ref()]);
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(text.lines().count() > 150, "{text}");
    text.lines().filter(|line| line.starts_with('h')).count()
}

#[test]
fn what_did_not_change_is_shared_and_nothing_shows_it() {
    as_root_and_user("what_did_not_change_is_shared_and_nothing_shows_it", what_did_not_change_is_shared);
}

#[test]
fn nothing_is_shared_where_the_destination_or_the_cache_is_another() {
    let name = "nothing_is_shared_where_the_destination_or_the_cache_is_another";
    let Some(here) = with_busybox(name) else { return };
    let context = context(&here);
    here.build("one", &context);
    here.ok(["build", "-q", "--no-cache", "-t", "again", context.to_str().unwrap()]);
    assert_eq!(shared(&here), 4, "a build without the cache copies");
    here.write("c/Dockerfile", "FROM busybox\nCOPY src /elsewhere/src\n");
    here.build("moved", &context);
    assert_eq!(shared(&here), 6);
    // a damaged note is none
    for layer in fs::read_dir(here.store().join("layers")).unwrap() {
        let note = layer.unwrap().path().join("copied");
        if let Ok(mut bytes) = fs::read(&note) {
            bytes[100] ^= 1;
            fs::write(&note, bytes).unwrap();
        }
    }
    here.write("c/src/d1/f1", "changed");
    here.build("damaged", &context);
    assert_eq!(shared(&here), 8);
}
