//! What is built again, and what is not.

use crate::with_busybox;
use rbuild_testkit::now;
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
};

fn cached(progress: &str) -> usize {
    progress.lines().filter(|line| line.ends_with(" CACHED")).count()
}

const DOCKERFILE: &str = "FROM busybox AS build\nWORKDIR /src\nCOPY a.txt dir/ ./\nRUN cat a.txt > out\n\
    FROM busybox\nLABEL a=b\nCOPY --from=build /src/out /out\nRUN echo done\n";

#[test]
fn a_second_build_is_all_cached_and_the_same_image() {
    let Some(here) = with_busybox("a_second_build_is_all_cached") else { return };
    let context = here.context("c", DOCKERFILE, &[("a.txt", "a"), ("dir/b", "b")]);
    here.build("one", &context);
    let again = here.build("two", &context);
    assert_eq!(cached(&again), 5, "{again}");
    let ids =
        here.ok(["images", "-q", "--no-trunc", "one"]) + &here.ok(["images", "-q", "--no-trunc", "two"]);
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn only_what_changed_is_built_again() {
    let Some(here) = with_busybox("only_what_changed_is_built_again") else { return };
    let context = here.context("c", DOCKERFILE, &[("a.txt", "a"), ("dir/b", "b")]);
    here.build("x", &context);
    let rebuilt = |change: &dyn Fn(&Path)| {
        change(&context);
        5 - cached(&here.build("x", &context))
    };
    assert_eq!(rebuilt(&|c| touch(&c.join("a.txt"))), 0, "a new time changes nothing");
    assert_eq!(rebuilt(&|c| fs::write(c.join("unused"), "x").unwrap()), 0, "nobody copies this file");
    // COPY and RUN run again; `out` is the same, so nothing after it does
    assert_eq!(rebuilt(&|c| fs::write(c.join("dir/b"), "changed").unwrap()), 2);
    assert_eq!(
        rebuilt(&|c| fs::set_permissions(c.join("dir/b"), fs::Permissions::from_mode(0o600)).unwrap()),
        2
    );
    assert_eq!(rebuilt(&|c| fs::write(c.join("a.txt"), "changed").unwrap()), 4, "all but WORKDIR");
    assert_eq!(rebuilt(&|_| {}), 0);
}

#[test]
fn a_result_that_did_not_change_wakes_nothing_after_it() {
    let Some(here) = with_busybox("a_result_that_did_not_change_wakes_nothing_after_it") else { return };
    let dockerfile = "FROM busybox\nCOPY noise /tmp/noise\nRUN rm /tmp/noise && echo fixed > /fixed && touch -d @1 /fixed /tmp\nRUN cat /fixed > /copy\n";
    let context = here.context("c", dockerfile, &[("noise", "1")]);
    here.build("x", &context);
    fs::write(context.join("Dockerfile"), dockerfile.replace("echo fixed", "echo  fixed")).unwrap();
    let progress = here.build("x", &context);
    assert_eq!(cached(&progress), 2, "COPY, and the RUN after the one with another text: {progress}");
}

/// Runs again what changed in `change`, and expects that so many of the steps after it are cached.
#[test]
fn a_step_that_gives_the_same_again_wakes_nothing_in_any_stage() {
    let Some(here) = with_busybox("a_step_that_gives_the_same_again_wakes_nothing") else { return };
    let cases = [
        (
            "RUN",
            "FROM busybox\nRUN echo a > /a\nCOPY f /f\nADD f /g/\nWORKDIR /w\nRUN cat /a /f > /b\n",
            "RUN echo a",
            "RUN echo  a",
        ),
        ("COPY", "FROM busybox\nCOPY f /f\nRUN cat /f > /g\nCOPY f /h\n", "COPY f", "COPY --chmod=644 f"),
        ("ADD", "FROM busybox\nADD x.tar /x/\nRUN cat /x/f > /g\nWORKDIR /w\n", "ADD x.tar", "ADD y.tar"),
        (
            "stages",
            "FROM busybox AS one\nRUN echo a > /a && echo b > /b\nFROM one AS two\nRUN cat /a > /c\nFROM busybox\nCOPY --from=one /a /a\n\
             RUN --mount=from=one,target=/m cat /m/b > /d\nRUN --mount=from=two,source=/c,target=/c cat /c > /e\nCOPY --from=two /c /f\n",
            "RUN echo a",
            "RUN echo  a",
        ),
        (
            "the parent and the source of a copy at once",
            "FROM busybox AS base\nRUN echo base > /a\nFROM base AS made\nRUN echo b > /b\nFROM base\nCOPY --from=made /b /b\nRUN cat /a /b > /c\n",
            "RUN echo base",
            "RUN echo  base",
        ),
    ];
    for (name, dockerfile, from, to) in cases {
        let context = here.context("c", dockerfile, &[("f", "f")]);
        for (archive, mtime) in [("x.tar", "@1"), ("y.tar", "@2")] {
            let words = ["-C", context.to_str().unwrap(), "--mtime", mtime, "-cf", archive, "f"];
            let packed = std::process::Command::new("tar").args(words).current_dir(&context).status();
            assert!(packed.unwrap().success());
        }
        let steps = dockerfile.lines().filter(|line| !line.starts_with("FROM")).count();
        here.build("x", &context);
        fs::write(context.join("Dockerfile"), dockerfile.replacen(from, to, 1)).unwrap();
        let progress = here.build("x", &context);
        assert_eq!(cached(&progress), steps - 1, "{name}: {progress}");
        assert_eq!(cached(&here.build("x", &context)), steps, "{name}: once more");
    }
}

/// The same, for a stage whose files are not the same: everything that sees them runs.
#[test]
fn a_mounted_stage_with_other_files_is_seen() {
    let Some(here) = with_busybox("a_mounted_stage_with_other_files_is_seen") else { return };
    let dockerfile =
        "FROM busybox AS one\nRUN echo a > /a\nFROM busybox\nRUN --mount=from=one,target=/m cat /m/a > /b\n";
    let context = here.context("c", dockerfile, &[]);
    here.build("x", &context);
    fs::write(context.join("Dockerfile"), dockerfile.replace("echo a", "echo b")).unwrap();
    assert_eq!(cached(&here.build("x", &context)), 0);
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/b"]), "b\n");
}

#[test]
fn no_cache_runs_everything_and_keeps_the_results() {
    let Some(here) = with_busybox("no_cache_runs_everything") else { return };
    let context = here.context("c", "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n", &[]);
    let id = |flags: &[&str]| {
        let arguments = ["build", "-t", "x"].iter().chain(flags).copied().chain([context.to_str().unwrap()]);
        here.ok(arguments);
        here.ok(["run", "--rm", "x", "cat", "/id"])
    };
    let first = id(&[]);
    assert_eq!(id(&[]), first);
    let second = id(&["--no-cache"]);
    assert_ne!(second, first);
    assert_eq!(id(&[]), second, "the newest result is the one that is kept");
}

#[test]
fn finished_steps_of_a_failed_build_are_kept() {
    let Some(here) = with_busybox("finished_steps_of_a_failed_build_are_kept") else { return };
    let context = here.context("c", "FROM busybox\nRUN echo slow > /slow\nRUN test -e /nope\n", &[]);
    here.fails(["build".as_ref(), context.as_os_str()]);
    fs::write(context.join("Dockerfile"), "FROM busybox\nRUN echo slow > /slow\nRUN test -e /slow\n")
        .unwrap();
    assert_eq!(cached(&here.build("x", &context)), 1);
}

#[test]
fn deleting_the_index_costs_time_only() {
    let Some(here) = with_busybox("deleting_the_index_costs_time_only") else { return };
    let context = here.context("c", DOCKERFILE, &[("a.txt", "a"), ("dir/b", "b")]);
    here.build("x", &context);
    for advice in ["index", "recent"] {
        fs::remove_dir_all(here.store().join(advice)).unwrap();
    }
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/out"]), "a");
    assert_eq!(cached(&here.build("x", &context)), 0);
    assert_eq!(cached(&here.build("x", &context)), 5);
}

#[test]
fn a_killed_build_leaves_nothing_wrong() {
    let Some(here) = with_busybox("a_killed_build_leaves_nothing_wrong") else { return };
    let context =
        here.context("c", "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2 && echo half && sleep 600\n", &[]);
    let mut build =
        here.command(["build".as_ref(), context.as_os_str()]).stderr(Stdio::piped()).spawn().unwrap();
    let progress = BufReader::new(build.stderr.take().unwrap());
    assert!(progress.lines().map_while(Result::ok).any(|line| line.ends_with(" half")), "the step prints");
    build.kill().unwrap();
    build.wait().unwrap();
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(here.store().to_str().unwrap()), "a mount was left behind: {mounts}");
    fs::write(context.join("Dockerfile"), "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\n").unwrap();
    here.build("x", &context);
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/1", "/2"]), "1\n2\n");
}

