//! Damage to the store, and builds that are stopped.

use crate::with_busybox;
use rbuild_testkit::Workspace;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

const DOCKERFILE: &str = "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\nCOPY f /f\n";

fn works(here: &Workspace, tag: &str) {
    assert_eq!(here.ok(["run", "--rm", tag, "cat", "/1", "/2", "/f"]), "1\n2\nmine");
}

fn entries(here: &Workspace, directory: &str) -> BTreeSet<PathBuf> {
    fs::read_dir(here.store().join(directory)).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_cache_that_cannot_be_used_fails_no_build() {
    let Some(here) = with_busybox("a_cache_that_cannot_be_used_fails_no_build") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "mine")]);
    here.build("x", &context);
    // neither of them can be read or written, whoever tries
    let index = here.store().join("index");
    for directory in [&index, &here.store().join("recent")] {
        fs::remove_dir_all(directory).unwrap();
        fs::write(directory, "not a directory").unwrap();
    }
    for _ in 0..2 {
        let said = here.build("y", &context);
        assert!(said.contains("the build cache fails and is not used (cannot use "), "{said}");
        assert!(said.contains(&format!("remove {}, which costs time only", index.display())), "{said}");
        works(&here, "y");
    }
    let plan = || here.ok(["plan", context.to_str().unwrap()]);
    assert!(plan().ends_with("\n3 steps: 3 run\n"), "{}", plan());
    // results made anew make every build forget what it kept, and with it goes what was in the way
    here.ok(["build", "--no-cache", "-t", "y", context.to_str().unwrap()]);
    assert!(plan().ends_with("\n3 steps: 3 cached\n"), "{}", plan());
    assert!(here.build("z", &context).contains(" CACHED"));
    let id = |name: &str| here.ok(["inspect", "--format", "{{.Id}}", name]);
    assert_eq!(id("z"), id("y"), "what is cached is what was made last");
    works(&here, "z");
    // as it was told
    fs::remove_file(&index).unwrap();
    here.build("y", &context);
    assert!(here.build("y", &context).contains(" CACHED"));
}

#[test]
fn what_is_no_file_in_the_place_of_one_is_told_and_replaced() {
    let Some(here) = with_busybox("what_is_no_file_in_the_place_of_one") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "mine")]);
    let journal = here.store().join("index/journal");
    let strange: [&dyn Fn(&Path); 4] = [
        &|path| fs::create_dir_all(path.join("in the way")).unwrap(),
        &|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        &|path| symlink("/dev/zero", path).unwrap(),
        &|path| File::create(path).unwrap().set_len(3 << 30).unwrap(),
    ];
    let commands: [&[&str]; 4] =
        [&["cache", "verify", "--repair"], &["df"], &["buildx", "du"], &["prune", "-f"]];
    for (make, command) in strange.iter().zip(commands) {
        here.build("x", &context);
        for directory in ["recent", "lists", "contexts"] {
            entries(&here, directory).iter().for_each(|path| {
                fs::remove_file(path).unwrap();
                make(path);
            });
        }
        fs::remove_file(&journal).unwrap();
        make(&journal);
        let ran = here.run(command);
        assert!(
            ran.code == 0 && format!("{ran:?}").contains("its journal is no file, or far too long"),
            "{ran:#?}"
        );
        let again = here.build("x", &context);
        assert!(!again.contains("journal") && !again.contains("fails"), "{command:?}: {again}");
        assert!(here.build("x", &context).contains(" CACHED"), "{command:?}");
        here.ok(["images"]);
    }
}

#[test]
fn a_build_says_once_that_its_records_were_damaged() {
    let Some(here) = with_busybox("a_build_says_once_that_its_records") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "mine")]);
    here.build("x", &context);
    fs::remove_dir_all(here.store().join("recent")).unwrap();
    let journal = here.store().join("index/journal");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[100] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let said = here.build("x", &context);
    let is_told = said.contains("rows of its journal are not what was written");
    assert!(is_told && said.contains("\n 1 warning found"), "{said}");
    assert!(!here.build("x", &context).contains("journal"));
}

