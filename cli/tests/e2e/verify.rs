//! `cache verify`: what is damaged is found, and counts as missing after a repair; nothing else does.

use crate::with_busybox;
use rbuild_testkit::Workspace;
use std::{
    fs,
    path::{Path, PathBuf},
};

const DOCKERFILE: &str = "FROM busybox\nRUN echo one > /one\nCOPY f /f\nRUN cat /f > /g\n";

/// The paths below a directory of the store.
fn stored(here: &Workspace, directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(here.store().join(directory)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The layer in which this file is, and the file.
fn in_layer(here: &Workspace, file: &str) -> PathBuf {
    let layers = stored(here, "layers").into_iter().map(|layer| layer.join("fs").join(file));
    layers.into_iter().find(|path| path.exists()).unwrap()
}

/// Damages, expects `said`, repairs, and expects that all is well and that a build gives the same image again.
fn check(here: &Workspace, context: &Path, damage: &dyn Fn(), said: &[&str]) {
    let id = here.ok(["images", "-q", "--no-trunc", "app"]);
    let before = here.ok(["run", "--rm", "app", "cat", "/one", "/f", "/g"]);
    assert!(here.ok(["cache", "verify"]).ends_with(": all of it is whole\n"));
    damage();
    let found = here.fails(["cache", "verify"]);
    assert_eq!(found.code, 1, "{found:#?}");
    for part in said {
        assert!(found.stdout.contains(part), "{part}: {}", found.stdout);
    }
    assert_eq!(here.fails(["cache", "verify"]).stdout, found.stdout, "looking repairs nothing");
    let repaired = here.ok(["cache", "verify", "--repair"]);
    assert!(repaired.contains("all repaired\n"), "{repaired}");
    let clean = here.ok(["cache", "verify"]);
    assert!(clean.ends_with(": all of it is whole\n"), "{clean}");
    here.build("app", context);
    assert_eq!(here.ok(["run", "--rm", "app", "cat", "/one", "/f", "/g"]), before);
    assert_eq!(here.ok(["images", "-q", "--no-trunc", "app"]).lines().count(), id.lines().count());
    assert!(here.ok(["cache", "verify"]).ends_with(": all of it is whole\n"));
}

#[test]
fn damaged_layers_are_found_and_made_again() {
    let Some(here) = with_busybox("damaged_layers_are_found_and_made_again") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "content")]);
    here.build("app", &context);
    check(
        &here,
        &context,
        &|| fs::write(in_layer(&here, "g"), "CONTENT").unwrap(),
        &["its tar should be ", " (of app)", "its layer ", "cache record ", "name app: its image"],
    );
    check(
        &here,
        &context,
        &|| {
            let layer = in_layer(&here, "f").parent().unwrap().parent().unwrap().to_owned();
            fs::write(layer.join("meta.json"), "{").unwrap();
        },
        &["its description cannot be read"],
    );
    check(
        &here,
        &context,
        &|| {
            let layer = in_layer(&here, "one").parent().unwrap().parent().unwrap().to_owned();
            fs::remove_dir_all(layer).unwrap();
        },
        &["name app: its image ", "cache record "],
    );
}

#[test]
fn damaged_blobs_images_and_names_are_found() {
    let Some(here) = with_busybox("damaged_blobs_images_and_names_are_found") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "content")]);
    here.build("app", &context);
    let config = || {
        let id = here.ok(["images", "-q", "--no-trunc", "app"]);
        here.store().join("blobs/sha256").join(id.trim().trim_start_matches("sha256:"))
    };
    check(
        &here,
        &context,
        &|| fs::write(config(), "{}").unwrap(),
        &["its bytes have another digest (of app)"],
    );
    check(&here, &context, &|| fs::remove_file(config()).unwrap(), &["its config sha256:"]);
    let image = || {
        here.store().join("images").join(format!("{}.json", config().file_name().unwrap().to_str().unwrap()))
    };
    check(&here, &context, &|| fs::write(image(), "").unwrap(), &["image file ", "name app: its image"]);
    let name = here.store().join("refs/docker.io/library/app/_latest.json");
    check(&here, &context, &|| fs::write(&name, "no").unwrap(), &["name file "]);
}

#[test]
fn cached_steps_are_carried_out_again_and_compared() {
    let Some(here) = with_busybox("cached_steps_are_carried_out_again_and_compared") else { return };
    let dockerfile = "FROM busybox AS one\nRUN mkdir /d && cat /proc/sys/kernel/random/uuid > /d/id && echo same > /d/same\n\
        RUN cat /d/id > /copy\nFROM busybox\nCOPY f /f\nCOPY --from=one /d /d\nRUN touch /random.$(cat /proc/sys/kernel/random/uuid)\n";
    let context = here.context("c", dockerfile, &[("f", "content")]);
    here.build("app", &context);
    let id = here.ok(["images", "-q", "--no-trunc", "app"]);
    let again = |percent: &str| {
        let ran = here.run(["build", "-t", "app", "--verify-cache", percent, context.to_str().unwrap()]);
        assert_eq!((ran.code, here.ok(["images", "-q", "--no-trunc", "app"])), (0, id.clone()), "{ran:#?}");
        ran.stderr
    };
    let said = again("100%");
    let warned = |text: &str| said.contains(&format!(" is not reproducible: {text}"));
    assert!(warned("/d/id (content)\n") && warned("/random."), "{said}");
    assert_eq!(
        said.matches("is not reproducible").count(),
        2 * 2,
        "below the definition and at the end: {said}"
    );
    assert!(said.contains(" (missing), ") || said.contains(" (added), "), "{said}");
    assert_eq!(again("1%").matches(" verify [").count() + again("40%").matches(" verify [").count(), 3);
    assert!(!again("0").contains("verify"));
    for wrong in ["101%", "x"] {
        let ran = here.run(["build", "--verify-cache", wrong, context.to_str().unwrap()]);
        assert_eq!(ran.code, 2, "{ran:#?}");
    }
}

