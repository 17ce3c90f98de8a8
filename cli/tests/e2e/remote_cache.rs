//! Caches that machines share: `--cache-to` on one, `--cache-from` on another, and servers and directories that fail or lie.

mod bucket;
mod faults;
mod inline;
mod mounts;

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{HttpReply, HttpServer, Ran, Registry, RegistryOptions, Workspace};
use std::{fs, path::Path};

const DOCKERFILE: &str = "FROM BASE AS build\nRUN echo one > /a\nCOPY f /f\nRUN cat /a /f > /out\nFROM BASE\nRUN mkdir /d\nCOPY --from=build /out /d/out\nRUN cat /d/out > /d/copy && echo ran >> /d/copy\nWORKDIR /d\nCMD [\"cat\", \"/d/copy\"]\n";

/// What helps where an image lacks layers that a cache had.
const AGAIN: &str = ": build the image again, which makes what is missing\n";

/// A registry with a base image, and machines that build on it.
struct Machines {
    registry: Registry,
    base: String,
}

impl Machines {
    fn start(test: &str) -> Option<Self> {
        let here = with_busybox(test)?;
        let registry = Registry::start(&RegistryOptions::default())?;
        let base = format!("{}/team/base:1", registry.host());
        here.ok(["tag", "busybox", &base]);
        here.ok(["push", &base]);
        Some(Self { registry, base })
    }

    fn cache(&self) -> String {
        format!("type=registry,ref={}/team/cache:main", self.registry.host())
    }

    fn text(&self, dockerfile: &str) -> String {
        dockerfile.replace("BASE", &self.base)
    }

    /// A build of `dockerfile` on a machine with these further arguments.
    fn build(&self, machine: &Workspace, dockerfile: &str, more: &[&str]) -> Ran {
        let context = machine.context("app", &self.text(dockerfile), &[("f", "two\n")]);
        let mut arguments = vec!["build", "--progress=plain", "-t", "app"];
        arguments.extend(more);
        machine.run(arguments.iter().map(AsRef::as_ref).chain([context.as_os_str()]))
    }

    fn builds(&self, machine: &Workspace, dockerfile: &str, more: &[&str]) -> String {
        let ran = self.build(machine, dockerfile, more);
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.stderr
    }

    /// The requests since the first `before` for blobs of the cache.
    fn blobs(&self, before: usize) -> Vec<String> {
        let requests = self.registry.requests();
        requests[before..].iter().filter(|request| request.contains("/team/cache/blobs/")).cloned().collect()
    }
}

fn id(machine: &Workspace) -> String {
    machine.ok(["images", "-q", "--no-trunc", "app"])
}

fn cached(said: &str) -> usize {
    said.lines().filter(|line| line.ends_with(" CACHED")).count()
}

/// Layers whose files are here.
fn layers(machine: &Workspace) -> usize {
    let Ok(entries) = fs::read_dir(machine.store().join("layers")) else { return 0 };
    entries.filter(|layer| layer.as_ref().unwrap().path().join("fs").exists()).count()
}

#[test]
fn another_machine_has_every_step_and_fetches_no_layer() {
    let Some(machines) = Machines::start("another_machine_has_every_step_and_fetches_no_layer") else {
        return;
    };
    let (one, other) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    let to = format!("{},mode=max", machines.cache());
    machines.builds(&one, DOCKERFILE, &["--cache-to", &to]);
    let before = machines.registry.requests().len();
    let said = machines.builds(&other, DOCKERFILE, &["--cache-from", &machines.cache()]);
    assert_eq!(cached(&said), 7, "{said}");
    assert_eq!((id(&one), layers(&other)), (id(&other), 0));
    assert_eq!(machines.blobs(before).len(), 1, "the description alone: {:?}", machines.blobs(before));

    // what this machine has now needs no cache
    let before = machines.registry.requests().len();
    let said = machines.builds(&other, DOCKERFILE, &["--cache-from", &machines.cache()]);
    assert_eq!((cached(&said), machines.registry.requests().len()), (7, before), "{said}");

    // a step that stands on a hit has its layers, and no other ones are fetched
    let more = DOCKERFILE.replace("WORKDIR /d", "RUN cat /d/copy > /d/more");
    machines.builds(&other, &more, &["--cache-from", &machines.cache()]);
    assert_eq!(layers(&other), 5, "the base and four of the image");
    assert_eq!(other.ok(["run", "--rm", "app", "cat", "/d/more"]), "one\ntwo\nran\n");
}

