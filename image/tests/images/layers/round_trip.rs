//! What a tar says becomes a directory in overlay form, and the same tar again.

use crate::layers::fixture::{Builder, Fixture, need_root};
use rbuild_image::{BlobRetention, apply_tar, layer_diff};
use rbuild_oci::{DiffId, Digest};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

#[test]
fn an_empty_layer_has_the_well_known_digest() {
    let fixture = Fixture::new();
    let diff = layer_diff(&fixture.store, &fixture.own(|_| {})).unwrap();
    assert_eq!(
        diff.diff_id.to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
    assert_eq!(diff.tar_size, Some(1024));
}

#[test]
fn whiteouts_and_opaque_directories_become_overlay_marks() {
    need_root!();
    let fixture = Fixture::new();
    let tar = Builder::new()
        .directory("d/")
        .file("d/.wh..wh..opq", "")
        .file("d/new", "x")
        .file(".wh.gone", "")
        .file("e/.wh.inner", "")
        .file(".wh.back", "")
        .directory("back/")
        .finish();
    let layer = fixture.apply(&tar).unwrap();
    let fs = fixture.fs(&layer);
    for gone in ["gone", "e/inner"] {
        let stat = fs::symlink_metadata(fs.join(gone)).unwrap();
        assert_eq!((stat.mode() & 0o170_000, stat.rdev()), (0o020_000, 0), "{gone}");
    }
    let opaque = |path: &str| {
        let mut value = [0; 4];
        rustix::fs::lgetxattr(fs.join(path), "trusted.overlay.opaque", &mut value)
            .map(|n| value[..n].to_vec())
    };
    assert_eq!(opaque("d").unwrap(), b"y");
    // a directory that replaces one of a lower layer hides it
    assert_eq!(opaque("back").unwrap(), b"y");
    assert!(opaque("e").is_err());
    assert_eq!(fixture.tar(&layer), tar);
}

#[test]
fn implied_directories_look_like_the_lower_ones() {
    need_root!();
    let fixture = Fixture::new();
    let base = fixture.own(|draft| {
        let path = draft.fs().join("srv/app");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(draft.fs().join("srv"), fs::Permissions::from_mode(0o1711)).unwrap();
        std::os::unix::fs::chown(&path, Some(7), Some(8)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2750)).unwrap();
        fs::set_permissions(draft.fs(), fs::Permissions::from_mode(0o711)).unwrap();
    });
    let tar = Builder::new().file("srv/app/new/x", "1").finish();
    let layer = fixture.apply_above(&tar, &[base]).unwrap();
    let stat = |path: &str| {
        let stat = fs::metadata(fixture.fs(&layer).join(path)).unwrap();
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    };
    assert_eq!(stat(""), (0o711, 0, 0));
    assert_eq!(stat("srv"), (0o1711, 0, 0));
    assert_eq!(stat("srv/app"), (0o2750, 7, 8));
    assert_eq!(stat("srv/app/new"), (0o755, 0, 0));
    let hidden = fixture.apply_above(&Builder::new().file(".wh.srv", "").finish(), &[base]).unwrap();
    let above = fixture.apply_above(&tar, &[base, hidden]).unwrap();
    assert_eq!(fs::metadata(fixture.fs(&above).join("srv")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fixture.tar(&layer), tar);
}

#[test]
fn a_name_that_comes_twice_is_made_again_exactly() {
    need_root!();
    let fixture = Fixture::new();
    let tar = Builder::new()
        .file("a", "first")
        .file("a", "second, longer")
        .directory("d/")
        .file("d/x", "in a directory that becomes a file")
        .file("d", "now a file")
        .entry(tar::EntryType::Link, "h", "a", b"")
        .file("h", "own")
        .file("a", "third")
        .finish();
    let with_tail = [&tar[..], &[0; 8192], b"tail"].concat();
    let layer = fixture.apply(&with_tail).unwrap();
    assert_eq!(fixture.tar(&layer), with_tail);
    let read = |path: &str| fs::read_to_string(fixture.fs(&layer).join(path)).unwrap();
    assert_eq!((read("a"), read("d"), read("h")), ("third".into(), "now a file".into(), "own".into()));
}

#[test]
fn tars_of_gnu_tar_are_made_again_exactly() {
    need_root!();
    let from = tempfile::tempdir().unwrap();
    let root = from.path();
    let long = "n".repeat(180);
    fs::create_dir_all(root.join("d").join(&long)).unwrap();
    fs::write(root.join("d").join(&long).join("ü"), "name").unwrap();
    fs::hard_link(root.join("d").join(&long).join("ü"), root.join("link")).unwrap();
    std::os::unix::fs::symlink("t".repeat(150), root.join("symlink")).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"at the end", 5 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"at the start", 0).unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(root.join(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    // cap_net_raw+ep, with a newline among its bytes
    let capability = [1, 0, 0, 2, 0, 0x20, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set("link", "security.capability", &capability);
    for arguments in [
        ["--format=gnu", "--sparse"].as_slice(),
        ["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*"].as_slice(),
        ["--format=pax", "--sparse", "--sparse-version=0.1"].as_slice(),
        ["--format=pax", "--sparse", "--sparse-version=0.0"].as_slice(),
        ["--format=pax", "-z"].as_slice(),
        ["--format=pax", "--zstd"].as_slice(),
        ["--format=pax", "-J"].as_slice(),
    ] {
        let made = std::process::Command::new("tar").args(arguments).arg("-cC").arg(root).arg(".").output();
        let tar = made.unwrap().stdout;
        let fixture = Fixture::new();
        let applied = apply_tar(&fixture.store, &fixture.lease, &*tar, &[], &BlobRetention::Recipe).unwrap();
        assert_eq!(applied.notes, []);
        let fs = fixture.fs(&applied.layer);
        let mut compare = std::process::Command::new("diff");
        compare.args(["-r", "--no-dereference"]).arg(root).arg(&fs);
        assert!(compare.status().unwrap().success(), "{arguments:?}");
        assert!(fs::metadata(fs.join("sparse")).unwrap().blocks() < 1000 || !arguments.contains(&"--sparse"));
        if arguments.contains(&"--xattrs") {
            let mut value = [0; 64];
            let length = rustix::fs::lgetxattr(fs.join("link"), "security.capability", &mut value).unwrap();
            assert_eq!(value[..length], capability);
        }
        let nanoseconds = |path: &Path| fs::symlink_metadata(path).unwrap().mtime_nsec();
        if arguments.contains(&"--format=pax") {
            assert_eq!(nanoseconds(&fs.join("d")), nanoseconds(&root.join("d")));
            assert_eq!(nanoseconds(&fs.join("symlink")), nanoseconds(&root.join("symlink")));
        }
        let again = fixture.tar(&applied.layer);
        assert_eq!(DiffId::from_digest(Digest::of(&again)), applied.diff_id);
    }
}

/// Layers of other tools: what they say is what docker makes of them.
#[test]
fn names_and_links_mean_what_they_mean_beneath_the_root() {
    need_root!();
    let fixture = Fixture::new();
    let link = |builder: Builder, name: &str, to: &str| builder.entry(tar::EntryType::Symlink, name, to, b"");
    let hard = |builder: Builder, name: &str, to: &str| builder.entry(tar::EntryType::Link, name, to, b"");
    let tree = Builder::new().directory("usr/").directory("usr/lib/");
    let tree = link(link(link(tree, "lib", "usr/lib"), "abs", "/usr/lib"), "up", "../../usr/lib");
    let tree = tree.file("/lib/a", "1").file("usr/../abs/deep/b", "2").file("up/.wh.gone", "");
    let tree = hard(hard(tree, "/h1", "/lib/a"), "lib/h2", "abs/deep/b");
    let tree = link(tree, "late", "opt/late").file("late/c", "3").file("usr/lib/a", "twice");
    let tar = tree.directory("opt/.wh..wh.plnk/").file("opt/.wh..wh.plnk/1.2", "no").finish();
    let layer = fixture.apply(&tar).unwrap();
    let modes = |line: &String| !line.starts_with("dir usr");
    let found: Vec<String> =
        rbuild_testkit::described(&fixture.fs(&layer)).into_iter().filter(modes).collect();
    assert_eq!(
        found,
        [
            "char usr/lib/gone 0:0",
            "dir opt",
            "dir opt/late",
            "file h1 \"1\"",
            "file opt/late/c \"3\"",
            "file usr/lib/a \"twice\"",
            "file usr/lib/deep/b \"2\"",
            "file usr/lib/h2 \"2\"",
            "link abs -> /usr/lib",
            "link late -> opt/late",
            "link lib -> usr/lib",
            "link up -> ../../usr/lib",
        ]
    );
    assert!(fixture.tar(&layer) == tar, "it leaves as another tar");
}

/// As docker has it: a directory of the upper layer stands where the lower one has a link.
#[test]
fn a_link_of_a_lower_layer_is_not_followed() {
    need_root!();
    let fixture = Fixture::new();
    let lower = Builder::new().directory("usr/").entry(tar::EntryType::Symlink, "lib", "usr", b"").finish();
    let lower = fixture.apply(&lower).unwrap();
    let layer = fixture.apply_above(&Builder::new().file("lib/z", "x").finish(), &[lower]).unwrap();
    assert_eq!(rbuild_testkit::described(&fixture.fs(&layer)), ["dir lib", "file lib/z \"x\""]);
}
