//! Containers' records.

use crate::fixture::{child, container, layer, now, parent, store};
use rbuild_cache::{ContainerProgram, ContainerState, StoreError};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
};

#[test]
fn a_record_comes_back_until_the_container_is_removed() {
    let (_directory, store) = store();
    let layer = layer(&store, &store.lease().unwrap(), "x");
    let directory = store.container("c");
    assert_eq!(directory.read().unwrap(), None);
    directory.create().unwrap();
    assert_eq!(directory.read().unwrap(), None, "not before its record is written");
    let modes =
        [directory.fs(), directory.work()].map(|path| fs::metadata(path).unwrap().permissions().mode());
    assert_eq!(modes.map(|mode| mode & 0o7777), [0o755, 0o700]);
    let mut record = container("c", &[layer]);
    for state in [ContainerState::Created, ContainerState::Exited(3)] {
        record.state = state;
        directory.write(&record).unwrap();
        assert_eq!(directory.read().unwrap().as_ref(), Some(&record));
    }
    store.container("d").write(&container("d", &[])).unwrap();
    let ids = |found: Vec<rbuild_cache::ContainerDirectory>| {
        found.iter().map(|directory| directory.read().unwrap().unwrap().id).collect::<Vec<_>>()
    };
    assert_eq!(ids(store.containers().unwrap()), ["c", "d"]);
    directory.remove().unwrap();
    assert_eq!(ids(store.containers().unwrap()), ["d"]);
}

#[test]
#[ignore = "a part of the test below, run in a child process"]
fn child_that_runs_a_container() {
    let (store, _) = parent();
    let lock = store.container("c").try_lock().unwrap().unwrap();
    lock.note(&ContainerProgram { pid: 7, started: now() }).unwrap();
    println!("\nlocked");
    std::thread::park();
}

#[test]
fn a_container_runs_as_long_as_the_process_that_runs_it() {
    let (_directory, store) = store();
    store.container("c").write(&container("c", &[])).unwrap();
    let seen = || store.container("c").read().unwrap().unwrap();
    let state = || seen().state;
    assert_eq!((state(), seen().pid), (ContainerState::Created, None));
    let mut child = child("containers::child_that_runs_a_container", store.root(), "");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "locked"));
    assert_eq!((state(), seen().pid), (ContainerState::Running, Some(7)));
    assert!(seen().started > Some(seen().created), "it was started after it was made");
    assert!(store.container("c").try_lock().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state(), ContainerState::Exited(137));
    // as a power cut may leave it
    fs::write(store.root().join("containers/c/lock"), "").unwrap();
    assert_eq!(state(), ContainerState::Created);
    let mut old = container("c", &[]);
    old.state = ContainerState::Running;
    store.container("c").write(&old).unwrap();
    assert_eq!(state(), ContainerState::Exited(137), "earlier versions wrote it into the record");
}

#[test]
fn what_a_container_with_a_damaged_record_needs_is_never_collected() {
    let (_directory, store) = store();
    let layer = layer(&store, &store.lease().unwrap(), "x");
    store.container("c").write(&container("c", &[layer])).unwrap();
    store.prune(&rbuild_cache::PruneOptions::default()).unwrap();
    assert!(store.has_layer(&layer), "the container needs it");
    fs::write(store.root().join("containers/c/config.json"), "{").unwrap();
    assert!(matches!(store.container("c").read(), Err(StoreError::Document { .. })));
    let refused = store.prune(&rbuild_cache::PruneOptions::default());
    assert!(matches!(refused, Err(StoreError::Document { .. })) && store.has_layer(&layer));
    store.container("c").remove().unwrap();
    assert_eq!(store.prune(&rbuild_cache::PruneOptions::default()).unwrap().layers, [layer]);
}