#[test]
fn what_the_cache_has_is_not_sent_again() {
    let Some(machines) = Machines::start("what_the_cache_has_is_not_sent_again") else { return };
    let (one, other) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    let to = format!("{},mode=max", machines.cache());
    machines.builds(&one, DOCKERFILE, &["--cache-to", &to]);
    let sent =
        |before: usize| machines.blobs(before).iter().filter(|request| request.starts_with("PUT ")).count();
    let before = machines.registry.requests().len();
    machines.builds(&one, DOCKERFILE, &["--cache-to", &to]);
    assert_eq!(sent(before), 0, "{:?}", machines.blobs(before));
    // the other one's layers are still here in the registry alone
    let before = machines.registry.requests().len();
    let longer = format!("{DOCKERFILE}RUN echo more > /more\n");
    machines.builds(&other, &longer, &["--cache-from", &machines.cache(), "--cache-to", &to]);
    let sent_now = sent(before);
    assert_eq!(sent_now, 2, "one layer and the description: {:?}", machines.blobs(before));
    let said = machines.builds(&Workspace::new(RBUILD), &longer, &["--cache-from", &machines.cache()]);
    assert_eq!(cached(&said), 8, "{said}");
}

#[test]
fn equal_content_wakes_nothing_on_another_machine() {
    let Some(machines) = Machines::start("equal_content_wakes_nothing_on_another_machine") else { return };
    let (one, other) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    machines.builds(&one, DOCKERFILE, &["--cache-to", &format!("{},mode=max", machines.cache())]);
    // another command with the same result: it runs, at another time, and nothing after it does
    let edited = DOCKERFILE.replace("RUN echo one > /a", "RUN printf 'one\\n' > /a");
    let said = machines.builds(&other, &edited, &["--cache-from", &machines.cache()]);
    assert_eq!(cached(&said), 6, "{said}");
    assert_eq!(other.ok(["run", "--rm", "app"]), "one\ntwo\nran\n");
    // and one with another result is seen by all that stands on it
    let edited = DOCKERFILE.replace("RUN echo one > /a", "RUN echo 1 > /a");
    let said = machines.builds(&Workspace::new(RBUILD), &edited, &["--cache-from", &machines.cache()]);
    assert_eq!(cached(&said), 1, "{said}");
    assert!(other.ok(["run", "--rm", "app"]).starts_with("one"));
}

#[test]
fn equal_content_of_mounted_stages_and_of_all_that_a_copy_needs_wakes_nothing_on_another_machine() {
    let Some(machines) = Machines::start("equal_content_of_mounted_stages_wakes_nothing_on_another_machine")
    else {
        return;
    };
    let dockerfile = "FROM BASE AS tools\nRUN echo tool > /tool\nFROM BASE\nRUN echo one > /a\n\
        RUN --mount=from=tools,target=/t cat /t/tool /a > /b\nCOPY --from=tools /tool /copied\n\
        RUN --mount=from=tools,source=/tool,target=/t cat /t /copied > /c\n";
    let to = format!("{},mode=max", machines.cache());
    machines.builds(&Workspace::new(RBUILD), dockerfile, &["--cache-to", &to]);
    let made_again = |tool: &str| {
        dockerfile
            .replace("echo tool > /tool", &format!("printf '{tool}\\n' > /tool"))
            .replace("echo one > /a", "printf 'one\\n' > /a")
    };
    let other = Workspace::new(RBUILD);
    let said = machines.builds(&other, &made_again("tool"), &["--cache-from", &machines.cache()]);
    assert_eq!(cached(&said), 3, "all but the two that were edited: {said}");
    assert_eq!(other.ok(["run", "--rm", "app", "cat", "/b", "/c"]), "tool\none\ntool\ntool\n");
    // what was found so is found by its own key from now on, and by a third machine that gets it from the second one
    assert_eq!(cached(&machines.builds(&other, &made_again("tool"), &[])), 5);
    machines.builds(&other, &made_again("tool"), &["--cache-to", &to]);
    let said = machines.builds(&Workspace::new(RBUILD), dockerfile, &["--cache-from", &machines.cache()]);
    assert_eq!(cached(&said), 3, "{said}");
    let third = Workspace::new(RBUILD);
    let said = machines.builds(&third, &made_again("other"), &["--cache-from", &machines.cache()]);
    assert_eq!(cached(&said), 1, "{said}");
    assert_eq!(third.ok(["run", "--rm", "app", "cat", "/b", "/c"]), "other\none\nother\nother\n");
}

