//! Every mistake ends with one clear error and a non-zero exit code, and leaves nothing half-written.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Workspace, is_root};
use std::{fs, process::Command};

/// A Dockerfile, and what the error must contain.
const MISTAKES: &[(&str, &[&str])] = &[
    ("", &["the Dockerfile cannot be empty"]),
    ("# only a comment\n", &["file with no instructions"]),
    ("ARG A=1\n", &["dockerfile contains no stages to build"]),
    (
        "FROM busybox\nRNU true\n",
        &["Dockerfile:2", ">>> RNU true", "unknown instruction: RNU (did you mean RUN?)"],
    ),
    ("FROM busybox\nCOPY --chwon=1 f /f\n", &["Dockerfile:2", "unknown flag: --chwon (did you mean chmod?)"]),
    ("FROM busybox\nCOPY nope /\n", &["Dockerfile:2", ">>> COPY nope /", "\"/nope\": not found"]),
    (
        "FROM busybox\nRUN exit 3\n",
        &["Dockerfile:2", "process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3"],
    ),
    ("FROM busybox\nRUN echo last words && false\n", &["last words", "exit code: 1"]),
    (
        "FROM Bad_Image:x\n",
        &["Dockerfile:1", "invalid reference format: repository name (library/Bad_Image) must be lowercase"],
    ),
    ("FROM $NOTHING\n", &["Dockerfile:1", "base name ($NOTHING) should not be blank"]),
    ("FROM busybox\nENV A\n", &["Dockerfile:2", "ENV must have two arguments"]),
    ("FROM busybox\nEXPOSE 80/foo\n", &["Dockerfile:2", "invalid proto: foo"]),
    ("FROM busybox\nCOPY <<EOF /x\nnever closed\n", &["Dockerfile:2", "unterminated heredoc"]),
    (
        "FROM busybox\nUSER nobody-here\nRUN true\n",
        &["unable to find user nobody-here: no matching entries in passwd file"],
    ),
    (
        "FROM busybox AS A\nFROM busybox\nCOPY --from=b /x /\n",
        &["StageNameCasing: Stage name 'A'", "Dockerfile:3", "failed to resolve source metadata"],
    ),
    ("FROM busybox\nWORKDIR /bin/sh\n", &["Dockerfile:2", "mkdir /bin/busybox: not a directory"]),
    ("FROM busybox\nWORKDIR /etc/passwd/a/b\n", &["Dockerfile:2", "lstat /etc/passwd/a: not a directory"]),
    (
        "FROM busybox\nRUN --mount=type=tmpfs,target=/etc/passwd true\n",
        &[
            "Dockerfile:2",
            "process \"/bin/sh -c true\" did not complete successfully",
            "cannot make the mount point /etc/passwd: not a directory",
        ],
    ),
    (
        "FROM busybox\nRUN --mount=type=cach,target=/c true\n",
        &["unsupported mount type \"cach\" (did you mean cache?)"],
    ),
];

#[test]
fn each_mistake_is_shown_where_it_is() {
    let Some(here) = with_busybox("each_mistake_is_shown_where_it_is") else { return };
    for (dockerfile, parts) in MISTAKES {
        let context = here.context("c", dockerfile, &[]);
        let ran = here.fails(["build".as_ref(), "-t".as_ref(), "bad".as_ref(), context.as_os_str()]);
        for part in *parts {
            assert!(ran.stderr.contains(part), "{dockerfile:?} should say {part:?}: {ran:#?}");
        }
        assert!(ran.stderr.contains("ERROR: failed to build"), "{ran:#?}");
        assert!(ran.stdout.is_empty() && !ran.stderr.contains("panicked"), "{ran:#?}");
    }
    assert_eq!(here.ok(["images", "-q", "bad"]), "", "nothing was named");
    assert_eq!(leftovers(&here), Vec::<String>::new());
}

#[test]
fn requests_that_cannot_be_met() {
    let Some(here) = with_busybox("requests_that_cannot_be_met") else { return };
    let context = here.context("c", "FROM busybox AS base\nFROM base AS baz\n", &[]);
    let context = context.to_str().unwrap();
    for (arguments, code, part) in [
        (
            vec!["build", "missing-directory"],
            1,
            "unable to prepare context: path \"missing-directory\" not found",
        ),
        (
            vec!["build", "-f", "none", context],
            1,
            "failed to read dockerfile: open none: no such file or directory: 'rbuild build -f FILE DIRECTORY' names another",
        ),
        (
            vec!["build", "--target", "bar", context],
            1,
            "target stage \"bar\" could not be found (did you mean baz?)",
        ),
        (vec!["build", "-t", "Bad", context], 1, "invalid tag \"Bad\": invalid reference format"),
        (vec!["build"], 2, "requires 1 argument"),
        (vec!["build", "--no-such-flag", context], 2, "--no-such-flag"),
        (vec!["build", "--ssh", "default", context], 1, "make sure SSH_AUTH_SOCK is set"),
        (vec!["run", "no-such-image-here"], 125, "no-such-image-here"),
        (vec!["run", "busybox", "/no-such-program"], 127, "no-such-program"),
        (vec!["run", "busybox", "/etc"], 126, "/etc"),
        (vec!["history", "nothing"], 1, "No such image: nothing"),
        (vec!["load", "-i", "nothing.tar"], 1, "nothing.tar"),
        (vec!["rmi", "nothing"], 1, "No such image"),
        (vec!["rm", "nothing"], 1, "No such container: nothing"),
    ] {
        let ran = here.run(&arguments);
        assert!(
            ran.code == code && ran.stderr.contains(part),
            "{arguments:?} should say {part:?} with {code}: {ran:#?}"
        );
    }
}

