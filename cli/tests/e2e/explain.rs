//! Why steps ran: the first input that is not what it was, whatever it is.

use crate::with_busybox;
use rbuild_testkit::{Ran, Workspace};
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

/// Builds with `flags`; what was said while it was built.
fn build(here: &Workspace, flags: &[&str], context: &Path) -> Ran {
    let words = ["build", "-t", "x"].iter().chain(flags).copied().chain([context.to_str().unwrap()]);
    let ran = here.run(words);
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran
}

/// The explanation of the newest build.
fn explained(here: &Workspace) -> String {
    here.ok(["explain"])
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn one_mode_bit_among_ten_thousand_files_is_named() {
    let Some(here) = with_busybox("one_mode_bit_among_ten_thousand_files_is_named") else { return };
    let context = here.context("c", "FROM busybox\nCOPY . /src\nRUN true\n", &[]);
    for directory in 0..100 {
        let directory = context.join(format!("d{directory:02}"));
        fs::create_dir(&directory).unwrap();
        (0..100).for_each(|file| fs::write(directory.join(format!("f{file:02}")), "same").unwrap());
    }
    build(&here, &[], &context);
    assert!(
        explained(&here).contains("ran, because no earlier build had a step like it"),
        "{}",
        explained(&here)
    );
    assert!(!build(&here, &[], &context).stderr.contains("not in the cache"));
    assert!(explained(&here).ends_with(": 2 of 2 steps from the cache, 0 ran\n"), "{}", explained(&here));

    chmod(&context.join("d42/f17"), 0o645);
    let ran = build(&here, &[], &context);
    let line = "\nfirst step not in the cache: step 1 (line 2) COPY . /src: /d42/f17 (mode 0644 → 0645)\n";
    assert!(ran.stderr.ends_with(line), "{}", ran.stderr);
    let text = explained(&here);
    assert!(text.contains("most like it:\n      /d42/f17 (mode 0644 → 0645)\n\nstep 2 "), "{text}");
    assert!(text.contains("    ran, because step 1 ran before it and left other files\n"), "{text}");
}

#[test]
fn every_kind_of_change_to_a_file_is_named() {
    let Some(here) = with_busybox("every_kind_of_change_to_a_file_is_named") else { return };
    let context = here.context("c", "FROM busybox\nCOPY . /src\n", &[("a", "1"), ("d/b", "1"), ("gone", "")]);
    build(&here, &[], &context);
    let change = |change: &dyn Fn(), named: &[&str]| {
        change();
        build(&here, &[], &context);
        let text = explained(&here);
        let list: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("      ")).collect();
        assert_eq!(list, named, "{text}");
    };
    change(&|| fs::write(context.join("a"), "2").unwrap(), &["/a (content)"]);
    change(&|| fs::remove_file(context.join("gone")).unwrap(), &["/gone (removed)"]);
    change(
        &|| fs::rename(context.join("d"), context.join("e")).unwrap(),
        &["/d/b (removed)", "/e/b (added)"],
    );
    change(
        &|| {
            fs::remove_file(context.join("a")).unwrap();
            symlink("e/b", context.join("a")).unwrap();
        },
        &["/a (file → symlink)"],
    );
    change(
        &|| {
            fs::remove_file(context.join("a")).unwrap();
            symlink("e", context.join("a")).unwrap();
        },
        &["/a (content)"],
    );
    change(&|| chmod(&context.join("e"), 0o700), &["/e (mode 0755 → 0700)"]);
}

#[test]
fn files_of_stages_images_and_mounts_are_named() {
    let Some(here) = with_busybox("files_of_stages_images_and_mounts_are_named") else { return };
    let lib = here.context(
        "lib",
        "FROM busybox\nARG V=1\nRUN mkdir /l && echo $V > /l/v && echo same > /l/s\n",
        &[],
    );
    let dockerfile = "FROM busybox AS made\nCOPY in /in\nRUN mkdir /o && cp /in /o/out && echo k > /o/kept\n\
        FROM busybox\nCOPY --from=made /o /o\nCOPY --from=lib /l /l\nRUN --mount=target=/m cat /m/sub/x\n\
        RUN --mount=from=made,source=/o,target=/s --mount=from=made,source=/o/out,target=/one cat /s/out\n";
    let context =
        here.context("c", dockerfile, &[("in", "1"), ("sub/x", "1"), ("Dockerfile.dockerignore", "")]);
    let libs = |value: &str| {
        here.ok(["build", "-t", "lib", "--build-arg", &format!("V={value}"), lib.to_str().unwrap()]);
    };
    libs("1");
    build(&here, &[], &context);
    let reason = |step: &str| here.ok(["explain", "^0", step]);

    libs("2");
    build(&here, &[], &context);
    assert!(reason("4").ends_with("most like it:\n      /l/v (content)\n"), "{}", reason("4"));
    fs::write(context.join("in"), "2").unwrap();
    build(&here, &[], &context);
    assert!(reason("1").ends_with("      /in (content)\n"), "{}", reason("1"));
    assert!(reason("3").ends_with("most like it:\n      /o/out (content)\n"), "{}", reason("3"));
    assert!(reason("5").contains("      mount /m: /in (content)\n"), "{}", reason("5"));
    let mounted = "      mount /one (content)\n      mount /s: /out (content)\n";
    assert!(reason("6").ends_with(mounted), "{}", reason("6"));
    chmod(&context.join("sub/x"), 0o600);
    build(&here, &[], &context);
    assert!(reason("5").ends_with("      mount /m: /sub/x (mode 0644 → 0600)\n"), "{}", reason("5"));
    assert_eq!(reason("1").lines().nth(1), Some("    was in the cache"));
}

