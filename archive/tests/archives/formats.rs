//! The formats that tar programs write.

use crate::entries;
use rbuild_archive::{EntryKind, TarReader, Time};
use rbuild_testkit::has_program;
use std::{
    fs,
    io::{BufReader, Cursor, Seek, SeekFrom, Write},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

/// A tree with a long name, a long link, a hard link and a file with holes.
fn make_tree(root: &Path) {
    let deep = "directory-with-a-long-name/".repeat(8);
    fs::create_dir_all(root.join(&deep)).unwrap();
    fs::write(root.join(&deep).join("file"), "deep").unwrap();
    fs::write(root.join("a"), "content of a").unwrap();
    fs::hard_link(root.join("a"), root.join("hard")).unwrap();
    symlink(&deep[..deep.len() - 1], root.join("link")).unwrap();
    let mut holes = fs::File::create(root.join("holes")).unwrap();
    holes.set_len(1 << 20).unwrap();
    for at in [0_u64, 300 << 10, 700 << 10] {
        holes.seek(SeekFrom::Start(at)).unwrap();
        holes.write_all(&[b'h'; 4096]).unwrap();
    }
}

fn tar(root: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.args(arguments).args(["--sort=name", "--mtime=@1700000000.25", "--owner=1000", "--group=100"]);
    let output = command.arg("-C").arg(root).args(["-cf-", "."]).output().unwrap();
    assert!(output.status.success(), "tar {arguments:?}");
    output.stdout
}

#[test]
fn what_the_tar_program_writes_is_read() {
    if !has_program("tar", "formats::what_the_tar_program_writes_is_read") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    make_tree(directory.path());
    for arguments in [
        &["--format=gnu"][..],
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ] {
        let found = entries(&*tar(directory.path(), arguments)).unwrap();
        let get = |name: &str| {
            let entry = found.iter().find(|(entry, _)| entry.name == name.as_bytes());
            entry.unwrap_or_else(|| panic!("{arguments:?} has no {name}"))
        };
        let deep = "directory-with-a-long-name/".repeat(8);
        assert_eq!(get(&format!("./{deep}file")).1, b"deep", "{arguments:?}");
        assert_eq!(get("./a").1, b"content of a");
        let hard = &get("./hard").0;
        assert_eq!((hard.kind, hard.link.as_slice()), (EntryKind::HardLink, &b"./a"[..]));
        let link = &get("./link").0;
        assert_eq!(
            (link.kind, link.link.as_slice()),
            (EntryKind::Symlink, &deep.as_bytes()[..deep.len() - 1])
        );
        assert_eq!(get("./").0.kind, EntryKind::Directory);
        let (holes, content) = get("./holes");
        assert!(*content == fs::read(directory.path().join("holes")).unwrap(), "{arguments:?}");
        assert_eq!(holes.sparse.is_some(), arguments.contains(&"--sparse"), "{arguments:?}");
        assert_eq!((holes.uid, holes.gid), (1000, 100));
        let has_fractions = arguments[0] == "--format=posix";
        let nanoseconds = if has_fractions { 250_000_000 } else { 0 };
        assert_eq!(holes.mtime, Time { seconds: 1_700_000_000, nanoseconds }, "{arguments:?}");
    }
}

#[test]
fn content_can_be_passed_by_seeking() {
    let large = vec![b'x'; 100_000];
    let bytes = rbuild_testkit::Tar::new().file("a", &large).directory("d").file("b", "bb").finish();
    let mut tar = TarReader::new(BufReader::with_capacity(600, Cursor::new(&bytes)));
    let mut found = Vec::new();
    while let Some(entry) = tar.next_entry().unwrap() {
        let begin = usize::try_from(tar.position()).unwrap();
        assert_eq!(
            &bytes[begin..][..entry.stored as usize],
            if entry.name == b"a" { &*large } else { &b"bb"[..entry.stored as usize] }
        );
        found.push(entry.name);
        tar.seek_past_content().unwrap();
    }
    assert_eq!(found, [&b"a"[..], b"d", b"b"]);
    // a file may be sought past its end: that must not look like the end of the tar
    let mut cut = TarReader::new(Cursor::new(&bytes[..50_000]));
    cut.next_entry().unwrap().unwrap();
    assert!(cut.seek_past_content().unwrap_err().to_string().contains("ends within an entry"));
}
