//! `squash` and `build --squash`: fewer layers, the same files.

use crate::{ordinary_user, with_busybox};
use rbuild_testkit::{Base, Workspace};
use serde_json::Value;
use std::{collections::BTreeSet, path::PathBuf, process::Command};

/// Steps that write, remove, replace and link what they and the base image have.
const DOCKERFILE: &str = "FROM base AS app\nENV A=1\n\
    RUN mkdir /own && echo 1 > /own/x && echo 2 > /own/y && mkdir /own/deep && echo 3 > /own/deep/z && echo 4 > /new\n\
    RUN rm -rf /own /new /dir/gone /file && mkdir /own && echo 5 > /own/n && ln /own/n /own/m && chmod 711 /own\n\
    RUN rm -rf /dir2 /was-link && mkdir /dir2 /was-link && echo 6 > /dir2/six && rm -rf /was-dir && echo 7 > /was-dir\n\
    CMD [\"sh\"]\n";

/// The base image `base`, and `app` on it in five layers.
fn built(here: &Workspace) -> PathBuf {
    let base = "FROM busybox\nRUN mkdir -p /dir /dir2/below /was-dir && echo 0 | tee /dir/gone /dir/stays /dir2/f /file /was-dir/f && ln -s / /was-link\n";
    here.build("base", &here.context("base", base, &[]));
    let context = here.context("c", DOCKERFILE, &[]);
    here.build("app", &context);
    context
}