/// An index that cannot be opened is replaced at once, by whatever opens it first.
#[test]
fn a_damaged_index_is_told_and_replaced() {
    let Some(here) = with_busybox("a_damaged_index_is_told_and_replaced") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "content")]);
    here.build("app", &context);
    let index = stored(&here, "index").into_iter().filter(|path| path.is_file());
    index.for_each(|path| fs::write(path, vec![0x5a; 4096]).unwrap());
    let found = here.fails(["cache", "verify"]);
    assert!(found.code == 1 && found.stdout.contains("/index"), "{found:#?}");
    assert!(here.ok(["cache", "verify"]).ends_with(" 0 cache records: all of it is whole\n"));
    here.build("app", &context);
}

#[test]
fn an_image_whose_name_went_to_another_is_whole() {
    let Some(here) = with_busybox("an_image_whose_name_went_to_another") else { return };
    for content in ["one", "two"] {
        here.build("x", &here.context("c", "FROM busybox\nCOPY f /\n", &[("f", content)]));
    }
    let ran = here.run(["cache", "verify"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
}

#[test]
fn a_container_and_what_it_stands_on_are_kept() {
    let Some(here) = with_busybox("a_container_and_what_it_stands_on_are_kept") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "content")]);
    here.build("app", &context);
    here.ok(["run", "--name", "kept", "app", "touch", "/work"]);
    fs::write(in_layer(&here, "g"), "CONTENT").unwrap();
    let found = here.fails(["cache", "verify", "--repair"]);
    assert!(found.stdout.contains("; it stays: a container"), "{}", found.stdout);
    assert!(here.ok(["ps", "-a"]).contains("kept"));
    here.ok(["rm", "kept"]);
    let repaired = here.ok(["cache", "verify", "--repair"]);
    assert!(repaired.contains("all repaired"), "{repaired}");
    assert!(here.ok(["cache", "verify"]).ends_with(": all of it is whole\n"));
}

#[test]
fn one_damaged_record_stops_nothing_else() {
    let Some(here) = with_busybox("one_damaged_record_stops_nothing_else") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "content")]);
    here.build("app", &context);
    here.ok(["run", "--rm", "-v", "vol:/v", "app", "sh", "-c", "echo kept > /v/f"]);
    here.ok(["create", "--name=whole", "app", "true"]);

    // what a container needs is unknown without its record, so nothing is collected; all else goes on
    for damage in [|path: &Path| fs::write(path, "").unwrap(), |path: &Path| fs::create_dir(path).unwrap()] {
        let id = here.ok(["create", "--name=lost", "app", "true"]).trim().to_owned();
        let record = here.store().join("containers").join(&id).join("config.json");
        fs::remove_file(&record).unwrap();
        damage(&record);
        assert!(here.ok(["df"]).contains("Containers"));
        assert!(here.ok(["ps", "-a"]).contains("whole"));
        let found = here.fails(["cache", "verify", "--repair"]);
        assert!(found.stdout.contains("config.json: it cannot be read; it stays: a container"), "{found:#?}");
        let refused = here.fails(["prune", "-f"]);
        assert!(refused.code == 3 && refused.stderr.contains(&format!("rbuild rm -f {id}")), "{refused:#?}");
        here.ok(["rm", "-f", &id]);
        here.ok(["prune", "-f"]);
    }

    let layer = in_layer(&here, "g").parent().unwrap().parent().unwrap().join("meta.json");
    fs::write(&layer, "").unwrap();
    here.ok(["df"]);
    here.ok(["ps", "-a"]);
    let archive = here.path().join("x.tar");
    for words in [
        vec!["run", "--rm", "app", "true"],
        vec!["save", "-o", archive.to_str().unwrap(), "app"],
        vec!["commit", "whole"],
    ] {
        let failed = here.fails(&words);
        assert!(failed.stderr.contains("rbuild cache verify --repair"), "{words:?}: {failed:#?}");
        assert!(!failed.stderr.contains("No such image"), "{words:?}: {failed:#?}");
    }
    here.ok(["rm", "whole"]);
    here.ok(["cache", "verify", "--repair"]);
    here.build("app", &context);

    fs::write(here.store().join("volumes/vol/volume.json"), "\0\0").unwrap();
    assert_eq!(here.ok(["run", "--rm", "-v", "vol:/v", "app", "cat", "/v/f"]), "kept\n");
    here.ok(["volume", "rm", "vol"]);

    let writer = here.store().join("writer");
    let before = fs::read_to_string(&writer).unwrap();
    for damaged in ["", "[[[["] {
        fs::write(&writer, damaged).unwrap();
        assert!(here.ok(["images"]).contains("app"));
        assert_eq!(fs::read_to_string(&writer).unwrap(), before);
    }
}