#[test]
fn arguments_flags_commands_and_bases_have_their_values_and_secrets_stars() {
    let Some(here) = with_busybox("arguments_flags_commands_and_bases_have_their_values") else { return };
    let dockerfile =
        "FROM busybox\nARG VERSION=1\nARG API_TOKEN=first-secret\nRUN echo $VERSION\nCOPY f /f\n";
    let context = here.context("c", dockerfile, &[("f", "f")]);
    build(&here, &[], &context);
    let changes = |flags: &[&str], step: &str| {
        build(&here, flags, &context);
        let text = here.ok(["explain", "^0", step]);
        let list = text.lines().filter_map(|line| line.strip_prefix("      "));
        list.map(str::to_owned).collect::<Vec<_>>()
    };
    let edit = |from: &str, to: &str| {
        let path = context.join("Dockerfile");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(&path, text.replace(from, to)).unwrap();
    };
    assert_eq!(changes(&["--build-arg=VERSION=2"], "1"), ["the variable VERSION: 1 → 2"]);
    assert_eq!(
        changes(&["--build-arg=VERSION=2", "--build-arg=API_TOKEN=other-secret"], "1"),
        ["the variable API_TOKEN: *** → ***"]
    );
    build(&here, &[], &context);
    edit("RUN echo $VERSION", "RUN curl -H 'Authorization: Bearer abcdef' x; echo $VERSION");
    assert_eq!(
        changes(&[], "1"),
        ["the command: echo $VERSION → curl -H 'Authorization: Bearer ***' x; echo $VERSION"]
    );
    for file in ["index", "recent", "builds"].map(|part| here.store().join(part)) {
        let kept = text_below(&file.join(""));
        let is_record_of_build = file.ends_with("builds");
        assert!(!is_record_of_build || !kept.contains("-secret"), "{kept}");
    }
    edit("COPY f", "COPY --chmod=600 --link f");
    assert_eq!(changes(&[], "2"), ["--link: link=false → link=true", "--chmod: added 600"]);
    edit("RUN curl", "RUN --network=none curl");
    assert_eq!(changes(&[], "1"), ["--network: default → none"]);
    let other = here.context("other", "FROM busybox\nRUN echo other > /other\n", &[]);
    here.build("base", &other);
    edit("FROM busybox", "FROM base");
    assert_eq!(changes(&[], "1"), ["the base image: busybox → base"]);
    fs::write(other.join("Dockerfile"), "FROM busybox\nRUN echo another > /other\n").unwrap();
    here.build("base", &other);
    let base = changes(&[], "1");
    assert!(base.len() == 1 && base[0].starts_with("the base image: base ("), "{base:?}");
}

/// The text of all files below a directory.
fn text_below(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.map(|path| {
        if path.is_dir() {
            text_below(&path)
        } else {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        }
    });
    texts.collect()
}

#[test]
fn what_is_gone_or_unwanted_says_so() {
    let Some(here) = with_busybox("what_is_gone_or_unwanted_says_so") else { return };
    let context = here.context("c", "FROM busybox\nCOPY f /f\nRUN cat /f\n", &[("f", "f")]);
    build(&here, &[], &context);
    build(&here, &["--no-cache"], &context);
    assert!(explained(&here).contains("ran, because no cache wanted"), "{}", explained(&here));
    here.ok(["rmi", "x"]);
    here.ok(["builder", "prune", "-af"]);
    build(&here, &[], &context);
    assert!(explained(&here).contains(" by a prune\n"), "{}", explained(&here));
    // the records of the last build are gone; those of the index are not
    fs::write(context.join("f"), "g").unwrap();
    fs::remove_dir_all(here.store().join("recent")).unwrap();
    build(&here, &[], &context);
    assert!(explained(&here).contains("      /f (content)\n"), "{}", explained(&here));
    // nor is a list of files: which of them it was is not known any more
    for blob in fs::read_dir(here.store().join("blobs/sha256")).unwrap().map(|blob| blob.unwrap().path()) {
        if fs::read(&blob).unwrap().starts_with(b"rbuild-files ") {
            fs::remove_file(blob).unwrap();
        }
    }
    fs::write(context.join("f"), "h").unwrap();
    build(&here, &[], &context);
    assert!(
        explained(&here).contains("      files (which, the earlier build did not note)\n"),
        "{}",
        explained(&here)
    );
}

