//! Which steps run, when, and how many of them: within a build, and among builds in processes of their own.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Ran, Workspace, skip_named};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Prints a word and the time since the machine began, in seconds.
const NOW: &str = "read t x < /proc/uptime; echo at";

fn begin(here: &Workspace, arguments: &[&str]) -> Child {
    here.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Ran {
    Ran::of(child.wait_with_output().unwrap())
}

/// The times that steps have printed after `word`.
fn times(ran: &Ran, word: &str) -> Vec<f64> {
    let number = |line: &str| line.split_once(&format!(" at {word} "))?.1.trim().parse().ok();
    ran.stderr.lines().filter(|line| !line.contains("RUN")).filter_map(number).collect()
}

#[test]
fn a_build_that_goes_on_does_all_that_it_can_and_says_all_that_failed() {
    let test = "a_build_that_goes_on_does_all_that_it_can_and_says_all_that_failed";
    let Some(here) = with_busybox(test) else { return };
    let text = "FROM busybox AS a\nRUN false\nRUN echo never\nFROM busybox AS b\nRUN sleep 0.3\nRUN echo fine > /b\n\
                FROM busybox AS c\nRUN exit 7\nFROM busybox\nCOPY --from=b /b /\nCOPY --from=a /etc /a\nCOPY --from=c /etc /c\n";
    let context = here.context("c", text, &[]);
    let context = context.to_str().unwrap();
    let stopped = here.fails(["build", context]);
    assert!(stopped.stderr.contains("CANCELED"), "the first failure ends the others: {stopped:?}");
    let ran = here.fails(["build", "--keep-going", "-t", "made", context]);
    assert_eq!(ran.code, 1);
    for said in [
        "Dockerfile:2\n",
        "Dockerfile:8\n",
        "ERROR: process \"/bin/sh -c false\" did not complete successfully: exit code: 1\n",
        "ERROR: process \"/bin/sh -c exit 7\" did not complete successfully: exit code: 7\n",
        "2 steps failed, and 3 steps that need them were not carried out\n",
    ] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("CANCELED") && !here.ok(["images"]).contains("made"), "{}", ran.stderr);
    // what was done stays done
    let again = here.fails(["build", "--keep-going", context]);
    assert_eq!(again.stderr.matches(" CACHED").count(), 3, "{}", again.stderr);
    here.fails(["build", "--keep-going=false", context]);
}

#[test]
fn of_ready_steps_the_longest_way_goes_first() {
    let Some(here) = with_busybox("of_ready_steps_the_longest_way_goes_first") else { return };
    let text = format!(
        "FROM busybox AS short\nRUN {NOW} short $t\nFROM busybox AS long\nRUN {NOW} long $t\nRUN sleep 0.4\n\
         FROM busybox AS middle\nRUN {NOW} middle $t; sleep 0.2\n\
         FROM busybox\nCOPY --from=short /etc /s\nCOPY --from=long /etc /l\nCOPY --from=middle /etc /m\n"
    );
    let context = here.context("c", &text, &[]);
    let build = || {
        Ran::of(
            here.command(["build", "--no-cache", "--jobs=1", context.to_str().unwrap()]).output().unwrap(),
        )
    };
    build();
    let ran = build();
    let began = ["long", "middle", "short"].map(|word| times(&ran, word)[0]);
    assert!(began.is_sorted(), "{began:?}: {}", ran.stderr);
}

