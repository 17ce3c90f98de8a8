//! ADD of archives that layers have to withstand as well.

use rbuild_cache::{Cancel, LayerDraft, Store, Writer};
use rbuild_executor::{ContextRoot, ExecutorError, IgnoreRules, Snapshots, SourceRoot, copy, select};
use rbuild_oci::Clock;
use rbuild_planner::{CopyAction, CopySource, Filesystem, Unpack};
use rbuild_testkit::now;
use rbuild_testkit::{Outcome, Tar, chain, described, has_root, hostile_archives};
use std::{fs, path::Path, time::SystemTime};

#[test]
fn hostile_archives_do_no_harm() {
    if !has_root() {
        return;
    }
    for archive in hostile_archives() {
        let directory = tempfile::tempdir().unwrap();
        match (archive.add, add(directory.path(), &archive.bytes)) {
            (Outcome::Refused(text), Err(error)) => {
                assert!(chain(&error).contains(text), "{}: {}", archive.name, chain(&error));
            }
            (Outcome::Makes(files), Ok(draft)) => {
                assert_eq!(described(&draft.fs().join("d")), files, "{}", archive.name);
            }
            (Outcome::IsAFile, Ok(draft)) => {
                let copied = fs::read(draft.fs().join("d")).ok();
                assert!(copied.as_ref() == Some(&archive.bytes), "{} is another file", archive.name);
            }
            (expected, found) => panic!("{}: {found:?}, not {expected:?}", archive.name),
        }
        assert!(!Path::new("/etc/escaped").exists(), "{} wrote outside", archive.name);
    }
}

/// As docker does it, and as layers have them.
#[test]
fn links_and_fifos_keep_their_attributes() {
    if !has_root() {
        return;
    }
    let records: [(&str, &[u8]); 2] =
        [("SCHILY.xattr.trusted.kept", b"v"), ("SCHILY.xattr.user.refused", b"v")];
    let tar = Tar::new()
        .pax(&records)
        .symlink("link", "nowhere")
        .pax(&records)
        .entry(b'6', b"fifo", "", b"")
        .finish();
    let directory = tempfile::tempdir().unwrap();
    let draft = add(directory.path(), &tar).unwrap();
    for name in ["link", "fifo"] {
        let mut value = [0; 8];
        let path = draft.fs().join("d").join(name);
        assert_eq!(rustix::fs::lgetxattr(path, "trusted.kept", &mut value), Ok(1), "{name}");
    }
}

/// `ADD archive /d`, where the archive has these bytes.
fn add(directory: &Path, bytes: &[u8]) -> Result<LayerDraft, ExecutorError> {
    let store = Store::open(&directory.join("store"), &Writer::Root, Clock::new(now)).unwrap();
    let context = directory.join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("archive"), bytes).unwrap();
    let action = CopyAction {
        unpack: Unpack::Local,
        destination_is_directory: false,
        ..CopyAction::plain(
            Filesystem::Context,
            vec![CopySource::Path("archive".to_owned())],
            "/d".parse().unwrap(),
        )
    };
    let root = ContextRoot::open(&store, &context, IgnoreRules::none(), now())?;
    let selection = select(&SourceRoot::Context(root), &action, &Cancel::default())?;
    copy(&Snapshots::new(&store), &action, &selection, &[], SystemTime::UNIX_EPOCH)
}
