//! How mistakes in a Dockerfile are shown: exactly as Docker does without a terminal, in color on one.

use crate::RBUILD;
use rbuild_testkit::{Workspace, has_program, is_root};
use std::{
    ffi::OsStr,
    io::Write,
    process::{Command, Stdio},
};

const SEVERAL: &str = "FROM scratch\nRNU x\nCOPY --chwon=1 a b\nCMD fine\nEXPOSE\n";

/// What is said of [`SEVERAL`]: the last lines are Docker's.
const SAID: &str = "\
Dockerfile:3: unknown flag: --chwon (did you mean chmod?)
   3 | >>> COPY --chwon=1 a b
Dockerfile:5: EXPOSE requires at least one argument
   5 | >>> EXPOSE
Dockerfile:2
--------------------
   1 |     FROM scratch
   2 | >>> RNU x
   3 |     COPY --chwon=1 a b
   4 |     CMD fine
--------------------
ERROR: failed to build: failed to solve: dockerfile parse error on line 2: unknown instruction: RNU (did you mean RUN?)
";

#[test]
fn sure_mistakes_are_shown_together_and_the_first_one_last() {
    if !is_root("sure_mistakes_are_shown_together") {
        return;
    }
    let here = Workspace::new(RBUILD);
    let context = here.context("c", SEVERAL, &[]);
    let ran = here.fails(["build".as_ref(), "--progress=quiet".as_ref(), context.as_os_str()]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, SAID));
}

#[test]
fn a_source_that_is_not_there_is_looked_for_by_its_neighbours() {
    if !is_root("a_source_that_is_not_there") {
        return;
    }
    let here = Workspace::new(RBUILD);
    let files =
        [("index.html", "x"), ("src/main.rs", "x"), ("secret.pem", "x"), (".dockerignore", "*.pem\n")];
    for (source, near) in [
        ("indx.html", Some("index.html")),
        ("scr/main.rs", Some("src/main.rs")),
        ("src/man.rs", Some("src/main.rs")),
        ("Index.HTML", Some("index.html")),
        ("main.rs", Some("src/main.rs")),
        ("sorcery", None),
        ("i", None),
        // it is left out of the context
        ("secrt.pem", None),
    ] {
        let context = here.context("c", &format!("FROM scratch\nCOPY {source} /\n"), &files);
        let ran = here.fails(["build".as_ref(), "--progress=quiet".as_ref(), context.as_os_str()]);
        let said = ran.stderr.lines().last().unwrap();
        let hint = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        let end = format!("{:?}: not found{hint}", format!("/{source}"));
        assert!(said.ends_with(&end), "{said}");
    }
    let context = here.context("c", "FROM scratch\nCOPY ../src/indx.html /\n", &files);
    let ran = here.fails(["build".as_ref(), "--progress=quiet".as_ref(), context.as_os_str()]);
    assert!(ran.stderr.contains("not found: a build reaches nothing above its context"), "{ran:#?}");
}

/// A builder with a daemon gets of a directory only what a Dockerfile names: a pattern without a match brings no directory along.
#[test]
fn a_pattern_that_matches_nothing_needs_its_directory_to_be_named() {
    if !is_root("a_pattern_that_matches_nothing") {
        return;
    }
    let here = Workspace::new(RBUILD);
    let files = [("target/classes/A", "a"), ("other/x", "b")];
    let gone = "lstat /target: no such file or directory: nothing matches target/*.jar";
    for (lines, failure) in [
        ("COPY target/*.jar /a/", Some(gone)),
        ("COPY other/x target/*.jar /a/", Some(gone)),
        ("COPY target/*.jar /a/\nCOPY target/classes/A /b", None),
        ("COPY target/*.jar /a/\nCOPY . /b", None),
        ("COPY *.jar /a/", None),
        ("COPY none/*.jar /a/", Some("lstat /none: no such file or directory: nothing matches none/*.jar")),
    ] {
        let context = here.context("c", &format!("FROM scratch\n{lines}\n"), &files);
        let ran = here.run(["build".as_ref(), "--progress=quiet".as_ref(), context.as_os_str()]);
        match failure {
            Some(failure) => {
                assert!(ran.code == 1 && ran.stderr.trim_end().ends_with(failure), "{lines}: {ran:#?}");
            }
            None => assert_eq!(ran.code, 0, "{lines}: {ran:#?}"),
        }
        if failure == Some(gone) {
            // an archive brings all that it has
            let tar = Command::new("tar").args(["-cf", "-", "-C"]).arg(&context).arg(".").output().unwrap();
            let mut child = here.command(["build", "-q", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), &tar.stdout).unwrap();
            assert!(child.wait().unwrap().success(), "{lines}");
        }
    }
}

