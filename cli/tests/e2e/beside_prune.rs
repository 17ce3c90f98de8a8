//! `prune` beside everything that uses images: what has found an image keeps it, or says that it is gone.

use crate::with_busybox;
use rbuild_testkit::{Ran, Workspace};
use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Its registry refuses at once, so that an image that is gone is not fetched.
const BASE: &str = "localhost:1/base";
const ROUNDS_FOR: Duration = Duration::from_secs(8);

/// True if it worked; when not, the image must have been gone.
fn worked(ran: &Ran, what: &str) -> bool {
    let gone =
        ["no such image", "cannot resolve", "localhost:1"].iter().any(|text| ran.stderr.contains(text));
    let broken = ["cannot mount", "No such file", "is not in the store", "damaged"];
    let broken = broken.iter().find(|text| ran.stderr.contains(**text));
    assert!(ran.code == 0 || gone, "{what}: {ran:#?}");
    assert!(broken.is_none(), "{what}: {ran:#?}");
    ran.code == 0
}

/// Runs `command` until `ended`; returns how often it worked.
fn repeat(here: &Workspace, ended: &AtomicBool, command: &[&str]) -> usize {
    let mut times = 0;
    while !ended.load(Ordering::Relaxed) {
        times += usize::from(worked(&here.run(command), command[0]));
    }
    times
}

#[test]
fn what_has_found_an_image_keeps_it_beside_prune() {
    let Some(here) = with_busybox("what_has_found_an_image_keeps_it_beside_prune") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/base/busybox.tar");
    let root = root.to_str().unwrap();
    let context = here.context("c", &format!("FROM {BASE}\nRUN echo 1 > /1\nCOPY f /f\n"), &[("f", "mine")]);
    let context = context.to_str().unwrap();
    let archive = here.path().join("saved.tar");
    let ended = AtomicBool::new(false);
    let commands: [&[&str]; 5] = [
        &["build", "-q", "-t", "built", context],
        &["build", "-q", "--no-cache", "-t", "built:again", context],
        &["run", "--rm", BASE, "cat", "/bin/busybox"],
        &["save", "-o", archive.to_str().unwrap(), BASE],
        &["tag", BASE, "tagged"],
    ];
    let times: Vec<usize> = thread::scope(|scope| {
        let running: Vec<_> =
            commands.iter().map(|command| scope.spawn(|| repeat(&here, &ended, command))).collect();
        let began = Instant::now();
        while began.elapsed() < ROUNDS_FOR {
            here.ok(["import", root, BASE]);
            thread::sleep(Duration::from_millis(20));
            here.ok(["prune", "-af"]);
        }
        ended.store(true, Ordering::Relaxed);
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(times.iter().all(|times| *times > 0), "not all worked at times: {times:?}");
    // what has a name is whole
    let names = here.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    // a build that was replaced by the next one has none
    for name in names.lines().filter(|name| !name.contains("<none>")) {
        here.ok(["save", "-o", archive.to_str().unwrap(), name]);
    }
    let leases = fs::read_dir(here.store().join("locks/leases")).unwrap().count();
    assert_eq!(leases, 0, "leases outlive their owners");
}
