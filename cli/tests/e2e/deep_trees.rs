//! Containers whose trees are deeper than the kernel takes paths, which a program makes step by step.

use crate::{as_root_and_user, wait_for, with_busybox};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Goes three times a hundred and fifty directories with long names down from `/`, with `$step` for each time.
const DOWN: &str =
    "p=$(yes directory | head -n 150 | tr '\\n' /); cd /; for i in 1 2 3; do $step cd -P $p || exit 1; done;";

/// Runs a script of the machine's shell, whose tools go down in steps, too.
fn shell(script: &str, path: &Path) -> String {
    let ran = Command::new("sh").args(["-c", script, "sh"]).arg(path).stderr(Stdio::null()).output().unwrap();
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

#[test]
fn trees_deeper_than_paths_are_committed_compared_exported_and_copied() {
    as_root_and_user("trees_deeper_than_paths_are_committed_compared_exported_and_copied", |here| {
        let down = |step: &str| DOWN.replace("$step", step);
        let fill = "echo 1 > one; ln one two; ln -s one link; head -c 300000 /dev/zero > long";
        let make = format!("{} {fill}; cd /; echo ready; exec sleep 1000", down("mkdir -p $p;"));
        here.ok(["run", "-d", "--name", "deep", "busybox", "sh", "-c", &make]);
        wait_for(|| here.ok(["logs", "deep"]) == "ready\n");
        let deepest = ["/directory"; 450].concat();
        let changes = here.ok(["diff", "deep"]);
        assert!(changes.ends_with(&format!("A {deepest}/two\n")));
        assert_eq!(changes.lines().filter(|line| line.starts_with("A /directory/")).count(), 453);
        let found = format!("{} ls; cat two; stat -c %h one; wc -c < long", down(""));
        let (out, tar) = (here.path().join("out"), here.path().join("deep.tar"));
        for state in ["running", "exited"] {
            assert_eq!(here.ok(["inspect", "-f", "{{.State.Status}}", "deep"]), format!("{state}\n"));
            here.ok(["commit", "deep", "made"]);
            let files = here.ok(["run", "--rm", "--network=none", "made", "sh", "-c", &found]);
            assert_eq!(files, "link\nlong\none\ntwo\n1\n2\n300000\n", "{state}");
            here.ok(["cp", "deep:/directory", out.to_str().unwrap()]);
            here.ok(["cp", out.to_str().unwrap(), &format!("deep:/{state}")]);
            assert_eq!(shell("find \"$1\" -name one | wc -l; rm -rf \"$1\"", &out), "1", "{state}");
            here.ok(["stop", "-t", "0", "deep"]);
        }
        here.ok(["export", "-o", tar.to_str().unwrap(), "deep"]);
        let names = shell("tar -tf \"$1\" | awk 'length > 4400' | sed 's/.*\\///' | sort", &tar);
        assert_eq!(names, "link\nlink\nlink\nlong\nlong\nlong\none\none\none\ntwo\ntwo\ntwo");
        here.ok(["rm", "deep"]);
        here.ok(["rmi", "made"]);
        here.ok(["prune", "-f"]);
    });
}

/// As deep as no stack is.
#[test]
fn trees_of_any_depth_are_committed() {
    let Some(here) = with_busybox("trees_of_any_depth_are_committed") else { return };
    let down =
        "p=$(yes d | head -n 1000 | tr '\\n' /); cd /; for i in 1 2 3 4; do mkdir -p $p; cd -P $p; done";
    here.ok([
        "run",
        "--name",
        "deep",
        "--network=none",
        "busybox",
        "sh",
        "-c",
        &format!("{down}; echo 1 > one"),
    ]);
    here.ok(["commit", "deep", "made"]);
    let found = format!("{}; cat one", down.replace("mkdir -p $p; ", ""));
    assert_eq!(here.ok(["run", "--rm", "--network=none", "made", "sh", "-c", &found]), "1\n");
    here.ok(["rm", "deep"]);
    here.ok(["rmi", "made"]);
    here.ok(["prune", "-f"]);
}