#[test]
fn steps_that_another_machine_made_are_explained() {
    let Some(machines) = Machines::start("steps_that_another_machine_made_are_explained") else { return };
    let (one, other) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    // a large file that is quickly copied is left out of the cache
    let dockerfile = "FROM BASE\nRUN echo one > /a\nCOPY large /large\nRUN echo two > /b\n";
    let large = "x".repeat(33 << 20);
    let build = |machine: &Workspace, dockerfile: &str, flag: &str| {
        let context = machine.context("app", &machines.text(dockerfile), &[("large", &large)]);
        machine.ok(["build", &format!("{flag}{}", machines.cache()), context.to_str().unwrap()]);
    };
    build(&one, dockerfile, "--cache-to=mode=max,");
    build(&other, dockerfile, "--cache-from=");
    let text = other.ok(["explain"]);
    let reason = "COPY large /large (line 3)\n    ran, because its result was made by another machine, and is not here as a whole\n";
    assert!(text.contains(": 2 of 3 steps from the cache, 1 ran") && text.contains(reason), "{text}");
    // on other files than there
    let third = Workspace::new(RBUILD);
    build(&third, &dockerfile.replace("echo one", "echo other"), "--cache-from=");
    let text = third.ok(["explain"]);
    assert!(text.contains("RUN echo other > /a (line 2)\n    ran, because no earlier build had"), "{text}");
    assert!(text.contains("RUN echo two > /b (line 4)\n    ran, because step 2 ran before it"), "{text}");
}

#[test]
fn a_directory_is_a_cache_with_tags() {
    let Some(machines) = Machines::start("a_directory_is_a_cache_with_tags") else { return };
    let (one, other) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    let directory = one.path().join("shared");
    let shared = directory.display();
    let to = |rest: &str| format!("type=local,dest={shared},{rest}");
    machines.builds(&one, DOCKERFILE, &["--cache-to", &to("tag=min"), "--cache-to", &to("tag=max,mode=max")]);
    let from = |tag: &str| format!("type=local,src={shared},tag={tag}");
    let said = machines.builds(&other, DOCKERFILE, &["--cache-from", &from("min")]);
    assert_eq!(cached(&said), 4, "the steps of the image are enough: {said}");
    assert_eq!(id(&one), id(&other));
    let third = Workspace::new(RBUILD);
    let said =
        machines.builds(&third, DOCKERFILE, &["--cache-from", &from("none"), "--cache-from", &from("max")]);
    assert_eq!(cached(&said), 7, "{said}");
    assert!(
        said.contains(&format!("the cache {shared}:none is not used: no cache called none is in {shared}")),
        "{said}"
    );
    // an image that has a name does not need the directory any more
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(third.ok(["run", "--rm", "app"]), "one\ntwo\nran\n");
    assert_eq!(other.ok(["run", "--rm", "app"]), "one\ntwo\nran\n");
}

