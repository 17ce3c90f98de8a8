//! Processes that would live on after rbuild.

use super::{Arena, MOUNTS, attack, dockerfile};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Clears its parent-death signal, ignores what can be ignored, moves to other sessions, forks twice, and waits. Every
/// process it becomes has the word it was given as its first argument.
const SURVIVOR: &str = "#include <signal.h>\n#include <stdio.h>\n#include <sys/prctl.h>\n#include <unistd.h>\n\
int main() { for (int s = 1; s < 65; s++) signal(s, SIG_IGN); prctl(PR_SET_PDEATHSIG, 0); prctl(PR_SET_CHILD_SUBREAPER, 1);\n\
 for (int i = 0; i < 3; i++) if (!fork()) { setsid(); if (!fork()) { prctl(PR_SET_PDEATHSIG, 0); prctl(4, 0);\n\
  for (;;) sleep(1); } for (;;) sleep(1); }\n write(1, \"survivor runs\\n\", 14); for (;;) sleep(1); }\n";

/// How a build ends. The first SEGV goes to the handler that notices a stack that is used up.
const BUILD_ENDS: [&[&str]; 8] = [
    &["KILL"],
    &["QUIT"],
    &["ABRT"],
    &["SEGV", "SEGV"],
    &["TERM"],
    &["HUP"],
    &["INT", "INT"],
    &["STOP", "KILL"],
];

/// How a container's rbuild ends. What it hands on to the container, as docker does, is not its end.
const RUN_ENDS: [&[&str]; 6] = [
    &["KILL"],
    &["ABRT"],
    &["SEGV", "SEGV"],
    &["TERM", "QUIT", "KILL"],
    &["INT", "INT", "KILL"],
    &["STOP", "KILL"],
];

#[test]
fn nothing_outlives_a_build() {
    outlive("nothing_outlives_a_build", &BUILD_ENDS, |arena, word, mount| {
        let text =
            dockerfile(mount, &format!("COPY survivor /survivor\nRUN MOUNT [\"/survivor\", \"{word}\"]"));
        let context = arena.here.context("c", &text, &[]);
        arena.here.command(["build", "--no-cache", context.to_str().unwrap()])
    });
}

#[test]
fn nothing_outlives_a_container() {
    outlive("nothing_outlives_a_container", &RUN_ENDS, |arena, word, mount| {
        arena.builds(&dockerfile(mount, "COPY survivor /survivor"));
        arena.here.command(["run", "--rm", "x", "/survivor", word])
    });
}

#[test]
fn a_set_user_id_program_outlives_no_build() {
    outlive("a_set_user_id_program_outlives_no_build", &BUILD_ENDS, |arena, word, mount| {
        // the kernel clears the parent-death signal when another user executes it
        let lines =
            format!("COPY --chmod=4755 survivor /survivor\nUSER 1000\nRUN MOUNT [\"/survivor\", \"{word}\"]");
        let context = arena.here.context("c", &dockerfile(mount, &lines), &[]);
        arena.here.command(["build", "--no-cache", context.to_str().unwrap()])
    });
}

#[test]
fn the_next_build_ends_what_a_stopped_guard_left() {
    let test = "the_next_build_ends_what_a_stopped_guard_left";
    attack(test, |arena| {
        if !arena.compiled(test, "survivor", SURVIVOR) {
            return;
        }
        let word = format!("left-{}-{:?}", std::process::id(), arena.who);
        let text = dockerfile("", &format!("COPY survivor /survivor\nRUN [\"/survivor\", \"{word}\"]"));
        let context = arena.here.context("c", &text, &[]);
        let mut command = arena.here.command(["build", "--no-cache", context.to_str().unwrap()]);
        let mut rbuild = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&mut rbuild, "survivor runs");
        let guards = || {
            let entries = fs::read_dir(arena.here.store().join("locks/guards")).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let [guard] = &guards()[..] else { panic!("{:?}", guards()) };
        let (pid, _) = guard.split_once('-').unwrap();
        assert!(Command::new("kill").args(["-STOP", pid]).status().unwrap().success());
        rbuild.kill().unwrap();
        rbuild.wait().unwrap();
        assert!(living(&word) >= 4, "{:?}: a stopped guard ends nothing", arena.who);
        arena.builds(&dockerfile("", "RUN true"));
        assert_eq!((living(&word), guards()), (0, Vec::new()), "{:?}", arena.who);
    });
}