#[test]
fn jobs_count_over_all_processes_and_end_with_them() {
    let Some(here) = with_busybox("jobs_count_over_all_processes_and_end_with_them") else { return };
    let contexts: Vec<PathBuf> = (0..3)
        .map(|number| {
            let steps: String = (0..3)
                .map(|step| format!("RUN {NOW} from $t; sleep 0.2; {NOW} to $t; echo {number}{step}\n"))
                .collect();
            here.context(&format!("c{number}"), &format!("FROM busybox\n{steps}"), &[])
        })
        .collect();
    let builds: Vec<Child> = contexts
        .iter()
        .map(|context| begin(&here, &["build", "--progress=plain", "--jobs=1", context.to_str().unwrap()]))
        .collect();
    let mut spans: Vec<(f64, f64)> = Vec::new();
    for build in builds {
        let ran = end(build);
        assert_eq!(ran.code, 0, "{ran:?}");
        spans.extend(times(&ran, "from").into_iter().zip(times(&ran, "to")));
    }
    spans.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert_eq!(spans.len(), 9);
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two at once: {spans:?}");

    let sleeper = here.context("sleeper", "FROM busybox\nRUN echo begun; sleep 60\n", &[]);
    let mut killed = begin(&here, &["build", "--jobs=1", sleeper.to_str().unwrap()]);
    wait_until(|| here.store().join("locks/steps").read_dir().is_ok_and(|entries| entries.count() > 0));
    thread::sleep(Duration::from_millis(300));
    let quick = here.context("quick", "FROM busybox\nRUN echo quick\n", &[]);
    let waiting = begin(&here, &["build", "--jobs=1", quick.to_str().unwrap()]);
    thread::sleep(Duration::from_millis(600));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let began = Instant::now();
    let ran = end(waiting);
    assert!(ran.code == 0 && began.elapsed() < Duration::from_secs(10), "{ran:?}");
    assert!(ran.stderr.contains("waiting for a step of another build to end (--jobs 1)"), "{}", ran.stderr);
}

#[test]
fn equal_steps_of_processes_run_once_and_say_for_whom_they_wait() {
    let test = "equal_steps_of_processes_run_once_and_say_for_whom_they_wait";
    let Some(here) = with_busybox(test) else { return };
    let text =
        "FROM busybox\nRUN --mount=type=cache,target=/c echo run >> /c/runs; sleep 1; cp /c/runs /runs\n";
    let context = here.context("c", text, &[]);
    let context = context.to_str().unwrap();
    let first = begin(&here, &["build", "-t", "first", context]);
    wait_until(|| here.store().join("locks/steps").read_dir().is_ok_and(|entries| entries.count() > 0));
    let others: Vec<Child> = ["a", "b", "c"].map(|tag| begin(&here, &["build", "-t", tag, context])).into();
    let process = first.id();
    assert_eq!(end(first).code, 0);
    for other in others {
        let ran = end(other);
        assert_eq!(ran.code, 0, "{ran:?}");
        let said =
            format!("of docker.io/library/first:latest (process {process}), which has run this step for ");
        assert!(ran.stderr.contains("waiting for build ") && ran.stderr.contains(&said), "{}", ran.stderr);
    }
    assert_eq!(here.ok(["run", "--rm", "c", "cat", "/runs"]), "run\n");
    // one that is killed leaves its step to the next
    let context = here.context("k", "FROM busybox\nRUN sleep 1; echo k > /k\n", &[]);
    let context = context.to_str().unwrap();
    let mut first = begin(&here, &["build", context]);
    wait_until(|| here.store().join("locks/steps").read_dir().is_ok_and(|entries| entries.count() > 0));
    let next = begin(&here, &["build", "-t", "k", context]);
    thread::sleep(Duration::from_millis(300));
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(end(next).code, 0);
    assert_eq!(here.ok(["run", "--rm", "k", "cat", "/k"]), "k\n");
}

