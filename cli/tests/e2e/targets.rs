//! Several targets in one build: each shared step once, each result where its output says.

use crate::with_busybox;
use serde_json::Value;
use std::fs;

const DOCKERFILE: &str = "FROM --platform=$BUILDPLATFORM busybox AS build\nRUN echo made > /app\n\
    FROM build AS test\nRUN echo passed > /report\n\
    FROM scratch AS report\nCOPY --from=test /report /\n\
    FROM scratch AS app\nCOPY --from=build /app /\nCMD [\"/app\"]\n";

#[test]
fn several_targets_are_made_by_one_build_and_shared_steps_run_once() {
    let Some(here) = with_busybox("several_targets_are_made_by_one_build") else { return };
    let context = here.context("c", DOCKERFILE, &[]);
    let context = context.to_str().unwrap();
    let build = [
        "build",
        "-t",
        "app:1",
        "-o",
        "type=local,dest=reports,target=report",
        "-o",
        "type=image,name=tested:1,target=test",
        "-o",
        "type=oci,dest=tested.tar,target=test",
        "--metadata-file",
        "meta.json",
        "--iidfile",
        "id",
        context,
    ];
    let told = here.run(build);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert_eq!(told.stderr.matches("] RUN echo made").count(), 1, "{}", told.stderr);
    assert_eq!(told.stderr.matches("] RUN echo passed").count(), 1, "{}", told.stderr);
    assert_eq!(fs::read_to_string(here.path().join("reports/report")).unwrap(), "passed\n");
    assert!(here.path().join("tested.tar").exists());
    let id = |image: &str| here.ok(["inspect", "-f", "{{.Id}}", image]).trim().to_owned();
    assert_eq!(here.ok(["run", "--rm", "tested:1", "cat", "/app", "/report"]), "made\npassed\n");
    assert_eq!(here.ok(["inspect", "-f", "{{json .Config.Cmd}}", "app:1"]), "[\"/app\"]\n");
    assert_eq!(fs::read_to_string(here.path().join("id")).unwrap(), id("app:1"));
    let meta: Value = serde_json::from_slice(&fs::read(here.path().join("meta.json")).unwrap()).unwrap();
    assert_eq!(meta["default"]["image.name"], "docker.io/library/app:1");
    assert_eq!(meta["test"]["image.name"], "docker.io/library/tested:1");
    assert_eq!(meta["test"]["containerimage.config.digest"], id("tested:1"));
    assert!(meta["report"].is_object() && meta["report"].get("image.name").is_none());

    // each is what a build of its own makes
    here.ok(["build", "-q", "--target", "test", "-t", "alone", context]);
    assert_eq!(id("alone"), id("tested:1"));
    let again = here.run(build);
    assert_eq!(again.stderr.matches("CACHED").count(), 4, "{}", again.stderr);
    assert!(here.ok(["builds", "inspect"]).contains("report, test"));
}

#[test]
fn what_no_output_asks_for_is_not_built() {
    let Some(here) = with_busybox("what_no_output_asks_for_is_not_built") else { return };
    let dockerfile = format!("{DOCKERFILE}FROM busybox\nRUN false\n");
    let context = here.context("c", &dockerfile, &[]);
    let context = context.to_str().unwrap();
    here.ok([
        "build",
        "-o",
        "type=local,dest=reports,target=report",
        "-o",
        "type=tar,dest=app.tar,target=app",
        context,
    ]);
    assert!(here.path().join("app.tar").exists());
    let both = ["--platform", "linux/amd64,linux/arm64"];
    let cross = [
        "build",
        "-o",
        "type=image,name=two,target=app",
        "-o",
        "type=local,dest=cross,target=report",
        context,
    ];
    here.ok(cross.iter().chain(&both));
    assert!(here.path().join("cross/linux_arm64/report").exists());
    assert_eq!(here.ok(["images", "-q"]).lines().count(), 2, "busybox and two");
    let unknown = here.fails(["build", "-o", "type=local,dest=x,target=nope", context]);
    assert!(unknown.stderr.contains("target stage \"nope\" could not be found"), "{}", unknown.stderr);
    assert!(
        here.fails(["build", "-t", "x", "-o", "type=cacheonly,target=app", context])
            .stderr
            .contains("RUN false")
    );
}
