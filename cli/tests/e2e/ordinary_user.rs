//! The same as an ordinary user, through a user namespace with subordinate ids.

use crate::{RBUILD, commit_running::Box};
use rbuild_testkit::{Base, Workspace, has_program, is_root};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

pub(crate) const USER: u32 = 12_345;
const NAME: &str = "rbuild-e2e";

/// A workspace of a user with subordinate ids, who is made when he is not there.
pub(crate) fn workspace(test: &str) -> Option<Workspace> {
    if !is_root(test) || !has_program("newuidmap", test) || !has_program("setpriv", test) {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    if !passwd.contains(NAME) {
        let made = Command::new("useradd").args(["-M", "-u", &USER.to_string(), NAME]).status();
        if !made.is_ok_and(|status| status.success()) {
            rbuild_testkit::skip_named(test, format_args!("the user {NAME} cannot be made"));
            return None;
        }
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        let ranges = fs::read_to_string(file).unwrap_or_default();
        if !ranges.lines().any(|line| line.starts_with(NAME)) {
            fs::write(file, format!("{ranges}{NAME}:700000:65536\n")).unwrap();
        }
    }
    let user = format!("--reuid={USER}");
    let probe = [&user, "--clear-groups", "unshare", "--map-root-user", "true"];
    if !Command::new("setpriv").args(probe).output().is_ok_and(|output| output.status.success()) {
        rbuild_testkit::skip_named(test, "ordinary users get no user namespaces here");
        return None;
    }
    Some(Workspace::for_user(RBUILD, USER))
}

#[test]
fn an_ordinary_user_builds_and_runs() {
    let Some(here) = workspace("an_ordinary_user_builds_and_runs") else { return };
    here.import(Base::Busybox);
    let dockerfile = "FROM busybox AS build\nRUN id -u > /id && touch /f && chown 5:6 /f && mkdir /gone && rmdir /gone && rm /bin/vi\n\
        FROM build\nCOPY --chown=1000:1000 own /own\nWORKDIR /w\nUSER 1000:1000\nRUN id -u > /tmp/id; ! touch /root/x\n";
    let context = here.context("c", dockerfile, &[("own", "mine")]);
    here.build("x", &context);
    let seen = here.ok([
        "run",
        "--rm",
        "-u",
        "0",
        "x",
        "sh",
        "-c",
        "cat /id /tmp/id; stat -c '%u:%g' /f /own /w; test -e /bin/vi || echo gone",
    ]);
    assert_eq!(seen, "0\n1000\n5:6\n1000:1000\n0:0\ngone\n");
    assert!(here.build("x", &context).contains("CACHED"));
    here.ok(["save", "-o", "x.tar", "x"]);
    // root reads what the user wrote, and it is the same image
    let root = Workspace::new(RBUILD);
    root.ok(["load".as_ref(), "-i".as_ref(), here.path().join("x.tar").as_os_str()]);
    let id = |workspace: &Workspace| workspace.ok(["images", "-q", "--no-trunc", "x"]);
    assert_eq!(id(&here), id(&root));
    assert_eq!(root.ok(["run", "--rm", "-u", "0", "x", "stat", "-c", "%u:%g", "/f"]), "5:6\n");
    here.ok(["rmi", "x"]);
    here.ok(["prune", "-a", "-f"]);
}

#[test]
fn who_asks_for_their_own_number_hears_who_has_their_files() {
    let Some(here) = workspace("who_asks_for_their_own_number_hears_who_has_their_files") else { return };
    here.import(Base::Busybox);
    let bound = format!("{}:/src", here.path().display());
    let told = |user: &str| {
        let words = ["run", "--rm", "--network", "none", "-u", user, "-v", &bound, "busybox", "true"];
        here.run(words).stderr
    };
    let note = format!("-u {USER} is another user than you in the container");
    assert!(told(&format!("{USER}:{USER}")).contains(&note));
    assert_eq!(told("0"), "");
}

#[test]
fn a_store_is_refused_to_another_user() {
    let Some(here) = workspace("a_store_is_refused_to_another_user") else { return };
    here.import(Base::Busybox);
    let dockerfile =
        "FROM busybox\nRUN mkdir /d && touch /d/old && chown 5:6 /d\nRUN rm -rf /d && mkdir /d\n";
    let context = here.context("c", dockerfile, &[]);
    here.build("x", &context);
    assert_eq!(here.ok(["run", "--rm", "x", "ls", "/d"]), "");
    // outside of the user's namespace it is the same user's
    assert!(here.ok(["images", "-q"]).lines().count() == 2);
    let root = Workspace::new(RBUILD);
    let on_the_store =
        |words: &[&str]| root.command(words).env("RBUILD_ROOT", here.store()).output().unwrap();
    for words in [&["run", "--rm", "x", "ls", "/d"][..], &["images"], &["prune", "-f"]] {
        let output = on_the_store(words);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(stdout, "", "{words:?}");
        let expected = format!(
            "the store at {} was written by user {USER}, and root would misread its layers",
            here.store().display()
        );
        assert!(stderr.contains(&expected), "{words:?}: {stderr}");
        assert_eq!(output.status.code(), Some(if words[0] == "run" { 125 } else { 3 }), "{words:?}");
    }
    // a store of the time when this was not recorded: its files say who wrote it
    std::fs::remove_file(here.store().join("writer")).unwrap();
    std::fs::write(here.store().join("version"), "1\n").unwrap();
    assert!(String::from_utf8_lossy(&on_the_store(&["images"]).stderr).contains("was written by user"));
    assert_eq!(here.ok(["run", "--rm", "x", "ls", "/d"]), "");
    assert_eq!(fs::read_to_string(here.store().join("version")).unwrap(), "3\n");
    assert!(here.build("x", &context).contains("CACHED"));
}

#[test]
fn an_ordinary_user_commits_a_running_container() {
    let Some(here) = workspace("an_ordinary_user_commits_a_running_container") else { return };
    here.import(Base::Busybox);
    let _running = Box::start(&here, &[], "echo one > /one; echo ready; sleep 100");
    let ran = here.run(["commit", "box", "made"]);
    // without a group of the user's own it runs on, and that is said
    let said =
        ran.stderr.is_empty() || ran.stderr.contains("container box has no control group that can be frozen");
    assert!(ran.code == 0 && said, "{ran:#?}");
    let ran = here.run(["commit", "--pause=false", "box", "made"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(here.ok(["run", "--rm", "made", "cat", "/one"]), "one\n");
}

#[test]
fn a_dockerfile_may_be_in_a_directory_that_cannot_be_listed() {
    let Some(here) = workspace("a_dockerfile_may_be_in_a_directory_that_cannot_be_listed") else { return };
    let context = here.context("c", "FROM scratch\n", &[("a", "x"), ("b", "y")]);
    let elsewhere = here.context("d", "FROM scratch\nCOPY . /\n", &[("Dockerfile.dockerignore", "b\n")]);
    for path in [elsewhere.join("Dockerfile"), elsewhere.join("Dockerfile.dockerignore")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    std::os::unix::fs::chown(&elsewhere, Some(0), Some(0)).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o711)).unwrap();
    let file = elsewhere.join("Dockerfile");
    let out = here.path().join("out");
    let words =
        ["build", "-f", file.to_str().unwrap(), "-o", out.to_str().unwrap(), context.to_str().unwrap()];
    here.ok(words);
    assert!(out.join("a").exists() && !out.join("b").exists(), "its ignore file is read too");
}
