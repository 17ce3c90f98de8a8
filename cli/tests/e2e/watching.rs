//! `top` and `stats`: what happens in containers that run.

use crate::as_root_and_user;
use rbuild_testkit::has_program;

#[test]
fn processes_of_a_container_are_shown_as_the_host_sees_them() {
    as_root_and_user("processes_of_a_container_are_shown_as_the_host_sees_them", |here| {
        if !has_program("ps", "processes_of_a_container_are_shown_as_the_host_sees_them") {
            return;
        }
        here.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", "sleep 1001 & sleep 1002; true"]);
        here.ok(["exec", "-d", "box", "sleep", "1003"]);
        // what was forked a moment ago still has the name of its parent
        let mut shown = here.ok(["top", "box"]);
        for _ in 0..100 {
            if ["1001", "1002", "1003"].iter().all(|end| shown.contains(&format!(" sleep {end}\n"))) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            shown = here.ok(["top", "box"]);
        }
        let first = shown.lines().next().unwrap();
        assert!(first.starts_with("UID                 PID  ") && first.ends_with("CMD"), "{shown}");
        for command in ["sh -c sleep 1001 & sleep 1002; true", "sleep 1001", "sleep 1002", "sleep 1003"] {
            assert!(shown.lines().any(|line| line.ends_with(command)), "{command}: {shown}");
        }
        assert_eq!(shown.lines().count(), 5, "{shown}");
        let pid = here.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
        let chosen = here.ok(["top", "box", "-o", "pid,comm"]);
        assert!(
            chosen.starts_with("PID                 COMMAND\n") && chosen.contains(pid.trim()),
            "{chosen}"
        );
        here.ok(["run", "-dt", "--name", "terminal", "busybox", "sleep", "1001"]);
        assert!(here.ok(["top", "terminal", "-o", "pid,comm"]).contains("sleep"));
        here.ok(["rm", "-f", "terminal"]);
        assert!(here.fails(["top", "box", "-o", "comm"]).stderr.contains("no PID field"));
        assert!(here.fails(["top", "box", "--no-such-option"]).stderr.contains("ps: "));
        here.ok(["stop", "-t", "0", "box"]);
        assert!(here.fails(["top", "box"]).stderr.contains("container box is not running"));
        here.ok(["rm", "box"]);
    });
}

#[test]
fn what_containers_use_is_shown() {
    as_root_and_user("what_containers_use_is_shown", |here| {
        let memory = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); while :; do :; done";
        here.ok(["run", "-d", "--name", "busy", "busybox", "sh", "-c", memory]);
        here.ok(["create", "--name", "idle", "busybox"]);
        std::thread::sleep(std::time::Duration::from_secs(1));
        let table = here.ok(["stats", "--no-stream"]);
        let head = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT";
        assert!(table.starts_with(head) && table.lines().count() == 2, "{table}");
        let row = here.ok([
            "stats",
            "--no-stream",
            "--format",
            "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}",
            "busy",
        ]);
        let words: Vec<&str> = row.split_whitespace().collect();
        let processor: f64 = words[1].trim_end_matches('%').parse().unwrap();
        let used: f64 = words[2].trim_end_matches("MiB").parse().unwrap();
        assert!(processor > 10.0 && used > 20.0 && words[4].ends_with("GiB") && words[5] == "1", "{row}");
        let all = here.ok(["stats", "-a", "--no-stream", "--format", "json"]);
        assert!(all.contains(r#""MemUsage":"0B / 0B","Name":"idle","NetIO":"0B / 0B","PIDs":"0"}"#), "{all}");
        assert!(here.fails(["stats", "--no-stream", "nobody"]).stderr.contains("No such container: nobody"));
        here.ok(["rm", "-f", "busy", "idle"]);
    });
}
