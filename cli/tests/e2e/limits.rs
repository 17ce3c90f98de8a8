//! What a RUN and a container may use, and how long they may take: as root, and as an ordinary user to whom a group was delegated.

use crate::{RBUILD, ordinary_user, with_busybox};
use rbuild_testkit::{Base, Ran, Workspace, skip_named};
use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Groups of version 1 hierarchies, or of the version 2 one, that belong to somebody.
struct Groups(Vec<PathBuf>);

impl Groups {
    /// One in each hierarchy that has one of `controllers`; `None` when one is missing.
    fn new(test: &str, owner: u32, controllers: &[&str]) -> Option<Self> {
        let mut groups = Self(Vec::new());
        for controller in controllers {
            let hierarchy = Path::new("/sys/fs/cgroup").join(controller);
            if !hierarchy.join("cgroup.procs").exists() {
                skip_named(test, "no version 1 hierarchy with memory and pids is mounted here");
                return None;
            }
            let group = hierarchy.join(format!("{test}-{owner}-{}", std::process::id()));
            fs::create_dir(&group).unwrap();
            chown(&group, Some(owner), Some(owner)).unwrap();
            groups.0.push(group);
        }
        Some(groups)
    }

    /// Runs rbuild in the groups.
    fn run(&self, here: &Workspace, arguments: &[&str]) -> Ran {
        Ran::of(self.command(here, arguments).output().unwrap())
    }

