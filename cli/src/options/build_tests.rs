//! What build lines mean, and what is wrong with wrong ones.

use super::*;
use crate::options::BuildOutput;
use crate::{
    args::{Cli, Command, Later},
    environment::User,
};
use clap::Parser;
use rbuild::PullPolicy;
use rbuild::{ContextSource, DockerfileSource, LayoutReference, NamedContextSource, RemoteContext};
use std::path::Path;

fn options(words: &[&str], variables: &[(&str, &str)]) -> Result<BuildOptions, String> {
    let words = ["rbuild", "build"].iter().chain(words);
    let Command::Build(Later(args)) = Cli::try_parse_from(words).unwrap().command else {
        panic!("not a build")
    };
    BuildOptions::new(*args, &Environment::of(variables, User::Root)).map_err(|error| error.to_string())
}

#[test]
fn a_full_line_becomes_a_request() {
    let words = [
        "-t",
        "a",
        "-t",
        "b:1",
        "--build-arg",
        "X=1",
        "--build-arg",
        "FROM_ENV",
        "--build-arg",
        "UNSET",
        "--label",
        "l=v",
        "--target",
        "t",
        "--no-cache-filter",
        "s1,s2",
        "--pull",
        "--add-host",
        "h:1.2.3.4,six=[::1]",
        "--shm-size",
        "1g",
        "--build-context",
        "docs=../docs",
        "--build-context",
        "base=docker-image://debian:12",
        "--network=none",
        "--iidfile",
        "id",
        "-f",
        "sub/D",
        "ctx",
    ];
    let built = options(&words, &[("FROM_ENV", "e"), ("SOURCE_DATE_EPOCH", "7")]).unwrap();
    let request = &built.request;
    let names = ["a", "b:1"].map(|name| name.parse().unwrap()).to_vec();
    assert_eq!(built.targets[0].outputs, [BuildOutput::Store { names }]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(request.build_args, [pair("X", "1"), pair("FROM_ENV", "e"), pair("SOURCE_DATE_EPOCH", "7")]);
    assert_eq!(request.labels, [pair("l", "v")]);
    assert_eq!(request.names.add_hosts, [pair("h", "1.2.3.4"), pair("six", "::1")]);
    assert_eq!((request.shm_size, request.pull), (Some(1 << 30), PullPolicy::Always));
    assert_eq!(request.no_cache, NoCache::Stages(vec!["s1".to_owned(), "s2".to_owned()]));
    assert_eq!(request.network, Network::None);
    assert_eq!(request.dockerfile, DockerfileSource::File("sub/D".into()));
    assert!(matches!(&request.context, ContextSource::Directory(path) if path == Path::new("ctx")));
    assert_eq!(request.named_contexts["docs"], NamedContextSource::Directory("../docs".into()));
    let debian = NamedContextSource::Image("debian:12".parse().unwrap());
    assert_eq!(request.named_contexts["base"], debian);
    assert_eq!(built.iidfile.as_deref(), Some(Path::new("id")));
}

#[test]
fn named_contexts_are_what_docker_takes_them_for() {
    let source = |value: &str| {
        let word = format!("x:latest={value}");
        let built = options(&["--build-context", "x=gone", "--build-context", &word, "."], &[]).unwrap();
        assert_eq!(built.request.named_contexts.len(), 1, "one name, and the last value counts");
        built.request.named_contexts["x"].clone()
    };
    let layout = |path: &str, tag: Option<&str>, digest: Option<&str>| {
        let tag = tag.map(str::to_owned);
        let digest = digest.map(|digest| digest.parse().unwrap());
        NamedContextSource::OciLayout(LayoutReference { path: path.into(), tag, digest })
    };
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(source("docker-image://scratch"), NamedContextSource::Scratch);
    assert_eq!(source("some/dir"), NamedContextSource::Directory("some/dir".into()));
    assert_eq!(source("foo://bar"), NamedContextSource::Directory("foo://bar".into()));
    assert_eq!(source("oci-layout://some/dir"), layout("some/dir", None, None));
    assert_eq!(source("oci-layout:///a:b/c@d/e"), layout("/a:b/c@d/e", None, None));
    assert_eq!(source("oci-layout:///l:v1"), layout("/l", Some("v1"), None));
    assert_eq!(source(&format!("oci-layout:///l@{digest}")), layout("/l", None, Some(digest)));
    assert_eq!(source(&format!("oci-layout:///l:v1@{digest}")), layout("/l", Some("v1"), Some(digest)));
    let remote = |text: &str| RemoteContext::parse(text).map(NamedContextSource::Remote).unwrap();
    assert_eq!(source("git@example.org:a.git"), remote("git@example.org:a.git"));
    assert_eq!(source("https://example.org/a.tar"), remote("https://example.org/a.tar"));
    let error = options(&["--build-context", "x=oci-layout:///l@sha256:11", "."], &[]).unwrap_err();
    assert!(error.contains("could not parse oci-layout reference \"oci-layout:///l@sha256:11\""), "{error}");
}

#[test]
fn standard_input_is_the_dockerfile() {
    let built = options(&["-"], &[]).unwrap();
    assert_eq!(built.context, ContextKind::Stdin);
    assert!(matches!(built.request.context, ContextSource::Empty));
    let built = options(&["-f", "-", "d"], &[]).unwrap();
    assert_eq!(built.context, ContextKind::DirectoryWithDockerfileOnStdin);
}

#[test]
fn mistakes_are_told_in_docker_s_words() {
    for (words, message) in [
        (&["-t", "a:", "."][..], "failed to build: invalid tag \"a:\": invalid reference format"),
        (
            &["-f", "-", "-"],
            "failed to build: invalid argument: can't use stdin for both build context and dockerfile",
        ),
        (&["--add-host", "x", "."], "failed to build: invalid host x"),
        (&["--shm-size=xx", "."], "invalid argument \"xx\" for \"--shm-size\" flag: invalid size: 'xx'"),
        (&["--build-context", "foo", "."], "invalid context value: foo, expected key=value"),
        (&["--build-context", "=foo", "."], "invalid context name : invalid reference format"),
        (
            &["--build-context", "x=target:other", "."],
            "failed to build: failed to find target other for context x",
        ),
        (&["--label", "", "."], "invalid key-value pair \"\": empty key"),
        (&["--progress=foo", "."], "invalid progress mode foo"),
        (&["--platform=x", "."], "\"x\": unknown operating system or architecture"),
        (
            &["--progress=plain", "-q", "."],
            "failed to build: progress=plain and quiet cannot be used together",
        ),
        (&["--push", "."], "failed to build: tag is needed when pushing to registry"),
        (&["--provenance", "."], "--provenance is not supported yet"),
    ] {
        assert_eq!(options(words, &[]).unwrap_err(), message, "{words:?}");
    }
    let mode = options(&["--network=foo", "."], &[]).unwrap_err();
    assert!(mode.starts_with("failed to build: network mode \"foo\" not supported by buildkit"), "{mode}");
}

#[test]
fn flags_that_ask_for_nothing_pass() {
    let words = [
        "--provenance=false",
        "--sbom=0",
        "--push=false",
        "-o",
        "type=docker",
        "--attest=type=sbom,disabled=true",
        ".",
    ];
    assert!(options(&words, &[]).unwrap().warnings.is_empty());
    let warned = options(&["--rm", "--force-rm", "."], &[]).unwrap().warnings;
    assert_eq!(warned, ["force-rm flag is ignored", "rm flag is ignored"]);
}

#[test]
fn progress_is_chosen_by_flag_then_variable() {
    let progress = |words: &[&str], variables: &[(&str, &str)]| options(words, variables).unwrap().progress;
    assert_eq!(progress(&["."], &[]), ProgressChoice::Auto);
    assert_eq!(progress(&["."], &[("BUILDKIT_PROGRESS", "plain")]), ProgressChoice::Plain);
    assert_eq!(
        progress(&["--progress=tty", "."], &[("BUILDKIT_PROGRESS", "plain")]),
        ProgressChoice::Terminal
    );
    assert_eq!(
        progress(&["-q", "."], &[("BUILDKIT_PROGRESS", "plain")]),
        ProgressChoice::Quiet(PrintId::Yes)
    );
}
