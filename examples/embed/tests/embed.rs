//! The example does what it shows: it builds with progress, stops in time, and describes the image.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use rbuild::{ArchiveSource, ClientOptions, Clock, Engine, EngineOptions};
use rbuild_testkit::{has_root, now, repository};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

fn example(store: &Path, context: &Path, seconds: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_rbuild-embed-example");
    Command::new(program).arg(store).arg(context).arg(seconds).env_clear().output().unwrap()
}

fn context(directory: &Path, dockerfile: &str) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    fs::write(directory.join("file"), "content").unwrap();
}

#[test]
fn an_image_is_built_with_progress_and_described() {
    if !has_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (store, from) = (directory.path().join("store"), directory.path().join("c"));
    context(&from, "FROM scratch\nCOPY file /file\nCMD [\"/file\"]\n");
    let ran = example(&store, &from, "60");
    let (out, err) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
    assert!(ran.status.success(), "{err}");
    for part in [
        "image    sha256:",
        "name     docker.io/library/embedded:latest",
        "layers   1 of ",
        "command  [\"/file\"]",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(err.contains("COPY file /file\n") && err.contains(" done in "), "{err}");
    let again = example(&store, &from, "60");
    assert!(String::from_utf8(again.stderr).unwrap().contains(" cached in "));
}

#[test]
fn a_build_that_takes_too_long_is_canceled() {
    if !has_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (store, from) = (directory.path().join("store"), directory.path().join("c"));
    let engine = Engine::open(EngineOptions {
        root: store.clone(),
        registry: ClientOptions::default(),
        clock: Clock::new(now),
    })
    .unwrap();
    let busybox = ArchiveSource::File(repository().join("target/base/busybox.tar"));
    engine.import(busybox, (Some(&"busybox".parse().unwrap()), None), &[], None).unwrap();
    context(&from, "FROM busybox\nRUN echo kept\nRUN echo begun && sleep 1234.5\n");
    let begun = Instant::now();
    let ran = example(&store, &from, "3");
    let err = String::from_utf8(ran.stderr).unwrap();
    assert!(!ran.status.success() && err.ends_with("error: canceled after 3 s\n"), "{err}");
    assert!(begun.elapsed() < Duration::from_secs(60) && err.contains("begun"), "{err}");
    assert!(!is_running("1234.5"), "the step's program ended with the build");
    context(&from, "FROM busybox\nRUN echo kept\n");
    let again = String::from_utf8(example(&store, &from, "60").stderr).unwrap();
    assert!(again.contains(" cached in "), "what was finished is kept: {again}");
}

#[test]
fn mistakes_are_shown_with_their_causes() {
    let directory = tempfile::tempdir().unwrap();
    let ran = example(&directory.path().join("store"), Path::new("/nonexistent"), "60");
    let err = String::from_utf8(ran.stderr).unwrap();
    assert!(err.contains("path \"/nonexistent\" not found"), "{err}");
}

/// True if some process has `word` among its arguments.
fn is_running(word: &str) -> bool {
    let arguments = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| arguments(entry.unwrap()));
    lines.into_iter().any(|line| line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
}
