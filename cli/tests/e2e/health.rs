//! Health checks: HEALTHCHECK of an image, `--health-…`, and what `ps` and `inspect` show of them.

use crate::{as_root_and_user, detached::monitor_of, with_busybox};
use rbuild_testkit::Workspace;
use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A program that runs until it is killed.
const RUNS: [&str; 3] = ["busybox", "sleep", "1000"];

fn run(here: &Workspace, flags: &[&str]) {
    here.ok([&["run", "-d", "--name", "box"], flags, &RUNS].concat());
}

fn inspect(here: &Workspace, template: &str) -> String {
    here.ok(["inspect", "--format", template, "box"]).trim_end().to_owned()
}

fn status(here: &Workspace) -> String {
    here.ok(["ps", "-a", "--format", "{{.Status}}"])
}

#[test]
fn a_check_of_the_image_is_run_in_the_container_and_shown() {
    as_root_and_user("a_check_of_the_image_is_run_in_the_container_and_shown", |here| {
        let dockerfile = "FROM busybox\nENV WHO=me\nUSER 1000:1000\nWORKDIR /w\nHEALTHCHECK --interval=50ms --retries=2 \
            CMD echo \"$WHO $(id -u) $(pwd)\"; echo err >&2; test -e /tmp/well\n";
        here.build("checked", &here.context("c", dockerfile, &[]));
        here.ok(["create", "--name", "box", "checked", "sleep", "1000"]);
        assert_eq!(inspect(here, "{{json .State.Health}} {{.State.Health}}"), "null <nil>");
        let ran = here.fails(["inspect", "-f", "{{.State.Health.Status}}", "box"]);
        assert!(
            ran.stderr.contains("at <.State.Health.Status>: map has no entry for key \"Health\""),
            "{ran:#?}"
        );
        here.ok(["start", "box"]);
        wait_for(here, || status(here).ends_with(" (unhealthy)\n"));
        here.ok(["exec", "-u", "0", "box", "sh", "-c", "mkdir -p /tmp; : > /tmp/well"]);
        wait_for(here, || status(here).ends_with(" (healthy)\n"));
        assert_eq!(inspect(here, "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"), "healthy 0");
        wait_for(here, || inspect(here, "{{len .State.Health.Log}}") == "5");
        let last = "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}";
        assert!(inspect(here, last).ends_with("0 me 1000 /w\nerr"), "{}", inspect(here, last));
        for (word, there) in [("healthy", 1), ("unhealthy", 0), ("starting", 0), ("none", 0)] {
            let found = here.ok(["ps", "-q", "--filter", &format!("health={word}")]);
            assert_eq!(found.lines().count(), there, "{word}");
        }
        here.ok(["exec", "-u", "0", "box", "rm", "/tmp/well"]);
        wait_for(here, || status(here).ends_with(" (unhealthy)\n"));
        // as docker has it, what does not run is not healthy; and whoever was killed, that is what is shown
        here.ok(["exec", "-u", "0", "box", "sh", "-c", ": > /tmp/well"]);
        wait_for(here, || status(here).ends_with(" (healthy)\n"));
        assert!(Command::new("kill").args(["-9", &monitor_of(here, "box")]).status().unwrap().success());
        wait_for(here, || here.ok(["ps", "-q"]).is_empty());
        assert!(status(here).starts_with("Exited (137)"), "{}", status(here));
        assert_eq!(inspect(here, "{{.State.Status}} {{.State.Health.Status}}"), "exited unhealthy");
        assert_ne!(inspect(here, "{{len .State.Health.Log}}"), "0");
        here.ok(["start", "box"]);
        wait_for(here, || status(here).ends_with(" (healthy)\n"));
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn a_check_that_takes_too_long_is_killed() {
    as_root_and_user("a_check_that_takes_too_long_is_killed", |here| {
        let hangs = "echo first; exec sleep 2345";
        run(
            here,
            &[
                "--health-cmd",
                hangs,
                "--health-timeout=100ms",
                "--health-interval=50ms",
                "--health-retries=1",
            ],
        );
        wait_for(here, || inspect(here, "{{len .State.Health.Log}}") == "5");
        let all = inspect(here, "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}");
        assert_eq!(all, ["-1 Health check exceeded timeout (100ms): first"; 5].join("\n"));
        assert!(status(here).ends_with(" (unhealthy)\n"));
        let running = here.ok(["exec", "box", "ps"]);
        assert!(running.matches("sleep 2345").count() <= 1, "{running}");
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn what_a_check_writes_and_what_cannot_be_started_is_kept() {
    let Some(here) = with_busybox("what_a_check_writes_and_what_cannot_be_started_is_kept") else { return };
    run(
        &here,
        &["--health-cmd", "yes 12345678901234 | head -c 200000; printf '\\377'", "--health-interval=20ms"],
    );
    wait_for(&here, || inspect(&here, "{{len .State.Health.Log}}") == "5");
    let last =
        inspect(&here, "{{(index .State.Health.Log 4).ExitCode}} {{(index .State.Health.Log 4).Output}}");
    assert!(last.starts_with("0 12345678901234\n") && last.ends_with("..."), "{last}");
    assert_eq!(last.len(), "0 ".len() + 4096 + "...".len());
    here.ok(["rm", "-f", "box"]);
    let dockerfile = "FROM busybox\nHEALTHCHECK --interval=20ms CMD [\"no-such-check\", \"$HOME\"]\n";
    here.build("checked", &here.context("c", dockerfile, &[]));
    here.ok(["run", "-d", "--name", "box", "checked", "sleep", "1000"]);
    wait_for(&here, || status(&here).ends_with(" (unhealthy)\n"));
    let last =
        inspect(&here, "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}");
    assert!(last.starts_with("-1 ") && last.contains("no-such-check"), "{last}");
    here.ok(["rm", "-f", "box"]);
}

#[test]
fn failures_while_it_starts_do_not_count() {
    let Some(here) = with_busybox("failures_while_it_starts_do_not_count") else { return };
    let flags = ["--health-cmd=false", "--health-start-period=1h", "--health-start-interval=20ms"];
    run(&here, &flags);
    wait_for(&here, || inspect(&here, "{{len .State.Health.Log}}") == "5");
    assert!(status(&here).ends_with(" (health: starting)\n"), "{}", status(&here));
    assert_eq!(inspect(&here, "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"), "starting 0");
    assert_eq!(here.ok(["ps", "-q", "--filter", "health=starting"]).lines().count(), 1);
    here.ok(["rm", "-f", "box"]);
}

/// `run --rm` without a terminal usually has no process that could check anything.
#[test]
fn a_container_in_the_foreground_is_checked_too() {
    as_root_and_user("a_container_in_the_foreground_is_checked_too", |here| {
        here.build(
            "checked",
            &here.context("c", "FROM busybox\nHEALTHCHECK --interval=50ms CMD true\n", &[]),
        );
        let words = ["run", "--rm", "--name", "box", "checked", "sh", "-c", "read line; echo $line; exit 6"];
        let mut words = words.to_vec();
        words.insert(1, "-i");
        let mut fore = here.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        wait_for(here, || status(here).ends_with(" (healthy)\n"));
        std::io::Write::write_all(fore.stdin.as_mut().unwrap(), b"typed\n").unwrap();
        let ended = fore.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(6), b"typed\n".as_slice()));
        assert_eq!(here.ok(["ps", "-aq"]), "");
        here.ok(["run", "-d", "--name", "box", "--no-healthcheck", "checked", "sleep", "1000"]);
        assert_eq!(
            inspect(here, "{{json .State.Health}} {{json .Config.Healthcheck.Test}}"),
            "null [\"NONE\"]"
        );
        assert!(!here.ok(["inspect", "box"]).contains("\"Health\""));
        assert_eq!(here.ok(["ps", "-q", "--filter", "health=none"]).lines().count(), 1);
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn flags_change_the_image_s_check_and_go_into_a_commit() {
    let Some(here) = with_busybox("flags_change_the_image_s_check_and_go_into_a_commit") else { return };
    let dockerfile = "FROM busybox\nHEALTHCHECK --interval=7s --timeout=3s CMD true\n";
    here.build("checked", &here.context("c", dockerfile, &[]));
    here.ok(["create", "--name", "box", "--health-retries=5", "--health-interval=1m30s", "checked"]);
    let check = "{{json .Config.Healthcheck}}";
    let expected = r#"{"Test":["CMD-SHELL","true"],"Interval":90000000000,"Timeout":3000000000,"Retries":5}"#;
    assert_eq!(inspect(&here, check), expected);
    here.ok(["commit", "box", "made"]);
    assert_eq!(here.ok(["inspect", "--format", check, "made"]).trim_end(), expected);
    for (flags, said) in [
        (&["--health-interval", "5"][..], "missing unit in duration \"5\""),
        (&["--health-timeout=-1s"], "--health-timeout cannot be negative"),
        (&["--health-start-period=1us"], "StartPeriod in Healthcheck cannot be less than 1ms"),
        (&["--health-retries=-1"], "--health-retries cannot be negative"),
        (&["--no-healthcheck", "--health-cmd=true"], "--no-healthcheck conflicts with --health-* options"),
    ] {
        let ran = here.fails([&["run", "--rm"], flags, &["busybox", "true"]].concat());
        assert!(ran.code == 125 && ran.stderr.contains(said), "{flags:?} {ran:#?}");
    }
    let ran = here.fails(["ps", "--filter", "health=well"]);
    assert!(ran.stderr.contains("health=well"), "{ran:#?}");
}

fn wait_for(here: &Workspace, mut happens: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happens() {
        let shown = || here.run(["inspect", "box"]).stdout;
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not happen: {}", shown());
        thread::sleep(Duration::from_millis(50));
    }
}
