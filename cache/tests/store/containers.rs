//! Containers' records.

use crate::fixture::{child, container, layer, now, parent, store};
use rbuild_cache::{
    Container, ContainerProgram, ContainerState, NewContainer, Next, PruneOptions, StoreError,
};
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
    let mut record = container("c", &[layer]);
    let made = store.create_container(&record, Next::Start, None).unwrap();
    assert!(matches!(made, NewContainer::Made(..)));
    let modes =
        [directory.fs(), directory.work()].map(|path| fs::metadata(path).unwrap().permissions().mode());
    assert_eq!(modes.map(|mode| mode & 0o7777), [0o755, 0o700]);
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
fn a_record_that_a_power_cut_has_emptied_is_none_unless_something_was_written() {
    let (_directory, store) = store();
    let passing = Container { remove_when_ended: true, ..container("p", &[]) };
    for name in ["emptied", "written"] {
        let record = Container { id: name.to_owned(), name: name.to_owned(), ..passing.clone() };
        let NewContainer::Made(directory, lock) = store.create_container(&record, Next::Start, None).unwrap()
        else {
            panic!("{name} is taken")
        };
        assert_eq!(directory.read().unwrap().map(|found| found.name).as_deref(), Some(name));
        drop(lock);
        fs::write(store.root().join("containers").join(name).join("config.json"), "").unwrap();
    }
    fs::write(store.container("written").fs().join("file"), "x").unwrap();
    // one that somebody has made is never thought of as lost in a power cut
    drop(store.create_container(&container("lasting", &[]), Next::Leave, None).unwrap());
    fs::write(store.root().join("containers/lasting/config.json"), "").unwrap();
    let made = store.create_container(&container("next", &[]), Next::Leave, None).unwrap();
    assert!(matches!(made, NewContainer::Made(..)));
    for name in ["written", "lasting"] {
        assert!(matches!(store.container(name).read(), Err(StoreError::Document { .. })), "{name}");
    }
    let ids: Vec<String> =
        store.containers().unwrap().iter().filter_map(|left| left.id().map(str::to_owned)).collect();
    assert_eq!(ids, ["lasting", "next", "written"]);
}

#[test]
#[ignore = "a part of the test below, run in a child process"]
fn child_that_runs_a_container() {
    let (store, _) = parent();
    let lock = store.container("c").try_lock().unwrap().unwrap();
    lock.note(&ContainerProgram { pid: 7, started: now(), ticks: None, network: None }).unwrap();
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
    store.prune(&PruneOptions::default()).unwrap();
    assert!(store.has_layer(&layer), "the container needs it");
    fs::write(store.root().join("containers/c/config.json"), "{").unwrap();
    assert!(matches!(store.container("c").read(), Err(StoreError::Document { .. })));
    let refused = store.prune(&PruneOptions::default());
    assert!(matches!(refused, Err(StoreError::Document { .. })) && store.has_layer(&layer));
    store.container("c").remove().unwrap();
    assert_eq!(store.prune(&PruneOptions::default()).unwrap().layers, [layer]);
}

#[test]
fn of_many_that_ask_for_one_name_one_gets_it() {
    let (_directory, store) = store();
    let record = |number: usize| {
        let mut record = container(&number.to_string(), &[]);
        record.name = "same".to_owned();
        record
    };
    let made: Vec<NewContainer> = std::thread::scope(|scope| {
        let make = |number| store.create_container(&record(number), Next::Leave, None).unwrap();
        let makers: Vec<_> = (0..16).map(|number| scope.spawn(move || make(number))).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    let winners = made.iter().filter(|made| matches!(made, NewContainer::Made(..))).count();
    let all = store.containers().unwrap();
    assert_eq!((winners, all.len()), (1, 1));
    let id = all[0].read().unwrap().unwrap().id;
    assert!(made.iter().all(|made| match made {
        NewContainer::Made(..) => true,
        NewContainer::NameTaken(other) => *other == id,
    }));
}

#[test]
fn nothing_is_left_of_containers_whose_supervisor_is_dead() {
    let (_directory, store) = store();
    let mut record = container("c", &[]);
    record.remove_when_ended = true;
    let NewContainer::Made(directory, lock) = store.create_container(&record, Next::Start, None).unwrap()
    else {
        panic!()
    };
    store.prune(&PruneOptions::default()).unwrap();
    assert_eq!(directory.read().unwrap(), Some(record.clone()), "it is about to run");
    // as its supervisor was killed
    drop(lock);
    assert_eq!(directory.read().unwrap(), None);
    // as earlier versions left one that was killed while it was made
    fs::create_dir_all(store.root().join("containers/d/fs")).unwrap();
    store.container("kept").write(&container("kept", &[])).unwrap();
    store.prune(&PruneOptions::default()).unwrap();
    let left: Vec<_> = fs::read_dir(store.root().join("containers")).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert!(store.container("kept").read().unwrap().is_some());
}
