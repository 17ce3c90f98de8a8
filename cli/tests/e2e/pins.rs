//! A name with a digest promises bytes: it comes from fetching them, and from nothing else.

use crate::{RBUILD, ordinary_user, with_busybox};
use rbuild_testkit::{Base, Registry, RegistryOptions, Workspace};
use std::{fs, path::PathBuf, process::Command};

const DIGEST: &str = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
const REFUSAL: &str = "refusing to create a tag with a digest reference";

fn names(here: &Workspace) -> String {
    here.ok(["images", "--digests", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}"])
}

#[test]
fn a_name_with_a_digest_cannot_be_given() {
    let Some(here) = with_busybox("a_name_with_a_digest_cannot_be_given") else { return };
    let context = here.context("c", "FROM busybox\nRUN touch /never\n", &[]);
    here.ok(["run", "--name", "kept", "busybox", "true"]);
    let root = rbuild_testkit::repository().join("target/base/busybox.tar");
    let before = names(&here);
    for pin in
        [format!("evil@{DIGEST}"), format!("evil:1@{DIGEST}"), format!("localhost:5000/a/evil@{DIGEST}")]
    {
        let refused = |arguments: &[&str]| {
            let said = here.fails(arguments).stderr;
            assert!(said.contains(REFUSAL) && said.contains(&pin), "{arguments:?}: {said}");
            assert!(!said.contains("touch /never"), "before any work: {said}");
        };
        refused(&["tag", "busybox", &pin]);
        refused(&["build", "-t", "fine", "-t", &pin, context.to_str().unwrap()]);
        refused(&["commit", "kept", &pin]);
        refused(&["import", root.to_str().unwrap(), &pin]);
        assert!(here.fails(["push", &pin]).stderr.contains("cannot push a digest reference"));
    }
    assert_eq!(names(&here), before);
}

/// Writes busybox as an archive of `format` whose file `document` has `new` for `old`.
fn archive(here: &Workspace, format: &str, document: &str, (old, new): (&str, &str)) -> PathBuf {
    here.ok(["save", "--format", format, "-o", "whole.tar", "busybox"]);
    let (folder, changed) = (here.path().join("unpacked"), here.path().join("changed.tar"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let tar = |arguments: &[&str]| {
        assert!(Command::new("tar").args(arguments).current_dir(&folder).status().unwrap().success());
    };
    tar(&["-xf", "../whole.tar", "--no-same-owner"]);
    let path = folder.join(document);
    let text = fs::read_to_string(&path).unwrap().replace([' ', '\n'], "");
    assert!(text.contains(old), "{text}");
    fs::write(&path, text.replace(old, new)).unwrap();
    tar(&["-cf", "../changed.tar", "."]);
    fs::set_permissions(&changed, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    changed
}

fn archives_that_name_a_pin_are_refused(here: &Workspace) {
    let pin = |repository: &str| format!("{repository}@{DIGEST}");
    let tags = "\"RepoTags\":[\"busybox:latest\"]";
    let annotation = "\"io.containerd.image.name\":\"docker.io/library/busybox:latest\"";
    let ref_name = "\"org.opencontainers.image.ref.name\":\"latest\"";
    let (by_tags, by_name) =
        (format!("\"RepoTags\":[\"good:1\",\"{}\"]", pin("evil")), pin("docker.io/library/evil:1"));
    let by_name = format!("\"io.containerd.image.name\":\"{by_name}\"");
    let by_ref_name = format!("\"org.opencontainers.image.ref.name\":\"{}\"", pin("evil"));
    for (format, document, change) in [
        ("docker", "manifest.json", (tags, by_tags.as_str())),
        ("oci", "index.json", (annotation, by_name.as_str())),
        ("oci", "index.json", (&format!("{annotation},{ref_name}"), by_ref_name.as_str())),
    ] {
        let changed = archive(here, format, document, change);
        let there = Workspace::new(RBUILD);
        for (workspace, before) in [(here, names(here)), (&there, String::new())] {
            let said = workspace.fails(["load".as_ref(), "-i".as_ref(), changed.as_os_str()]).stderr;
            assert!(said.contains(REFUSAL) && said.contains(DIGEST), "{said}");
            assert_eq!(names(workspace), before, "no other name of the archive is given either");
            let missing = workspace.fails(["run", "--pull=never", "--rm", &pin("evil"), "true"]);
            assert!(missing.stderr.contains("No such image"), "{}", missing.stderr);
        }
        assert_eq!(fs::read_dir(there.store().join("layers")).unwrap().count(), 0, "nothing was written");
    }
}

#[test]
fn an_archive_that_names_a_pin_is_refused() {
    let test = "an_archive_that_names_a_pin_is_refused";
    if let Some(here) = with_busybox(test) {
        archives_that_name_a_pin_are_refused(&here);
    }
    if let Some(here) = ordinary_user::workspace(test) {
        here.import(Base::Busybox);
        archives_that_name_a_pin_are_refused(&here);
    }
}

#[test]
fn a_pin_that_an_older_rbuild_let_somebody_give_is_absent() {
    let Some(here) = with_busybox("a_pin_that_an_older_rbuild_let_somebody_give_is_absent") else { return };
    let before = names(&here);
    let id = here.ok(["images", "-q", "--no-trunc", "busybox"]);
    let other = format!("sha256:{}", "0".repeat(64));
    for manifest in [String::new(), format!(",\"manifest\":\"{other}\"")] {
        let record =
            format!("{{\"image\":\"{}\"{manifest},\"tagged_at\":\"2026-01-01T00:00:00Z\"}}", id.trim());
        let path = here.store().join(format!("refs/127.0.0.1:1/evil/_@{DIGEST}.json"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, record).unwrap();
        let pin = format!("127.0.0.1:1/evil@{DIGEST}");
        assert_eq!(names(&here), before);
        assert!(here.fails(["inspect", &pin]).stderr.contains("No such object"));
        let context = here.context("c", &format!("FROM {pin}\nRUN true\n"), &[]);
        let said = here.fails(["build".as_ref(), context.as_os_str()]).stderr;
        assert!(said.contains("onnection refused"), "it is looked for in its registry: {said}");
    }
}

#[test]
fn a_pin_that_was_fetched_holds_without_its_registry() {
    let Some(here) = with_busybox("a_pin_that_was_fetched_holds_without_its_registry") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let repository = format!("{}/a/b", registry.host());
    here.ok(["tag", "busybox", &format!("{repository}:1")]);
    let pushed = here.ok(["push", &format!("{repository}:1")]);
    let digest = pushed.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
    let pin = format!("{repository}@{digest}");
    let there = Workspace::new(RBUILD);
    there.ok(["pull", &pin]);
    drop(registry);
    there.build("x", &there.context("c", &format!("FROM {pin}\nRUN true\n"), &[]));
    assert_eq!(names(&there).matches(digest).count(), 1, "{}", names(&there));
    // as docker does: an archive gives names, and this is none
    there.ok(["save", "-o", "pinned.tar", &pin]);
    here.ok(["rmi", "-f", "busybox"]);
    let loaded = here.ok(["load".as_ref(), "-i".as_ref(), there.path().join("pinned.tar").as_os_str()]);
    assert!(loaded.starts_with("Loaded image ID: sha256:"), "{loaded}");
    assert!(there.ok(["rmi", "-f", &pin]).contains(&format!("Untagged: {pin}\n")));
}