#[test]
fn a_damaged_index_fails_no_build() {
    let Some(here) = with_busybox("a_damaged_index_fails_no_build") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "mine")]);
    here.build("x", &context);
    for directory in ["index", "recent"] {
        for path in entries(&here, directory).into_iter().filter(|path| path.is_file()) {
            let length = fs::metadata(&path).unwrap().len() as usize;
            fs::write(&path, vec![0x5a; length.clamp(1000, 1 << 20)]).unwrap();
        }
    }
    here.build("y", &context);
    works(&here, "y");
    assert!(here.build("y", &context).contains(" CACHED"), "the index is whole again");
}

#[test]
fn a_layer_whose_description_is_lost_is_made_again() {
    let Some(here) = with_busybox("a_layer_whose_description_is_lost") else { return };
    let base = entries(&here, "layers");
    let context = here.context("c", DOCKERFILE, &[("f", "mine")]);
    // a power cut can leave it empty, a failing disk anything
    for (damage, index_lost) in [("", false), ("{\"created\":", false), ("", true)] {
        here.build("x", &context);
        for layer in entries(&here, "layers").difference(&base) {
            fs::write(layer.join("meta.json"), damage).unwrap();
        }
        if index_lost {
            fs::remove_dir_all(here.store().join("recent")).unwrap();
        }
        let again = here.build("y", &context);
        assert!(!again.contains(" CACHED"), "{damage:?}: {again}");
        assert_eq!(again.contains("is made again"), !damage.is_empty(), "{again}");
        works(&here, "y");
        assert_eq!(here.build("y", &context).matches(" CACHED").count(), 3, "{damage:?}");
        here.ok(["prune", "-f"]);
    }
}

#[test]
fn a_container_whose_record_is_damaged_can_be_ended_and_removed() {
    let Some(here) = with_busybox("a_container_whose_record_is_damaged") else { return };
    let id = here.ok(["run", "-d", "--name", "lost", "busybox", "sleep", "1000"]).trim().to_owned();
    let pid = here.ok(["inspect", "-f", "{{.State.Pid}}", "lost"]).trim().to_owned();
    fs::write(here.store().join("containers").join(&id).join("config.json"), "").unwrap();
    let listed = here.run(["ps", "-a"]);
    assert!(listed.stderr.contains(&format!("remove it with 'rbuild rm -f {id}'")), "{listed:?}");
    let pruned = here.fails(["prune", "-f"]);
    assert!(pruned.stderr.contains(&format!("remove this container with 'rbuild rm -f {id}'")), "{pruned:?}");
    assert!(here.fails(["rm", &id]).stderr.contains("running"));
    here.ok(["rm", "-f", &id[..12]]);
    assert!(!std::path::Path::new("/proc").join(&pid).join("exe").exists(), "its program has ended");
    here.ok(["prune", "-f"]);
    assert_eq!(here.run(["ps", "-a"]).stderr, "");
}

#[test]
fn a_container_s_record_leads_to_no_other_directory() {
    let Some(here) = with_busybox("a_container_s_record_leads_to_no_other_directory") else { return };
    let id = here.ok(["create", "--name", "box", "busybox"]).trim().to_owned();
    let away = here.store().join("containers/../../kept");
    fs::create_dir(&away).unwrap();
    fs::write(away.join("file"), "kept").unwrap();
    let record = here.store().join("containers").join(&id).join("config.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace(&id, "../../kept")).unwrap();
    for command in ["rm", "start", "inspect", "stop", "commit"] {
        here.fails([command, "box"]);
    }
    assert!(here.run(["ps", "-a"]).stderr.contains(&format!("rbuild rm -f {id}")));
    here.ok(["rm", "-f", &id]);
    assert_eq!(fs::read_to_string(away.join("file")).unwrap(), "kept");
    assert_eq!(fs::read_dir(away).unwrap().count(), 1);
}

#[test]
fn an_interrupted_build_ends_at_once() {
    let Some(here) = with_busybox("an_interrupted_build_ends_at_once") else { return };
    // reading all of these holes would take minutes
    let dockerfile = "FROM busybox\nCOPY big /\n";
    let context = here.context("c", dockerfile, &[("big", "")]);
    fs::File::options().write(true).open(context.join("big")).unwrap().set_len(1 << 40).unwrap();
    let before = entries(&here, "layers");
    let build = here.command(["build".as_ref(), context.as_os_str()]).stderr(Stdio::piped()).spawn();
    let mut build = build.unwrap();
    let progress = BufReader::new(build.stderr.take().unwrap());
    let mut lines = progress.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("load metadata")), "it has begun");
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    let pid = build.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = build.wait().unwrap();
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(130));
    assert!(took < Duration::from_secs(60), "{took:?}");
    println!("it ended {took:?} after the signal");
    assert_eq!(entries(&here, "layers"), before, "nothing half-written");
    assert!(!here.store().join("tmp").exists() || entries(&here, "tmp").is_empty());
}