#[test]
fn two_builds_at_once_do_the_work_once() {
    let Some(here) = with_busybox("two_builds_at_once_do_the_work_once") else { return };
    let dockerfile = "FROM busybox\nRUN sleep 1; cat /proc/sys/kernel/random/uuid > /id\nRUN sleep 0.3; cat /id > /again\n";
    let context = here.context("c", dockerfile, &[]);
    let build = |tag: &str| {
        here.command(["build", "-t", tag, context.to_str().unwrap()]).stderr(Stdio::null()).spawn().unwrap()
    };
    let both = [build("one"), build("two")];
    for mut build in both {
        assert!(build.wait().unwrap().success());
    }
    let id = |tag: &str| here.ok(["run", "--rm", tag, "cat", "/id", "/again"]);
    assert_eq!(id("one"), id("two"));
}

#[test]
fn a_cache_mount_outlives_the_build_and_stays_out_of_the_image() {
    let Some(here) = with_busybox("a_cache_mount_outlives_the_build") else { return };
    let dockerfile = "FROM busybox\nARG N\nRUN --mount=type=cache,target=/c echo $N >> /c/log && cat /c/log > /log && wc -l < /c/log\n";
    let context = here.context("c", dockerfile, &[]);
    for n in ["1", "2", "3"] {
        here.ok(["build", "--build-arg", &format!("N={n}"), "-t", "x", context.to_str().unwrap()]);
    }
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/log"]), "1\n2\n3\n");
    assert!(
        here.fails(["run", "--rm", "x", "ls", "/c"]).stderr.contains("No such file"),
        "not even the mount point stays"
    );
}

