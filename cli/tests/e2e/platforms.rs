//! Builds for several platforms: what is done once, the image that comes of it, and programs of other processors.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Ran, Registry, RegistryOptions, Workspace};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const BOTH: &str = "linux/amd64,linux/arm64";

/// A compiler that runs here and makes files for every platform.
const CROSS: &str = "FROM --platform=$BUILDPLATFORM busybox AS build\nRUN echo once > /once\n\
    ARG BUILDPLATFORM TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT\n\
    RUN echo \"$BUILDPLATFORM $TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT\" > /made\n\
    FROM scratch\nCOPY f /\nCOPY --from=build /made /made\nENTRYPOINT [\"/x\"]\n";

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn document(path: &Path, digest: &str) -> Value {
    let file = path.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    json(&fs::read_to_string(file).unwrap())
}

/// What `save` writes of an image, unpacked.
pub(crate) fn saved(here: &Workspace, image: &str) -> PathBuf {
    here.ok(["save", "-o", "saved.tar", image]);
    let directory = here.path().join("saved");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    let archive = here.path().join("saved.tar");
    let unpacked = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&directory).status();
    assert!(unpacked.unwrap().success());
    directory
}

/// Platforms and the digests of their manifests, as the only index of an archive lists them.
fn entries(layout: &Path) -> Vec<(String, String)> {
    let top = json(&fs::read_to_string(layout.join("index.json")).unwrap());
    let index = document(layout, top["manifests"][0]["digest"].as_str().unwrap());
    let entry = |entry: &Value| {
        let platform = &entry["platform"];
        let variant = platform["variant"].as_str().map(|variant| format!("/{variant}")).unwrap_or_default();
        let [os, architecture] = ["os", "architecture"].map(|name| platform[name].as_str().unwrap());
        (format!("{os}/{architecture}{variant}"), entry["digest"].as_str().unwrap().to_owned())
    };
    index["manifests"].as_array().unwrap().iter().map(entry).collect()
}

