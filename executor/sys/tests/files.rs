//! File calls on real files.

#![expect(clippy::unwrap_used, reason = "test support outside of test functions")]

use nix::{fcntl::OFlag, sys::stat::Mode};
use rbuild_sys::fs::{Resolve, open_below, open_in_root, set_mode, stat_at, stat_fd};
use std::{
    fs::{self, File},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::symlink,
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
fn modes_belong_to_the_name_itself() {
    let place = tempfile::tempdir().unwrap();
    let root = open(place.path());
    let file = Path::new("file");
    fs::write(place.path().join(file), "").unwrap();
    symlink("file", place.path().join("link")).unwrap();
    set_mode(root.as_fd(), file, 0o4751).unwrap();
    assert_eq!(stat_at(root.as_fd(), file).unwrap().permissions(), 0o4751);
    let refused = set_mode(root.as_fd(), Path::new("link"), 0o600).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EOPNOTSUPP));
}
