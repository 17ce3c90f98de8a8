//! `--cache-ro` when both stores have the base image, and when the store that is only read is damaged, hostile, of another format or
//! pruned meanwhile.

use crate::{RBUILD, with_busybox};
use nix::{sys::stat::Mode, unistd::mkfifo};
use rbuild_testkit::{Base, Ran, Workspace};
use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

const TEXT: &str = "FROM busybox AS made\nRUN echo made > /made; mkdir /d; echo gone > /d/gone\nRUN rm /d/gone\n\
                    FROM busybox\nCOPY --from=made /made /made\nCOPY f /f\n\
                    RUN --mount=from=made,target=/m cat /m/made /f > /both\n";

/// A way in which a base image came, and what brings it.
type Came<'a> = (&'a str, &'a dyn Fn(&Workspace));

/// A store that has built [`TEXT`] as `x`, and its context.
fn built(test: &str) -> Option<(Workspace, PathBuf)> {
    let shared = with_busybox(test)?;
    let context = shared.context("c", TEXT, &[("f", "mine\n")]);
    shared.build("x", &context);
    Some((shared, context))
}

fn build_on(own: &Workspace, lower: &Workspace, context: &Path) -> Ran {
    let lower = format!("--cache-ro={}", lower.store().display());
    own.run(["build", "--pull=never", &lower, "-t", "x", context.to_str().unwrap()])
}

fn cached(ran: &Ran) -> usize {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stderr.matches(" CACHED").count()
}

/// The layers of a store that have files.
fn layers(workspace: &Workspace) -> Vec<PathBuf> {
    let layers = fs::read_dir(workspace.store().join("layers")).unwrap();
    layers.map(|layer| layer.unwrap().path()).filter(|layer| layer.join("fs").exists()).collect()
}

/// The layer whose files have `name`.
fn layer_with(workspace: &Workspace, name: &str) -> PathBuf {
    let found =
        layers(workspace).into_iter().find(|layer| layer.join("fs").join(name).symlink_metadata().is_ok());
    found.unwrap()
}

#[test]
fn steps_on_a_base_that_both_stores_have_are_found() {
    let Some((shared, context)) = built("steps_on_a_base_that_both_stores_have_are_found") else { return };
    let id = |workspace: &Workspace| workspace.ok(["inspect", "--format", "{{.Id}}", "x"]);
    let archive = shared.path().join("busybox.tar");
    shared.ok(["save", "-o", archive.to_str().unwrap(), "busybox"]);
    let came: [Came<'_>; 3] = [
        ("imported", &|own| own.import(Base::Busybox)),
        ("loaded", &|own| drop(own.ok(["load", "-i", archive.to_str().unwrap()]))),
        ("built on before", &|own| {
            own.import(Base::Busybox);
            let other = own.context("o", "FROM busybox\nRUN echo other > /other\n", &[]);
            own.build("other", &other);
        }),
    ];
    for (how, comes) in came {
        let own = Workspace::new(RBUILD);
        comes(&own);
        let ran = build_on(&own, &shared, &context);
        assert_eq!(cached(&ran), 5, "{how}: {}", ran.stderr);
        if how == "loaded" {
            assert_eq!(id(&own), id(&shared), "the same image");
        }
        assert_eq!(own.ok(["run", "--rm", "x", "cat", "/both"]), "made\nmine\n");
        own.ok(["cache", "verify"]);
        // what was found is known without the other store
        assert_eq!(cached(&own.run(["build", "--pull=never", context.to_str().unwrap()])), 5, "{how}");
    }
}

#[test]
fn steps_on_layers_that_were_made_here_again_are_found_by_content() {
    let test = "steps_on_layers_that_were_made_here_again_are_found_by_content";
    let Some((shared, context)) = built(test) else { return };
    let own = Workspace::new(RBUILD);
    own.import(Base::Busybox);
    // the same files at other times, and so other tars, of which one has no digest yet
    own.ok(["build", "--pull=never", "--target=made", context.to_str().unwrap()]);
    let ran = build_on(&own, &shared, &context);
    assert_eq!(cached(&ran), 5, "{}", ran.stderr);
    assert_eq!(own.ok(["run", "--rm", "x", "cat", "/both"]), "made\nmine\n");
    // other files are other layers
    let other = Workspace::new(RBUILD);
    other.import(Base::Busybox);
    let text = TEXT.replace("echo made", "echo $(cat /proc/sys/kernel/random/uuid)");
    let context = shared.context("c2", &text, &[("f", "mine\n")]);
    shared.build("y", &context);
    other.ok(["build", "--pull=never", "--target=made", context.to_str().unwrap()]);
    let ran = build_on(&other, &shared, &context);
    let made = fs::read_to_string(layer_with(&other, "made").join("fs/made")).unwrap();
    assert_eq!(other.ok(["run", "--rm", "x", "cat", "/both"]), format!("{made}mine\n"), "{}", ran.stderr);
}

