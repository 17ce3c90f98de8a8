//! Build, run, change, commit, tag, history, push, pull into a second store, run there.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Registry, RegistryOptions, Workspace};

#[test]
fn an_image_goes_all_the_way() {
    let Some(here) = with_busybox("an_image_goes_all_the_way") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let dockerfile = "FROM busybox\nENV WHO=world\nRUN mkdir /data && echo built > /data/state\nCMD cat /data/state && echo hello $WHO\n";
    here.build("app", &here.context("app", dockerfile, &[]));
    assert_eq!(here.ok(["run", "--rm", "app"]), "built\nhello world\n");

    here.ok([
        "run",
        "--name",
        "changing",
        "app",
        "sh",
        "-c",
        "echo changed > /data/state; rm /bin/vi; echo new > /new",
    ]);
    let listed = here.ok(["ps", "-a"]);
    assert!(listed.contains("changing") && listed.contains("Exited (0)"), "{listed}");
    let commit = [
        "commit",
        "-a",
        "me",
        "-m",
        "by hand",
        "-c",
        "ENV WHO=everybody",
        "-c",
        "CMD cat /data/state /new && echo hello $WHO",
    ];
    let id = here.ok(commit.into_iter().chain(["changing", "app:changed"]));
    assert!(id.starts_with("sha256:"), "{id}");
    here.ok(["rm", "changing"]);
    assert_eq!(here.ok(["run", "--rm", "app:changed"]), "changed\nnew\nhello everybody\n");
    assert_ne!(here.fails(["run", "--rm", "app:changed", "ls", "/bin/vi"]).code, 125);

    let history = here.ok(["history", "--no-trunc", "app:changed"]);
    assert!(history.contains("by hand") && history.contains("RUN /bin/sh -c mkdir /data"), "{history}");

    let remote = format!("{}/story/app:v1", registry.host());
    here.ok(["tag", "app:changed", &remote]);
    let pushed = here.ok(["push", &remote]);
    assert!(pushed.contains("sha256:"), "{pushed}");

    let there = Workspace::new(RBUILD);
    there.ok(["pull", &remote]);
    assert_eq!(there.ok(["run", "--rm", &remote]), "changed\nnew\nhello everybody\n");
    let image_id = |workspace: &Workspace| workspace.ok(["images", "-q", "--no-trunc", &remote]);
    assert_eq!(image_id(&here), image_id(&there), "the image ID survives the registry");
    assert!(id.trim() == image_id(&there).trim());

    let based = there.context("based", &format!("FROM {remote}\nRUN cat /new\n"), &[]);
    there.build("based", &based);
}

#[test]
fn a_base_image_is_pulled_for_a_build() {
    let Some(here) = with_busybox("a_base_image_is_pulled_for_a_build") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let remote = format!("{}/base/busybox:1", registry.host());
    here.ok(["tag", "busybox", &remote]);
    here.ok(["push", &remote]);
    let there = Workspace::new(RBUILD);
    there.build("x", &there.context("x", &format!("FROM {remote}\nRUN echo hi > /hi\n"), &[]));
    assert_eq!(there.ok(["run", "--rm", "x", "cat", "/hi"]), "hi\n");
    let missing = there.context("y", &format!("FROM {}/base/none:1\nRUN true\n", registry.host()), &[]);
    let ran = there.fails(["build".as_ref(), missing.as_os_str()]);
    assert!(
        ran.stderr.contains("failed to resolve source metadata for") && ran.stderr.contains("Dockerfile:1"),
        "{ran:#?}"
    );
}