#[test]
fn a_build_argument_with_a_slip_is_told() {
    if !is_root("a_build_argument_with_a_slip") {
        return;
    }
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM scratch\nARG VERSION\nLABEL version=$VERSION\n", &[]);
    let warned = |argument: &str| {
        let arguments = ["build", "--progress=plain", "--build-arg", argument];
        let ran = here.run(arguments.map(OsStr::new).iter().chain([&context.as_os_str()]));
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.stderr
            .contains("no ARG is called VERSON, so --build-arg VERSON does nothing (did you mean VERSION?)")
    };
    assert!(warned("VERSON=1"));
    assert!(!warned("VERSION=1"));
    assert!(!warned("HTTP_PROXY=http://proxy.example"));
}

#[test]
fn names_with_a_slip_are_told_whatever_they_name() {
    if !is_root("names_with_a_slip_are_told") {
        return;
    }
    let here = Workspace::new(RBUILD);
    let files = [("Dockerfile.prod", "FROM scratch\nLABEL a=b\n"), ("f", "x")];
    let directory = here.context("c", "FROM scratch AS common\nCOPY f /\nFROM common\n", &files);
    let context = directory.to_str().unwrap();
    let given = |name: &str| format!("{name}={context}");
    let warned = here.run(["build", "--progress=plain", "--build-context", &given("comon"), context]);
    assert_eq!(warned.code, 0, "{warned:#?}");
    let said = "nothing uses --build-context comon (did you mean common?)";
    assert!(warned.stderr.contains(said), "{warned:#?}");
    for name in ["common", "another"] {
        let quiet = here.run(["build", "--progress=plain", "--build-context", &given(name), context]);
        assert!(quiet.code == 0 && !quiet.stderr.contains("nothing uses"), "{quiet:#?}");
    }
    let meant = format!("no such file or directory (did you mean {context}/Dockerfile.prod?)\n");
    assert!(here.fails(["build", "-f", "Dockerfile.prod", context]).stderr.ends_with(&meant));
    for (text, flags, said) in [
        (
            "ARG VERSION=1\nFROM busybox:$VERSOIN\n",
            &["-q"][..],
            "failed to parse stage name \"busybox:\": invalid reference format (did you mean VERSION?)\n",
        ),
        (
            "FROM scratch\nCOPY --from=asset f /\n",
            &["--pull=never", "--build-context", &given("assets")],
            "(did you mean assets?)\n",
        ),
    ] {
        let other = here.context("other", text, &[]);
        let ran = here.fails([&["build"], flags, &[other.to_str().unwrap()]].concat());
        assert!(ran.stderr.ends_with(said), "{ran:#?}");
    }
}

#[test]
fn what_is_no_dockerfile_is_not_shown_whole() {
    let here = Workspace::new(RBUILD);
    let mut build = here.command(["build", "-"]);
    let mut build = build.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    build.stdin.take().unwrap().write_all(&[0; 10 << 10]).unwrap();
    let ran = rbuild_testkit::Ran::of(build.wait_with_output().unwrap());
    let said = "ERROR: failed to build: standard input is an archive without files, or no Dockerfile at all: it begins with zeros\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (1, said));
}

#[test]
fn a_file_without_a_place_to_show_has_only_the_message() {
    if !is_root("a_file_without_a_place") {
        return;
    }
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "ARG A\n", &[]);
    let ran = here.fails(["build".as_ref(), "--progress=quiet".as_ref(), context.as_os_str()]);
    assert_eq!(
        ran.stderr,
        "ERROR: failed to build: failed to solve: dockerfile contains no stages to build\n"
    );
}

#[test]
fn terminals_get_colors_and_pipes_do_not() {
    let test = "terminals_get_colors_and_pipes_do_not";
    if !is_root(test) || !has_program("script", test) {
        return;
    }
    let here = Workspace::new(RBUILD);
    let context = here.context("c", SEVERAL, &[]);
    let build = here.command(["build".as_ref(), "--progress=quiet".as_ref(), context.as_os_str()]);
    let words = std::iter::once(build.get_program()).chain(build.get_args());
    let line = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
    let on_terminal = |variables: &[(&str, &str)]| {
        let mut script = Command::new("script");
        script
            .args(["-qec", &line, "/dev/null"])
            .env_clear()
            .envs(build.get_envs().filter_map(|(k, v)| Some((k, v?))));
        let output = script.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
    };
    let colored = on_terminal(&[("TERM", "xterm")]);
    for part in [
        "\u{1b}[1mDockerfile:3\u{1b}[0m: unknown flag: --chwon (did you mean chmod?)\n",
        "\u{1b}[1mDockerfile:2\u{1b}[0m\n\u{1b}[2m--------------------\u{1b}[0m\n",
        "\u{1b}[2m   1 |     FROM scratch\u{1b}[0m\n\u{1b}[1;31m   2 | >>>\u{1b}[0m RNU x\n",
        "\u{1b}[1;31mERROR:\u{1b}[0m failed to build",
    ] {
        assert!(colored.contains(part), "{part:?} in {colored:?}");
    }
    assert_eq!(on_terminal(&[("TERM", "xterm"), ("NO_COLOR", "1")]), SAID);
    assert_eq!(on_terminal(&[("TERM", "dumb")]), SAID);
}
