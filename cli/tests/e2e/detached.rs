//! Containers that run by themselves: `run -d`, `create`, `start`, `stop`, `kill`, `wait`, `logs`, `attach`, `rename`.

use crate::{as_root_and_user, wait_for, with_busybox};
use rbuild_testkit::Workspace;
use std::{
    fs,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A program that counts until it is asked to stop, which it does with code 5.
const COUNTS: &str =
    "trap 'echo stopped; exit 5' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done";

#[test]
fn a_detached_container_lives_until_it_is_stopped() {
    as_root_and_user("a_detached_container_lives_until_it_is_stopped", |here| {
        let id = here.ok(["run", "-d", "--name", "web", "-l", "a=b", "busybox", "sh", "-c", COUNTS]);
        assert_eq!(id.trim_end().len(), 64, "{id}");
        assert_eq!(here.ok(["ps", "--format", "{{.Names}} {{.State}} {{.Labels}}"]), "web running a=b\n");
        wait_for(|| here.ok(["logs", "web"]).lines().count() > 2);
        assert_eq!(here.ok(["logs", "web"]).lines().next(), Some("0"));
        let ran = here.fails(["rm", "web"]);
        assert!(ran.stderr.contains("container web is running"), "{ran:#?}");
        assert_eq!(here.ok(["stop", "web"]), "web\n");
        assert_eq!(
            here.ok(["ps", "-a", "--format", "{{.State}} {{.Status}}"]).split(' ').nth(2),
            Some("(5)")
        );
        assert_eq!(here.ok(["wait", "web"]), "5\n");
        let log = here.ok(["logs", "-f", "web"]);
        assert!(log.starts_with("0\n1\n") && log.ends_with("stopped\n"), "{log}");
        assert_eq!(here.ok(["logs", "-n", "1", "web"]), "stopped\n");
        assert_eq!(here.ok(["rm", "web"]), "web\n");
        assert_eq!(here.ok(["ps", "-aq"]), "");
    });
}

/// Nothing of it hangs on the process, the session or the pipe of the one who started it.
#[test]
fn a_detached_container_holds_nothing_of_its_caller() {
    let Some(here) = with_busybox("a_detached_container_holds_nothing_of_its_caller") else { return };
    let mut run = here.command(["run", "-d", "--name", "alone", "busybox", "sleep", "1000"]);
    let started = Instant::now();
    // ends only when every holder of the pipes has closed them
    let output = run.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success() && started.elapsed() < Duration::from_secs(20));
    let monitor = monitor_of(&here, "alone");
    let stat = fs::read_to_string(format!("/proc/{monitor}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().to_owned();
    assert_eq!(session, monitor, "a session of its own");
    assert_eq!(fs::read_link(format!("/proc/{monitor}/cwd")).unwrap().to_str(), Some("/"));
    here.ok(["rm", "-f", "alone"]);
}

#[test]
fn what_a_container_wrote_is_shown_by_stream_time_and_number() {
    let Some(here) = with_busybox("what_a_container_wrote_is_shown_by_stream_time_and_number") else {
        return;
    };
    let script = "echo one; echo two >&2; printf three; sleep 1.2; echo four; printf '\\377\\n'";
    here.ok(["run", "-d", "--name", "talks", "busybox", "sh", "-c", script]);
    here.ok(["wait", "talks"]);
    let output = here.command(["logs", "talks"]).output().unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (b"one\nthreefour\n\xff\n".as_slice(), b"two\n".as_slice())
    );
    let times = here.run(["logs", "-t", "talks"]);
    let first = times.stdout.lines().next().unwrap();
    assert!(first.len() == 34 && first.ends_with("Z one"), "{times:#?}");
    assert_eq!(here.ok(["logs", "--tail", "0", "talks"]), "");
    let since = first.split(' ').next().unwrap();
    assert_eq!(here.run(["logs", "--since", since, "talks"]).stderr, "two\n");
    assert_eq!(here.ok(["logs", "--until", since, "talks"]), "");
    assert_eq!(here.run(["logs", "--since", "10m", "talks"]).stderr, "two\n");
    assert_eq!(here.fails(["logs", "nobody"]).code, 1);
}

#[test]
fn a_container_starts_again_with_what_it_has() {
    as_root_and_user("a_container_starts_again_with_what_it_has", |here| {
        let script = "cat /kept 2>/dev/null; echo $A $(hostname) >> /kept; exit 3";
        let run = ["run", "--name", "twice", "-e", "A=b", "--hostname", "box", "busybox", "sh", "-c", script];
        assert_eq!(here.run(run).code, 3);
        let again = here.run(["start", "-a", "twice"]);
        assert_eq!((again.stdout.as_str(), again.code), ("b box\n", 3));
        assert_eq!(here.ok(["start", "twice"]), "twice\n");
        assert_eq!(here.ok(["wait", "twice"]), "3\n");
        assert_eq!(here.ok(["logs", "twice"]), "b box\nb box\nb box\n");
        here.ok(["commit", "twice", "made"]);
        assert_eq!(here.ok(["run", "--rm", "made", "cat", "/kept"]).lines().count(), 3);
        assert_eq!(here.ok(["rename", "twice", "other"]), "");
        here.ok(["rm", "other"]);
    });
}

#[test]
fn a_created_container_waits_to_be_started() {
    let Some(here) = with_busybox("a_created_container_waits_to_be_started") else { return };
    let file = here.path().join("id");
    let create = ["create", "-i", "--name", "later", "--cidfile", file.to_str().unwrap(), "busybox", "cat"];
    let id = here.ok(create);
    assert_eq!(fs::read_to_string(&file).unwrap(), id.trim_end());
    assert_eq!(here.fails(create).code, 1, "the file is there");
    assert_eq!(here.ok(["ps", "-a", "--format", "{{.State}}"]), "created\n");
    let mut start = here.command(["start", "-ai", "later"]);
    let mut start = start.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    start.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let output = start.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout == b"typed\n", "{output:?}");
    let ran = here.fails(["create", "--name", "later", "busybox"]);
    assert!(ran.stderr.contains("already in use"), "{ran:#?}");
    here.ok(["rm", "later"]);
}

