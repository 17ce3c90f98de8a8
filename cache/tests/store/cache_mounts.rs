//! Cache mounts: which directory a step gets, and who waits.

use crate::fixture::{mount_spec, store};
use rbuild_cache::{CacheMount, CacheMountSpec, Cancel, MountSharing, Store};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    thread,
    time::{Duration, Instant},
};

fn take(store: &Store, spec: &CacheMountSpec<'_>, sharing: MountSharing) -> CacheMount {
    store.cache_mount(spec, sharing, &Cancel::default()).unwrap().unwrap()
}

fn number(mount: &CacheMount) -> String {
    mount.path().file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn shared_steps_meet_and_private_ones_do_not() {
    let (_directory, store) = store();
    let shared = take(&store, &mount_spec("m"), MountSharing::Shared);
    let again = take(&store, &mount_spec("m"), MountSharing::Shared);
    let first = take(&store, &mount_spec("m"), MountSharing::Private);
    let second = take(&store, &mount_spec("m"), MountSharing::Private);
    assert_eq!([&shared, &again, &first, &second].map(number), ["0", "0", "0", "1"]);
    drop(first);
    // a number that is free is taken again, with what is in it
    fs::write(shared.path().join("kept"), "x").unwrap();
    let third = take(&store, &mount_spec("m"), MountSharing::Private);
    assert_eq!(number(&third), "0");
    assert!(third.path().join("kept").exists());
}

#[test]
fn a_locked_mount_is_waited_for_until_the_wait_is_canceled() {
    let (_directory, store) = store();
    let held = take(&store, &mount_spec("m"), MountSharing::Locked);
    let cancel = Cancel::default();
    thread::scope(|scope| {
        let given_up =
            scope.spawn(|| store.cache_mount(&mount_spec("m"), MountSharing::Locked, &cancel).unwrap());
        let waiting = scope.spawn(|| (take(&store, &mount_spec("m"), MountSharing::Locked), Instant::now()));
        thread::sleep(Duration::from_millis(40));
        assert!(!given_up.is_finished() && !waiting.is_finished());
        cancel.cancel();
        assert!(given_up.join().unwrap().is_none());
        let released = Instant::now();
        drop(held);
        let (mount, taken) = waiting.join().unwrap();
        assert!(number(&mount) == "0" && taken >= released);
    });
}

#[test]
fn mode_and_owner_make_a_mount_of_their_own() {
    let (_directory, store) = store();
    let own = fs::metadata("/proc/self").unwrap();
    let (uid, gid) = (own.uid(), own.gid());
    let cases = [
        (mount_spec("m"), 0o755),
        (CacheMountSpec { mode: Some(0o1777), ..mount_spec("m") }, 0o1777),
        (CacheMountSpec { mode: Some(0o700), ..mount_spec("m") }, 0o700),
        (mount_spec("n"), 0o755),
    ];
    let mounts = cases.map(|(spec, mode)| {
        let mount = take(&store, &spec, MountSharing::Shared);
        let made = fs::metadata(mount.path()).unwrap();
        assert_eq!(
            (made.permissions().mode() & 0o7777, made.uid(), made.gid()),
            (mode, uid, gid),
            "{spec:?}"
        );
        mount.path().to_owned()
    });
    for (position, path) in mounts.iter().enumerate() {
        assert!(!mounts[..position].contains(path), "{}", path.display());
    }
}
