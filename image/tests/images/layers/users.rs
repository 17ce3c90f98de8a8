//! Layers in a user namespace, and without any rights: the test program runs itself there.

use crate::layers::fixture::{Builder, Fixture, need_root};
use rbuild_cache::Writer;
use rbuild_image::{BlobRetention, ImageError, apply_tar};
use std::{fs, io::Read, os::unix::fs::MetadataExt};

/// Runs the test below in a user namespace whose ids are 100000 and up.
#[test]
fn layers_are_applied_in_a_user_namespace() {
    need_root!();
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(100_000), Some(100_000)).unwrap();
    let binary = directory.path().join("test");
    rbuild_testkit::copy_program(&std::env::current_exe().unwrap(), &binary);
    // the maps are written from outside, by real root, once the namespace is there
    let script = "echo ready; read go; exec setpriv --reuid=0 --regid=0 --clear-groups \"$@\"";
    let started = std::process::Command::new("unshare")
        .args(["--user", "--keep-caps", "sh", "-c", script, "sh"])
        .arg(&binary)
        .args(["--exact", "--ignored", "layers::users::in_a_user_namespace"])
        .env("TMPDIR", directory.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = started else { return rbuild_testkit::skip("unshare cannot be run") };
    let mut output = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    if output.read_exact(&mut ready).is_err() {
        return rbuild_testkit::skip("user namespaces cannot be made here");
    }
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", child.id()), "0 100000 65536").unwrap();
    }
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"go\n").unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by layers_are_applied_in_a_user_namespace"]
fn in_a_user_namespace() {
    let fixture = Fixture::written_by(&Writer::User { uid: 100_000, ids: None });
    let device = |builder: Builder, kind| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_path("dev").unwrap();
        header.set_size(0);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_cksum();
        let mut builder = builder;
        builder.0.append(&header, &b""[..]).unwrap();
        builder
    };
    let tar = Builder::new().directory("d/").file("d/.wh..wh..opq", "").file("d/.wh.gone", "");
    let tar = device(tar, tar::EntryType::Char).finish();
    let applied = apply_tar(&fixture.store, &fixture.lease, &*tar, &[], &BlobRetention::Recipe).unwrap();
    assert_eq!(applied.notes, [rbuild_image::Note::DeviceSkipped { entry: "dev".to_owned() }]);
    let fs = fixture.fs(&applied.layer);
    assert_eq!(fs::symlink_metadata(fs.join("d/gone")).unwrap().rdev(), 0);
    let mut value = [0; 4];
    assert_eq!(rustix::fs::lgetxattr(fs.join("d"), "user.overlay.opaque", &mut value), Ok(1));
    // the device is in the tar all the same
    assert_eq!(fixture.tar(&applied.layer), tar);
    let mut foreign = tar::Header::new_ustar();
    foreign.set_path("foreign").unwrap();
    foreign.set_size(0);
    foreign.set_uid(70_000);
    foreign.set_cksum();
    let error = fixture.apply(&[&foreign.as_bytes()[..], &[0; 1024]].concat()).unwrap_err();
    assert!(matches!(error, ImageError::Owner { uid: 70_000, .. }), "{error}");
}

#[test]
fn without_rights_an_owner_that_cannot_be_set_is_named() {
    need_root!();
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(65_534), Some(65_534)).unwrap();
    let binary = directory.path().join("test");
    rbuild_testkit::copy_program(&std::env::current_exe().unwrap(), &binary);
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
    command
        .args(["--exact", "--ignored", "layers::users::as_an_ordinary_user"])
        .env("TMPDIR", directory.path());
    let Ok(output) = command.output() else { return rbuild_testkit::skip("setpriv cannot be run") };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by without_rights_an_owner_that_cannot_be_set_is_named"]
fn as_an_ordinary_user() {
    let fixture = Fixture::new();
    let error = fixture.apply(&Builder::new().file("etc/passwd", "").finish()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot give layer entry \"etc/passwd\" to 0:0: these ids are not mapped: give the user a range in /etc/subuid and /etc/subgid"
    );
}