#[test]
fn more_layers_than_can_be_mounted_are_refused_before_the_first_step() {
    let test = "more_layers_than_can_be_mounted_are_refused_before_the_first_step";
    let Some(here) = with_busybox(test) else { return };
    // copies of layers have no such limit, and an ordinary machine of the tests has overlays
    let steps = "RUN echo step >> /steps\n".repeat(501);
    let context = here.context("c", &format!("FROM busybox\n{steps}"), &[]);
    let before = fs::read_dir(here.store().join("layers")).unwrap().count();
    let ran = here.fails(["build", "--progress=plain", context.to_str().unwrap()]);
    assert!(ran.stderr.contains("501 layers are more than the 500 that overlayfs can stack"), "{ran:?}");
    assert!(ran.stderr.contains("Dockerfile:502"), "the first that cannot be: {ran:?}");
    assert_eq!(fs::read_dir(here.store().join("layers")).unwrap().count(), before, "no step was carried out");
}

#[test]
fn what_is_as_long_as_a_stranger_likes_is_shown_short() {
    let Some(here) = with_busybox("long names in messages") else { return };
    let long = "d/".repeat(4000);
    for (instruction, part) in [
        (format!("RUN : {long}; exit 3"), "did not complete successfully: exit code: 3"),
        (format!("COPY {long}f /"), "d/d: file name too long"),
        (format!("WORKDIR /bin/busybox/{long}"), "bin/busybox/d/d"),
    ] {
        let context = here.context("c", &format!("FROM busybox\n{instruction}\n"), &[]);
        let ran = here.fails(["build".as_ref(), context.as_os_str()]);
        assert!(ran.stderr.contains(part), "{ran:#?}");
        for line in ran.stderr.lines() {
            let is_of_the_file = line.contains(">>> ");
            assert!(line.chars().count() < 1100 || is_of_the_file, "{line}");
        }
    }
}

#[test]
fn a_damaged_archive_is_refused_whole() {
    let Some(here) = with_busybox("a_damaged_archive_is_refused_whole") else { return };
    here.ok(["save", "-o", "whole.tar", "busybox"]);
    let whole = fs::read(here.path().join("whole.tar")).unwrap();
    let there = Workspace::new(RBUILD);
    for cut in [whole.len() / 3, whole.len() / 2] {
        let archive = there.write("cut.tar", &whole[..cut]);
        let ran = there.fails(["load".as_ref(), "-i".as_ref(), archive.as_os_str()]);
        assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
        assert_eq!(there.ok(["images", "-q"]), "");
    }
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let Some(here) = with_busybox("a_store_of_a_newer_version") else { return };
    fs::write(here.store().join("version"), "999\n").unwrap();
    let ran = here.fails(["images"]);
    assert!(ran.stderr.contains("newer") && ran.stderr.contains(here.store().to_str().unwrap()), "{ran:#?}");
}

#[test]
fn a_full_disk_is_told_and_survived() {
    if !is_root("a_full_disk_is_told_and_survived") {
        return;
    }
    let here = Workspace::new(RBUILD);
    fs::create_dir_all(here.store()).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(here.store()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        rbuild_testkit::skip("no tmpfs can be mounted");
        return;
    }
    here.import(rbuild_testkit::Base::Busybox);
    let context = here.context(
        "c",
        "FROM busybox\nRUN echo small > /small\nRUN head -c 60000000 /dev/zero > /big\n",
        &[],
    );
    let ran = here.fails(["build".as_ref(), "-t".as_ref(), "x".as_ref(), context.as_os_str()]);
    assert!(ran.stderr.to_lowercase().contains("no space left"), "{ran:#?}");
    fs::write(
        context.join("Dockerfile"),
        "FROM busybox\nRUN echo small > /small\nRUN echo also small > /big\n",
    )
    .unwrap();
    let progress = here.build("x", &context);
    assert!(progress.contains("CACHED"), "the finished step was kept: {progress}");
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/small", "/big"]), "small\nalso small\n");
    let _ = Command::new("umount").arg("-l").arg(here.store()).status();
}

#[test]
fn an_unreadable_context_is_told() {
    let Some(here) = with_busybox("an_unreadable_context_is_told") else { return };
    // a file that even root cannot read as a directory
    let context = here.context("c", "FROM busybox\nCOPY file/inside /\n", &[("file", "x")]);
    let ran = here.fails(["build".as_ref(), context.as_os_str()]);
    assert!(ran.stderr.contains("Dockerfile:2") && ran.stderr.contains("not found"), "{ran:#?}");
}

/// What lies in the store's temporary space.
fn leftovers(workspace: &Workspace) -> Vec<String> {
    let Ok(entries) = fs::read_dir(workspace.store().join("tmp")) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
