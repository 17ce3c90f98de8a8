//! `run --init`: a first process that hands on signals and waits for orphans.

use crate::{as_root_and_user, with_busybox};
use std::time::{Duration, Instant};

#[test]
fn a_first_process_waits_for_orphans_and_ends_as_the_command() {
    as_root_and_user("a_first_process_waits_for_orphans_and_ends_as_the_command", |here| {
        let orphan = "(sleep 0.1 &); exec sleep 1000";
        let zombies = |flags: &[&str]| {
            let command = ["busybox", "sh", "-c", orphan];
            here.ok([&["run", "-d", "--name", "box"], flags, &command].concat());
            std::thread::sleep(Duration::from_millis(500));
            let shown = here.ok(["exec", "box", "ps", "-o", "stat,args"]);
            here.ok(["rm", "-f", "box"]);
            shown.lines().filter(|line| line.starts_with('Z')).count()
        };
        assert_eq!((zombies(&["--init"]), zombies(&["--init=false"])), (0, 1));
        assert_eq!(here.run(["run", "--rm", "--init", "busybox", "sh", "-c", "exit 3"]).code, 3);
        let pid = here.ok([
            "run",
            "--rm",
            "--init",
            "busybox",
            "sh",
            "-c",
            // the paths at which the command was looked for are not in it for long
            "while grep -q usr/loca[l] /proc/1/cmdline; do sleep 0.01; done; echo $$; cat /proc/1/comm; tr '\\0' ' ' < /proc/1/cmdline",
        ]);
        assert!(pid.starts_with("2\ninit of rbuild\ninit of rbuild -- sh -c while grep -q "), "{pid}");
        assert!(pid.trim_end().ends_with("< /proc/1/cmdline"), "{pid}");
        for (words, code) in [(&["sh", "-c", "kill -9 $$"][..], 137), (&["no-such"], 127), (&["/etc"], 126)] {
            let words = [&["run", "--rm", "--init", "busybox"], words].concat();
            assert_eq!(here.run(&words).code, code, "{words:?}");
        }
    });
}

/// The kernel gives the first process of a container no signal that it has no handler for; the command gets it.
#[test]
fn signals_reach_the_command() {
    let Some(here) = with_busybox("signals_reach_the_command") else { return };
    here.ok(["run", "-d", "--init", "--name", "box", "busybox", "sleep", "1000"]);
    let begun = Instant::now();
    here.ok(["stop", "box"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "sleep has no handler and ends by the signal");
    assert_eq!(here.ok(["wait", "box"]), "143\n");
    here.ok(["start", "box"]);
    here.ok(["exec", "box", "true"]);
    here.ok(["kill", "-s", "USR1", "box"]);
    assert_eq!(here.ok(["wait", "box"]), "138\n", "10 is USR1");
    here.ok(["rm", "box"]);
}

/// The command's group is in the foreground of the terminal: Ctrl-C reaches it once.
#[test]
fn keys_reach_the_command_once() {
    let Some(here) = with_busybox("keys_reach_the_command_once") else { return };
    if !rbuild_testkit::has_program("script", "keys_reach_the_command_once") {
        return;
    }
    let script =
        "trap 'echo interrupted' INT; i=0; while [ $i -lt 20 ]; do sleep 0.1; i=$((i+1)); done; echo end";
    let line = format!("$RBUILD run --rm --init -it busybox sh -c \"{script}\"")
        .replace("$i", "\\$i")
        .replace("$((", "\\$((");
    let mut person = std::process::Command::new("script");
    person.args(["-qec", &line, "/dev/null"]).env("RBUILD", crate::RBUILD).env("RBUILD_ROOT", here.store());
    let piped = std::process::Stdio::piped;
    let mut person = person.stdin(piped()).stdout(piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    std::io::Write::write_all(person.stdin.as_mut().unwrap(), b"\x03").unwrap();
    let output = person.wait_with_output().unwrap();
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(seen.matches("interrupted").count() == 1 && seen.contains("end"), "{seen}");
}
