//! File calls on real files.

#![expect(clippy::unwrap_used, reason = "test support outside of test functions")]

use nix::{fcntl::OFlag, sys::stat::Mode};
use rbuild_sys::fs::{
    DirectoryReader, FileType, Resolve, Sharing, copy_file, get_xattr, list_xattrs, open_below, open_in_root,
    remove_xattr, set_mode, set_xattr, stat_at, stat_fd,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::symlink},
    },
    path::Path,
};

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

#[test]
fn paths_stay_in_their_root() {
    let place = tempfile::tempdir().unwrap();
    let root = open(place.path());
    fs::write(place.path().join("passwd"), "inside").unwrap();
    fs::create_dir(place.path().join("etc")).unwrap();
    symlink("/passwd", place.path().join("etc/absolute")).unwrap();
    symlink("../../../../passwd", place.path().join("etc/climbing")).unwrap();
    let none = Mode::empty();
    for path in ["etc/absolute", "etc/climbing", "/etc/../../passwd"] {
        let file = open_in_root(root.as_fd(), Path::new(path), OFlag::O_RDONLY, none).unwrap();
        assert_eq!(stat_fd(file.as_fd()).unwrap().size, 6);
        assert!(open_below(root.as_fd(), Path::new(path), Resolve::Beneath, OFlag::O_RDONLY, none).is_err());
    }
    symlink("../passwd", place.path().join("etc/fine")).unwrap();
    let fine = Path::new("etc/fine");
    open_below(root.as_fd(), fine, Resolve::Beneath, OFlag::O_RDONLY, none).unwrap();
    let refused = open_below(root.as_fd(), fine, Resolve::BeneathNoSymlinks, OFlag::O_RDONLY, none);
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ELOOP));
    assert!(stat_at(root.as_fd(), fine).unwrap().is_symlink());
}

#[test]
fn directories_are_read_whole() {
    let place = tempfile::tempdir().unwrap();
    for number in 0..5000 {
        fs::write(place.path().join(format!("a name of some length {number}")), "").unwrap();
    }
    fs::create_dir(place.path().join(".dir")).unwrap();
    symlink("x", place.path().join("..link")).unwrap();
    let mut reader = DirectoryReader::new(open(place.path()));
    let mut found = BTreeMap::new();
    while let Some(entry) = reader.next().unwrap() {
        assert!(found.insert(entry.name.to_owned(), entry.file_type).is_none());
    }
    assert_eq!(found.len(), 5002);
    assert_eq!((found[c".dir"], found[c"..link"]), (FileType::Directory, FileType::Symlink));
    let mut again = reader.reuse(open(&place.path().join(".dir")));
    assert_eq!(again.next().unwrap(), None);
}

#[test]
fn copies_are_whole_also_from_files_without_a_size() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("source");
    fs::write(&path, vec![7; 300_000]).unwrap();
    for sharing in [Sharing::Copy, Sharing::Reflink] {
        let target = File::create(place.path().join("target")).unwrap();
        let copied = copy_file(open(&path).as_fd(), target.as_fd(), 300_000, sharing).unwrap();
        assert_eq!(copied, 300_000);
        assert_eq!(fs::read(place.path().join("target")).unwrap(), vec![7; 300_000]);
    }
    let target = File::create(place.path().join("target")).unwrap();
    let status = open(Path::new("/proc/self/status"));
    assert!(copy_file(status.as_fd(), target.as_fd(), 100, Sharing::Copy).unwrap() > 0);
    let short = File::create(place.path().join("short")).unwrap();
    assert_eq!(copy_file(open(&path).as_fd(), short.as_fd(), 1 << 40, Sharing::Copy).unwrap(), 300_000);
}

#[test]
fn attributes_and_modes_belong_to_the_name_itself() {
    let place = tempfile::tempdir().unwrap();
    let root = open(place.path());
    let file = Path::new("file");
    fs::write(place.path().join(file), "").unwrap();
    symlink("file", place.path().join("link")).unwrap();
    let name = c"user.rbuild";
    if let Err(error) = set_xattr(root.as_fd(), file, name, b"value") {
        eprintln!("SKIPPED: no user attributes in {}: {error}", place.path().display());
        return;
    }
    assert_eq!(get_xattr(root.as_fd(), file, name).unwrap().as_deref(), Some(b"value".as_slice()));
    set_xattr(root.as_fd(), file, name, &[9; 1000]).unwrap();
    assert_eq!(get_xattr(root.as_fd(), file, name).unwrap().map(|value| value.len()), Some(1000));
    assert_eq!(list_xattrs(root.as_fd(), file).unwrap(), name.to_bytes_with_nul());
    assert!(list_xattrs(root.as_fd(), Path::new("link")).unwrap().is_empty());
    remove_xattr(root.as_fd(), file, name).unwrap();
    assert_eq!(get_xattr(root.as_fd(), file, name).unwrap(), None);
    set_mode(root.as_fd(), file, 0o4751).unwrap();
    assert_eq!(stat_at(root.as_fd(), file).unwrap().permissions(), 0o4751);
    let refused = set_mode(root.as_fd(), Path::new("link"), 0o600).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EOPNOTSUPP));
    assert_eq!(file.as_os_str().as_bytes(), b"file");
}