fn text(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn what_platforms_have_in_common_is_done_once_and_the_image_is_one() {
    let Some(here) = with_busybox("what_platforms_have_in_common") else { return };
    let context = here.context("c", CROSS, &[("f", "f")]);
    let context = context.to_str().unwrap();
    let platforms = ["--platform", "linux/amd64,linux/arm64", "--platform", "linux/arm"];
    let build = || here.run(["build", "-t", "app"].iter().chain(&platforms).chain([&context]));
    let told = text(&build());
    assert_eq!(told.matches("] RUN echo once").count(), 1, "{told}");
    assert_eq!(told.matches("] COPY f /").count(), 1, "{told}");
    assert!(told.contains("[linux/amd64->arm/v7 build 3/3]"), "{told}");

    let layout = saved(&here, "app");
    let entries = entries(&layout);
    let names: Vec<&str> = entries.iter().map(|(platform, _)| platform.as_str()).collect();
    assert_eq!(names, ["linux/amd64", "linux/arm64", "linux/arm/v7"]);
    let expected = ["linux/amd64 linux amd64 ", "linux/arm64 linux arm64 ", "linux/arm/v7 linux arm v7"];
    for ((_, digest), expected) in entries.iter().zip(expected) {
        let manifest = document(&layout, digest);
        let config = document(&layout, manifest["config"]["digest"].as_str().unwrap());
        assert_eq!(config["architecture"].as_str(), expected.split(' ').nth(2));
        assert_eq!(config["variant"].as_str().unwrap_or_default(), expected.split(' ').nth(3).unwrap());
        assert_eq!(config["config"]["Entrypoint"][0], "/x");
        let top = manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap();
        let layer = layout.join("blobs/sha256").join(top.trim_start_matches("sha256:"));
        let made = Command::new("tar").arg("-xOf").arg(layer).arg("made").output().unwrap();
        let host = "linux/amd64";
        assert_eq!(String::from_utf8(made.stdout).unwrap(), format!("{host} {expected}\n"));
    }
    let again = text(&build());
    assert!(again.matches("CACHED").count() >= 6 && !again.contains("DONE 1."), "{again}");
}

#[test]
fn an_image_for_several_platforms_stays_whole() {
    let Some(here) = with_busybox("an_image_for_several_platforms") else { return };
    let context = here.context("c", CROSS, &[("f", "f")]);
    let context = context.to_str().unwrap();
    here.ok(["build", "-q", "--platform", BOTH, "-t", "app", context]);
    let id = here.ok(["images", "-q", "--no-trunc", "app"]);
    let id = id.trim();
    assert_eq!(here.ok(["images", "-a", "-q"]).lines().count(), 2, "busybox and app");
    assert_eq!(json(&here.ok(["inspect", "app"]))[0]["Id"], *id);
    assert_eq!(json(&here.ok(["inspect", "app"]))[0]["Architecture"], "amd64");
    assert!(here.ok(["history", "app"]).contains("COPY /made /made"));
    // an image of an archive is the same, and has the same id
    let top = json(&fs::read_to_string(saved(&here, "app").join("index.json")).unwrap());
    assert_eq!(top["manifests"][0]["digest"], *id);

    // its parts are neither dangling nor removed on their own
    here.ok(["tag", "app", "other"]);
    here.ok(["rmi", "app"]);
    assert!(here.ok(["image", "prune", "-f"]).contains("0B"));
    let own = entries_of_configs(&saved(&here, "other"));
    let refused = here.fails(["rmi", "-f", &own[1]]);
    assert!(refused.stderr.contains("for one of its platforms"), "{}", refused.stderr);

    // each platform takes its own
    let from = here.context("d", "FROM other\nCOPY g /\n", &[("g", "g")]);
    here.ok(["build", "-q", "--platform", BOTH, "-t", "child", from.to_str().unwrap()]);
    let configs = entries_of_configs(&saved(&here, "child"));
    assert_eq!(configs.len(), 2);
    let missing = here.fails(["build", "--platform", "linux/s390x", from.to_str().unwrap()]);
    assert!(missing.stderr.contains("other"), "{}", missing.stderr);

    let removed = here.ok(["rmi", "other"]);
    assert_eq!(removed.matches("Deleted: ").count(), 3, "{removed}");
    here.ok(["rmi", "child"]);
    assert_eq!(here.ok(["images", "-a", "-q"]).lines().count(), 1);
}

fn entries_of_configs(layout: &Path) -> Vec<String> {
    let config = |(_, digest): (String, String)| {
        document(layout, &digest)["config"]["digest"].as_str().unwrap().to_owned()
    };
    entries(layout).into_iter().map(config).collect()
}

#[test]
fn a_registry_gets_an_index_and_gives_each_platform_its_image() {
    let Some(here) = with_busybox("a_registry_gets_an_index") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let name = format!("{}/team/app:1", registry.host());
    let context = here.context("c", CROSS, &[("f", "f")]);
    here.ok(["build", "-q", "--platform", BOTH, "-t", &name, context.to_str().unwrap()]);
    let digest = |told: String| told.split("digest: ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let pushed = digest(here.ok(["push", &name]));
    let before = registry.requests().len();
    assert_eq!(digest(here.ok(["push", &name])), pushed);
    let sent = registry.requests()[before..].iter().filter(|line| !line.starts_with("HEAD")).count();
    assert!(sent <= 2, "nothing is sent twice: {:?}", &registry.requests()[before..]);

    let there = Workspace::new(RBUILD);
    let dockerfile = format!("FROM {name}\nCOPY g /\n");
    let from = there.context("d", &dockerfile, &[("g", "g")]);
    let build =
        |there: &Workspace| there.run(["build", "--platform", BOTH, "-t", "child", from.to_str().unwrap()]);
    let told = text(&build(&there));
    assert!(told.contains("exporting to image"), "{told}");
    let architectures: Vec<Value> = entries_of_configs(&saved(&there, "child"))
        .iter()
        .map(|config| document(&there.path().join("saved"), config)["architecture"].clone())
        .collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
    // both stay known under the one name, so that nothing is asked again
    let before = registry.requests().len();
    there.ok(["build", "-q", "--platform", BOTH, "-t", "again", from.to_str().unwrap()]);
    assert_eq!(registry.requests()[before..], [""; 0]);
}

#[test]
fn commands_take_the_image_for_a_platform() {
    let Some(here) = with_busybox("commands_take_the_image") else { return };
    let context = here.context("c", CROSS, &[("f", "f")]);
    here.ok(["build", "-q", "--platform", BOTH, "-t", "app", context.to_str().unwrap()]);
    let id = here.ok(["images", "-q", "--no-trunc", "app"]);
    let inspect = |platform: &str, field: &str| {
        here.ok(["image", "inspect", "--platform", platform, "-f", field, "app"]).trim().to_owned()
    };
    assert_eq!(inspect("linux/arm64", "{{.Architecture}} {{index .RepoTags 0}}"), "arm64 app:latest");
    assert_eq!(inspect("linux/amd64", "{{.Architecture}}"), "amd64");
    let history = here.ok(["history", "-q", "--platform", "linux/arm64", "app"]);
    assert!(id.trim().trim_start_matches("sha256:").starts_with(history.lines().next().unwrap()));
    for words in [&["image", "inspect"][..], &["history"], &["save", "-o", "x.tar"]] {
        let ran = here.fails(words.iter().chain(&["--platform", "linux/s390x", "app"]));
        let expected = "app has no image for linux/s390x: it has linux/amd64, linux/arm64";
        assert!(ran.stderr.contains(expected), "{words:?}: {}", ran.stderr);
    }

    // an archive has all of them, or the one
    here.ok(["save", "-o", "all.tar", "app"]);
    here.ok(["save", "--platform", "linux/arm64", "-o", "arm64.tar", "app"]);
    let there = Workspace::new(RBUILD);
    let archive = |name: &str| here.path().join(name).into_os_string().into_string().unwrap();
    let all = archive("all.tar");
    assert_eq!(there.ok(["load", "-q", "-i", &all]), "Loaded image: app:latest\n");
    assert_eq!(there.ok(["images", "-q", "--no-trunc", "app"]), id);
    assert_eq!(entries(&saved(&there, "app")), entries(&saved(&here, "app")));
    there.ok(["rmi", "app"]);
    there.ok(["load", "-q", "-i", &archive("arm64.tar")]);
    assert_eq!(there.ok(["inspect", "-f", "{{.Architecture}}", "app"]), "arm64\n");
    there.ok(["rmi", "app"]);
    there.ok(["load", "-q", "--platform", "linux/arm64", "-i", &all]);
    let one = there.ok(["inspect", "-f", "{{.Id}}", "app"]);
    assert_eq!(one.trim(), inspect("linux/arm64", "{{.Id}}"));
    let refused = there.fails(["load", "-q", "--platform", "linux/s390x", "-i", &all]);
    assert!(refused.stderr.contains("no image for linux/s390x"), "{}", refused.stderr);
    there.ok(["import", "--platform", "linux/arm/v6", &all, "imported"]);
    assert_eq!(there.ok(["inspect", "-f", "{{.Architecture}}/{{.Variant}}", "imported"]), "arm/v6\n");
}

#[test]
fn the_images_for_platforms_are_listed_and_removed() {
    let Some(here) = with_busybox("the_images_for_platforms") else { return };
    let context = here.context("c", CROSS, &[("f", "f")]);
    here.ok(["build", "-q", "--platform", BOTH, "-t", "app", context.to_str().unwrap()]);
    let short = |platform: &str| {
        here.ok(["image", "inspect", "--platform", platform, "-f", "{{.Id}}", "app"])[7..19].to_owned()
    };
    let (amd64, arm64) = (short("linux/amd64"), short("linux/arm64"));
    let whole = here.ok(["images", "-q", "app"]);
    let whole = whole.trim();
    let tree = here.ok(["images", "--tree", "app"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let shown: Vec<Vec<String>> = tree.lines().map(words).collect();
    assert_eq!(shown[0].join(" "), "IMAGE ID DISK USAGE EXTRA");
    // sizes are the business of other tests
    assert_eq!(shown[1][..2], ["app:latest", whole], "{tree}");
    assert_eq!(shown[2][..3], ["├─", "linux/amd64", &amd64], "{tree}");
    assert_eq!(shown[3][..3], ["└─", "linux/arm64", &arm64], "{tree}");
    assert_eq!(shown.len(), 4, "{tree}");

    let remove = |words: &[&str]| here.run(["rmi", "--platform"].iter().chain(words).chain(&["app"]));
    let refused = remove(&["linux/arm64"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("use --force"), "{}", refused.stderr);
    let refused = remove(&["linux/arm64,linux/amd64", "--force"]);
    assert!(refused.stderr.contains("it is here for no other platform"), "{}", refused.stderr);
    let removed = remove(&["linux/arm64", "--force"]);
    assert!(removed.stdout.starts_with(&format!("Deleted: sha256:{arm64}")), "{removed:#?}");
    assert_eq!(here.ok(["images", "-q", "app"]).trim(), whole);
    let gone = here.fails(["image", "inspect", "--platform", "linux/arm64", "app"]);
    assert!(gone.stderr.contains("it has linux/amd64"), "{}", gone.stderr);
}

#[test]
fn one_platform_of_several_is_pushed_and_run() {
    let Some(here) = with_busybox("one_platform_of_several") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let name = format!("{}/team/app:1", registry.host());
    let context = here.context("c", CROSS, &[("f", "f")]);
    here.ok(["build", "-q", "--platform", BOTH, "-t", &name, context.to_str().unwrap()]);
    let whole = here.ok(["images", "-q", &name]);
    here.ok(["push", "-q", "--platform", "linux/arm64", &name]);
    let manifest = json(&here.ok(["buildx", "imagetools", "inspect", "--raw", &name]));
    assert!(manifest["config"].is_object(), "{manifest}");
    assert_eq!(here.ok(["images", "-q", &name]), whole, "the name stays with all platforms");
    here.ok(["push", "-q", &name]);
    // each machine pulls one, and another when it asks for it
    let there = Workspace::new(RBUILD);
    there.ok(["pull", "-q", &name]);
    let run =
        |platform: &str| there.run(["run", "--rm", "--platform", platform, "--entrypoint", "/x", &name]);
    assert_eq!(run("linux/amd64").code, 127, "the image has no such program");
    assert!(!run("linux/arm64").stderr.contains("has no image for"));
    let tree = there.ok(["images", "--tree"]);
    assert!(tree.contains("─ linux/amd64 ") && tree.contains("─ linux/arm64 "), "{tree}");
}

#[test]
fn lists_of_manifests_are_docker_s() {
    let Some(here) = with_busybox("lists_of_manifests") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let name = |name: &str| format!("{}/{name}", registry.host());
    let [one, two, list] = ["team/app:one", "team/app:two", "team/list:1"].map(name);
    for (name, content) in [(&one, "1"), (&two, "2")] {
        let dockerfile = "FROM scratch\nCOPY f /\n";
        here.build(name, &here.context("c", dockerfile, &[("f", content)]));
        here.ok(["push", name]);
    }
    assert_eq!(here.ok(["manifest", "create", &list, &one, &two]), format!("Created manifest list {list}\n"));
    let again = here.fails(["manifest", "create", &list, &one]);
    assert!(again.stderr.contains("refusing to amend an existing manifest list with no --amend flag"));
    here.ok(["manifest", "annotate", "--arch", "arm", "--variant", "v7", &list, &two]);
    here.ok(["manifest", "create", "--amend", &list, &one]);
    let shown = here.ok(["manifest", "inspect", &list]);
    // with blanks by threes, as docker writes it, and these bytes are pushed
    assert!(shown.starts_with("{\n   \"schemaVersion\": 2,\n   \"mediaType\""), "{shown}");
    let platforms: Vec<Value> =
        json(&shown)["manifests"].as_array().unwrap().iter().map(|entry| entry["platform"].clone()).collect();
    assert_eq!(platforms[0]["architecture"], "amd64");
    assert_eq!(platforms[1], serde_json::json!({"architecture": "arm", "os": "linux", "variant": "v7"}));
    let pushed = here.ok(["manifest", "push", "--purge", &list]);
    let digest = rbuild::Digest::of(shown.trim_end().as_bytes());
    assert_eq!(pushed.lines().count(), 3, "{pushed}");
    assert_eq!(pushed.lines().last().unwrap(), digest.to_string());
    assert!(here.fails(["manifest", "rm", &list]).stderr.contains(&format!("No such manifest: {list}")));
    // the registry has it, with what it names, though that was in another repository
    assert_eq!(here.ok(["manifest", "inspect", &list]), shown);
    let verbose = json(&here.ok(["manifest", "inspect", "-v", &list]));
    assert_eq!(verbose.as_array().unwrap().len(), 2);
    assert!(verbose[0]["OCIManifest"]["layers"].is_array());
    here.ok(["pull", "-q", &list]);
    assert!(here.fails(["manifest", "inspect", &name("team/none:1")]).stderr.contains("no such manifest"));
}

#[test]
fn images_of_registries_are_put_together_as_buildx_does() {
    let Some(here) = with_busybox("images_of_registries") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let name = |name: &str| format!("{}/{name}", registry.host());
    let context = here.context("c", CROSS, &[("f", "f")]);
    let [both, amd64, arm64, new] = ["t/app:both", "t/app:amd64", "t/app:arm64", "u/new:1"].map(name);
    for (platforms, name) in [(BOTH, &both), ("linux/amd64", &amd64), ("linux/arm64", &arm64)] {
        here.ok(["build", "-q", "--platform", platforms, "-t", name, context.to_str().unwrap()]);
        here.ok(["push", name]);
    }
    let tools = |words: &[&str]| here.ok(["buildx", "imagetools"].iter().chain(words));
    let index = tools(&["inspect", "--raw", &both]);
    // the index of a build for both is that of two builds put together
    let combined = tools(&["create", "--dry-run", &amd64, &arm64]);
    assert_eq!(combined.trim_end(), index);
    tools(&["create", "-t", &new, &amd64]);
    tools(&["create", "--append", "-t", &new, &arm64]);
    assert_eq!(tools(&["inspect", "--raw", &new]), index);
    let words = tools(&["inspect", &new]);
    let digest = rbuild::Digest::of(index.as_bytes());
    assert!(words.starts_with(&format!("Name:      {new}\n")), "{words}");
    assert!(words.contains(&format!("Digest:    {digest}\n")), "{words}");
    assert!(words.contains("  Platform:  linux/arm64\n"), "{words}");
    let format = "{{range .Manifest.Manifests}}{{.Platform.Architecture}} {{end}}";
    assert_eq!(tools(&["inspect", "--format", format, &new]), "amd64 arm64 \n");
    let configs = json(&tools(&["inspect", "--format", "{{json .Image}}", &new]));
    assert_eq!(configs["linux/arm64"]["architecture"], "arm64");
    // one source is an index of one, or what it is
    let one = json(&tools(&["create", "--dry-run", &arm64]));
    assert_eq!(one["manifests"].as_array().unwrap().len(), 1);
    let copied = tools(&["create", "--dry-run", "--prefer-index=false", &arm64]);
    assert!(json(&copied)["config"].is_object(), "{copied}");
    let annotation = "manifest-descriptor[linux/arm64]:a=b";
    let annotated = json(&tools(&[
        "create",
        "--dry-run",
        "--annotation",
        annotation,
        "--annotation",
        "index:c=d",
        &both,
    ]));
    assert_eq!(annotated["annotations"]["c"], "d");
    assert_eq!(annotated["manifests"][1]["annotations"]["a"], "b");
    assert!(annotated["manifests"][0]["annotations"].is_null());
    // and another machine builds on it
    let there = Workspace::new(RBUILD);
    there.ok(["pull", "-q", "--platform", "linux/arm64", &new]);
    assert_eq!(json(&there.ok(["inspect", &new]))[0]["Architecture"], "arm64");
}
