//! The projects in `examples/`, built on a Debian root made from packages.

use crate::RBUILD;
use rbuild_testkit::{Base, Workspace, is_root, repository};
use std::path::PathBuf;

fn example(name: &str) -> PathBuf {
    repository().join("examples").join(name)
}

fn workspace(test: &str, bases: &[Base]) -> Option<Workspace> {
    if !is_root(test) {
        return None;
    }
    let workspace = Workspace::new(RBUILD);
    bases.iter().for_each(|base| workspace.import(*base));
    Some(workspace)
}

fn second_build_is_cached(here: &Workspace, tag: &str, name: &str) {
    let again = here.build(tag, &example(name));
    assert!(!again.contains(" DONE") || !again.lines().any(|line| line.contains("exit code")), "{again}");
    let steps = again.lines().filter(|line| line.contains("] RUN") || line.contains("] COPY")).count();
    let cached = again.lines().filter(|line| line.ends_with(" CACHED")).count();
    assert!(cached >= steps, "{cached} of {steps} cached: {again}");
}

#[test]
fn hello_is_compiled_and_runs() {
    let Some(here) = workspace("hello_is_compiled_and_runs", &[Base::Busybox, Base::Debian]) else { return };
    here.build("hello", &example("hello"));
    assert_eq!(here.ok(["run", "--rm", "hello", "you"]), "hello from rbuild, you\n");
    assert_eq!(here.ok(["run", "--rm", "-e", "GREETING=hi", "hello"]), "hi, world\n");
    second_build_is_cached(&here, "hello", "hello");
}

#[test]
fn service_gets_its_packages_and_answers() {
    let Some(here) = workspace("service_gets_its_packages_and_answers", &[Base::Debian]) else { return };
    here.build("service", &example("service"));
    let answer = here.ok(["run", "--rm", "service", "/opt/service/bin/python", "service.py", "--check"]);
    assert!(answer.starts_with("<p>hello check</p>\n/check."), "{answer}");
    second_build_is_cached(&here, "service", "service");
}

#[test]
fn site_is_generated() {
    let Some(here) = workspace("site_is_generated", &[Base::Busybox]) else { return };
    here.build("site", &example("site"));
    let page = here.ok(["run", "--rm", "site", "cat", "/srv/www/about.html"]);
    assert!(page.starts_with("<!doctype html><title>About</title>\n<h1>About</h1>\n<p>\n"), "{page}");
    let index = here.ok(["run", "--rm", "site", "cat", "index.html"]);
    assert_eq!(index.lines().count(), 2, "{index}");
    assert_eq!(here.ok(["run", "--rm", "site", "id", "-u"]), "1000\n");
    second_build_is_cached(&here, "site", "site");
}