fn touch(path: &Path) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(now()).unwrap();
}

#[test]
fn a_stage_that_ignores_the_cache_is_run_and_its_new_files_are_used() {
    let Some(here) = with_busybox("a_stage_that_ignores_the_cache") else { return };
    let dockerfile = "FROM busybox AS gen\nRUN cat /proc/sys/kernel/random/uuid > /id && echo same > /same\n\
        FROM busybox\nCOPY --from=gen /same /same\nRUN --mount=from=gen,target=/gen cat /gen/id > /mounted\nCOPY --from=gen /id /id\n";
    let context = here.context("c", dockerfile, &[]);
    let ids = |flags: &[&str]| {
        here.ok(["build", "-t", "x"].iter().chain(flags).copied().chain([context.to_str().unwrap()]));
        here.ok(["run", "--rm", "x", "cat", "/id", "/mounted"])
    };
    let first = ids(&[]);
    assert_eq!(ids(&[]), first);
    let second = ids(&["--no-cache-filter", "gen"]);
    assert_ne!(second, first);
    let lines: Vec<&str> = second.lines().collect();
    assert_eq!(lines[0], lines[1], "copied and mounted files are those of the same run");
    assert_eq!(ids(&[]), second);
}

#[test]
fn a_result_is_not_put_on_another_parent() {
    let Some(here) = with_busybox("a_result_is_not_put_on_another_parent") else { return };
    let dockerfile = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\nRUN cat /id > /copy\n";
    let context = here.context("c", dockerfile, &[]);
    here.build("x", &context);
    // the first step is made anew and kept; the build fails before the second one is
    fs::write(context.join("Dockerfile"), dockerfile.replace("RUN cat /id > /copy", "RUN false")).unwrap();
    here.fails(["build", "--no-cache", context.to_str().unwrap()]);
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    here.build("x", &context);
    let ids = here.ok(["run", "--rm", "x", "cat", "/id", "/copy"]);
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_copy_is_not_taken_from_a_stage_that_was_built_again() {
    let Some(here) = with_busybox("a_copy_is_not_taken_from_a_stage_that_was_built_again") else { return };
    let dockerfile = "FROM busybox AS gen\nRUN cat /proc/sys/kernel/random/uuid > /id\n\
        FROM busybox\nCOPY --from=gen /id /id\nRUN --mount=from=gen,target=/gen cat /gen/id > /mounted\n";
    let context = here.context("c", dockerfile, &[]);
    here.build("x", &context);
    here.ok(["build", "--no-cache", "--target", "gen", "-t", "gen", context.to_str().unwrap()]);
    here.build("x", &context);
    let id = here.ok(["run", "--rm", "gen", "cat", "/id"]);
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/id", "/mounted"]), id.repeat(2));
}

#[test]
fn a_link_in_a_cache_mount_does_not_lead_to_the_host() {
    let Some(here) = with_busybox("a_link_in_a_cache_mount") else { return };
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,id=x,target=/c ln -s / /c/sub\n\
        RUN --mount=type=cache,id=x,source=sub,target=/h ls /h > /seen\n";
    let context = here.context("c", dockerfile, &[]);
    let ran = here.run(["build", "-t", "x", context.to_str().unwrap()]);
    if ran.code == 0 {
        let seen = here.ok(["run", "--rm", "x", "cat", "/seen"]);
        assert!(!seen.contains("boot") && !seen.contains("proc"), "{seen}");
    }
}

/// A build has looked up what it needs; another one makes that anew beside it. What is cached afterwards is one image, whichever way the
/// next build finds it: by what the last build like it kept, or by the index.
#[test]
fn a_cached_build_has_one_image_id_whatever_ran_beside_the_last_one() {
    let Some(here) = with_busybox("a_cached_build_has_one_image_id_whatever_ran_beside") else { return };
    let text = "FROM busybox\nRUN cat /proc/uptime > /made\nARG TIME=0\nRUN sleep $TIME\nWORKDIR /work\n";
    let context = here.context("c", text, &[("same", text)]);
    let context = context.to_str().unwrap();
    here.ok(["build", "-t", "first", context]);
    let mut beside = here.command(["build", "-t", "beside", "--build-arg=TIME=2", context]);
    let mut beside = beside.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(beside.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("RUN sleep")), "it has looked everything up");
    here.ok(["build", "-t", "anew", "--no-cache", "-f", &format!("{context}/same"), context]);
    assert!(beside.try_wait().unwrap().is_none(), "the other one still runs");
    lines.for_each(drop);
    assert!(beside.wait().unwrap().success());
    let again = || here.ok(["build", "-q", "--build-arg=TIME=2", context]);
    let by_index =
        || here.ok(["build", "-q", "--build-arg=TIME=2", "-f", &format!("{context}/same"), context]);
    let (one, other) = (again(), by_index());
    assert_eq!(one, other);
    assert_eq!((again(), by_index()), (one, other));
}
