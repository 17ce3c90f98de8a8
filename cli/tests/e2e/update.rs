//! `update`: other limits for containers, whether they run or not.

use crate::{as_root_and_user, with_busybox};

/// Starts so many programs and says how many could be.
fn forks(here: &rbuild_testkit::Workspace, count: usize) -> usize {
    let script = format!("i=0; while [ $i -lt {count} ]; do sleep 1 & i=$((i+1)); done; jobs | wc -l");
    let ran = here.run(["exec", "box", "sh", "-c", &script]);
    ran.stdout.trim().parse().unwrap_or(0)
}

#[test]
fn limits_change_while_a_container_runs() {
    let Some(here) = with_busybox("limits_change_while_a_container_runs") else { return };
    here.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", "sleep 1001 & sleep 1002; true"]);
    assert_eq!(forks(&here, 30), 30);
    let ran = here.run(["update", "--pids-limit", "12", "--memory", "64m", "--cpus", "0.5", "box"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "box\n"), "{ran:#?}");
    if ran.stderr.contains("no effect of") {
        rbuild_testkit::skip("control groups with limits cannot be made here");
        return;
    }
    assert!(forks(&here, 30) < 12, "those that ran count too");
    let memory = "head -c 100000000 /dev/zero | tail -c 90000000 | wc -c";
    assert_ne!(here.ok(["exec", "box", "sh", "-c", &format!("{memory} || true")]), "90000000\n");
    let used = here.ok(["stats", "--no-stream", "--format", "{{.MemUsage}}", "box"]);
    assert!(used.trim_end().ends_with("/ 64MiB"), "{used}");
    // more memory than memory and swap together were, and any number of processes
    here.ok(["update", "-m", "512m", "--pids-limit", "-1", "box"]);
    assert_eq!(forks(&here, 30), 30);
    assert_eq!(here.ok(["exec", "box", "sh", "-c", memory]), "90000000\n");
    // and again each time that it starts
    here.ok(["update", "--pids-limit", "6", "box"]);
    here.ok(["restart", "-t", "0", "box"]);
    assert!(forks(&here, 30) < 6);
    here.ok(["update", "--restart", "no", "box"]);
    for (words, said) in [
        (&["update", "box"][..], "you must provide one or more flags"),
        (&["update", "--memory", "1m", "box"], "Minimum memory limit allowed is 6MB"),
        (&["update", "--restart", "always", "box"], "--restart always is not supported: nothing runs"),
        (&["update", "--pids-limit", "5", "nobody"], "No such container: nobody"),
        (&["update", "--cpuset-cpus", "999", "box"], "box keeps its limits"),
        (&["update", "--cpus", "99999", "box"], "range of CPUs is from 0.01 to "),
        (&["run", "--cpus", "99999", "busybox"], " CPUs available"),
    ] {
        let ran = here.fails(words);
        assert!(ran.stderr.contains(said), "{words:?} {ran:#?}");
    }
    here.ok(["rm", "-f", "box"]);
}

#[test]
fn limits_of_a_stopped_container_are_for_its_next_start() {
    as_root_and_user("limits_of_a_stopped_container_are_for_its_next_start", |here| {
        here.ok(["create", "--name", "box", "busybox", "sleep", "1000"]);
        assert_eq!(here.ok(["update", "--pids-limit", "7", "box"]), "box\n");
        let started = here.run(["start", "box"]);
        assert_eq!(started.code, 0, "{started:#?}");
        if !started.stderr.contains("no effect of --pids-limit") {
            assert!(forks(here, 20) < 7, "{started:#?}");
        }
        here.ok(["rm", "-f", "box"]);
    });
}