#[test]
fn a_build_explains_itself_and_writes_a_report_even_when_it_fails() {
    let Some(here) = with_busybox("a_build_explains_itself_and_writes_a_report") else { return };
    let context = here.context("c", "FROM busybox\nCOPY f /f\nRUN cat /f\n", &[("f", "f")]);
    build(&here, &[], &context);
    fs::write(context.join("f"), "g").unwrap();
    let report = here.path().join("report.json");
    let flags = ["--explain", "-q", "--cache-report", report.to_str().unwrap()];
    let ran = build(&here, &flags, &context);
    assert!(ran.stdout.starts_with("sha256:") && ran.stdout.lines().count() == 1, "{ran:#?}");
    assert_eq!(ran.stderr.trim_start(), explained(&here));
    let json: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(
        (&json["NumCachedSteps"], &json["NumRunSteps"], &json["FirstMiss"]),
        (&0.into(), &2.into(), &1.into())
    );
    let input = &json["Steps"][0]["Miss"]["Inputs"][0];
    assert_eq!((&input["Input"], &input["Aspects"]), (&"/f".into(), &serde_json::json!(["content"])));
    assert_eq!(json, serde_json::from_str::<Value>(&here.ok(["explain", "--format=json"])).unwrap());

    fs::write(context.join("Dockerfile"), "FROM busybox\nCOPY f /f\nRUN cat /f; false\n").unwrap();
    let mut words = vec!["build", "--explain", "--cache-report", report.to_str().unwrap()];
    words.push(context.to_str().unwrap());
    let failed = here.fails(words);
    assert!(failed.stderr.contains("      the command: cat /f → cat /f; false\n"), "{}", failed.stderr);
    let json: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!((&json["NumCachedSteps"], &json["Steps"][1]["Status"]), (&1.into(), &"failed".into()));
    // one number for a step, and what is to be had of it
    let nothing = here.run(["builds", "logs", "^0", "1"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (0, ""));
    assert_eq!(nothing.stderr, "step 1 [stage-0] COPY f /f has written nothing\n");
    for command in [&["builds", "logs"][..], &["explain"], &["debug"]] {
        let missing = here.fails([command, &["^0", "77"]].concat());
        assert!(missing.stderr.ends_with(" has no step 77: it has steps 1 to 2\n"), "{missing:#?}");
    }
    for wrong in [&["^9"][..], &["^0", "9"], &["^0", "--format=yaml"]] {
        assert_ne!(here.run([&["explain"], wrong].concat()).code, 0, "{wrong:?}");
    }
}

/// A step is compared with the one that stood in its place or was written the same, and with no other of its kind.
#[test]
fn an_unrelated_step_is_new_and_a_moved_one_stands_on_another() {
    let Some(here) = with_busybox("an_unrelated_step_is_new_and_a_moved_one") else { return };
    let text = "FROM busybox\nENV A=1\nRUN echo $VERSION > /version\nRUN echo other > /other\n";
    let context = here.context("c", text, &[("f", "f")]);
    let ran = |text: &str| {
        fs::write(context.join("Dockerfile"), text).unwrap();
        build(&here, &[], &context).stderr
    };
    ran(text);
    let unrelated = ran("FROM busybox\nCOPY f /f\nRUN cat /etc/group | md5sum\n");
    assert!(
        unrelated.contains("first step not in the cache: step 1 (line 2) COPY f /f: never built before\n"),
        "{unrelated}"
    );
    assert_eq!(
        explained(&here).matches("no earlier build had a step like it").count(),
        2,
        "{}",
        explained(&here)
    );
    // put in front of what was first
    ran("FROM busybox\nRUN echo moved\n");
    ran("FROM busybox\nCOPY f /f\nRUN echo moved\n");
    assert!(!explained(&here).contains("the base image"), "{}", explained(&here));
    // nor is one of another project, whose directory was called the same there
    let projects = ["FROM busybox\nCOPY f /in-one\n", "FROM busybox\nCOPY Dockerfile /x/\n"];
    for (name, text) in ["one", "two"].into_iter().zip(projects) {
        let project = here.context(name, text, &[("f", name)]);
        let ran = Ran::of(here.command(["build", "."]).current_dir(project).output().unwrap());
        assert!(ran.stderr.ends_with(": never built before\n"), "{ran:#?}");
    }
    ran("FROM busybox\nCOPY f /f\nRUN echo moved\n");
    // edited in its place
    let edited = ran("FROM busybox\nCOPY f /f\nRUN echo edited\n");
    assert!(edited.ends_with("RUN echo edited: the command: echo moved → echo edited\n"), "{edited}");
}
