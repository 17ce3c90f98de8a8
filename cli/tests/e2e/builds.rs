//! What is left of a build: `builds ls`, `builds inspect` and `builds logs`.

use crate::{as_root_and_user, with_busybox};
use rbuild_testkit::{Ran, Workspace};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// Everything about a build, by `builds inspect`.
fn inspected(here: &Workspace, build: &str) -> Value {
    serde_json::from_str(&here.ok(["builds", "inspect", "--format", "json", build])).unwrap()
}

/// The words of one field of all builds, newest first.
fn listed(here: &Workspace, template: &str) -> Vec<String> {
    here.ok(["builds", "ls", "--format", template]).lines().map(str::to_owned).collect()
}

/// A build that has begun its last step, which prints `at work` and then waits.
fn at_work(here: &Workspace, name: &str) -> Child {
    let dockerfile = format!("FROM busybox\nRUN echo {name} is at work; sleep 600\n");
    let context = here.context(name, &dockerfile, &[]);
    let mut build = here.command(["build".as_ref(), "-t".as_ref(), name.as_ref(), context.as_os_str()]);
    let mut build = build.stderr(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(build.stderr.take().unwrap());
    let expected = format!(" {name} is at work");
    assert!(output.lines().any(|line| line.unwrap().ends_with(&expected)));
    build
}

#[test]
fn a_build_that_succeeded_is_remembered_with_its_steps_and_why_they_ran() {
    let Some(here) = with_busybox("a_build_that_succeeded_is_remembered_with_its_steps_and_why_they_ran")
    else {
        return;
    };
    assert_eq!(here.ok(["builds", "ls", "-q"]), "");
    let dockerfile =
        "FROM busybox AS build\nCOPY a /a\nRUN cat a; echo made > /b\nFROM busybox\nCOPY --from=build /b /\n";
    let context = here.context("c", dockerfile, &[("a", "first")]);
    here.build("app:1", &context);
    here.build("app:1", &context);
    fs::write(context.join("a"), "second").unwrap();
    here.build("app:1", &context);

    let table = here.ok(["builds", "ls"]);
    assert!(table.starts_with("BUILD ID"), "{table}");
    let rows = listed(&here, "{{.Name}}|{{.Status}}|{{.TotalSteps}}|{{.CompletedSteps}}|{{.CachedSteps}}");
    assert_eq!(rows, ["app:1|Completed|3|3|1", "app:1|Completed|3|3|3", "app:1|Completed|3|3|0"]);
    let ids = here.ok(["builds", "ls", "-q", "--no-trunc"]);
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!(
        here.ok(["buildx", "history", "ls", "--filter", &format!("ref={}", &ids[1][..12]), "-q"]),
        format!("{}\n", &ids[1][..12])
    );
    assert_eq!(here.ok(["builds", "ls", "--filter", "status=error", "-q"]), "");

    let newest = inspected(&here, &ids[0][..20]);
    assert_eq!(newest, inspected(&here, "^0"));
    let steps = newest["Steps"].as_array().unwrap();
    let states: Vec<&str> = steps.iter().map(|step| step["Status"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "done", "cached"], "{newest:#}");
    assert_eq!(steps[0]["Miss"]["Reason"], "changed");
    assert_eq!(steps[0]["Miss"]["Inputs"][0]["Input"], "/a");
    assert_eq!(steps[1]["Miss"]["Reason"], "other-base");
    assert_eq!(steps[1]["After"], serde_json::json!([1]));
    assert_eq!(inspected(&here, "^2")["Steps"][0]["Miss"]["Reason"], "new");

    let report = here.ok(["builds", "inspect"]);
    for part in [
        "Name:         app:1\n",
        "Status:       Completed\n",
        "Build Steps:  3/3 (33% cached)\n",
        "changed: /a (content)\n",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert_eq!(here.ok(["builds", "logs", "^0", "2"]), "second");
    let log = here.ok(["builds", "logs", "^2"]);
    assert!(log.starts_with("step 2 [build] RUN cat a; echo made > /b (processor "), "{log}");
    assert!(log.ends_with(")\nfirst\n"), "{log}");
    assert_eq!(here.ok(["builds", "logs", "^1"]), "", "everything was cached");
    assert_eq!(here.ok(["builds", "logs", "^0", "1"]), "", "a COPY writes nothing");
    for wrong in [&["inspect", "^3"][..], &["logs", "^0", "4"], &["logs", "0x"], &["inspect", "^x"]] {
        assert_eq!(here.run([&["builds"], wrong].concat()).code, 1, "{wrong:?}");
    }
}

#[test]
fn a_build_that_failed_is_remembered_with_why_and_all_its_output() {
    let Some(here) = with_busybox("a_build_that_failed_is_remembered_with_why_and_all_its_output") else {
        return;
    };
    let context = here.context("c", "from busybox\nRUN printf '\\033[2Jpart'; exit 7\nRUN echo never\n", &[]);
    let failed = here.fails(["build".as_ref(), context.as_os_str()]);
    assert_eq!(failed.code, 1);
    assert_eq!(listed(&here, "{{.Name}} {{.Status}}"), ["c Error"]);
    let build = inspected(&here, "^0");
    assert_eq!((&build["Error"]["Class"], &build["Image"]), (&"input".into(), &Value::Null));
    assert!(build["Error"]["Causes"][0].as_str().unwrap().contains("exit code: 7"), "{build:#}");
    assert_eq!(
        (&build["Steps"][0]["Status"], &build["Steps"][1]["Status"]),
        (&"failed".into(), &"not run".into())
    );
    assert_eq!(build["Findings"][0]["Rule"], "ConsistentInstructionCasing");
    assert_eq!(here.ok(["builds", "logs", "^0", "1"]), "\u{1b}[2Jpart");

    let unreadable = here.context("broken", "FROM busybox\nRUNN x\n", &[]);
    here.fails(["build".as_ref(), unreadable.as_os_str()]);
    assert!(
        here.ok(["builds", "inspect"]).contains("Error:        dockerfile parse error"),
        "{}",
        here.ok(["builds", "inspect"])
    );
}

#[test]
fn canceled_running_and_killed_builds_are_told_apart() {
    let Some(here) = with_busybox("canceled_running_and_killed_builds_are_told_apart") else { return };
    let mut killed = at_work(&here, "killed");
    let mut canceled = at_work(&here, "canceled");
    let two = listed(&here, "{{.Name}} {{.Status}}");
    assert_eq!(two, ["canceled:latest Running", "killed:latest Running"]);
    assert_eq!(here.ok(["builds", "logs", "^0", "1"]), "canceled is at work\n", "while it runs");

    let pid = canceled.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(canceled.wait().unwrap().code(), Some(130));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(listed(&here, "{{.Name}} {{.Status}}"), ["canceled Canceled", "killed Killed"]);
    let steps = inspected(&here, "^0")["Steps"].clone();
    assert_eq!((&steps[0]["Status"], &steps[0]["Miss"]["Reason"]), (&"canceled".into(), &"new".into()));
    let of_killed = here.ok(["builds", "inspect", "^1"]);
    assert!(of_killed.contains("Status:       Killed before it ended\n"), "{of_killed}");
    assert!(of_killed.contains("[stage-0] RUN echo killed"), "its plan is known: {of_killed}");
    let log = here.ok(["builds", "logs", "^1"]);
    assert!(log.starts_with("step 1 [stage-0] RUN ") && log.ends_with("\nkilled is at work\n"), "{log}");
    assert_eq!(here.ok(["builds", "logs", "^0", "1"]), "canceled is at work\n");
}

#[test]
fn two_builds_at_once_have_a_record_and_a_log_each() {
    let Some(here) = with_busybox("two_builds_at_once_have_a_record_and_a_log_each") else { return };
    let start = |name: &str| {
        let dockerfile = format!("FROM busybox\nRUN for i in $(seq 500); do echo {name} $i; done\n");
        let context = here.context(name, &dockerfile, &[]);
        let mut build = here.command([
            "build".as_ref(),
            "-q".as_ref(),
            "-t".as_ref(),
            name.as_ref(),
            context.as_os_str(),
        ]);
        build.stdout(Stdio::null()).spawn().unwrap()
    };
    for mut build in ["one", "two"].map(start) {
        assert!(build.wait().unwrap().success());
    }
    let ids = listed(&here, "{{.ID}} {{.Name}}");
    assert_eq!(ids.len(), 2);
    for line in ids {
        let (id, name) = line.split_once(' ').unwrap();
        let name = name.strip_suffix(":latest").unwrap();
        let expected: String = (1..=500).map(|i| format!("{name} {i}\n")).collect();
        assert_eq!(here.ok(["builds", "logs", id, "1"]), expected);
    }
}

#[test]
fn a_long_log_is_kept_to_the_last_byte() {
    let Some(here) = with_busybox("a_long_log_is_kept_to_the_last_byte") else { return };
    // 50 MB that no terminal would show in full, bytes of every value among them
    let run = "RUN i=0; while [ $i -lt 50 ]; do head -c 1000000 /numbers; i=$((i+1)); done; cat /bytes";
    let context = here.context("c", &format!("FROM busybox\nCOPY numbers bytes /\n{run}\n"), &[]);
    let numbers: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let bytes: Vec<u8> = (0..=255).collect();
    fs::write(context.join("numbers"), &numbers).unwrap();
    fs::write(context.join("bytes"), &bytes).unwrap();
    here.build("x", &context);
    let log = here.command(["builds", "logs", "^0", "2"]).output().unwrap();
    assert!(log.status.success());
    let expected = [numbers.as_bytes()[..1_000_000].repeat(50), bytes].concat();
    assert_eq!(log.stdout.len(), expected.len());
    assert!(log.stdout == expected, "the bytes differ");
}

#[test]
fn the_oldest_builds_are_forgotten() {
    let Some(here) = with_busybox("the_oldest_builds_are_forgotten") else { return };
    let context = here.context("c", "FROM busybox\nRUN echo x\n", &[]);
    here.build("x", &context);
    let lines = here.store().join("builds/0.jsonl");
    let recorded = fs::read_to_string(&lines).unwrap();
    let id = here.ok(["builds", "ls", "-q", "--no-trunc"]).trim().to_owned();
    // as 600 more builds would have left it
    let files = [0, 1, 2].map(|file| {
        let build = |number: usize| recorded.replace(&id, &format!("{:064x}", 1000 * file + number));
        (0..200).map(build).collect::<String>()
    });
    for (number, text) in files.iter().enumerate() {
        assert!(text.len() > 128 << 10);
        fs::write(here.store().join(format!("builds/{number}.jsonl")), text).unwrap();
    }
    assert_eq!(listed(&here, "{{.ID}}").len(), 600);
    here.build("x", &context);
    let left = listed(&here, "{{.Name}} {{.Status}}").len();
    assert!((200..=401).contains(&left), "{left}");
    assert!(!lines.exists(), "the oldest file of lines");
    assert!(!here.store().join("builds/logs").join(&id).exists(), "a log without a line");
}

#[test]
fn a_record_that_cannot_be_written_stops_no_build() {
    let Some(here) = with_busybox("a_record_that_cannot_be_written_stops_no_build") else { return };
    let context = here.context("c", "FROM busybox\nRUN echo x\n", &[]);
    // no directory can be made where a file is
    let builds = here.store().join("builds");
    let _ = fs::remove_dir_all(&builds);
    fs::write(&builds, "").unwrap();
    let progress = here.build("x", &context);
    assert!(progress.contains("the record of this build could not be written"), "{progress}");
}

#[test]
fn a_build_is_named_as_docker_names_it() {
    let Some(here) = with_busybox("a_build_is_named_as_docker_names_it") else { return };
    let text = "FROM busybox AS a\nRUN echo hello\n";
    let context = here.context("ctx", text, &[("sub/x.Dockerfile", text), ("sub/Dockerfile", text)]);
    here.context("other", "FROM busybox\nRUN nothing-like-it\n", &[("a.txt", text)]);
    let build = |directory: &str, words: &[&str]| {
        let status =
            here.command(["build", "-q"].iter().chain(words)).current_dir(context.join(directory)).output();
        status.unwrap().status.success()
    };
    for (directory, words, succeeds, name) in [
        ("", &["."][..], true, "ctx"),
        ("sub", &[".."], true, "ctx"),
        ("", &["-f", "sub/x.Dockerfile", "."], true, "ctx/sub/x.Dockerfile"),
        ("sub", &["-f", "Dockerfile", ".."], true, "ctx/sub"),
        ("sub", &["-f", "../../other/a.txt", ".."], true, "other/a.txt"),
        ("sub", &["-f", "../../other/Dockerfile", ".."], false, "other"),
        ("", &["--target=a", "."], true, "ctx (a)"),
        ("", &["-t", "me/app", "."], true, "me/app:latest"),
        ("", &["-t", "me/app", "../other"], false, "other"),
    ] {
        assert_eq!(build(directory, words), succeeds, "{words:?}");
        assert_eq!(here.ok(["builds", "inspect", "-f", "{{.Name}}"]), format!("{name}\n"), "{words:?}");
    }
    // which ended without an image
    assert_eq!(here.ok(["builds", "inspect", "-f", "{{json .Names}}"]), "[]\n");
    assert!(!here.ok(["builds", "inspect"]).contains("me/app"));
    assert_eq!(
        here.ok(["builds", "inspect", "-f", "{{json .Names}}", "^1"]),
        "[\"docker.io/me/app:latest\"]\n"
    );
}

#[test]
fn df_counts_what_builds_wrote_and_prune_removes_it() {
    let Some(here) = with_busybox("df_counts_what_builds_wrote_and_prune_removes_it") else { return };
    let noise = "FROM busybox\nRUN head -c 400000 /dev/urandom | base64\n";
    here.build("x", &here.context("c", noise, &[]));
    let cache = || here.ok(["df", "--format", "{{.Type}} {{.Size}} {{.Reclaimable}}"]);
    let line = cache().lines().find(|line| line.starts_with("Build Cache ")).unwrap().to_owned();
    let size: f64 = line.split(' ').nth(2).unwrap().trim_end_matches("kB").parse().unwrap();
    assert!(size > 400.0 && line.contains("kB"), "{line}");
    let ran = here.fails(["builds", "logs", "^0", "one"]);
    assert!(ran.code == 2 && ran.stderr.contains("invalid step \"one\": give its number"), "{ran:#?}");
    let pruned = here.ok(["prune", "-f"]);
    assert!(here.ok(["builds", "logs", "^0", "1"]).len() > 400_000, "{pruned}");
    here.ok(["prune", "-af"]);
    assert_eq!(here.ok(["builds", "logs", "^0", "1"]), "");
    assert!(here.ok(["builds", "ls", "-q"]).lines().count() == 1, "the record itself stays");
}

#[test]
fn a_build_of_another_process_is_followed_to_its_end() {
    as_root_and_user("a_build_of_another_process_is_followed_to_its_end", |here| {
        for (last, outcome, code) in
            [("true", "", 0), ("exit 4", "The build failed: process \"/bin/sh -c ", 1)]
        {
            let context = here.context(
                "c",
                &format!(
                    "FROM busybox\nRUN echo first; echo -n unended\nRUN seq 1 3; until test -e /go/now; do sleep .1; done; \
                     seq 100001 200000; {last}\n"
                )
                .replace("RUN seq", "RUN --mount=type=cache,target=/go seq"),
                &[],
            );
            let mut build = here.command(["build", "--no-cache", "-q"]);
            let mut build = build.arg(&context).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while listed(here, "{{.Status}}").first().is_none_or(|status| status != "Running") {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            let mut follower = here.command(["builds", "logs", "-f"]);
            let mut follower = follower.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
            let until_three: Vec<String> = lines.by_ref().take_while(|line| line != "3").collect();
            assert_eq!(until_three[1..3], ["first", "unended"]);
            assert!(until_three[3].starts_with("step 2 [stage-0] RUN ") && until_three[4..] == ["1", "2"]);
            let mount = here.ok(["cache", "mount", "ls", "--format", "{{.ID}}"]);
            assert!(!mount.is_empty(), "{mount}");
            let opened = Ran::of(build_go(here));
            assert_eq!(opened.code, 0, "{}", opened.stderr);
            let rest: Vec<String> = lines.collect();
            assert_eq!((rest.len(), rest.last().unwrap().as_str()), (100_000, "200000"));
            let ended = follower.wait_with_output().unwrap();
            assert_eq!(ended.status.code(), Some(code));
            assert!(String::from_utf8_lossy(&ended.stderr).starts_with(outcome), "{ended:?}");
            build.wait().unwrap();
            here.ok(["builder", "prune", "-af"]);
        }
        let build = here.context("j", "FROM busybox\nRUN echo one; echo two\n", &[]);
        here.build("x", &build);
        let json = here.ok(["builds", "logs", "--progress=json", "^0", "1"]);
        let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["step"], &lines[0]["stage"]), (&1.into(), &"stage-0".into()));
        assert_eq!((&lines[0]["text"], &lines[1]["text"], lines.len()), (&"one".into(), &"two".into(), 2));
    });
}

/// Writes, through the cache mount that it shares, the file for which a step waits.
fn build_go(here: &Workspace) -> std::process::Output {
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/go touch /go/now\n";
    let context = here.context("go", dockerfile, &[]);
    here.command(["build", "--no-cache", "-q"]).arg(context).output().unwrap()
}

#[test]
fn the_end_of_a_killed_build_is_seen() {
    let Some(here) = with_busybox("the_end_of_a_killed_build_is_seen") else { return };
    let mut build = at_work(&here, "killed");
    let follower = here.command(["builds", "logs", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    build.kill().unwrap();
    build.wait().unwrap();
    let ended = follower.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(137));
    assert!(String::from_utf8_lossy(&ended.stdout).ends_with("killed is at work\n"), "{ended:?}");
}