#[test]
fn those_who_are_attached_see_and_type_and_leave() {
    let Some(here) = with_busybox("those_who_are_attached_see_and_type_and_leave") else { return };
    here.ok([
        "run",
        "-d",
        "-i",
        "--name",
        "cat",
        "busybox",
        "sh",
        "-c",
        "while read line; do echo \"<$line>\"; done",
    ]);
    for word in ["first", "second"] {
        let mut attach = attached(&here, "cat");
        attach.stdin.as_mut().unwrap().write_all(format!("{word}\n").as_bytes()).unwrap();
        let mut seen = vec![0; word.len() + 3];
        attach.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
        assert_eq!(String::from_utf8(seen).unwrap(), format!("<{word}>\n"));
        // whoever goes leaves it running
        attach.kill().unwrap();
        attach.wait().unwrap();
    }
    assert_eq!(here.ok(["ps", "-q"]).lines().count(), 1);
    assert_eq!(here.ok(["kill", "cat"]), "cat\n");
    assert_eq!(here.ok(["wait", "cat"]), "137\n");
    let ran = here.fails(["attach", "cat"]);
    assert!(ran.stderr.contains("cannot attach to a stopped container"), "{ran:#?}");
    assert!(here.fails(["kill", "cat"]).stderr.contains("is not running"));
    assert_eq!(here.ok(["stop", "cat"]), "cat\n", "it has stopped");
}

#[test]
fn signals_reach_the_program_and_the_deaf_are_killed() {
    let Some(here) = with_busybox("signals_reach_the_program_and_the_deaf_are_killed") else { return };
    let script = "trap 'echo one' USR1; trap 'exit 9' HUP; while :; do sleep 0.05; done";
    here.ok(["run", "-d", "--name", "hears", "--stop-signal", "HUP", "busybox", "sh", "-c", script]);
    here.ok(["kill", "-s", "USR1", "hears"]);
    wait_for(|| here.ok(["logs", "hears"]) == "one\n");
    here.ok(["stop", "hears"]);
    assert_eq!(here.ok(["wait", "hears"]), "9\n");
    here.ok(["run", "-d", "--name", "deaf", "--stop-timeout", "1", "busybox", "sleep", "1000"]);
    let begun = Instant::now();
    here.ok(["stop", "deaf"]);
    assert!((1..9).contains(&begun.elapsed().as_secs()));
    assert_eq!(here.ok(["wait", "deaf"]), "137\n");
    here.ok(["run", "-d", "--name", "deaf2", "busybox", "sleep", "1000"]);
    here.ok(["stop", "-t", "0", "deaf2"]);
    assert!(here.fails(["kill", "-s", "NONE", "deaf2"]).stderr.contains("invalid signal: NONE"));
}

/// One of `run --rm` without a terminal has no process of its own but the `run`.
#[test]
fn a_container_in_the_foreground_is_stopped_and_killed_too() {
    as_root_and_user("a_container_in_the_foreground_is_stopped_and_killed_too", |here| {
        for (words, code) in
            [(&["stop", "fore"][..], 7), (&["kill", "fore"], 137), (&["stop", "-t", "0", "fore"], 137)]
        {
            let script = if code == 7 {
                "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"
            } else {
                "echo up; exec sleep 1000"
            };
            let mut run = here.command(["run", "--rm", "--name", "fore", "busybox", "sh", "-c", script]);
            let mut run = run.stdout(Stdio::piped()).spawn().unwrap();
            run.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
            here.ok(words);
            assert_eq!(run.wait().unwrap().code(), Some(code), "{words:?}");
            assert_eq!(here.ok(["ps", "-aq"]), "");
        }
    });
}

