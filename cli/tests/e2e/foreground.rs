//! Containers in the foreground of one terminal, reached from another one: each command works for each of them.

use crate::{as_root_and_user, wait_for, with_busybox};
use rbuild_testkit::{Workspace, has_program};
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Stdio},
};

/// Says what it reads, and what it was asked; ends with 7 when it is to stop.
const SCRIPT: &str = "trap 'exit 7' TERM; trap 'echo hears' USR1; echo ready; echo aside >&2
    while read line; do echo \"<$line>\"; done; while :; do sleep 0.05; done";

/// The flags of `run` in the foreground.
const KINDS: [&[&str]; 7] =
    [&["--rm"], &["--rm", "-i"], &["--rm", "-t"], &[], &["-i"], &["-t"], &["--rm", "--log-driver", "local"]];

fn start(here: &Workspace, flags: &[&str]) -> Child {
    let words = [&["run", "--name", "fore"], flags, &["busybox", "sh", "-c", SCRIPT]].concat();
    let mut run = here.command(words);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = [0; 5];
    run.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"ready", "{flags:?}");
    run
}

/// What `attach` shows when the program is asked to say something, or is told something if it reads.
fn shown_to_who_is_attached(here: &Workspace, reads: bool) -> String {
    let words: &[&str] = if reads { &["attach", "fore"] } else { &["attach", "--no-stdin", "fore"] };
    let mut attach = here.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = attach.stdin.take();
    let mut output = BufReader::new(attach.stdout.take().unwrap());
    let mut line = String::new();
    if reads {
        input.as_mut().unwrap().write_all(b"typed\n").unwrap();
        output.read_line(&mut line).unwrap();
    } else {
        // it may not be attached yet when the first one comes
        let asking = std::thread::scope(|scope| {
            let reading = scope.spawn(|| output.read_line(&mut line));
            while !reading.is_finished() {
                here.ok(["kill", "-s", "USR1", "fore"]);
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            reading.join().unwrap()
        });
        asking.unwrap();
    }
    attach.kill().unwrap();
    attach.wait().unwrap();
    line.trim_end().to_owned()
}

#[test]
fn every_command_reaches_every_container_of_the_foreground() {
    let test = "every_command_reaches_every_container_of_the_foreground";
    as_root_and_user(test, |here| {
        for flags in KINDS {
            let mut run = start(here, flags);
            assert_eq!(here.ok(["ps", "--format", "{{.Names}} {{.State}}"]), "fore running\n", "{flags:?}");
            wait_for(|| here.run(["logs", "fore"]).stdout.starts_with("ready"));
            assert!(here.ok(["logs", "--since", "1h", "fore"]).starts_with("ready"), "{flags:?}");
            assert_eq!(here.ok(["inspect", "-f", "{{.State.Status}}", "fore"]), "running\n");
            assert_eq!(here.ok(["exec", "fore", "sh", "-c", "echo in > /made; echo out"]), "out\n");
            assert!(here.ok(["cp", "fore:/made", "-"]).contains("made"));
            here.write("given", "from here\n");
            here.ok(["cp", here.path().join("given").to_str().unwrap(), "fore:/given"]);
            assert_eq!(here.ok(["exec", "fore", "cat", "/given"]), "from here\n");
            assert!(here.ok(["diff", "fore"]).contains("A /made\n"));
            assert!(here.ok(["stats", "--no-stream", "--format", "{{.Name}}", "fore"]).contains("fore"));
            if has_program("ps", test) {
                assert!(here.ok(["top", "fore"]).contains("sh -c trap"));
            }
            here.ok(["commit", "fore", "made"]);
            assert_eq!(here.ok(["run", "--rm", "made", "cat", "/made"]), "in\n", "{flags:?}");
            assert_eq!(here.ok(["update", "--pids-limit", "50", "fore"]), "fore\n", "{flags:?}");
            assert_eq!(here.ok(["inspect", "-f", "{{.HostConfig.PidsLimit}}", "fore"]), "50\n");
            if here.run(["pause", "fore"]).code == 0 {
                assert_eq!(here.ok(["ps", "--format", "{{.State}}"]), "paused\n");
                here.ok(["unpause", "fore"]);
            }
            let reads = flags.contains(&"-i");
            let said = shown_to_who_is_attached(here, reads);
            assert_eq!(said, if reads { "<typed>" } else { "hears" }, "{flags:?}");
            here.ok(["rename", "fore", "aft"]);
            assert_eq!(here.ok(["stop", "aft"]), "aft\n");
            assert_eq!(run.wait().unwrap().code(), Some(7), "{flags:?}");
            if flags.contains(&"--rm") {
                assert_eq!(here.ok(["ps", "-aq"]), "", "{flags:?}");
            } else {
                assert!(here.ok(["logs", "aft"]).contains(&said), "{flags:?}");
                here.ok(["rm", "aft"]);
            }
        }
    });
}

/// What the person writes and reads, and what others see of it, are the same bytes.
#[test]
fn what_goes_through_the_foreground_is_whole() {
    const LINES: usize = 60_000;
    let Some(here) = with_busybox("what_goes_through_the_foreground_is_whole") else { return };
    let text: String = (0..LINES).map(|line| format!("line {line}\n")).collect();
    let input = here.write("input", &text);
    let mut cat =
        here.command(["run", "-i", "--rm", "--name", "fore", "busybox", "sh", "-c", "cat; sleep 1000"]);
    let mut cat = cat.stdin(std::fs::File::open(input).unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    let mut read = vec![0; text.len()];
    cat.stdout.as_mut().unwrap().read_exact(&mut read).unwrap();
    assert!(read == text.as_bytes());
    assert!(here.ok(["logs", "fore"]) == text, "the log has all of it");
    assert_eq!(here.ok(["logs", "-n", "2", "fore"]), "line 59998\nline 59999\n");
    let follow = here.command(["logs", "-f", "-n", "0", "fore"]).stdout(Stdio::piped()).spawn().unwrap();
    here.ok(["kill", "fore"]);
    assert_eq!(cat.wait().unwrap().code(), Some(137));
    assert!(follow.wait_with_output().unwrap().status.success());
    assert_eq!(here.ok(["ps", "-aq"]), "");
}

/// Who reads no more ends a program that writes on, as in a shell; who reads slowly gets everything after its end.
#[test]
fn a_program_learns_that_nobody_reads_it() {
    let Some(here) = with_busybox("a_program_learns_that_nobody_reads_it") else { return };
    // the second one takes no notice of a write that fails
    for program in ["yes", "while :; do echo y; done"] {
        let mut run = here.command(["run", "--rm", "busybox", "sh", "-c", program]);
        let mut run = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        run.stdout.take().unwrap().read_exact(&mut [0; 2]).unwrap();
        wait_for(|| run.try_wait().unwrap().is_some());
        assert_eq!(here.ok(["ps", "-aq"]), "");
    }
    let mut slow = here.command(["run", "--rm", "busybox", "head", "-c", "100000", "/dev/zero"]);
    let mut slow = slow.stdout(Stdio::piped()).spawn().unwrap();
    let mut all = vec![1];
    slow.stdout.as_mut().unwrap().read_exact(&mut all).unwrap();
    wait_for(|| here.ok(["ps", "-aq"]).is_empty());
    slow.stdout.take().unwrap().read_to_end(&mut all).unwrap();
    assert_eq!((all.len(), slow.wait().unwrap().code()), (100_000, Some(0)));
}