#[test]
fn a_damaged_layer_of_a_lower_store_is_not_taken() {
    let Some((shared, context)) = built("a_damaged_layer_of_a_lower_store_is_not_taken") else { return };
    fs::write(layer_with(&shared, "both").join("fs/both"), "made\nnine\n").unwrap();
    for has_base in [true, false] {
        let own = Workspace::new(RBUILD);
        if has_base {
            own.import(Base::Busybox);
        }
        let ran = build_on(&own, &shared, &context);
        assert_eq!(cached(&ran), 4, "{}", ran.stderr);
        assert_eq!(own.ok(["run", "--rm", "x", "cat", "/both"]), "made\nmine\n");
    }
    // half of the base image was copied
    fs::remove_dir_all(layer_with(&shared, "bin").join("fs/bin")).unwrap();
    let own = Workspace::new(RBUILD);
    let ran = build_on(&own, &shared, &context);
    assert!(ran.code != 0 && ran.stderr.contains("does not have it"), "{ran:?}");
}

#[test]
fn nothing_of_a_hostile_lower_store_leads_out_of_it() {
    let Some((shared, context)) = built("nothing_of_a_hostile_lower_store_leads_out_of_it") else { return };
    let (both, f) = (layer_with(&shared, "both"), layer_with(&shared, "f"));
    let secret = shared.path().join("secret/fs");
    fs::create_dir_all(&secret).unwrap();
    fs::write(secret.join("both"), "of the host\n").unwrap();
    fs::remove_dir_all(both.join("fs")).unwrap();
    symlink(&secret, both.join("fs")).unwrap();
    fs::remove_file(f.join("meta.json")).unwrap();
    mkfifo(&f.join("meta.json"), Mode::S_IRWXU).unwrap();
    let own = Workspace::new(RBUILD);
    own.import(Base::Busybox);
    let ran = build_on(&own, &shared, &context);
    assert_eq!(cached(&ran), 3, "{}", ran.stderr);
    assert_eq!(own.ok(["run", "--rm", "x", "cat", "/both"]), "made\nmine\n");
    assert_eq!(fs::read_to_string(secret.join("both")).unwrap(), "of the host\n");

    // a record of an image that never ends, and blobs that are others
    let own = Workspace::new(RBUILD);
    let images = fs::read_dir(shared.store().join("images")).unwrap();
    for image in images.map(|image| image.unwrap().path()) {
        fs::remove_file(&image).unwrap();
        symlink("/dev/zero", &image).unwrap();
    }
    let ran = build_on(&own, &shared, &context);
    assert!(ran.code != 0 && ran.stderr.contains("does not have it"), "{ran:?}");
    fs::remove_file(shared.store().join("version")).unwrap();
    mkfifo(&shared.store().join("version"), Mode::S_IRWXU).unwrap();
    let ran = build_on(&own, &shared, &context);
    assert!(ran.code != 0 && ran.stderr.contains("is not a store"), "{ran:?}");
}

#[test]
fn a_lower_store_of_another_format_is_refused() {
    let Some((shared, context)) = built("a_lower_store_of_another_format_is_refused") else { return };
    let own = Workspace::new(RBUILD);
    own.import(Base::Busybox);
    for (version, said) in [("4\n", "newer"), ("1\n", "is not a store"), ("x\n", "is not a store")] {
        fs::write(shared.store().join("version"), version).unwrap();
        let ran = build_on(&own, &shared, &context);
        assert!(ran.code != 0 && ran.stderr.contains(said), "{version:?}: {ran:?}");
    }
    fs::write(shared.store().join("version"), "2\n").unwrap();
    assert_eq!(cached(&build_on(&own, &shared, &context)), 5, "an older one that can be read as it is");
    assert_eq!(fs::read_to_string(shared.store().join("version")).unwrap(), "2\n", "and it stays that");
    // an index that cannot be read is an empty one
    for file in ["db", "journal"] {
        fs::write(shared.store().join("index").join(file), vec![7; 300_000]).unwrap();
    }
    let own = Workspace::new(RBUILD);
    own.import(Base::Busybox);
    assert_eq!(cached(&build_on(&own, &shared, &context)), 0);
    assert_eq!(own.ok(["run", "--rm", "x", "cat", "/both"]), "made\nmine\n");
}

#[test]
fn a_step_whose_layers_are_removed_below_it_runs_again() {
    let Some(shared) = with_busybox("a_step_whose_layers_are_removed_below_it_runs_again") else { return };
    let text = "FROM busybox\nRUN echo one > /one\n";
    let context = shared.context("c", text, &[]);
    shared.ok(["build", "--pull=never", context.to_str().unwrap()]);
    let own = Workspace::new(RBUILD);
    own.import(Base::Busybox);
    let longer = format!("{text}RUN echo begun; sleep 2; cat /one > /two || echo lost > /two\n");
    let context = shared.context("c", &longer, &[]);
    let lower = format!("--cache-ro={}", shared.store().display());
    let said = own.path().join("said");
    let build = own
        .command(["build", "--pull=never", "--progress=plain", &lower, "-t", "x", context.to_str().unwrap()])
        .stderr(File::create(&said).unwrap())
        .spawn();
    let mut build = build.unwrap();
    // the step has begun once its command writes
    while !fs::read_to_string(&said).unwrap().lines().any(|line| line.ends_with(" begun")) {
        assert!(build.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&said).unwrap());
        thread::sleep(Duration::from_millis(10));
    }
    shared.ok(["prune", "-af"]);
    let ended = build.wait().unwrap();
    let said = fs::read_to_string(&said).unwrap();
    assert!(ended.success() && said.contains("its step runs again"), "{said}");
    assert_eq!(own.ok(["run", "--rm", "x", "cat", "/two"]), "one\n", "{said}");
    // what led to the removed layers goes
    own.run(["cache", "verify", "--repair"]);
    own.ok(["cache", "verify"]);
}