    /// rbuild in the groups; the process that is started becomes it.
    fn command(&self, here: &Workspace, arguments: &[&str]) -> Command {
        let inner = here.command(arguments);
        let mut command = Command::new("sh");
        let enter = self.0.iter().map(|group| format!("echo $$ > {}/cgroup.procs; ", group.display()));
        command.arg("-c").arg(enter.collect::<String>() + "exec \"$0\" \"$@\"").arg(inner.get_program());
        command.args(inner.get_args()).current_dir(here.path()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// True if no process is in them, and in what is below them.
    fn have_no_process(&self) -> bool {
        let empty =
            |group: &Path| fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|text| text.is_empty());
        fn all(group: &Path, holds: &dyn Fn(&Path) -> bool) -> bool {
            let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
            holds(group) && below.filter(|path| path.is_dir()).all(|path| all(&path, holds))
        }
        self.0.iter().all(|group| all(group, &empty))
    }

    /// Fails if something is left in them.
    fn are_empty(&self) {
        for group in &self.0 {
            let below = fs::read_dir(group).unwrap().flatten().filter(|entry| entry.path().is_dir());
            assert_eq!(below.count(), 0, "{}", group.display());
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.0 {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Does `work` as root and as an ordinary user, each in groups of their own.
fn limited(test: &str, work: impl Fn(&Workspace, &Groups)) {
    let Some(user) = ordinary_user::workspace(test) else { return };
    user.import(Base::Busybox);
    let Some(root) = with_busybox(test) else { return };
    for (here, owner) in [(root, 0), (user, ordinary_user::USER)] {
        let Some(groups) = Groups::new(test, owner, &["memory", "pids"]) else { return };
        work(&here, &groups);
        groups.are_empty();
    }
}

fn context(here: &Workspace, command: &str) -> String {
    here.context("c", &format!("FROM busybox\nRUN {command}\n"), &[]).display().to_string()
}

#[test]
fn a_memory_hog_dies_alone() {
    limited("a_memory_hog_dies_alone", |here, groups| {
        let context = context(here, "tail -n1 /dev/zero");
        let ran = groups.run(here, &["build", "--memory=32m", &context]);
        assert_eq!(ran.code, 1, "{ran:?}");
        for part in [
            "exit code: 137: the kernel killed a process of it at a limit of 32 MiB (peak 32 MiB)",
            "--memory",
        ] {
            assert!(ran.stderr.contains(part), "{ran:?}");
        }
        let ran = groups.run(here, &["run", "--rm", "--memory=32m", "busybox", "tail", "-n1", "/dev/zero"]);
        assert_eq!(ran.code, 137, "{ran:?}");
        for (command, killed) in [("tail -n1 /dev/zero || true", "true 0"), ("true", "false 0")] {
            let ran =
                groups.run(here, &["run", "--name=box", "--memory=32m", "busybox", "sh", "-c", command]);
            assert_eq!(ran.code, 0, "{ran:?}");
            let state = here.ok(["inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "box"]);
            assert_eq!(state.trim(), killed);
            here.ok(["rm", "box"]);
        }
        let context = context_of_survivor(here);
        let ran = groups.run(here, &["build", "--progress=plain", "--resource=memory=32m", &context]);
        assert!(ran.code == 0 && ran.stderr.contains("lived on"), "{ran:?}");
    });
}

fn context_of_survivor(here: &Workspace) -> String {
    context(here, "tail -n1 /dev/zero || echo lived on")
}

#[test]
fn the_groups_of_a_killed_build_are_empty_and_go_with_the_next_one() {
    limited("the_groups_of_a_killed_build_are_empty_and_go_with_the_next_one", |here, groups| {
        let endless = here.context("endless", "FROM busybox\nRUN (setsid sleep 500 &) ; sleep 500\n", &[]);
        let flags = ["build", "--memory=64m", "--pids-limit=20", endless.to_str().unwrap()];
        let mut build = groups.command(here, &flags).stderr(Stdio::null()).spawn().unwrap();
        // both groups of the step are in the one of the process
        let step_runs = || {
            groups.0.iter().all(|group| {
                let own = fs::read_dir(group).unwrap().flatten().find(|entry| entry.path().is_dir());
                own.is_some_and(|own| {
                    fs::read_dir(own.path()).unwrap().flatten().any(|entry| entry.path().is_dir())
                })
            })
        };
        wait_until(step_runs);
        build.kill().unwrap();
        build.wait().unwrap();
        wait_until(|| groups.have_no_process());
        let next = context(here, "true");
        assert_eq!(
            groups.run(here, &["build", "--memory=64m", "--pids-limit=20", "--no-cache", &next]).code,
            0
        );
    });
}

fn wait_until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_fork_bomb_ends_with_its_step() {
    limited("a_fork_bomb_ends_with_its_step", |here, groups| {
        let context = context(
            here,
            "f() { f | f & }; f; n=0; while [ $n -lt 20 ]; do n=$((n + 1)); done; echo lived on",
        );
        let begun = Instant::now();
        let ran = groups.run(here, &["build", "--pids-limit=25", "--no-cache", &context]);
        // the shell itself may be one that gets no more processes
        assert!(ran.code == 0 || ran.stderr.contains("fork"), "{ran:?}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    });
}

#[test]
fn a_limit_that_nobody_may_set_is_told_once() {
    let test = "a_limit_that_nobody_may_set_is_told_once";
    let Some(here) = ordinary_user::workspace(test) else { return };
    here.import(Base::Busybox);
    let dockerfile = "FROM busybox\nRUN ulimit -n > /n\nRUN ulimit -Hn >> /n\n";
    let context = here.context("c", dockerfile, &[]).display().to_string();
    let ran =
        here.run(["build", "-t", "x", "--memory=64m", "--pids-limit=9", "--ulimit=nofile=50:60", &context]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stderr.matches("no effect of --memory, --pids-limit: ").count(), 1, "{ran:?}");
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/n"]), "50\n60\n");
    let ran = here.run(["run", "--rm", "--memory=64m", "x", "true"]);
    assert!(ran.code == 0 && ran.stderr.starts_with("WARNING: no effect of --memory: "), "{ran:?}");
}

#[test]
fn root_limits_processors_and_each_process() {
    let test = "root_limits_processors_and_each_process";
    let Some(here) = with_busybox(test) else { return };
    let seen = "ulimit -n; ulimit -Hn; ulimit -c; nproc; grep -c shm /proc/mounts";
    let flags =
        ["--ulimit=nofile=50:60", "--ulimit=core=0", "--cpuset-cpus=0", "--cpus=0.5", "--shm-size=2m"];
    let arguments = ["run", "--rm"].into_iter().chain(flags).chain(["busybox", "sh", "-c", seen]);
    assert_eq!(here.ok(arguments), "50\n60\n0\n1\n1\n");
    let context = context(&here, &format!("({seen}) > /seen"));
    here.ok(["build", "-t", "x"].into_iter().chain(flags).chain([context.as_str()]));
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/seen"]), "50\n60\n0\n1\n1\n");
    let ran = here.fails(["build", "--no-cache", "--cpuset-cpus=4095", &context]);
    assert!(ran.stderr.contains("the kernel does not take 4095 for --cpuset-cpus"), "{ran:?}");
}

#[test]
fn limits_of_the_machine_are_in_no_key() {
    let Some(here) = with_busybox("limits_of_the_machine_are_in_no_key") else { return };
    let context = context(&here, "true");
    here.ok(["build", &context]);
    let cached =
        |flag: &str| here.run(["build", "--progress=plain", flag, &context]).stderr.contains("CACHED");
    assert!(cached("--memory=64m") && cached("--cpus=1") && cached("--step-timeout=9m"));
    assert!(!cached("--ulimit=nofile=99"), "a step can see it");
}

#[test]
fn what_takes_too_long_is_ended() {
    let test = "what_takes_too_long_is_ended";
    let Some(user) = ordinary_user::workspace(test) else { return };
    user.import(Base::Busybox);
    for here in [Workspace::new(RBUILD), user] {
        here.import(Base::Busybox);
        // one that writes without end, one whose child in a session of its own holds the output
        for command in ["yes", "(setsid sleep 500 &) ; exit 0", "trap '' TERM INT HUP; sleep 500"] {
            let context = context(&here, command);
            for (flag, message) in [
                ("--step-timeout=1s", "was ended after 1 s, the most that a step may take (--step-timeout)"),
                ("--timeout=1s", "the build was ended after 1 s, the most that it may take (--timeout)"),
            ] {
                let begun = Instant::now();
                let ran = here.run(["build", "--progress=quiet", "--no-cache", flag, &context]);
                assert!(ran.stderr.contains(message) || command.contains("exit 0"), "{command}: {ran:?}");
                assert!(ran.code == 124 || command.contains("exit 0"), "{command}: {ran:?}");
                assert!(begun.elapsed() < Duration::from_secs(8), "{command}");
            }
        }
        let finished = here.context("d", "FROM busybox\nRUN echo first\nRUN sleep 500\n", &[]);
        let finished = finished.to_str().unwrap();
        assert_eq!(here.run(["build", "--timeout=2s", finished]).code, 124);
        let again = here.run(["build", "--progress=plain", "--timeout=1s", finished]);
        assert!(again.stderr.contains("RUN echo first\n#3 CACHED"), "{again:?}");
    }
}

#[test]
fn a_record_has_what_a_step_used() {
    let Some(here) = with_busybox("a_record_has_what_a_step_used") else { return };
    let context = context(&here, "head -c 200m /dev/zero | tail -c 200m > /dev/null && exit 3");
    here.fails(["build", "--no-cache", &context]);
    let inspected = here.ok(["builds", "inspect"]);
    let row = inspected.lines().find(|line| line.contains("RUN head")).unwrap();
    assert!(inspected.contains("MEMORY") && row.contains("MB"), "{inspected}");
}
