//! Other tools read what rbuild writes, and rbuild reads what they write.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Registry, RegistryOptions, Workspace, has_program};
use std::process::Command;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const DOCKERFILE: &str = "FROM busybox\nENV A=1\nRUN mkdir /d && echo 1 > /d/f && chmod 600 /d/f\nRUN rm /bin/vi\nCMD [\"true\"]\n";

#[test]
fn skopeo_and_umoci_read_what_save_writes() {
    let test = "skopeo_and_umoci_read_what_save_writes";
    let Some(here) = with_busybox(test) else { return };
    if !has_program("skopeo", test) || !has_program("umoci", test) {
        return;
    }
    here.build("x:1", &here.context("c", DOCKERFILE, &[]));
    let path = |name: &str| here.path().join(name).display().to_string();
    here.ok(["save", "-o", "docker.tar", "x:1"]);
    here.ok(["save", "--format", "oci", "-o", "oci.tar", "x:1"]);
    let id = here.ok(["images", "-q", "--no-trunc", "x:1"]);
    for (kind, file) in
        [("docker-archive", "docker.tar"), ("oci-archive", "docker.tar"), ("oci-archive", "oci.tar")]
    {
        let config = run("skopeo", &["inspect", "--config", "--raw", &format!("{kind}:{}", path(file))]);
        assert_eq!(format!("{}\n", rbuild::Digest::of(config.as_bytes())), id, "{kind}:{file}");
    }
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            &format!("docker-archive:{}", path("docker.tar")),
            &format!("oci:{}:x", path("layout")),
        ],
    );
    run("umoci", &["unpack", "--image", &format!("{}:x", path("layout")), &path("bundle")]);
    let root = here.path().join("bundle/rootfs");
    assert_eq!(std::fs::read_to_string(root.join("d/f")).unwrap(), "1\n");
    assert!(!root.join("bin/vi").exists());

    // and back: an OCI layout with gzip'd layers, as skopeo writes it
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            &format!("oci:{}:x", path("layout")),
            &format!("oci-archive:{}:back:2", path("back.tar")),
        ],
    );
    let there = Workspace::new(RBUILD);
    there.ok(["load", "-i", &path("back.tar")]);
    assert_eq!(there.ok(["run", "--rm", "back:2", "cat", "/d/f"]), "1\n");
}

#[test]
fn skopeo_pulls_what_was_pushed_and_pushes_what_is_pulled() {
    let test = "skopeo_pulls_what_was_pushed";
    let Some(here) = with_busybox(test) else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    if !has_program("skopeo", test) {
        return;
    }
    let remote = |name: &str| format!("{}/{name}", registry.host());
    here.build(&remote("x:1"), &here.context("c", DOCKERFILE, &[]));
    here.ok(["push", &remote("x:1")]);
    let before = registry.requests().len();
    here.ok(["push", &remote("x:1")]);
    let requests = registry.requests();
    let uploads =
        requests[before..].iter().filter(|line| line.contains("POST") || line.contains("PATCH")).count();
    assert_eq!(uploads, 0, "nothing is sent twice: {:?}", &requests[before..]);
    let source = format!("docker://{}", remote("x:1"));
    let target = format!("docker://{}", remote("y:1"));
    run("skopeo", &["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", &source, &target]);
    let there = Workspace::new(RBUILD);
    there.ok(["pull", &remote("y:1")]);
    assert_eq!(there.ok(["run", "--rm", &remote("y:1"), "cat", "/d/f"]), "1\n");
}