#[test]
fn a_signal_stops_a_build_at_once() {
    let Some(here) = with_busybox("a_signal_stops_a_build_at_once") else { return };
    let big: String = "x".repeat(8 << 20);
    let files: Vec<(String, &str)> = (0..40).map(|number| (format!("big/{number}"), big.as_str())).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let copying = here.context("copying", "FROM busybox\nCOPY big /big\nRUN sleep 60\n", &files);
    let running = here.context("running", "FROM busybox\nRUN trap '' TERM INT; sleep 60\n", &[]);
    for (context, after) in [(&running, 400), (&copying, 60), (&copying, 200)] {
        for signal in ["INT", "TERM"] {
            let build = begin(&here, &["build", "--no-cache", context.to_str().unwrap()]);
            thread::sleep(Duration::from_millis(after));
            let pid = build.id().to_string();
            assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
            let asked = Instant::now();
            let ran = end(build);
            // on a quiet machine it takes less than 200 ms
            assert!(asked.elapsed() < Duration::from_secs(3), "{signal} {context:?}: {:?}", asked.elapsed());
            assert!(ran.stderr.contains("canceled") && ran.code > 128, "{ran:?}");
        }
    }
}

/// Runs `arguments` in a control group with `limit` bytes of memory; `None` where none can be made.
fn limited(here: &Workspace, group: &Path, arguments: &[&str]) -> Ran {
    let text = "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", text, "sh", group.to_str().unwrap(), RBUILD]).args(arguments);
    let model = here.command(arguments);
    command.envs(model.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(command.output().unwrap())
}

#[test]
fn steps_whose_memory_is_not_free_wait_for_each_other() {
    let test = "steps_whose_memory_is_not_free_wait_for_each_other";
    let Some(here) = with_busybox(test) else { return };
    let group = Path::new("/sys/fs/cgroup/memory").join(format!("rbuild-test-{}", std::process::id()));
    if fs::create_dir(&group).is_err() || fs::write(group.join("memory.limit_in_bytes"), "420M").is_err() {
        let _ = fs::remove_dir(&group);
        return skip_named(test, "no version 1 memory controller");
    }
    // dd has a buffer of 200 MB, which it fills
    let stage = |name: &str| {
        format!(
            "FROM busybox AS {name}\nRUN {NOW} from $t; dd if=/dev/zero of=/dev/null bs=200M count=3; sleep 0.3; {NOW} to $t # {name}\n"
        )
    };
    let text = format!(
        "{}{}{}FROM busybox\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\nCOPY --from=c /etc /c\n",
        stage("a"),
        stage("b"),
        stage("c")
    );
    let context = here.context("c", &text, &[]);
    let context = context.to_str().unwrap();
    // unlimited, so that all of them are recorded
    here.ok(["build", "--jobs=1", context]);
    let ran = limited(&here, &group, &["build", "--no-cache", context]);
    fs::remove_dir(&group).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut spans: Vec<(f64, f64)> = times(&ran, "from").into_iter().zip(times(&ran, "to")).collect();
    spans.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert!(ran.stderr.contains("waiting for memory: this step took 2"), "{}", ran.stderr);
    assert_eq!(spans.len(), 3);
    assert!(spans[0].1.min(spans[1].1) <= spans[2].0, "three at once do not fit: {spans:?}");
}

fn wait_until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn equal_steps_of_a_build_run_once_and_it_never_waits_for_itself() {
    let test = "equal_steps_of_a_build_run_once_and_it_never_waits_for_itself";
    let Some(here) = with_busybox(test) else { return };
    let step = "RUN sleep 0.6; echo x; cat /proc/sys/kernel/random/uuid > /id\n";
    let text = format!(
        "FROM busybox AS a\n{step}FROM busybox AS b\n{step}FROM busybox\nCOPY --from=a / /a\nCOPY --from=b / /b\n"
    );
    let context = here.context("c", &text, &[]);
    for flags in [&[][..], &["--no-cache"]] {
        let words = [&["build", "--progress=plain"], flags, &[context.to_str().unwrap()]].concat();
        let ran = here.run(words);
        assert!(ran.code == 0 && !ran.stderr.contains("waiting for"), "{ran:#?}");
        assert_eq!(ran.stderr.lines().filter(|line| line.ends_with(" x")).count(), 1, "{ran:#?}");
    }
}
