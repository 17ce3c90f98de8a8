//! `commit` of a container that runs, from another process.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Ran, Workspace, skip};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A container called `box`, whose script writes `ready` when what is tested is there. Killed when dropped.
pub(crate) struct Box<'a> {
    here: &'a Workspace,
    process: Child,
    output: BufReader<ChildStdout>,
}

impl<'a> Box<'a> {
    pub(crate) fn start(here: &'a Workspace, flags: &[&str], script: &str) -> Self {
        let words = [&["run", "--name", "box"], flags, &["busybox", "sh", "-c", script]].concat();
        let mut process = here.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut started = Self { here, process, output };
        assert_eq!(started.line(), "ready");
        started
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The file of its control group that says if it stands still; `None` where it has no such group.
    fn events(&self) -> Option<PathBuf> {
        let pid = self.here.ok(["inspect", "--format", "{{.State.Pid}}", "box"]);
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", pid.trim())).unwrap();
        let group = groups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned);
        let group = group.filter(|group| group.contains("/rbuild-"));
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let mount = mount.and_then(|line| line.split(' ').nth(1));
        let Some((group, mount)) = group.zip(mount) else {
            skip("containers have no control group here");
            return None;
        };
        Some(PathBuf::from(format!("{mount}{group}/cgroup.events")))
    }
}

impl Drop for Box<'_> {
    fn drop(&mut self) {
        self.here.run(["rm", "-f", "box"]);
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_frozen(events: &PathBuf) -> bool {
    fs::read_to_string(events).is_ok_and(|text| text.contains("frozen 1"))
}

/// Waits until `true`; false when it takes too long.
fn comes(mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_micros(200));
    }
    false
}

/// Commits, and looks meanwhile at whether the container stands still.
fn watched(here: &Workspace, words: &[&str], events: &PathBuf) -> (Ran, bool) {
    let mut commit = here.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut seen = false;
    while commit.try_wait().unwrap().is_none() {
        seen |= is_frozen(events);
        thread::sleep(Duration::from_micros(100));
    }
    (Ran::of(commit.wait_with_output().unwrap()), seen)
}

/// Many files, so that reading them takes a while.
const MANY: &str = "mkdir /many; i=0; while [ $i -lt 1000 ]; do echo $i > /many/$i; i=$((i+1)); done; ";

