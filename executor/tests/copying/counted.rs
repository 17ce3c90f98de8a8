//! What a copy takes on the disk is counted while it is made: nothing is walked for it.

use rbuild_cache::{Cancel, LayerDraft, LayerMeta, LayerSource, Store, Writer};
use rbuild_executor::{ContextRoot, IgnoreRules, Snapshots, SourceRoot, copy, select};
use rbuild_oci::{Clock, Timestamp};
use rbuild_planner::{CopyAction, CopySource, Filesystem, Unpack};
use rbuild_testkit::now;
use std::{fs, os::unix::fs::symlink, path::Path, time::SystemTime};

/// Bytes that the draft says it takes, before and after somebody puts a megabyte into it.
fn bytes(draft: &LayerDraft) -> (u64, u64) {
    let measured = || {
        let meta = LayerMeta::new(Timestamp::from_seconds(0).unwrap(), LayerSource::Own);
        draft.measured(meta).disk_bytes.unwrap()
    };
    let before = measured();
    fs::write(draft.fs().join("later"), vec![1; 1 << 20]).unwrap();
    (before, measured())
}

pub(crate) fn copied(store: &Store, context: &Path, sources: &[&str]) -> LayerDraft {
    let root = ContextRoot::open(store, context, IgnoreRules::none(), now()).unwrap();
    let sources = sources.iter().map(|source| CopySource::Path((*source).to_owned())).collect();
    let plain = CopyAction::plain(Filesystem::Context, sources, "/to/".parse().unwrap());
    let action = CopyAction { unpack: Unpack::Local, ..plain };
    let selection = select(&SourceRoot::Context(root), &action, &Cancel::default()).unwrap();
    copy(&Snapshots::new(store), &action, &selection, &[], SystemTime::UNIX_EPOCH).unwrap()
}

#[test]
fn a_copy_knows_what_it_takes_without_a_walk() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store"), &Writer::Root, Clock::new(now)).unwrap();
    let context = directory.path().join("context");
    fs::create_dir_all(context.join("tree/below")).unwrap();
    fs::write(context.join("tree/empty"), "").unwrap();
    fs::write(context.join("tree/below/small"), vec![1; 5000]).unwrap();
    fs::write(context.join("tree/long"), vec![1; 3_000_001]).unwrap();
    symlink("x".repeat(200), context.join("tree/link")).unwrap();
    fs::hard_link(context.join("tree/long"), context.join("tree/below/again")).unwrap();
    let tar = std::process::Command::new("tar").current_dir(&context).args(["-cf", "a.tar", "tree"]).status();
    assert!(tar.unwrap().success());

    for sources in [&["tree"][..], &["a.tar"], &["tree/empty", "tree/below/small"]] {
        let draft = copied(&store, &context, sources);
        let (before, after) = bytes(&draft);
        assert_eq!(before, after, "{sources:?} was walked");
        fs::remove_file(draft.fs().join("later")).unwrap();
        let walked = draft.counted(None);
        assert_eq!(bytes(&walked).0, before, "{sources:?}");
    }
    // the second source replaces a file of the first
    let draft = copied(&store, &context, &["tree", "tree/below", "a.tar", "tree/below/small", "tree"]);
    let (before, after) = bytes(&draft);
    assert!(after > before, "what is not known any more is walked");
}
