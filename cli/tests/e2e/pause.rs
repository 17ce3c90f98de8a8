//! `pause` and `unpause`: containers that stand still from one command to another.

use crate::{as_root_and_user, with_busybox};
use rbuild_testkit::Workspace;
use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

const COUNTS: &str = "trap 'exit 5' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done";

/// True where containers can be paused; an ordinary user without a group of their own is told so.
fn pauses(here: &Workspace) -> bool {
    let ran = here.run(["pause", "box"]);
    assert!(ran.code == 0 || ran.stderr.contains("it has no control group that can be frozen"), "{ran:#?}");
    ran.code == 0
}

#[test]
fn a_paused_container_stands_still_until_it_is_let_go() {
    as_root_and_user("a_paused_container_stands_still_until_it_is_let_go", |here| {
        here.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", COUNTS]);
        if pauses(here) {
            let lines = || here.ok(["logs", "box"]).lines().count();
            let before = lines();
            thread::sleep(Duration::from_millis(300));
            assert_eq!(lines(), before);
            let state = "{{.State.Status}} {{.State.Paused}} {{.State.Running}}";
            assert_eq!(here.ok(["inspect", "-f", state, "box"]), "paused true true\n");
            assert_eq!(here.ok(["ps", "--format", "{{.State}}"]), "paused\n");
            assert!(here.ok(["ps", "--filter", "status=paused"]).contains("(Paused)"));
            for (words, said) in [
                (&["pause", "box"][..], "container box is already paused"),
                (&["exec", "box", "true"], "container box is paused, unpause the container before exec"),
                (&["start", "box"], "cannot start a paused container, try unpause instead"),
                (&["attach", "box"], "unpause it first"),
                (&["rm", "box"], "container is paused and must be unpaused first"),
            ] {
                let ran = here.fails(words);
                assert!(ran.code == 1 && ran.stderr.contains(said), "{words:?} {ran:#?}");
            }
            // it is read as it stands, and stands on
            assert_eq!(here.run(["commit", "box", "made"]).stderr, "");
            assert_eq!(here.ok(["inspect", "-f", state, "box"]), "paused true true\n");
            assert_eq!(here.ok(["unpause", "box"]), "box\n");
            assert!(here.fails(["unpause", "box"]).stderr.contains("container box is not paused"));
            wait_for(|| lines() > before);
        }
        here.ok(["rm", "-f", "box"]);
        assert!(here.fails(["pause", "box"]).stderr.contains("No such container: box"));
    });
}

#[test]
fn a_paused_container_can_be_stopped_killed_and_removed() {
    let Some(here) = with_busybox("a_paused_container_can_be_stopped_killed_and_removed") else { return };
    for (words, code) in
        [(&["stop", "box"][..], "5\n"), (&["kill", "box"], "137\n"), (&["kill", "-s", "TERM", "box"], "5\n")]
    {
        here.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", COUNTS]);
        wait_for(|| here.ok(["logs", "box"]).lines().count() > 0);
        if !pauses(&here) {
            return;
        }
        here.ok(words);
        assert_eq!(here.ok(["wait", "box"]), code, "{words:?}");
        assert!(here.fails(["pause", "box"]).stderr.contains("container box is not running"));
        here.ok(["start", "box"]);
        assert_eq!(
            here.ok(["inspect", "-f", "{{.State.Status}}", "box"]),
            "running\n",
            "nothing of it stays"
        );
        here.ok(["pause", "box"]);
        assert_eq!(here.ok(["rm", "-f", "box"]), "box\n");
    }
    // one of the foreground has no monitor
    let mut run = here.command(["run", "--rm", "--name", "box", "busybox", "sleep", "1000"]);
    let mut run = run.stdout(Stdio::null()).spawn().unwrap();
    wait_for(|| here.run(["pause", "box"]).code == 0);
    assert_eq!(here.ok(["ps", "--format", "{{.State}}"]), "paused\n");
    here.ok(["kill", "box"]);
    assert_eq!(run.wait().unwrap().code(), Some(137));
}

fn wait_for(mut happens: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happens() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not happen");
        thread::sleep(Duration::from_millis(50));
    }
}