#[test]
fn reset_removes_what_no_cache_of_a_directory_names() {
    let Some(machines) = Machines::start("reset_removes_what_no_cache_of_a_directory_names") else { return };
    let one = Workspace::new(RBUILD);
    let directory = one.path().join("shared");
    let to = |rest: &str| format!("type=local,dest={}{rest}", directory.display());
    let blobs = || fs::read_dir(directory.join("blobs/sha256")).unwrap().count();
    machines.builds(&one, DOCKERFILE, &["--cache-to", &to(",mode=max")]);
    assert_eq!(blobs(), 9);
    let short = "FROM BASE\nRUN echo short > /s\n";
    machines.builds(&one, short, &["--cache-to", &to("")]);
    assert_eq!(blobs(), 12, "what another build has written stays");
    machines.builds(&one, short, &["--cache-to", &to(",tag=other")]);
    machines.builds(&one, short, &["--cache-to", &to(",reset=true")]);
    assert_eq!(blobs(), 3);
    let said = machines.builds(
        &Workspace::new(RBUILD),
        short,
        &["--cache-from", &format!("type=local,src={},tag=other", directory.display())],
    );
    assert_eq!(cached(&said), 1, "{said}");
}

#[test]
fn every_form_can_be_read() {
    let Some(machines) = Machines::start("every_form_can_be_read") else { return };
    let one = Workspace::new(RBUILD);
    for (tag, form, media_type) in [
        ("index", "image-manifest=false", "image.index.v1+json"),
        ("docker", "oci-mediatypes=false", "distribution.manifest.list.v2+json"),
        ("zstd", "compression=zstd,compression-level=9", "layer.v1.tar+zstd"),
        ("plain", "compression=uncompressed", "\"application/vnd.oci.image.layer.v1.tar\""),
    ] {
        let directory = one.path().join("forms");
        let to = format!("type=local,dest={},tag={tag},mode=max,{form}", directory.display());
        machines.builds(&one, DOCKERFILE, &["--cache-to", &to]);
        let from = format!("type=local,src={},tag={tag}", directory.display());
        let other = Workspace::new(RBUILD);
        let said = machines.builds(&other, DOCKERFILE, &["--cache-from", &from]);
        assert_eq!((cached(&said), id(&other)), (7, id(&one)), "{form}: {said}");
        let documents: String = fs::read_dir(directory.join("blobs/sha256"))
            .unwrap()
            .map(|file| String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap()).into_owned())
            .collect();
        assert!(documents.contains(media_type), "{form}");
    }
}

/// The blob of the cache in `directory` that is a layer with this many digits of its digest, and more of them.
fn layer_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(directory.join("blobs/sha256")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| fs::read(file).unwrap().starts_with(&[0x1f, 0x8b])).collect()
}

