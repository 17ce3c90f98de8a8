//! `pause` and `unpause`: containers that stand still from one command to another.

use crate::{as_root_and_user, detached::monitor_of, wait_for, with_busybox};
use rbuild_testkit::Workspace;
use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
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
fn what_a_killed_monitor_leaves_standing_still_goes_with_the_container() {
    as_root_and_user("what_a_killed_monitor_leaves_standing_still_goes_with_the_container", |here| {
        for end in [&["rm", "box"][..], &["prune", "-f"]] {
            here.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
            if !pauses(here) {
                return;
            }
            let pid = here.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
            let groups = fs::read_to_string(format!("/proc/{}/cgroup", pid.trim())).unwrap();
            let own = groups.lines().filter(|line| line.contains("/rbuild-"));
            let places: Vec<String> = own
                .flat_map(|line| {
                    let (controllers, group) = line.split_once(':').unwrap().1.split_once(':').unwrap();
                    ["", "unified", controllers].map(|top| format!("/sys/fs/cgroup/{top}/{group}"))
                })
                .filter(|place| fs::exists(place).unwrap())
                .collect();
            assert!(!places.is_empty(), "{groups}");
            let killed = Command::new("kill").args(["-9", &monitor_of(here, "box")]).status();
            assert!(killed.unwrap().success());
            wait_for(|| here.ok(["inspect", "-f", "{{.State.Status}}", "box"]) == "exited\n");
            here.ok(end);
            wait_for(|| places.iter().all(|place| !fs::exists(place).unwrap()));
        }
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
    // one of the foreground, whose monitor is the `run`
    let mut run = here.command(["run", "--rm", "--name", "box", "busybox", "sleep", "1000"]);
    let mut run = run.stdout(Stdio::null()).spawn().unwrap();
    wait_for(|| here.run(["pause", "box"]).code == 0);
    assert_eq!(here.ok(["ps", "--format", "{{.State}}"]), "paused\n");
    here.ok(["kill", "box"]);
    assert_eq!(run.wait().unwrap().code(), Some(137));
}

/// A machine whose control groups are all of version 1: the version 2 hierarchy is taken away from the view of the commands.
#[test]
fn control_groups_of_version_1_pause_too() {
    let Some(here) = with_busybox("control_groups_of_version_1_pause_too") else { return };
    if !std::path::Path::new("/sys/fs/cgroup/freezer/cgroup.procs").exists() {
        rbuild_testkit::skip("no version 1 hierarchy with memory and pids is mounted here");
        return;
    }
    let in_view = |words: &[&str]| {
        let inner = here.command(words);
        let mut command = std::process::Command::new("unshare");
        let script = "while umount /sys/fs/cgroup/unified 2>/dev/null; do :; done; exec \"$0\" \"$@\"";
        command.args(["-m", "sh", "-c", script]).arg(inner.get_program()).args(inner.get_args());
        command.env("RBUILD_ROOT", here.store()).stdin(Stdio::null());
        rbuild_testkit::Ran::of(command.output().unwrap())
    };
    let done = |words: &[&str]| {
        let ran = in_view(words);
        assert_eq!(ran.code, 0, "{words:?} {ran:#?}");
        ran.stdout
    };
    done(&["run", "-d", "--name", "box", "busybox", "sh", "-c", COUNTS]);
    done(&["pause", "box"]);
    let lines = || done(&["logs", "box"]).lines().count();
    let before = lines();
    thread::sleep(Duration::from_millis(300));
    assert_eq!((lines(), done(&["ps", "--format", "{{.State}}"]).as_str()), (before, "paused\n"));
    done(&["unpause", "box"]);
    wait_for(|| lines() > before);
    done(&["pause", "box"]);
    done(&["kill", "box"]);
    assert_eq!(done(&["wait", "box"]), "137\n");
    done(&["start", "box"]);
    done(&["pause", "box"]);
    // its monitor is killed: the next rbuild lets it go on, to its end
    let id = done(&["inspect", "-f", "{{.Id}}", "box"]);
    let pid = done(&["inspect", "-f", "{{.State.Pid}}", "box"]).trim().to_owned();
    let mut ended = false;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains("monitor-of-container") && line.contains(id.trim()) {
            let monitor = entry.file_name().into_string().unwrap();
            ended = std::process::Command::new("kill").args(["-9", &monitor]).status().unwrap().success();
        }
    }
    assert!(ended);
    done(&["run", "--rm", "busybox", "true"]);
    wait_for(|| !std::path::Path::new("/proc").join(&pid).join("exe").exists());
    done(&["rm", "box"]);
    // and the one after it removes the groups, which had a process until then
    done(&["run", "--rm", "busybox", "true"]);
}
