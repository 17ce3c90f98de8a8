//! Listing, naming, inspecting, removing, saving and loading images.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::Workspace;
use std::fs;

#[test]
fn names_come_and_go() {
    let Some(here) = with_busybox("names_come_and_go") else { return };
    here.ok(["tag", "busybox", "me/box:1"]);
    let table = here.ok(["images"]);
    let header = table.lines().next().unwrap();
    assert_eq!(
        header.split_whitespace().collect::<Vec<_>>(),
        ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    );
    assert!(table.contains("busybox") && table.contains("me/box"), "{table}");
    assert_eq!(here.ok(["rmi", "me/box:1"]), "Untagged: me/box:1\n");
    let removed = here.ok(["rmi", "busybox"]);
    assert!(removed.starts_with("Untagged: busybox:latest\nDeleted: sha256:"), "{removed}");
    assert_eq!(here.ok(["images", "-q"]), "");
    here.ok(["prune", "-a", "-f"]);
    let layers = fs::read_dir(here.store().join("layers")).unwrap().count();
    assert_eq!(layers, 0, "pruning removes the layers nobody uses");
}

#[test]
fn an_image_id_survives_save_and_load() {
    let Some(here) = with_busybox("an_image_id_survives_save_and_load") else { return };
    let dockerfile = "FROM busybox\nRUN mkdir /d && echo 1 > /d/1 && ln /d/1 /d/2 && ln -s 1 /d/3 && chmod 4755 /d/1\nRUN rm /d/2 && rm -r /home 2>/dev/null; mkdir -p /x/y\nCMD [\"true\"]\n";
    here.build("app:v1", &here.context("c", dockerfile, &[]));
    for format in ["docker", "oci"] {
        let archive = format!("{format}.tar");
        here.ok(["save", "--format", format, "-o", &archive, "app:v1", "busybox"]);
        let there = Workspace::new(RBUILD);
        there.ok(["load".as_ref(), "-i".as_ref(), here.path().join(&archive).as_os_str()]);
        for name in ["app:v1", "busybox"] {
            let id = |workspace: &Workspace| workspace.ok(["images", "-q", "--no-trunc", name]);
            assert_eq!(id(&here), id(&there), "{format} {name}");
        }
        assert_eq!(there.ok(["run", "--rm", "app:v1", "ls", "/d"]), "1\n3\n");
        there.ok(["save", "--format", format, "-o", "again.tar", "app:v1", "busybox"]);
        let first = fs::read(here.path().join(&archive)).unwrap();
        assert!(
            first == fs::read(there.path().join("again.tar")).unwrap(),
            "saved again, a {format} archive is the same"
        );
    }
}

/// As with docker, and on purpose: who moves a repository to another machine means all of it.
#[test]
fn saving_a_repository_saves_its_tags() {
    let Some(here) = with_busybox("saving_a_repository_saves_its_tags") else { return };
    here.build("box:built", &here.context("c", "FROM busybox\nRUN true\n", &[]));
    for tag in ["box:1", "box:2", "other:1"] {
        here.ok(["tag", "busybox", tag]);
    }
    let names = |saved: &[&str]| {
        here.ok(["save", "-o", "saved.tar"].iter().chain(saved));
        let there = Workspace::new(RBUILD);
        there.ok(["load".as_ref(), "-i".as_ref(), here.path().join("saved.tar").as_os_str()]);
        let listed = there.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let mut listed: Vec<String> = listed.lines().map(str::to_owned).collect();
        listed.sort();
        listed
    };
    assert_eq!(names(&["box"]), ["box:1", "box:2", "box:built"]);
    assert_eq!(names(&["box:2", "box", "other:1"]), ["box:1", "box:2", "box:built", "other:1"]);
    assert_eq!(names(&["busybox:latest"]), ["busybox:latest"]);
    assert!(here.fails(["save", "-o", "saved.tar", "box:3"]).stderr.contains("No such image: box:3"));
}

#[test]
fn a_repository_is_not_called_as_a_digest_begins() {
    let Some(here) = with_busybox("a_repository_is_not_called_as_a_digest_begins") else { return };
    let context = here.context("c", "FROM scratch\n", &[]).display().to_string();
    let root = here.path().join("root.tar").display().to_string();
    fs::write(&root, [0; 1024]).unwrap();
    for words in [
        vec!["tag", "busybox", "sha256:x"],
        vec!["tag", "busybox", "sha256"],
        vec!["build", "-t", "sha256:x", &context],
        vec!["import", &root, "sha256:x"],
    ] {
        let refused = here.fails(&words).stderr;
        let message = "refusing to create an ambiguous tag using digest algorithm as name";
        assert!(refused.contains(message), "{words:?}: {refused}");
    }
    here.ok(["tag", "busybox", "me/sha256:x"]);
}

#[test]
fn history_and_inspect_tell_the_dockerfile() {
    let Some(here) = with_busybox("history_and_inspect") else { return };
    let dockerfile =
        "FROM busybox\nENV A=1\nWORKDIR /w\nCOPY f .\nEXPOSE 80\nCMD [\"sh\", \"-c\", \"true\"]\n";
    here.build("x", &here.context("c", dockerfile, &[("f", "content")]));
    let history = here.ok(["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "x"]);
    let lines: Vec<&str> = history.lines().collect();
    let expected = [
        "CMD [\"sh\" \"-c\" \"true\"]|buildkit.dockerfile.v0",
        "EXPOSE [80/tcp]|buildkit.dockerfile.v0",
        "COPY f . # buildkit|buildkit.dockerfile.v0",
        "WORKDIR /w|buildkit.dockerfile.v0",
        "ENV A=1|buildkit.dockerfile.v0",
    ];
    assert_eq!(lines[..5], expected, "{history}");
    let inspected: serde_json::Value = serde_json::from_str(&here.ok(["inspect", "x"])).unwrap();
    let config = &inspected[0]["Config"];
    assert_eq!(config["WorkingDir"], "/w");
    assert_eq!(config["ExposedPorts"]["80/tcp"], serde_json::json!({}));
    assert_eq!(inspected[0]["RootFS"]["Layers"].as_array().unwrap().len(), 3);
}

#[test]
fn quiet_prints_the_id_and_iidfile_holds_it() {
    let Some(here) = with_busybox("quiet_prints_the_id") else { return };
    let context = here.context("c", "FROM busybox\nRUN true\n", &[]);
    let ran = here.run(["build", "-q", "--iidfile", "iid", "-t", "x", context.to_str().unwrap()]);
    assert!(ran.code == 0 && ran.stderr.is_empty(), "{ran:#?}");
    assert_eq!(ran.stdout, here.ok(["images", "-q", "--no-trunc", "x"]));
    assert_eq!(fs::read_to_string(here.path().join("iid")).unwrap(), ran.stdout.trim());
}
