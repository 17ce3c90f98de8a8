//! Tars of trees that are large enough for several threads: the order and the bytes are those of one.

use super::fixture::{Fixture, need_root};
use rbuild_oci::Digest;
use std::{fs, io::Read, os::unix::fs::symlink, path::Path};

/// Lengths around what is read ahead.
const LENGTHS: [usize; 6] = [0, 1, 511, 512, 16 << 10, (16 << 10) + 1];

fn content(directory: usize, file: usize) -> Vec<u8> {
    let length = LENGTHS[(directory + file) % LENGTHS.len()];
    (0..length).map(|at| (at * 7 + directory * 31 + file) as u8).collect()
}

fn fill(fs: &Path) {
    for directory in 0..120 {
        let path = fs.join(format!("d{}/e{directory}", directory % 7));
        fs::create_dir_all(path.join("z/deep")).unwrap();
        for file in 0..(directory % 40) {
            fs::write(path.join(format!("f{file}")), content(directory, file)).unwrap();
        }
        symlink("f0", path.join("link")).unwrap();
        fs::hard_link(path.join("link"), path.join("z/deep/same link")).unwrap();
        fs::write(path.join("a"), "first").unwrap();
        fs::hard_link(path.join("a"), path.join("z/again")).unwrap();
    }
}

#[test]
fn a_large_tree_is_written_in_order_and_always_the_same() {
    need_root!();
    let fixture = Fixture::new();
    let layer = fixture.own(|draft| fill(draft.fs()));
    let bytes = fixture.tar(&layer);
    for _ in 0..5 {
        assert_eq!(Digest::of(&fixture.tar(&layer)), Digest::of(&bytes));
    }
    let (mut names, mut links) = (Vec::new(), 0);
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
        links += usize::from(entry.header().entry_type() == tar::EntryType::Link);
        let parts: Vec<&str> = name.split('/').collect();
        if let [_, directory, file] = parts[..]
            && let (Ok(directory), Ok(file)) = (directory[1..].parse(), file[1..].parse())
        {
            let mut found = Vec::new();
            entry.read_to_end(&mut found).unwrap();
            assert_eq!(found, content(directory, file), "{name}");
        }
        names.push(parts.iter().map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>());
    }
    assert!(names.is_sorted(), "parents before children, and names in order of their bytes");
    let files: usize = (0..120).map(|directory| directory % 40).sum();
    assert_eq!(names.len(), 7 + 120 * 7 + files);
    assert_eq!(links, 2 * 120);
}

#[test]
fn a_file_that_was_cut_is_named() {
    need_root!();
    let fixture = Fixture::new();
    let layer = fixture.own(|draft| fill(draft.fs()));
    rbuild_image::layer_diff(&fixture.store, &layer).unwrap();
    // another program changes a layer
    fs::write(fixture.fs(&layer).join("d3/e73/f5"), "other").unwrap();
    let failed = rbuild_image::layer_tar(&fixture.store, &layer).unwrap().read_to_end(&mut Vec::new());
    assert!(failed.is_err());
}
