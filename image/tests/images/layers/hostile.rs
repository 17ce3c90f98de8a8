//! What is refused, and how it is named.

use crate::layers::fixture::{Builder, Fixture, need_root};
use rbuild_image::{ImageError, layer_tar};
use rbuild_testkit::{Outcome, Tar, chain, described, hostile_archives};
use rustix::io::Errno;
use std::{fs, path::Path};

#[test]
fn hostile_archives_do_no_harm() {
    need_root!();
    for archive in hostile_archives() {
        let fixture = Fixture::new();
        match (archive.layer, fixture.apply(&archive.bytes)) {
            (Outcome::Refused(text), Err(error)) => {
                assert!(chain(&error).contains(text), "{}: {}", archive.name, chain(&error));
                let left = fs::read_dir(fixture.store.root().join("layers")).unwrap().count();
                assert_eq!(left, 0, "{} left something behind", archive.name);
            }
            (Outcome::Makes(files), Ok(layer)) => {
                assert_eq!(described(&fixture.fs(&layer)), files, "{}", archive.name);
                assert!(fixture.tar(&layer) == archive.bytes, "{} leaves as another tar", archive.name);
            }
            (expected, found) => panic!("{}: {found:?}, not {expected:?}", archive.name),
        }
        assert!(!Path::new("/etc/escaped").exists(), "{} wrote outside", archive.name);
    }
}

/// Directories that a tar could make opaque would hide those of the layers below without a whiteout, and one that it could
/// redirect would show other directories in its place.
#[test]
fn no_attribute_of_overlayfs_comes_out_of_a_tar() {
    need_root!();
    let fixture = Fixture::new();
    let records: [(&str, &[u8]); 3] = [
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.trusted.kept", b"v"),
    ];
    let layer = fixture.apply(&Tar::new().pax(&records).directory("d").finish()).unwrap();
    let mut value = [0; 8];
    let mut length = |name: &str| rustix::fs::lgetxattr(fixture.fs(&layer).join("d"), name, &mut value);
    assert_eq!(length("trusted.overlay.opaque"), Err(Errno::NODATA));
    assert_eq!(length("trusted.overlay.redirect"), Err(Errno::NODATA));
    assert_eq!(length("trusted.kept"), Ok(1));
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

/// ext4 says that no space is left when one file has more attributes than it can keep.
#[test]
fn too_many_attributes_are_no_full_disk() {
    need_root!();
    let value = vec![b'v'; 2000];
    let names: Vec<String> = (0..60).map(|number| format!("SCHILY.xattr.user.{number}")).collect();
    let records: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &value[..])).collect();
    let tar = Tar::new().pax(&records).file("f", "x").finish();
    match Fixture::new().apply(&tar) {
        // another file system may keep them
        Ok(_) => {}
        Err(error) => {
            let text = chain(&error);
            assert_eq!(
                text,
                "layer entry \"f\" has more extended attributes than the store's file system can keep"
            );
        }
    }
}