#[test]
fn a_damaged_image_is_mended_by_what_makes_it_again() {
    let Some(here) = with_busybox("a_damaged_image_is_mended") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "mine")]);
    here.build("x", &context);
    here.ok(["save", "-o", "x.tar", "x"]);
    let id = here.ok(["images", "-q", "--no-trunc", "x"]);
    let hex = id.trim().strip_prefix("sha256:").unwrap();
    let record = here.store().join(format!("images/{hex}.json"));
    let config = here.store().join(format!("blobs/sha256/{hex}"));
    let listed = || here.ok(["images", "-q", "x"]).lines().count();
    for (file, damage) in [(&record, "{"), (&config, "{"), (&record, ""), (&config, "")] {
        let damaged = || fs::write(file, damage).unwrap();
        damaged();
        here.fails(["inspect", "x"]);
        assert_eq!(listed(), 0);
        here.build("x", &context);
        works(&here, "x");
        damaged();
        here.ok(["load", "-i", "x.tar"]);
        works(&here, "x");
        damaged();
        here.ok(["rmi", "x"]);
        here.fails(["rmi", "x"]);
        assert!(here.build("x", &context).contains(" CACHED"), "the layers are there");
        works(&here, "x");
        assert_eq!(listed(), 1);
    }
}

/// A record that can be read and says something else than the config does is mended like one that cannot.
#[test]
fn a_record_of_other_layers_is_mended() {
    let Some(here) = with_busybox("a_record_of_other_layers_is_mended") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "mine")]);
    here.build("x", &context);
    here.ok(["save", "-o", "x.tar", "x"]);
    let id = here.ok(["images", "-q", "--no-trunc", "x"]);
    let hex = id.trim().strip_prefix("sha256:").unwrap();
    let path = here.store().join(format!("images/{hex}.json"));
    let whole: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    type Change<'a> = &'a dyn Fn(&mut Vec<serde_json::Value>);
    let damage = |change: Change<'_>| {
        let mut record = whole.clone();
        change(record["layers"].as_array_mut().unwrap());
        fs::write(&path, record.to_string()).unwrap();
    };
    let changes: [Change<'_>; 3] =
        [&|layers| layers.truncate(1), &Vec::clear, &|layers| layers.extend(layers.clone())];
    for change in changes {
        damage(change);
        here.build("x", &context);
        works(&here, "x");
        damage(change);
        here.ok(["load", "-i", "x.tar"]);
        works(&here, "x");
    }
    // what the config does not say is mended by what has the layers themselves
    damage(&|layers| layers[0]["tar_size"] = 1.into());
    here.fails(["save", "-o", "again.tar", "x"]);
    here.ok(["load", "-i", "x.tar"]);
    here.ok(["save", "-o", "again.tar", "x"]);
}

#[test]
fn a_lost_recipe_comes_with_the_archive() {
    let Some(here) = with_busybox("a_lost_recipe_comes_with_the_archive") else { return };
    here.ok(["save", "-o", "base.tar", "busybox"]);
    let is_recipe = |path: &PathBuf| fs::read(path).unwrap().starts_with(b"rbuild-recipe");
    let recipe = entries(&here, "blobs/sha256").into_iter().find(is_recipe).unwrap();
    let whole = fs::read(&recipe).unwrap();
    let changed: Vec<u8> = whole.iter().map(|byte| byte ^ 0x20).collect();
    for damage in [&changed[..], &whole[..40], b""] {
        fs::write(&recipe, damage).unwrap();
        here.fails(["save", "-o", "again.tar", "busybox"]);
        here.ok(["load", "-i", "base.tar"]);
        here.ok(["save", "-o", "again.tar", "busybox"]);
        let saved = |name: &str| fs::read(here.path().join(name)).unwrap();
        assert!(saved("again.tar") == saved("base.tar"), "the image is another one");
    }
}
