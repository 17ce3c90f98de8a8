//! What is refused, and how it is named.

use crate::layers::fixture::{Builder, Fixture, need_root};
use rbuild_image::{ImageError, layer_tar};
use rbuild_testkit::{Outcome, chain, described, hostile_archives};
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