#[test]
fn a_running_container_becomes_an_image_and_runs_on() {
    let Some(here) = with_busybox("a_running_container_becomes_an_image_and_runs_on") else { return };
    here.write("shared/file", "from the host\n");
    let volume = format!("{}:/mnt/v", here.path().join("shared").display());
    let script = "echo one > /one; ln /one /two; rm /bin/vi; mkdir -p /etc; echo mine > /mnt/v/in; mount | grep -q /mnt/v; \
        echo 10.0.0.1 a >> /etc/hosts; echo ready; while :; do sleep 0.01; echo tick; done";
    let flags = ["-e", "A=b", "-w", "/work", "-u", "0:0", "-v", &volume];
    let mut running = Box::start(&here, &flags, script);
    let change = ["-c", "CMD [\"cat\", \"/one\"]", "-c", "ENV Q=1", "-a", "me", "-m", "by hand"];
    let id = here.ok([&["commit"], &change[..], &["box", "made:1"]].concat());
    assert_eq!(running.line(), "tick");
    for _ in 0..200 {
        running.line();
    }
    assert_eq!(here.ok(["ps", "-q"]).lines().count(), 1, "it runs on");
    let look = "stat -c '%n %h %i' /one /two | uniq -f 1 | wc -l; cat /one; ls /bin/vi /mnt/v; pwd; env | sort; cat /etc/hosts";
    let ran = here.run(["run", "--rm", "made:1", "sh", "-c", look]);
    assert!(ran.stdout.starts_with("1\none\n/mnt/v:\n/work\n"), "{ran:#?}");
    assert!(ran.stderr.contains("/bin/vi: No such file"), "{ran:#?}");
    assert!(
        ran.stdout.contains("A=b\n") && ran.stdout.contains("Q=1\n") && !ran.stdout.contains("10.0.0.1"),
        "{ran:#?}"
    );
    assert_eq!(here.ok(["run", "--rm", "made:1"]), "one\n");
    let config = "{{json .Config.Cmd}} {{json .Config.Env}} {{.Config.WorkingDir}} {{.Config.User}} {{.Author}} {{.Id}}\n";
    let expected = format!("[\"cat\",\"/one\"] [\"A=b\",\"Q=1\"] /work 0:0 me {id}");
    assert_eq!(here.ok(["inspect", "-f", config.trim_end(), "made:1"]), expected);
    let history = here.ok(["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "made:1"]);
    assert!(history.starts_with("sh -c echo one > /one; ") && history.contains("|by hand\n"), "{history}");
}

#[test]
fn it_stands_still_while_it_is_read_and_only_then() {
    let Some(here) = with_busybox("it_stands_still_while_it_is_read_and_only_then") else { return };
    // a file is written before and another after the many: if it stands still, they are one step apart at the most
    let count = "i=0; echo 0 > /a; echo 0 > /many/b; echo ready; while :; do i=$((i+1)); echo $i > /a.new; mv /a.new /a; \
        echo $i > /many/b.new; mv /many/b.new /many/b; done";
    let running = Box::start(&here, &[], &format!("{MANY}{count}"));
    let Some(events) = running.events() else { return };
    for (words, pauses) in [
        (&["commit", "box", "made"][..], true),
        (&["commit", "--pause", "box", "made"], true),
        (&["commit", "-p=false", "box", "made"], false),
        (&["commit", "--pause=false", "box", "made"], false),
    ] {
        let (ran, seen) = watched(&here, words, &events);
        assert_eq!((ran.code, ran.stderr.as_str(), seen), (0, "", pauses), "{words:?}");
        assert!(!is_frozen(&events), "{words:?}");
        if pauses {
            let counted = here.ok(["run", "--rm", "made", "cat", "/a", "/many/b"]);
            let counted: Vec<i64> = counted.lines().map(|line| line.parse().unwrap()).collect();
            assert!((0..=1).contains(&(counted[0] - counted[1])), "{counted:?}");
        }
    }
    // several at once do not wake it for each other
    let commits: Vec<Child> = (0..3)
        .map(|n| here.command(["commit", "box", &format!("made:{n}")]).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    for mut commit in commits {
        assert!(commit.wait().unwrap().success());
    }
    for n in 0..3 {
        let counted = here.ok(["run", "--rm", &format!("made:{n}"), "cat", "/a", "/many/b"]);
        let counted: Vec<i64> = counted.lines().map(|line| line.parse().unwrap()).collect();
        assert!((0..=1).contains(&(counted[0] - counted[1])), "{counted:?}");
    }
}

#[test]
fn a_commit_waits_for_another_one_and_says_so() {
    let Some(here) = with_busybox("a_commit_waits_for_another_one_and_says_so") else { return };
    let _running = Box::start(&here, &[], "echo ready; exec sleep 1000");
    let id = here.ok(["inspect", "-f", "{{.Id}}", "box"]);
    // what another one holds while it reads
    let path = here.store().join("locks/pauses").join(id.trim_end());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let other = fs::File::create(&path).unwrap();
    other.lock().unwrap();
    let mut commit = here.command(["commit", "box", "made"]);
    let mut commit = commit.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(commit.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "Waiting for another command that makes container box stand still\n");
    assert!(commit.try_wait().unwrap().is_none());
    drop(other);
    assert!(commit.wait().unwrap().success());
    assert_eq!(here.run(["commit", "box", "made"]).stderr, "");
}

#[test]
fn it_goes_on_when_its_commit_is_killed_or_fails() {
    let Some(here) = with_busybox("it_goes_on_when_its_commit_is_killed_or_fails") else { return };
    let mut running =
        Box::start(&here, &[], &format!("{MANY} echo ready; while :; do sleep 0.01; echo tick; done"));
    let Some(events) = running.events() else { return };
    for round in 0..5 {
        let mut commit = here.command(["commit", "box", "made"]).spawn().unwrap();
        assert!(comes(|| is_frozen(&events)), "{round}: it was never paused");
        thread::sleep(Duration::from_millis(round));
        commit.kill().unwrap();
        commit.wait().unwrap();
        assert!(comes(|| !is_frozen(&events)), "{round}: it stands still for ever");
    }
    for _ in 0..200 {
        assert_eq!(running.line(), "tick");
    }
    // Ctrl-C reaches all processes of a command
    let mut commit = here.command(["commit", "box", "made"]);
    let mut commit = std::os::unix::process::CommandExt::process_group(&mut commit, 0).spawn().unwrap();
    assert!(comes(|| is_frozen(&events)));
    assert!(
        Command::new("kill").args(["-INT", "--", &format!("-{}", commit.id())]).status().unwrap().success()
    );
    commit.wait().unwrap();
    assert!(comes(|| !is_frozen(&events)));
    // the store cannot take the copy
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" commit box made"]).arg(RBUILD);
    let failed = limited.env("RBUILD_ROOT", here.store()).output().unwrap();
    assert!(!failed.status.success());
    assert!(!is_frozen(&events));
    here.ok(["commit", "box", "made"]);
    assert_eq!(here.ok(["run", "--rm", "made", "sh", "-c", "ls /many | wc -l"]), "1000\n");
    assert_eq!(fs::read_dir(here.store().join("locks/pauses")).unwrap().count(), 0);
}

#[test]
fn files_that_go_and_change_while_they_are_read_do_no_harm() {
    let Some(here) = with_busybox("files_that_go_and_change_while_they_are_read") else { return };
    let churn = "mkdir /d; echo ready; while :; do
        mkdir -p /d/a/b /d/c; i=0; while [ $i -lt 50 ]; do echo $i > /d/a/b/$i; ln /d/a/b/$i /d/c/$i; i=$((i+1)); done
        head -c 300000 /dev/zero > /d/long; : > /d/long; rm -rf /d/a /d/c; mv /bin/vi /bin/iv; mv /bin/iv /bin/vi; done";
    let _running = Box::start(&here, &[], churn);
    for round in 0..40 {
        let words = ["commit", if round % 8 == 0 { "--pause" } else { "--pause=false" }, "box", "made"];
        let ran = here.run(words);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{round}");
    }
    assert_eq!(here.ok(["run", "--rm", "made", "sh", "-c", "ls -d /d"]), "/d\n");
}

#[test]
fn a_container_that_ends_or_goes_meanwhile_is_whole_or_not_there() {
    let Some(here) = with_busybox("a_container_that_ends_or_goes_meanwhile") else { return };
    for (round, force) in (0..4).flat_map(|round| [(round, false), (round, true)]) {
        let running =
            Box::start(&here, &[], &format!("{MANY} echo ready; sleep 0.0{round}; echo end > /end"));
        let commit = here.command(["commit", "--pause=false", "box", "made"]).stderr(Stdio::piped()).spawn();
        if force {
            thread::sleep(Duration::from_millis(40 * round));
            here.ok(["rm", "-f", "box"]);
        }
        let ran = Ran::of(commit.unwrap().wait_with_output().unwrap());
        drop(running);
        if ran.code == 0 {
            assert_eq!(here.ok(["run", "--rm", "made", "sh", "-c", "ls /many | wc -l"]), "1000\n", "{round}");
        } else {
            assert!(force && ran.stderr.contains("No such container: "), "{round} {ran:#?}");
        }
    }
    assert_eq!(here.ok(["ps", "-aq"]), "");
}
