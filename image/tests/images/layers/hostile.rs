//! What is refused, and how it is told.

use crate::layers::fixture::{Builder, Fixture, need_root};
use rbuild_image::{EntryProblem, ImageError, layer_tar};
use std::fs;

#[test]
fn a_hostile_tar_is_refused_by_the_entry_s_name() {
    need_root!();
    use tar::EntryType::{Char, Link, Symlink, XHeader};
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    let long_symlink = |name: &str| Builder::new().entry(Symlink, name, target, b"");
    let cases: Vec<(Vec<u8>, &str, EntryProblem)> = vec![
        (Builder::new().file("/etc/x", "").finish(), "/etc/x", EntryProblem::Absolute),
        (Builder::new().file("a/../../x", "").finish(), "a/../../x", EntryProblem::ParentReference),
        (long_symlink("l").file("l/x", "").finish(), "l", EntryProblem::ThroughLink),
        (long_symlink("l").file("l/d/x", "").finish(), "l/d", EntryProblem::ThroughLink),
        (long_symlink("l").directory("l/d").finish(), "l", EntryProblem::ThroughLink),
        (long_symlink("l").file("l/.wh.x", "").finish(), "l", EntryProblem::ThroughLink),
        (Builder::new().entry(Link, "h", "../../etc/passwd", b"").finish(), "h", EntryProblem::LinkOutside),
        (Builder::new().entry(Link, "h", "/etc/passwd", b"").finish(), "h", EntryProblem::LinkOutside),
        (long_symlink("l").entry(Link, "h", "l/x", b"").finish(), "h", EntryProblem::LinkTargetMissing),
        (Builder::new().entry(Link, "h", "gone", b"").finish(), "h", EntryProblem::LinkTargetMissing),
        (Builder::new().file("f", "").file("f/x", "").finish(), "f", EntryProblem::ParentNotDirectory),
        (Builder::new().file(".wh..wh.plnk", "").finish(), ".wh..wh.plnk", EntryProblem::Reserved),
        (Builder::new().file("a/.wh..", "").finish(), "a/.wh..", EntryProblem::Reserved),
        (Builder::new().entry(Char, "c", "", b"").finish(), "c", EntryProblem::WhiteoutDevice),
    ];
    for (tar, name, problem) in cases {
        let fixture = Fixture::new();
        match fixture.apply(&tar) {
            Err(ImageError::Entry { entry, problem: found }) => {
                assert_eq!((entry.as_str(), found), (name, problem));
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{name} wrote outside");
        assert_eq!(fs::read_dir(fixture.store.root().join("layers")).unwrap().count(), 0);
    }
    for (tar, text) in [
        (b"not a tar at all".repeat(64), "damaged tar: a header has a wrong checksum"),
        (
            Builder::new().file("a", "content").finish()[..600].to_vec(),
            "damaged tar: it ends within an entry",
        ),
        (
            Builder::new().entry(XHeader, "x", "", b"99 path=a\n").finish(),
            "damaged tar: a pax header is malformed",
        ),
        (b"\x1f\x8b\x08 no gzip".to_vec(), "cannot decompress the tar stream"),
    ] {
        assert_eq!(Fixture::new().apply(&tar).unwrap_err().to_string(), text);
    }
}

#[test]
fn a_damaged_layer_is_named() {
    let fixture = Fixture::new();
    need_root!();
    let layer = fixture.apply(&Builder::new().file("a", "content").finish()).unwrap();
    fs::write(fixture.fs(&layer).join("a"), "CONTENT").unwrap();
    let mut tar = layer_tar(&fixture.store, &layer).unwrap();
    let error = loop {
        match tar.next_chunk() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the damage was not seen"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ImageError::LayerDamaged { layer: named, .. } if named == layer));
}
