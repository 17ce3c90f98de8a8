//! Steps that use up what there is, and builds that are killed while a step has everything that a step can have.

use super::{attack, outliving::cgroups_of_the_dead};
use rbuild_testkit::has_program;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_gigabyte_without_a_line_s_end_costs_no_memory() {
    attack("a_gigabyte_without_a_line_s_end_costs_no_memory", |arena| {
        let text = "FROM busybox\nRUN head -c 1073741824 /dev/zero | tr '\\0' x; echo; echo the end\n";
        let context = arena.here.context("c", text, &[]);
        let mut build = arena.here.command(["build", "--progress=plain", context.to_str().unwrap()]);
        let mut rbuild = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut peak = 0;
        let ended = loop {
            peak = peak.max(peak_of(rbuild.id()));
            if let Some(ended) = rbuild.try_wait().unwrap() {
                break ended;
            }
            thread::sleep(Duration::from_millis(20));
        };
        assert!(ended.success(), "{:?}: {ended:?}", arena.who);
        assert!(peak < 256 << 10, "{:?}: {peak} KB", arena.who);
        // nothing is clipped, and a log of it ends as the step did
        let mut logs = arena.here.command(["builds", "logs"]).stdout(Stdio::piped()).spawn().unwrap();
        let tail =
            Command::new("tail").args(["-c", "60"]).stdin(logs.stdout.take().unwrap()).output().unwrap();
        assert!(logs.wait().unwrap().success());
        assert!(String::from_utf8_lossy(&tail.stdout).contains("the end"), "{tail:?}");
    });
}

/// The most memory that a process has had, in KB; 0 when it has ended.
fn peak_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn nothing_is_left_of_a_killed_build_that_had_everything() {
    let test = "nothing_is_left_of_a_killed_build_that_had_everything";
    attack(test, |arena| {
        if !has_program("ssh-keygen", test) || !has_program("ssh-agent", test) {
            return;
        }
        let context = arena.here.context(
            "c",
            "FROM busybox\nRUN --mount=type=secret,id=s --mount=type=ssh --mount=type=cache,target=/m --mount=type=bind,target=/b,rw \
             --mount=type=tmpfs,target=/t (setsid sleep 700 &); sleep 700\n",
            &[("secret", "given\n")],
        );
        let key = context.join("key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(arena.here.path()).unwrap());
        std::os::unix::fs::chown(&key, Some(owner), Some(owner)).unwrap();
        let secret = format!("--secret=id=s,src={}/secret", context.display());
        let keys = format!("--ssh=default={}", key.display());
        let words = [
            "build",
            "--memory=512m",
            "--pids-limit=50",
            "--no-cache",
            &secret,
            &keys,
            context.to_str().unwrap(),
        ];
        let mut build = arena.here.command(words);
        let mut rbuild = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sleeps = |all: &BTreeMap<u32, String>| all.values().filter(|name| *name == "sleep").count() == 2;
        wait_until("it runs", || sleeps(&descendants(rbuild.id())));
        let all = descendants(rbuild.id());
        assert!(all.values().any(|name| name == "ssh-agent"), "{:?}: {all:?}", arena.who);
        let networks = networks(&all);
        rbuild.kill().unwrap();
        rbuild.wait().unwrap();
        // what a process is called tells it from a later one with its number
        let left = || -> Vec<(u32, String)> {
            all.iter()
                .filter(|(pid, name)| called(**pid).as_ref() == Some(name))
                .map(|(p, n)| (*p, n.clone()))
                .collect()
        };
        wait_until("all of it ends", || left().is_empty());
        let living: BTreeSet<String> = networks_of_all();
        assert!(networks.is_disjoint(&living), "{:?}: {networks:?}", arena.who);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(arena.here.path().to_str().unwrap()), "{:?}: {mounts}", arena.who);
        arena.builds("FROM busybox\nRUN true\n");
        wait_until("its control groups go", || {
            let own = format!("rbuild-{}-", rbuild.id());
            !cgroups_of_the_dead().iter().any(|path| path.contains(&own))
        });
    });
}

/// The processes below one, with their names.
fn descendants(of: u32) -> BTreeMap<u32, String> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let is_below = |mut pid: u32| {
        while let Some(parent) = parents.get(&pid) {
            if *parent == of {
                return true;
            }
            pid = *parent;
        }
        false
    };
    parents.keys().filter(|pid| is_below(**pid)).filter_map(|pid| Some((*pid, called(*pid)?))).collect()
}

/// The name of a process that lives.
fn called(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, state) = stat.split_once('(')?.1.rsplit_once(") ")?;
    (!state.starts_with('Z')).then(|| name.to_owned())
}

/// The network namespaces of processes that are not the test's own.
fn networks(all: &BTreeMap<u32, String>) -> BTreeSet<String> {
    let name =
        |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok().map(|path| path.display().to_string());
    let own = name("self");
    all.keys()
        .filter_map(|pid| name(&pid.to_string()))
        .filter(|network| Some(network) != own.as_ref())
        .collect()
}

fn networks_of_all() -> BTreeSet<String> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    networks(&pids.map(|pid| (pid, String::new())).collect())
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        thread::sleep(Duration::from_millis(10));
    }
}
