//! `context ls`: what is in a context, how large it is, and which line of which ignore file decided; and the line with which a
//! build says that its context is large.

use crate::with_busybox;
use rbuild_testkit::{GitServer, Workspace};
use serde_json::Value;
use std::fs;

const IGNORED: &str = "# comment\n\nnode_modules\n**/*.log\n!keep.log\n";

fn context(here: &Workspace) -> String {
    let files = [
        (".dockerignore", IGNORED),
        ("a/file", "12345"),
        ("a/b/deep", "123"),
        ("node_modules/x/y", "left out"),
        ("a/noise.log", "left out"),
        ("keep.log", "kept"),
        ("Other", "FROM busybox\n"),
        ("Other.dockerignore", "a\n!a/b\n"),
    ];
    here.context("c", "FROM busybox\nCOPY . /all/\n", &files).display().to_string()
}

fn paths(listing: &str) -> Vec<String> {
    let rows = listing.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| row["Path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_listed_is_what_a_build_copies() {
    let Some(here) = with_busybox("context ls") else { return };
    let directory = context(&here);
    let listed = here.ok(["context", "ls", "--format", "json", &directory]);
    here.build("x", directory.as_ref());
    let copied = here.ok(["run", "--rm", "x", "sh", "-c", "cd /all; find * .d*"]);
    let mut copied: Vec<&str> = copied.lines().collect();
    copied.sort_unstable();
    let without_slash: Vec<String> =
        paths(&listed).iter().map(|path| path.trim_end_matches('/').to_owned()).collect();
    assert_eq!(without_slash, copied);
    let table = here.ok(["context", "ls", &directory]);
    assert!(table.contains("5B        a/file\n") && !table.contains("node_modules"), "{table}");
    let listed =
        here.ok(["context", "ls", "--format", "json", "-f", &format!("{directory}/Other"), &directory]);
    assert!(
        paths(&listed).contains(&"a/b/deep".to_owned()) && !paths(&listed).contains(&"a/file".to_owned()),
        "{listed}"
    );
    assert_eq!(here.ok(["context", "ls", "--format", "{{.Path}}", &directory]).lines().count(), copied.len());
}

#[test]
fn sizes_are_those_of_all_below() {
    let Some(here) = with_busybox("context ls --size") else { return };
    let directory = context(&here);
    let listed = here.ok(["context", "ls", "--size", "--format", "json", &directory]);
    let of = |path: &str| {
        let rows = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut rows = rows.filter(|row| row["Path"] == path);
        rows.next().map(|row| (row["Bytes"].as_u64().unwrap(), row["Files"].as_str().unwrap().to_owned()))
    };
    assert_eq!(of("a/"), Some((8, "2".to_owned())));
    assert_eq!(of("a/b/"), Some((3, "1".to_owned())));
    assert_eq!(of("node_modules/"), None);
    assert_eq!(paths(&listed)[0], "./", "the largest comes first");
}

#[test]
fn the_pattern_that_decided_is_named_with_its_line() {
    let Some(here) = with_busybox("context ls --why") else { return };
    let directory = context(&here);
    let why = |words: &[&str]| here.ok(["context", "ls"].iter().chain(words)).trim_end().to_owned();
    let whole = fs::canonicalize(&directory).unwrap().join("a/noise.log").display().to_string();
    for (path, expected) in [
        (
            "node_modules/x/y",
            "node_modules/x/y is left out of the context: .dockerignore:3: node_modules (matches node_modules)",
        ),
        ("./a//noise.log", "a/noise.log is left out of the context: .dockerignore:4: **/*.log"),
        (whole.as_str(), "a/noise.log is left out of the context: .dockerignore:4: **/*.log"),
        ("keep.log", "keep.log is in the context: .dockerignore:5: !keep.log"),
        ("a/file", "a/file is in the context: no pattern of .dockerignore matches it"),
        (
            "a/none.log",
            "a/none.log does not exist, and would be left out of the context: .dockerignore:4: **/*.log",
        ),
    ] {
        assert_eq!(why(&["--why", path, &directory]), expected);
    }
    let other = format!("{directory}/Other");
    assert_eq!(
        why(&["--why", "a/b/deep", "-f", &other, &directory]),
        "a/b/deep is in the context: Other.dockerignore:2: !a/b (matches a/b)"
    );
    let json: Value =
        serde_json::from_str(&why(&["--why", "a/noise.log", "--format", "json", &directory])).unwrap();
    assert_eq!(
        (&json["InContext"], &json["Line"], &json["Pattern"]),
        (&false.into(), &4.into(), &"**/*.log".into())
    );
    let bare = here.context("bare", "FROM busybox\n", &[]).display().to_string();
    assert_eq!(why(&["--why", "Dockerfile", &bare]), "Dockerfile is in the context: there is no ignore file");
    let wrong = here.fails(["context", "ls", "--why", "x", "--format", "{{.}}", &bare]);
    assert!(wrong.stderr.contains("must be text or json"), "{wrong:#?}");
}

#[test]
fn a_context_of_the_network_is_listed() {
    let Some(here) = with_busybox("context ls of a repository") else { return };
    let server = GitServer::start();
    let repository = server.repository("a.git");
    repository.commit(&[("Dockerfile", "FROM busybox\n"), (".dockerignore", "file\n"), ("file", "f")]);
    let listed = here.ok(["context", "ls", "--format", "json", &server.url("a.git")]);
    assert_eq!(paths(&listed), [".dockerignore", "Dockerfile", "file"], "its ignore file is not obeyed");
}

#[test]
fn a_large_context_is_told_in_one_line() {
    let Some(here) = with_busybox("large contexts") else { return };
    let files = [("small", "s"), ("data/a", ""), ("big", "")];
    let directory = here.context("c", "FROM busybox\nCOPY . /all/\n", &files);
    let length = |path: &str, bytes| {
        fs::File::options().write(true).open(directory.join(path)).unwrap().set_len(bytes).unwrap();
    };
    let build = || here.run(["build", "--progress=plain", directory.to_str().unwrap()]);
    assert!(!build().stderr.contains("of the context"));
    length("data/a", 80_000_000);
    length("big", 40_000_000);
    let expected =
        "COPY . /all/ takes 120 MB of the context, the most in data (80 MB), big (40 MB); .dockerignore";
    for told in [build(), build()] {
        // where it happens, and at the end among the warnings
        assert_eq!(told.stderr.matches(expected).count(), 2, "{told:#?}");
    }
}
