//! Archives that ask for too much, read without being extracted.

use crate::entries;
use rbuild_archive::{ArchiveError, Limits, TarProblem, TarReader};
use rbuild_testkit::{Outcome, Tar, hostile_archives};

/// Damage of the tar itself is found by this crate, and not by each extractor.
#[test]
fn damage_is_found_by_the_reader() {
    for archive in hostile_archives().iter().filter(|archive| archive.layer == archive.add) {
        let found = entries(&*archive.bytes);
        match archive.layer {
            Outcome::Refused(text) => {
                let error = found.expect_err(archive.name).to_string();
                assert!(error.contains(text), "{}: {error}", archive.name);
            }
            Outcome::Makes(_) => assert!(found.is_ok(), "{}: {found:?}", archive.name),
            Outcome::IsAFile => panic!("a layer is never a file"),
        }
    }
}

fn problem(tar: Tar, limits: Limits) -> TarProblem {
    let bytes = tar.finish();
    let mut tar = TarReader::new(&*bytes).within(limits);
    loop {
        match tar.next_entry() {
            Ok(Some(_)) => {}
            Err(ArchiveError::Damaged(problem)) => return problem,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn limits_are_those_given() {
    let three = Tar::new().file("a", "").directory("b").symlink("c", "d");
    let limits = Limits { entries: 2, ..Limits::STANDARD };
    assert_eq!(problem(three, limits), TarProblem::TooManyEntries { limit: 2 });
    let limits = Limits { path: 3, ..Limits::STANDARD };
    let too_long = TarProblem::PathTooLong { length: 4, limit: 3 };
    assert_eq!(problem(Tar::new().file("aaaa", ""), limits), too_long);
    assert_eq!(problem(Tar::new().symlink("a", "bbbb"), limits), too_long);
    let limits = Limits { extension: 10, ..Limits::STANDARD };
    let pax = Tar::new().pax(&[("mtime", b"1")]).file("a", "");
    assert_eq!(problem(pax, limits), TarProblem::ExtensionTooLong { size: 11, limit: 10 });
    let limits = Limits { sparse_pieces: 1, ..Limits::STANDARD };
    let sparse = Tar::new().pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,1,2,1")]).file("a", "bc");
    assert_eq!(problem(sparse, limits), TarProblem::Sparse);
}