#[test]
fn of_many_who_start_a_container_all_find_it_started() {
    let Some(here) = with_busybox("of_many_who_start_a_container_all_find_it_started") else { return };
    here.ok(["create", "--name", "one", "busybox", "sleep", "1000"]);
    let starting: Vec<_> =
        (0..8).map(|_| here.command(["start", "one"]).stdout(Stdio::piped()).spawn().unwrap()).collect();
    for start in starting {
        assert!(start.wait_with_output().unwrap().status.success());
    }
    assert_eq!(here.ok(["ps", "-q"]).lines().count(), 1);
    here.ok(["rm", "-f", "one"]);
    here.run(["run", "--name", "ended", "busybox", "sh", "-c", "exit 6"]);
    assert_eq!(here.ok(["ps", "--filter", "exited=6", "--format", "{{.Names}}"]), "ended\n");
}

#[test]
fn states_are_true_whoever_was_killed() {
    let Some(here) = with_busybox("states_are_true_whoever_was_killed") else { return };
    for name in ["monitored", "passing"] {
        let mut words = vec!["run", "-d", "--name", name, "busybox", "sleep", "1000"];
        if name == "passing" {
            words.insert(1, "--rm");
        }
        here.ok(words);
    }
    let pid = here.ok(["inspect", "--format", "{{.State.Pid}}", "monitored"]);
    for name in ["monitored", "passing"] {
        let monitor = monitor_of(&here, name);
        assert!(Command::new("kill").args(["-9", &monitor]).status().unwrap().success());
    }
    wait_for(|| here.ok(["ps", "-q"]).is_empty());
    assert_eq!(here.ok(["ps", "-a", "--format", "{{.Names}}: {{.State}}"]), "monitored: exited\n");
    assert_eq!(here.ok(["wait", "monitored"]), "137\n");
    // it is known to have ended when that was first seen
    let times =
        || here.ok(["inspect", "--format", "{{.State.StartedAt}} {{.State.FinishedAt}}", "monitored"]);
    let (first, (started, finished)) =
        (times(), times().trim_end().split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap());
    assert!(started < finished && first == times(), "{first}");
    wait_for(|| !fs::exists(format!("/proc/{}", pid.trim_end())).unwrap());
    here.ok(["start", "monitored"]);
    assert_eq!(here.ok(["ps", "--format", "{{.Names}}"]), "monitored\n");
    here.ok(["rm", "-f", "monitored"]);
    here.ok(["create", "busybox"]);
    assert_eq!(here.ok(["ps", "-aq"]).lines().count(), 1, "the other has gone");
}

#[test]
fn what_cannot_be_started_says_why() {
    let Some(here) = with_busybox("what_cannot_be_started_says_why") else { return };
    let ran = here.fails(["run", "-d", "--name", "none", "busybox", "no-such-program"]);
    assert!(ran.code == 127 && ran.stderr.contains("no-such-program"), "{ran:#?}");
    assert_eq!(here.ok(["ps", "-aq", "--no-trunc", "--filter", "status=created"]), ran.stdout);
    assert_eq!(here.fails(["run", "-d", "--rm", "busybox", "/etc"]).code, 126);
    assert_eq!(here.ok(["ps", "-aq"]).lines().count(), 1, "nothing stays of it");
    let ran = here.fails(["start", "none"]);
    assert!(ran.code == 1 && ran.stderr.contains("no-such-program"), "{ran:#?}");
    assert_eq!(here.fails(["start", "nobody"]).code, 1);
}

/// A terminal of its own, in a terminal made by `script`: the size is the person's, and the keys leave it running.
#[test]
fn a_person_leaves_a_terminal_and_comes_back() {
    let Some(here) = with_busybox("a_person_leaves_a_terminal_and_comes_back") else { return };
    if !rbuild_testkit::has_program("script", "a_person_leaves_a_terminal_and_comes_back") {
        return;
    }
    let mut person =
        terminal(&here, "stty rows 33 cols 99; $RBUILD run -it --name shell busybox sh; echo left=$?");
    type_slowly(&mut person, &["stty size\n", "\x10", "\x11"]);
    let seen = end(person);
    assert!(seen.contains("33 99") && seen.contains("left=0") && !seen.contains("escape sequence"), "{seen}");
    assert_eq!(here.ok(["ps", "--format", "{{.Names}}"]), "shell\n");
    let mut person = terminal(&here, "$RBUILD attach shell; echo left=$?");
    type_slowly(&mut person, &["tty\n", "\x10", "\x11"]);
    let seen = end(person);
    assert!(seen.contains("/dev/pts/0") && seen.contains("read escape sequence\r\nleft=1"), "{seen}");
    let mut person = terminal(&here, "$RBUILD attach shell; echo left=$?");
    type_slowly(&mut person, &["echo $((40+2))\n", "exit 4\n"]);
    let seen = end(person);
    assert!(seen.contains("42") && seen.contains("left=4"), "{seen}");
    assert_eq!(here.ok(["wait", "shell"]), "4\n");
}

