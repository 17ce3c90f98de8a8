//! Users and groups: who RUN runs as, and who owns what `--chown` names.

use rbuild_cache::{LayerMeta, LayerSource, Store, Writer};
use rbuild_executor::{RootView, Snapshots, chown_owner, run_identity};
use rbuild_oci::Clock;
use rbuild_oci::Timestamp;
use rbuild_testkit::now;
use std::{fs, os::unix::fs::symlink};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n# junk\nno:x:y\n";
const GROUP: &str = "root:x:0:\nstaff:x:50:alice,bob\nbob:x:1001:\nextra:x:60:bob\nadm:x:4:root,syslog\n";

/// A root filesystem whose passwd file is behind an absolute link.
fn check(test: impl Fn(&RootView)) {
    if !rbuild_testkit::has_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), &Writer::Root, Clock::new(now)).unwrap();
    let draft = store.new_layer().unwrap();
    fs::create_dir_all(draft.fs().join("usr/etc")).unwrap();
    fs::create_dir(draft.fs().join("etc")).unwrap();
    fs::write(draft.fs().join("usr/etc/passwd"), PASSWD).unwrap();
    symlink("/usr/etc/passwd", draft.fs().join("etc/passwd")).unwrap();
    fs::write(draft.fs().join("etc/group"), GROUP).unwrap();
    let meta = LayerMeta::new(Timestamp::from_seconds(0).unwrap(), LayerSource::Own);
    let layer = draft.commit(&store.lease().unwrap(), &meta).unwrap();
    test(&Snapshots::new(&store).view(&[layer]).unwrap());
}

#[test]
fn identity_of_run() {
    check(|view| {
        for (user, uid, gid, groups, home) in [
            ("", 0, 0, &[0, 4][..], "/root"),
            ("root", 0, 0, &[0, 4], "/root"),
            ("0", 0, 0, &[0, 4], "/root"),
            ("bob", 1000, 1001, &[1001, 50, 60], "/home/bob"),
            ("1000", 1000, 1001, &[1001, 50, 60], "/home/bob"),
            ("1234", 1234, 0, &[0], "/"),
            ("7:8", 7, 8, &[8], "/"),
            ("bob:staff", 1000, 50, &[50], "/home/bob"),
            ("bob:99", 1000, 99, &[99], "/home/bob"),
            ("root:root", 0, 0, &[0], "/root"),
        ] {
            let found = run_identity(view, user).unwrap();
            assert_eq!(
                (found.uid, found.gid, found.groups.as_slice(), found.home.as_str()),
                (uid, gid, groups, home),
                "{user:?}"
            );
        }
        let error = |user| run_identity(view, user).unwrap_err().to_string();
        assert_eq!(error("eve"), "unable to find user eve: no matching entries in passwd file");
        assert_eq!(error("bob:eves"), "unable to find group eves: no matching entries in group file");
        // numbers that the kernel takes for none
        for user in ["4294967295", "1:4294967295", "bob:4294967295", "2147483648"] {
            assert!(error(user).ends_with("must be in range 0-2147483647"), "{user}");
            assert!(chown_owner(view, user).is_err(), "{user}");
        }
        assert_eq!(run_identity(view, "2147483647").unwrap().uid, 2_147_483_647);
    });
}

#[test]
fn owner_of_chown() {
    check(|view| {
        for (text, owner) in [
            ("5", (5, 5)),
            ("5:6", (5, 6)),
            ("bob", (1000, 1001)),
            ("bob:staff", (1000, 50)),
            (":staff", (0, 50)),
            ("eve:eves", (0, 0)),
            ("root:7", (0, 7)),
        ] {
            assert_eq!(chown_owner(view, text).unwrap(), owner, "{text}");
        }
    });
}