/// The layers of an image as lists of their names, lowest first.
fn layers(here: &Workspace, image: &str) -> Vec<BTreeSet<String>> {
    let archive = here.path().join("saved.tar");
    here.ok(["save", "-o", archive.to_str().unwrap(), image]);
    let directory = tempfile::tempdir_in(here.path()).unwrap();
    let tar = |words: &[&std::ffi::OsStr]| {
        let output = Command::new("tar").args(words).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    tar(&["-C".as_ref(), directory.path().as_ref(), "-xf".as_ref(), archive.as_ref()]);
    let manifest = std::fs::read(directory.path().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let names = |layer: &Value| {
        let layer = directory.path().join(layer.as_str().unwrap());
        tar(&["-tf".as_ref(), layer.as_ref()]).lines().map(str::to_owned).collect()
    };
    manifest[0]["Layers"].as_array().unwrap().iter().map(names).collect()
}

fn inspected(here: &Workspace, image: &str) -> Value {
    serde_json::from_str::<Value>(&here.ok(["inspect", image])).unwrap()[0].take()
}

#[track_caller]
fn have_the_same_files(here: &Workspace, one: &str, other: &str) {
    assert_eq!(here.ok(["diff", one, other]), "0 added, 0 changed, 0 removed, 0 in the config\n");
    let list = "find / -xdev ! -path '/etc/hosts' ! -path '/etc/host*' ! -path '/etc/resolv.conf' -exec stat -c '%n %a %u:%g %F' {} + | sort; cat /own/n /dir2/six /was-dir";
    let seen = |image: &str| here.ok(["run", "--rm", "--network=none", image, "sh", "-c", list]);
    assert_eq!(seen(one), seen(other));
}

fn one_layer_hides_only_what_is_there(here: &Workspace) {
    let context = built(here);
    let context = context.to_str().unwrap();
    here.ok(["build", "-q", "--squash", "-t", "own", context]);
    have_the_same_files(here, "app", "own");
    let layers = layers(here, "own");
    assert_eq!(layers.len(), 3, "two of the base and one more");
    let marks: Vec<&str> =
        layers[2].iter().map(String::as_str).filter(|name| name.contains(".wh.")).collect();
    // what only this build had leaves no mark, and a file in the place of a directory needs none
    assert_eq!(marks, [".wh.file", "dir/.wh.gone", "dir2/.wh..wh..opq"]);
    here.ok(["build", "-q", "--squash-all", "-t", "all", context]);
    have_the_same_files(here, "app", "all");
    let all = self::layers(here, "all");
    assert_eq!(all.len(), 1);
    assert!(all[0].contains("own/m") && !all[0].iter().any(|name| name.contains(".wh.")));
}

#[test]
fn a_squashed_layer_hides_only_what_is_below_it() {
    let Some(here) = with_busybox("a_squashed_layer_hides_only_what_is_below_it") else { return };
    one_layer_hides_only_what_is_there(&here);
}

#[test]
fn an_ordinary_user_squashes() {
    let Some(here) = ordinary_user::workspace("an_ordinary_user_squashes") else { return };
    here.import(Base::Busybox);
    one_layer_hides_only_what_is_there(&here);
}

#[test]
fn the_history_says_what_was_merged_and_a_cached_build_makes_the_same_image() {
    let Some(here) = with_busybox("the_history_says_what_was_merged") else { return };
    let context = built(&here);
    let context = context.to_str().unwrap();
    here.ok(["build", "-q", "--squash", "-t", "own", context]);
    let lines =
        here.ok(["history", "--no-trunc", "--format", "{{.Size}}|{{.CreatedBy}}|{{.Comment}}", "own"]);
    let lines: Vec<&str> = lines.lines().collect();
    let id = |image: &str| inspected(&here, image)["Id"].as_str().unwrap().to_owned();
    assert!(lines[0].ends_with(&format!("||merge {} to {}", id("app"), id("base"))), "{lines:?}");
    assert_eq!(lines[1], "0B|CMD [\"sh\"]|buildkit.dockerfile.v0");
    assert!(lines[2..5].iter().all(|line| line.starts_with("0B|RUN ")), "{lines:?}");
    let (plain, squashed) = (inspected(&here, "app"), inspected(&here, "own"));
    assert_eq!(plain["Config"], squashed["Config"]);
    assert_eq!(
        plain["RootFS"]["Layers"].as_array().unwrap()[..2],
        squashed["RootFS"]["Layers"].as_array().unwrap()[..2]
    );

    // the records of the steps and the squashed layer are both found again
    let count = || std::fs::read_dir(here.store().join("layers")).unwrap().count();
    let before = count();
    let again = here.run(["build", "--squash", "-t", "again", context]);
    assert_eq!(again.stderr.matches("CACHED").count(), 3, "{}", again.stderr);
    assert_eq!((id("again"), count()), (id("own"), before));
    assert_eq!(here.ok(["squash", "app", "--from", "base"]).trim(), id("own"));
    // one layer is no reason for another file: the files of the old layers are those of the new one
    let links =
        Command::new("find").arg(here.store().join("layers")).args(["-name", "six", "-links", "2"]).output();
    assert_eq!(String::from_utf8(links.unwrap().stdout).unwrap().lines().count(), 2);
}

#[test]
fn squash_takes_layers_images_and_numbers() {
    let Some(here) = with_busybox("squash_takes_layers_images_and_numbers") else { return };
    let context = built(&here);
    here.ok(["squash", "app", "-t", "all", "-t", "same"]);
    assert_eq!(inspected(&here, "all")["RepoTags"], serde_json::json!(["all:latest", "same:latest"]));
    assert_eq!(inspected(&here, "all")["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    have_the_same_files(&here, "app", "same");
    let app = inspected(&here, "app")["RootFS"]["Layers"].clone();
    let second = app[1].as_str().unwrap();
    for from in [second, &second["sha256:".len()..][..12], "base", "3"] {
        here.ok(["squash", "app", "--from", from, "-t", "some"]);
        let some = inspected(&here, "some")["RootFS"]["Layers"].clone();
        assert_eq!((some.as_array().unwrap().len(), &some[1]), (3, &app[1]), "{from}");
        have_the_same_files(&here, "app", "some");
    }
    for wrong in ["nothing", "9", "sha256:000000000000"] {
        let failed = here.fails(["squash", "app", "--from", wrong]);
        assert!(failed.stderr.contains(&format!("image app has no layer {wrong:?}")), "{}", failed.stderr);
    }
    assert_eq!(here.run(["squash", "--all", "--from", "1", "app"]).code, 2);
    let whole = here.run(["squash", "all"]);
    assert!(whole.stderr.contains("all stays as it is"), "{}", whole.stderr);
    assert_eq!(whole.stdout.trim(), inspected(&here, "all")["Id"].as_str().unwrap());

    // of several platforms each has its own layer
    let context = context.to_str().unwrap();
    let both = ["--platform", "linux/amd64,linux/arm64"];
    let cross = here.context("p", "FROM --platform=linux/amd64 base AS b\nRUN echo 1 > /one\nFROM scratch\nCOPY --from=b /one /\nCOPY --from=b /one /two\n", &[]);
    here.ok(["build", "-q", "-t", "two", "--squash"].iter().chain(&both).chain([&cross.to_str().unwrap()]));
    here.ok(["build", "-q", "-t", "plain"].iter().chain(&both).chain([&cross.to_str().unwrap()]));
    here.ok(["squash", "plain", "-t", "later"]);
    assert_eq!(inspected(&here, "later")["Id"], inspected(&here, "two")["Id"]);
    let layout = here.path().join("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    here.ok(["build", "-q", "--squash", "-o", &output, context]);
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let blob = |digest: &Value| {
        let name = digest.as_str().unwrap().replace(':', "/");
        serde_json::from_slice::<Value>(&std::fs::read(layout.join("blobs").join(name)).unwrap()).unwrap()
    };
    assert_eq!(blob(&index["manifests"][0]["digest"])["layers"].as_array().unwrap().len(), 3);
}

/// Commands go down in steps, since the kernel takes no path of that length.
#[test]
fn trees_deeper_than_paths_are_squashed_and_compared() {
    let Some(here) = with_busybox("trees_deeper_than_paths_are_squashed_and_compared") else { return };
    let down = "p=$(yes d | head -n 1000 | tr '\\n' /) && for i in 1 2 3; do";
    let text = format!(
        "FROM busybox AS lower\nRUN {down} mkdir -p $p && cd -P $p || exit 1; done; echo 1 > one; echo 2 > two\n\
         FROM lower\nRUN {down} cd -P $p || exit 1; done; rm one; echo 3 > three; ln three four\nRUN echo 4 > /four\n"
    );
    let context = here.context("deep", &text, &[]);
    here.build("deep", &context);
    here.ok(["build", "-q", "--target", "lower", "-t", "lower", context.to_str().unwrap()]);
    let found = format!("cd /; {down} cd -P $p || exit 1; done; ls; cat three /four");
    for (squashed, kept) in
        [(&["squash", "deep", "-t", "all"][..], 1), (&["squash", "deep", "--from", "lower", "-t", "some"], 3)]
    {
        here.ok(squashed);
        let name = squashed.last().unwrap();
        assert_eq!(inspected(&here, name)["RootFS"]["Layers"].as_array().unwrap().len(), kept);
        assert_eq!(here.ok(["diff", "deep", name]), "0 added, 0 changed, 0 removed, 0 in the config\n");
        let files = here.ok(["run", "--rm", "--network=none", name, "sh", "-c", &found]);
        assert_eq!(files, "four\nthree\ntwo\n3\n4\n", "{name}");
    }
    let changes = here.ok(["diff", "lower", "some"]);
    let deepest = ["/d"; 3000].concat();
    for change in [format!("D {deepest}/one "), format!("A {deepest}/three "), "A /four ".to_owned()] {
        assert!(changes.contains(&change), "{}", changes.replace(&deepest, "…"));
    }
    let tree = here.ok(["image", "tree", "all"]);
    assert!(tree.contains("added"), "{tree}");
}