#[test]
fn a_container_that_runs_again_has_its_last_end() {
    let Some(here) = with_busybox("a_container_that_runs_again_has_its_last_end") else { return };
    let finished = || here.ok(["inspect", "--format", "{{.State.FinishedAt}}", "again"]);
    here.ok(["run", "-d", "--name", "again", "busybox", "sleep", "1000"]);
    assert_eq!(finished(), "0001-01-01T00:00:00Z\n");
    here.ok(["kill", "again"]);
    here.ok(["wait", "again"]);
    let first = finished();
    here.ok(["start", "again"]);
    assert_eq!(finished(), first);
    here.ok(["rm", "-f", "again"]);
}

#[test]
fn who_comes_to_a_container_as_it_ends_hears_that_it_has() {
    let Some(here) = with_busybox("who_comes_to_a_container_as_it_ends") else { return };
    here.ok(["create", "--name", "short", "busybox", "true"]);
    for _ in 0..20 {
        here.ok(["start", "short"]);
        let attach = here.run(["attach", "--no-stdin", "short"]);
        match attach.code {
            0 => {}
            code => {
                let message = "You cannot attach to a stopped container, start it first";
                assert!(code == 1 && attach.stderr.contains(message), "{attach:?}");
            }
        }
        here.ok(["wait", "short"]);
    }
}

fn terminal(here: &Workspace, line: &str) -> Child {
    let rbuild = here.command(["version"]);
    let mut script = Command::new("script");
    script.args(["-qec", line, "/dev/null"]).env("RBUILD", rbuild.get_program());
    script.env("RBUILD_ROOT", here.store());
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn type_slowly(person: &mut Child, keys: &[&str]) {
    for keys in keys {
        thread::sleep(Duration::from_millis(700));
        person.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }
}

fn end(person: Child) -> String {
    String::from_utf8_lossy(&person.wait_with_output().unwrap().stdout).into_owned()
}

fn attached(here: &Workspace, name: &str) -> Child {
    here.command(["attach", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The process that stays with a container.
pub(crate) fn monitor_of(here: &Workspace, name: &str) -> String {
    let id = here.ok(["inspect", "--format", "{{.Id}}", name]);
    let is_monitor = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("monitor-of-container") && line.contains(id.trim_end())
    };
    // its command line is blank while something of it enters the container
    for _ in 0..200 {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut numbers = processes.filter_map(|entry| entry.file_name().into_string().ok());
        if let Some(found) = numbers.find(is_monitor) {
            return found;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no process stays with {name}");
}

#[test]
fn containers_are_stopped_killed_and_removed_together() {
    as_root_and_user("containers_are_stopped_killed_and_removed_together", |here| {
        let names = ["s1", "s2", "s3", "s4", "s5"];
        for name in names {
            let script = "trap '' TERM; while :; do sleep 1; done";
            here.ok(["run", "-d", "--network=none", "--name", name, "busybox", "sh", "-c", script]);
        }
        let all = |words: &[&'static str]| [words, &names[..]].concat();
        let printed = names.map(|name| format!("{name}\n")).concat();
        for order in [&["restart", "-t", "2"][..], &["stop", "-t", "2"]] {
            let began = Instant::now();
            assert_eq!(here.ok(all(order)), printed);
            assert!(began.elapsed() < Duration::from_secs(6), "{order:?}: {:?}", began.elapsed());
        }
        here.ok(all(&["start"]));
        // each that fails is told, and the others go on
        let killed = here.run(all(&["kill", "nobody"]));
        assert!(killed.code == 1 && killed.stderr.contains("nobody"), "{killed:?}");
        assert_eq!(killed.stdout, printed);
        here.ok(all(&["start"]));
        let removed = here.run(all(&["rm", "-f", "s1", "nobody", "s2"]));
        assert_eq!(removed.stdout.lines().filter(|line| line.starts_with('s')).count(), 5, "{removed:?}");
        assert_eq!(here.ok(["ps", "-aq"]), "");
    });
}