fn outlive(test: &str, ends: &[&[&str]], start: impl Fn(&Arena, &str, &str) -> Command) {
    attack(test, |arena| {
        if !arena.compiled(test, "survivor", SURVIVOR) {
            return;
        }
        for (number, signals) in ends.iter().enumerate() {
            let mount = MOUNTS[number % MOUNTS.len()];
            let word = format!("outlive-{}-{test}-{:?}-{number}", std::process::id(), arena.who);
            let mut command = start(arena, &word, mount);
            let mut rbuild = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            wait_for(&mut rbuild, "survivor runs");
            assert!(living(&word) >= 4, "{:?} {word}", arena.who);
            for signal in *signals {
                let kill =
                    Command::new("kill").args([&format!("-{signal}"), &rbuild.id().to_string()]).status();
                assert!(kill.unwrap().success());
                thread::sleep(Duration::from_millis(100));
            }
            let begun = Instant::now();
            while living(&word) > 0 {
                assert!(
                    begun.elapsed() < Duration::from_secs(10),
                    "{:?}: it survives {signals:?}",
                    arena.who
                );
                thread::sleep(Duration::from_millis(10));
            }
            let ended = rbuild.wait().unwrap();
            assert!(ended.signal().is_some() || ended.code() != Some(0), "{ended:?}");
            // any command removes its control groups, once the last process has left them
            let pid = format!("rbuild-{}-", rbuild.id());
            let is_left = || cgroups_of_the_dead().iter().any(|path| path.contains(&pid));
            crate::wait_for(|| {
                arena.run(&["images"]);
                !is_left()
            });
        }
        // and the next build finds nothing in its way
        arena.builds(&dockerfile("", "RUN true"));
        // other tests kill builds at the same time, and theirs go with the next build as well
        for again in 0..20 {
            if cgroups_of_the_dead().is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(200));
            arena.builds(&dockerfile("", &format!("RUN true {again}")));
        }
        assert_eq!(cgroups_of_the_dead(), Vec::<String>::new(), "{:?}", arena.who);
        let own = arena.here.path().to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(own), "{:?}: {mounts}", arena.who);
    });
}

fn wait_for(rbuild: &mut Child, text: &str) {
    // a build says it on the one stream, a container on the other
    let (stdout, stderr) = (rbuild.stdout.take().unwrap(), rbuild.stderr.take().unwrap());
    let (seen, found) = std::sync::mpsc::channel();
    let readers: [Box<dyn std::io::Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
    for stream in readers {
        let (seen, text) = (seen.clone(), text.to_owned());
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if line.contains(&text) && !line.contains("RUN") {
                    // the test has gone on when nobody hears it
                    let _ = seen.send(());
                }
            }
        });
    }
    found.recv_timeout(Duration::from_secs(60)).expect("it begins");
}

/// How many processes of the machine have `word` as an argument; rbuild itself has not.
fn living(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let arguments = processes.filter_map(|process| {
        let status = fs::read_to_string(process.join("stat")).ok()?;
        let zombie = status.rsplit(')').next()?.trim_start().starts_with('Z');
        (!zombie).then(|| fs::read(process.join("cmdline")).ok())?
    });
    arguments
        .filter(|line| {
            line.split(|byte| *byte == 0).skip(1).any(|argument| argument == word.as_bytes())
                && line.starts_with(b"/survivor")
        })
        .count()
}

/// Control groups of rbuild processes that are gone.
pub(super) fn cgroups_of_the_dead() -> Vec<String> {
    let found = Command::new("find")
        .args(["/sys/fs/cgroup", "-maxdepth", "6", "-type", "d", "-name", "rbuild-*"])
        .output();
    let found = String::from_utf8_lossy(&found.unwrap().stdout).into_owned();
    let pid =
        |path: &str| Some(path.rsplit_once("rbuild-")?.1.split(['-', ':', '.', '_']).next()?.to_owned());
    found
        .lines()
        .filter(|path| pid(path).is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap()))
        .map(str::to_owned)
        .collect()
}