#[test]
fn layers_that_are_gone_or_wrong_make_their_steps_run() {
    let Some(machines) = Machines::start("layers_that_are_gone_or_wrong_make_their_steps_run") else {
        return;
    };
    let one = Workspace::new(RBUILD);
    let directory = one.path().join("shared");
    let to = format!("type=local,dest={},mode=max", directory.display());
    machines.builds(&one, DOCKERFILE, &["--cache-to", &to]);
    let from = format!("type=local,src={}", directory.display());
    let longer = format!("{DOCKERFILE}RUN cat /d/out /d/copy > /d/all\n");
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("gone", |file| fs::remove_file(file).unwrap()),
        ("another length", |file| fs::write(file, b"short").unwrap()),
        ("another content", |file| {
            let mut bytes = fs::read(file).unwrap();
            let last = bytes.len() - 9;
            bytes[last] ^= 1;
            fs::write(file, bytes).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let kept: Vec<_> =
            layer_files(&directory).into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect();
        kept.iter().for_each(|(_, file)| damage(file));
        let other = Workspace::new(RBUILD);
        let said = machines.builds(&other, &longer, &["--cache-from", &from]);
        assert!(said.contains("a cached layer cannot be had, and its step runs again"), "{what}: {said}");
        assert_eq!(other.ok(["run", "--rm", "app", "cat", "/d/all"]), "one\ntwo\none\ntwo\nran\n", "{what}");
        // the next build finds what this one made
        let said = machines.builds(&other, &longer, &[]);
        assert!(!said.contains("WARN: a cached"), "{what}: {said}");
        kept.into_iter().for_each(|(bytes, file)| fs::write(file, bytes).unwrap());
    }
}

#[test]
fn layers_whose_registry_is_gone_are_made_again() {
    let Some(machines) = Machines::start("layers_whose_registry_is_gone_are_made_again") else { return };
    let Some(gone) = Registry::start(&RegistryOptions::default()) else { return };
    let cache = format!("{}/team/cache:main", gone.host());
    let reference = format!("type=registry,ref={cache}");
    machines.builds(&Workspace::new(RBUILD), DOCKERFILE, &["--cache-to", &format!("{reference},mode=max")]);
    let (image, build) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    for machine in [&image, &build] {
        machines.builds(machine, DOCKERFILE, &["--cache-from", &reference]);
        // the base image is not what is lost
        machine.ok(["run", "--rm", &machines.base, "true"]);
    }
    drop(gone);

    // a step that stands on such layers
    let longer = format!("{DOCKERFILE}RUN cat /d/out /d/copy > /d/all\n");
    let said = machines.builds(&build, &longer, &[]);
    assert_eq!(said.matches("WARN").count(), 1, "{said}");
    assert!(said.contains("a cached layer cannot be had, and its step runs again: "), "{said}");
    let explained = build.ok(["explain"]);
    let reason = format!("ran, because its layer cannot be had from {cache}, where it is");
    assert!(explained.contains(&reason), "{explained}");
    assert_eq!(build.ok(["run", "--rm", "app", "cat", "/d/all"]), "one\ntwo\none\ntwo\nran\n");

    // a container of such layers: nothing but a build makes them again, and that needs no flag for it
    let ran = image.run(["run", "--rm", "app", "cat", "/d/copy"]);
    assert!(ran.code != 0 && ran.stderr.contains(&format!(" of {cache} from ")), "{ran:?}");
    assert!(ran.stderr.contains("image app lacks layers: cannot fetch layer sha256:"), "{ran:?}");
    assert!(ran.stderr.ends_with(AGAIN), "{ran:?}");
    // neither the records of its steps, which went with that, nor a place that was a cache change what helps
    image.ok(["cache", "verify", "--repair"]);
    for words in [
        &["run", "--rm", "app", "true"][..],
        &["run", "--pull=never", "app", "true"],
        &["save", "-o", "app.tar", "app"],
    ] {
        let ran = image.fails(words);
        assert!(ran.stderr.ends_with(AGAIN), "{words:?} {ran:?}");
    }
    let said = machines.builds(&image, DOCKERFILE, &[]);
    assert!(
        said.matches("WARN").count() <= 1,
        "the stage that the image copies from is there as well: {said}"
    );
    let explained = image.ok(["explain"]);
    assert!(explained.contains("because a layer that it stands on was gone"), "{explained}");
    assert_eq!(image.ok(["run", "--rm", "app", "cat", "/d/copy"]), "one\ntwo\nran\n");
}

#[test]
fn a_cache_that_cannot_be_used_is_said_and_the_build_goes_on() {
    let Some(machines) = Machines::start("a_cache_that_cannot_be_used_is_said_and_the_build_goes_on") else {
        return;
    };
    let one = Workspace::new(RBUILD);
    let host = machines.registry.host();
    let says = |from: &str, reason: &str| {
        let said =
            machines.builds(&one, "FROM BASE\nRUN true\n", &["--no-cache-filter", "x", "--cache-from", from]);
        let _ = said;
        let fresh = Workspace::new(RBUILD);
        let said = machines.builds(&fresh, "FROM BASE\nRUN true\n", &["--cache-from", from]);
        assert!(said.contains(reason), "{from}: {said}");
        assert_eq!(cached(&said), 0);
    };
    says(&format!("{host}/team/none:1"), &format!("the cache {host}/team/none:1 is not used: "));
    says("127.0.0.1:1/team/none:1", "the cache 127.0.0.1:1/team/none:1 is not used: ");
    says(
        &machines.base,
        &format!("{} is an image that carries no cache: build it with --cache-to type=inline", machines.base),
    );
    let layout = |name: &str, description: &str| {
        let directory = one.path().join(name);
        write_layout(&directory, description);
        format!("type=local,src={}", directory.display())
    };
    // what BuildKit wrote of this very build
    let foreign = include_str!("../../../testdata/caches/buildkit.json");
    says(
        &layout("foreign", foreign),
        ":latest, and only BuildKit finds steps by the keys of its 11 records: --cache-to of a build here writes",
    );
    says(
        &layout("newer", r#"{"rbuild":{"version":7}}"#),
        "is of version 7, which this version does not know",
    );
    says(&layout("noise", "\u{1}\u{2}"), "cannot read the cache description of ");
    says(&layout("empty", r#"{"rbuild":{"version":1,"layers":[],"records":[]}}"#), "RUN true");
    let record = format!(
        r#"{{"key":"{0}","parent":"{0}","step":"{0}","layer":5,"created":"2026-01-01T00:00:00Z","duration_ms":1}}"#,
        "0".repeat(64)
    );
    let wrong = format!(r#"{{"rbuild":{{"version":1,"layers":[],"records":[{record}]}}}}"#);
    says(&layout("wrong", &wrong), "a record names a layer that is not in it");
}

/// A layout whose cache `latest` has this description.
fn write_layout(directory: &Path, description: &str) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &str, media_type: &str| {
        let digest = rbuild::Digest::of(bytes.as_bytes());
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, bytes.len())
    };
    let config = put(description, "application/vnd.buildkit.cacheconfig.v0");
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        format!(r#"{{"schemaVersion":2,"mediaType":"{manifest_type}","config":{config},"layers":[]}}"#);
    let entry = put(&manifest, manifest_type);
    let annotations = r#""annotations":{"org.opencontainers.image.ref.name":"latest"}"#;
    let entry = entry.replace('}', &format!(",{annotations}}}"));
    fs::write(directory.join("index.json"), format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#))
        .unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn a_cache_that_cannot_be_written_fails_the_build_unless_that_is_ignored() {
    let test = "a_cache_that_cannot_be_written_fails_the_build_unless_that_is_ignored";
    let Some(machines) = Machines::start(test) else { return };
    let server = HttpServer::start(|asked| match asked.target.as_str() {
        "/v2/" => HttpReply::new(200, "{}"),
        _ => HttpReply::new(
            403,
            r#"{"errors":[{"code":"DENIED","message":"the quota of this team is used up"}]}"#,
        ),
    });
    let to = format!("type=registry,ref={}/team/cache:1", server.host());
    let one = Workspace::new(RBUILD);
    let ran = machines.build(&one, DOCKERFILE, &["--cache-to", &to]);
    assert_ne!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("the quota of this team is used up"), "{ran:#?}");
    assert!(!ran.stderr.contains("RUN mkdir"), "no step has run: {ran:#?}");
    let ran = machines.build(&one, DOCKERFILE, &["--cache-to", &format!("{to},ignore-error=true")]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let warned = ran.stderr.lines().any(|line| {
        line.contains("WARN: the cache ")
            && line.contains("was not written: ")
            && line.contains("the quota of this team")
    });
    assert!(warned, "{ran:#?}");
    assert_eq!(one.ok(["run", "--rm", "app"]), "one\ntwo\nran\n");
    // a build without a result has nothing to write
    let ran = machines.build(&one, "FROM BASE\nLABEL a=b\n", &["--cache-to", &machines.cache()]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("skipping cache export for empty result"), "{ran:#?}");
}
