//! What a build would do, without doing it: `plan`, `check`, `--call`, and the warnings of a build.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Ran, Workspace};
use std::{fs, path::Path};

const STAGES: &str = "FROM busybox AS base\nWORKDIR /src\n\
    FROM base AS build\nCOPY in.txt ./\nRUN cat in.txt > out\nRUN echo $(wc -c < out) > size\n\
    FROM busybox AS other\nRUN echo other > /other\n\
    FROM busybox\nCOPY --from=build /src/size /size\nCOPY --from=other /other /other\nRUN cat /size /other > /both\n";

/// The marks of the text form: `cached RUN`, without line numbers and arrows.
fn marks(text: &str) -> Vec<String> {
    let steps = text.lines().filter(|line| line.starts_with(' '));
    let words = steps.map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.map(|words| words[1..3].join(" ")).collect()
}

fn plan(here: &Workspace, flags: &[&str], context: &Path) -> String {
    here.ok(["plan"]
        .iter()
        .chain(flags)
        .map(|word| (*word).to_owned())
        .chain([context.display().to_string()]))
}

fn check(here: &Workspace, flags: &[&str], context: &Path) -> Ran {
    here.run(
        ["check"].iter().chain(flags).map(|word| (*word).to_owned()).chain([context.display().to_string()]),
    )
}

#[test]
fn a_plan_says_what_a_build_then_does() {
    let Some(here) = with_busybox("a_plan_says_what_a_build_then_does") else { return };
    let context = here.context("c", STAGES, &[("in.txt", "in")]);
    let before = plan(&here, &[], &context);
    assert!(
        before.starts_with(
            "base ← busybox  [run]\n   2  run     WORKDIR /src  (new)\n\nbuild ← base  [run]\n   4  run     COPY in.txt ./\n"
        ),
        "{before}"
    );
    assert!(
        before.contains("  ← build\n") && before.contains("stage-3 (target) ← busybox, build, other  ["),
        "{before}"
    );
    assert_eq!(here.ok(["images", "-q"]).lines().count(), 1, "nothing was built");
    here.build("x", &context);
    let after = plan(&here, &[], &context);
    assert!(after.ends_with("\n8 steps: 8 cached\n"), "{after}");
    let fresh = plan(&here, &["--target=other", "--no-cache-filter=other"], &context);
    assert!(fresh.contains("run     RUN echo other"), "{fresh}");
    assert!(!plan(&here, &["--target", "base"], &context).contains("COPY"));
}

#[test]
fn a_change_reaches_as_far_as_it_may() {
    let Some(here) = with_busybox("a_change_reaches_as_far_as_it_may") else { return };
    let context = here.context("c", STAGES, &[("in.txt", "in")]);
    here.build("x", &context);
    fs::write(context.join("in.txt"), "ni").unwrap();
    let text = plan(&here, &[], &context);
    assert_eq!(
        marks(&text),
        [
            "cached WORKDIR",
            "run COPY",
            // the same steps ran before, on other files
            "maybe RUN",
            "maybe RUN",
            "cached RUN",
            "maybe COPY",
            "maybe COPY",
            "maybe RUN"
        ],
        "{text}"
    );
    let progress = here.build("x", &context);
    let cached = progress.lines().filter(|line| line.ends_with(" CACHED")).count();
    assert_eq!(cached, 5, "`size` is the same, so what copies it is cached after all: {progress}");
}

#[test]
fn plans_for_programs() {
    let Some(here) = with_busybox("plans_for_programs") else { return };
    let context = here.context("c", STAGES, &[("in.txt", "in")]);
    let json = plan(&here, &["--format=json"], &context);
    for part in ["\"version\": 1", "\"target\": \"stage-3\"", "\"state\": \"run\"", "\"kind\": \"image\""] {
        assert!(json.contains(part), "{part} is missing in {json}");
    }
    assert!(plan(&here, &["--format=dot"], &context).starts_with("digraph plan {\n"));
    assert!(plan(&here, &["--format=mermaid"], &context).starts_with("flowchart LR\n"));
}

#[test]
fn a_plan_pulls_nothing() {
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM no-such-image\nRUN true\n", &[]);
    let ran = here.fails(["plan".to_owned(), context.display().to_string()]);
    assert!(
        ran.stderr.contains("Dockerfile:1") && ran.stderr.contains("rbuild pull no-such-image"),
        "{ran:#?}"
    );
    assert!(ran.stdout.is_empty(), "{ran:#?}");
}

#[test]
fn checks_are_docker_s() {
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM not-in-the-store AS Build\nMAINTAINER me\n", &[]);
    let ran = check(&here, &[], &context);
    let file = context.join("Dockerfile").display().to_string();
    assert_eq!(
        ran.stdout,
        format!(
            "Check complete, 2 warnings have been found!\n\n\
             WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n\
             Stage name 'Build' should be lowercase\n{file}:1\n--------------------\n   1 | >>> FROM not-in-the-store AS \
             Build\n   2 |     MAINTAINER me\n   3 |     \n--------------------\n\n\
             WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\n\
             Maintainer instruction is deprecated in favor of using label\n{file}:2\n--------------------\n   1 |     FROM \
             not-in-the-store AS Build\n   2 | >>> MAINTAINER me\n   3 |     \n--------------------\n"
        )
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let same = here.run(["build", "--check", &context.display().to_string()]);
    assert_eq!((&same.stdout, same.code), (&ran.stdout, 1));
    let json = check(&here, &["--format=json"], &context);
    assert!(json.code == 1 && json.stdout.contains("\"ruleName\": \"StageNameCasing\""), "{json:#?}");
    let clean = check(&here, &[], &here.context("clean", "FROM nowhere\nRUN true\n", &[]));
    assert_eq!((clean.stdout.as_str(), clean.code), ("Check complete, no warnings found.\n", 0));
}

#[test]
fn checks_see_every_stage_and_obey_the_file() {
    let here = Workspace::new(RBUILD);
    let outcome = |dockerfile: &str| {
        let ran = check(&here, &[], &here.context("c", dockerfile, &[(".dockerignore", "*.log\n")]));
        (ran.stdout.lines().next().unwrap_or_default().to_owned(), ran.code, ran.stderr)
    };
    let two = "FROM a AS one\nENV A b\nFROM b\nCOPY x.log /\n";
    assert_eq!(outcome(two).0, "Check complete, 2 warnings have been found!");
    let (text, code, _) = outcome(&format!("# check=skip=CopyIgnoredFile\n{two}"));
    assert_eq!((text.as_str(), code), ("Check complete, 1 warning has been found!", 1));
    assert_eq!(outcome(&format!("# check=skip=all\n{two}")).1, 0);
    let (_, code, stderr) = outcome(&format!("# check=error=true\n{two}"));
    assert!(
        code == 1 && stderr.contains("lint violation found for rules: CopyIgnoredFile, LegacyKeyValueFormat"),
        "{stderr}"
    );
    let (text, code, stderr) = outcome("FROM a\nrun true\nRUN true\nRUN true\nCOPY --from=9 a b\n");
    assert_eq!((text.as_str(), code), ("Check complete, 1 warning has been found!", 1));
    assert!(stderr.contains("Dockerfile:5") && stderr.contains("invalid stage index 9"), "{stderr}");
}

#[test]
fn outlines_and_targets() {
    let here = Workspace::new(RBUILD);
    let dockerfile = "# VERSION of the base\nARG VERSION=1\nARG UNUSED=x\nFROM base:$VERSION AS one\n\
        # one-shot\nARG MODE=${VERSION}-fast\nRUN --mount=type=secret,id=key,required=true true\n\
        # release is what ships\nFROM one AS release\nARG VERSION\n";
    let context = here.context("c", dockerfile, &[]).display().to_string();
    let outline = here.ok(["build", "--call=outline", "--build-arg", "MODE=slow", &context]);
    assert_eq!(
        outline,
        "TARGET:      release\nDESCRIPTION: is what ships\n\nBUILD ARG   VALUE   DESCRIPTION\nVERSION     1       of the \
         base\nMODE        slow    \n\nSECRET   REQUIRED\nkey      true\n\n"
    );
    let targets = here.ok(["build", "--call=targets", &context]);
    assert_eq!(
        targets,
        "TARGET            DESCRIPTION\none               \nrelease (default) is what ships\n"
    );
    let json = here.ok(["build", "--call=targets,format=json", &context]);
    assert!(json.contains("\"base\": \"base:$VERSION\"") && json.contains("\"default\": true"), "{json}");
    assert!(here.ok(["build", "--call=outline,format=json", &context]).contains("\"required\": true"));
}

#[test]
fn builds_list_their_warnings_twice() {
    let Some(here) = with_busybox("builds_list_their_warnings_twice") else { return };
    let context = here.context("c", "FROM busybox as x\nCMD true\n", &[]);
    let progress = here.build("x", &context);
    let warning = "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)";
    assert!(
        progress.contains(&format!("[internal] load build definition from Dockerfile\n#1 WARN: {warning}\n")),
        "{progress}"
    );
    let end = format!("\n 2 warnings found:\n - {warning}\n - JSONArgsRecommended: ");
    assert!(progress.contains(&end), "{progress}");
}

#[test]
fn a_file_that_cannot_be_built_is_told_after_its_findings() {
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM scratch AS X\nLABEL a=b \\\n  c=$d\nEXPOSE 80/foo\nCMD x\n", &[]);
    let file = context.join("Dockerfile").display().to_string();
    let text = check(&here, &[], &context);
    assert!(text.stdout.starts_with("Check complete, 2 warnings have been found!\n\n"), "{text:#?}");
    assert_eq!(
        (text.code, text.stderr),
        (
            1,
            format!(
                "ERROR: invalid port: \"80/foo\": invalid proto: foo\n{file}:4\n--------------------\n   2 |     LABEL a=b \
                 \\\n   3 |       c=$d\n   4 | >>> EXPOSE 80/foo\n   5 |     CMD x\n   6 |     \n--------------------\n"
            )
        )
    );
    let json: serde_json::Value =
        serde_json::from_str(&check(&here, &["--format=json"], &context).stdout).unwrap();
    let line = |line: u64| serde_json::json!({"start": {"line": line}, "end": {"line": line}});
    assert_eq!(json["warnings"][1]["location"]["ranges"], serde_json::json!([line(2), line(3)]), "{json:#}");
    let error = serde_json::json!({
        "message": "invalid port: \"80/foo\": invalid proto: foo", "location": {"ranges": [line(4)]}
    });
    assert_eq!(json["buildError"], error);
    let clean = check(&here, &["--format=json"], &here.context("clean", "FROM scratch\n", &[]));
    assert!(clean.stdout.starts_with("{\n  \"warnings\": null,\n"), "{clean:#?}");
    let nowhere = check(&here, &["--target=y", "--format=json"], &context);
    assert!(nowhere.stdout.contains("\"location\": {}"), "{nowhere:#?}");
    let argument = check(&here, &["--build-arg=BUILDKIT_DOCKERFILE_CHECK=nope"], &context);
    assert_eq!((argument.stdout.as_str(), argument.code), ("", 1));
    assert!(argument.stderr.contains("failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: invalid"));
}

#[test]
fn findings_before_a_syntax_error_are_told() {
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM scratch AS X\nMAINTAINER me\nCMD x\nFOO\nMAINTAINER you\n", &[]);
    let ran = check(&here, &[], &context);
    let rules: Vec<&str> = ran.stdout.lines().filter_map(|line| line.strip_prefix("WARNING: ")).collect();
    assert!(ran.stdout.starts_with("Check complete, 2 warnings have been found!\n"), "{ran:#?}");
    assert!(rules[0].starts_with("StageNameCasing - ") && rules[1].starts_with("MaintainerDeprecated - "));
    assert!(ran.stderr.contains("unknown instruction: FOO"), "{ran:#?}");
    let built = here.fails(["build", &context.display().to_string()]);
    assert!(built.stderr.contains(" 2 warnings found:\n"), "{built:#?}");
    let skipping = here.context("s", "# check=skip=all\nFROM scratch AS X\nFOO\n", &[]);
    assert!(!check(&here, &[], &skipping).stdout.contains("WARNING"));
    let words = check(&here, &[], &here.context("w", "FROM scratch is X\n", &[])).stdout;
    assert!(words.contains("WARNING: StageNameCasing") && words.contains("WARNING: FromAsCasing"), "{words}");
    let first = here.context("f", "FOO\nFROM scratch AS X\n", &[]);
    assert!(!check(&here, &[], &first).stdout.contains("WARNING"));
}

#[test]
fn sources_are_compared_with_the_ignore_file() {
    let here = Workspace::new(RBUILD);
    let files = |ignore: &str, sources: &str| {
        let dockerfile = format!("FROM scratch\nENV log=a.log\nCOPY {sources} /\n");
        let ran = check(&here, &[], &here.context("c", &dockerfile, &[(".dockerignore", ignore)]));
        let found = ran.stdout.lines().filter_map(|line| line.strip_prefix("Attempting to Copy file "));
        let found = found.map(|line| line.split('"').nth(1).unwrap_or_default().to_owned());
        (found.collect::<Vec<_>>().join(" "), ran.stderr.lines().next().unwrap_or_default().to_owned())
    };
    for (ignore, sources, found) in [
        ("*.log\n", "a.log ./b.log dir/c.log d.txt", "a.log b.log"),
        ("**/*.log\n", "$log dir/c.log", "a.log dir/c.log"),
        ("/dir\n", "dir/file dir/ dirs", "dir/file dir"),
        ("dir/*\n", "dir", ""),
        ("a?[0-9]\n", "ab7 abc", "ab7"),
        ("*\n", ". ./", ". ."),
        ("*.log\n", ".", ""),
        ("**\n", "any/thing .", "any/thing ."),
        ("*\n!kept\n", "a .", ""),
        ("# nothing\n", "a", ""),
        ("a.log\n", "/a.log", ""),
    ] {
        assert_eq!(files(ignore, sources), (found.to_owned(), String::new()), "{ignore:?} and {sources}");
    }
    let (found, error) = files("[\n", "a");
    assert_eq!(
        (found.as_str(), error.as_str()),
        ("", "ERROR: invalid pattern \"[\": syntax error in pattern")
    );
}

#[test]
fn outlines_list_what_the_target_s_stages_take() {
    let here = Workspace::new(RBUILD);
    let dockerfile = "ARG e=1\nARG given=$e\nFROM scratch AS base\nARG A=1\nONBUILD ARG trigger=t\n\
        FROM base AS mid\nARG B=$A C=1 C=2\nRUN --mount=type=secret,id=s,required=true true\n\
        FROM scratch AS other\nARG unused\nFROM mid\nARG A=3\nARG given TARGETARCH\n\
        RUN --mount=type=secret,id=s true\n";
    let context = here.context("c", dockerfile, &[]).display().to_string();
    let outline = here.ok(["build", "--call=outline", "--build-arg=given=g", &context]);
    assert_eq!(
        outline,
        "BUILD ARG   VALUE   DESCRIPTION\ntrigger     t       \nB           1       \nC           2       \nA           3       \n\
         given       g       \n\nSECRET   REQUIRED\ns        \n\n"
    );
}

#[test]
fn a_plan_says_why() {
    let Some(here) = with_busybox("a_plan_says_why") else { return };
    let context = here.context("c", STAGES, &[("in.txt", "in")]);
    here.build("x", &context);
    let reasons = |flags: &[&str]| {
        let flags: Vec<&str> = flags.iter().copied().chain(["--format=json"]).collect();
        let json: serde_json::Value = serde_json::from_str(&plan(&here, &flags, &context)).unwrap();
        let stages = json["stages"].as_array().unwrap().iter();
        let steps = stages.flat_map(|stage| stage["steps"].as_array().unwrap().clone());
        steps.map(|step| step["reason"].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(reasons(&[]), "- - - - - - - -");
    assert_eq!(reasons(&["--no-cache-filter=other"]), "- - - - no-cache - input input");
    fs::write(context.join("in.txt"), "ni").unwrap();
    assert_eq!(reasons(&[]), "- changed input input - input input input");
    let text = plan(&here, &[], &context);
    assert!(text.contains("   4  run     COPY in.txt ./  (changed: /in.txt (content))\n"), "{text}");
    assert!(text.contains("\nbuild ← base  [1 run, 2 maybe of 3]\n"), "{text}");
    fs::write(context.join("in.txt"), "in").unwrap();
    fs::write(context.join("Dockerfile"), STAGES.replace("RUN echo other", "RUN echo another")).unwrap();
    assert!(
        plan(&here, &[], &context)
            .contains("   8  run     RUN echo another > /other  (changed: the command)\n")
    );
}

#[test]
fn a_plan_refuses_what_a_build_refuses() {
    let Some(here) = with_busybox("a_plan_refuses_what_a_build_refuses") else { return };
    for dockerfile in [
        "FROM busybox\nRUN true\nCOPY missing /\n",
        "FROM busybox\nRUN --security=insecure true\n",
        "FROM busybox\nRUN true\nCOPY --from=3 a /\n",
        "# check=error=true\nFROM busybox AS X\nRUN true\n",
    ] {
        let context = here.context("c", dockerfile, &[]).display().to_string();
        let [planned, built] = ["plan", "build"].map(|command| here.fails([command, &context]));
        let error = |ran: &Ran| ran.stderr.lines().last().unwrap_or_default().to_owned();
        assert_eq!(error(&planned), error(&built), "{dockerfile}");
        assert!(!built.stderr.contains("RUN true\n#"), "nothing ran: {built:#?}");
    }
}

/// Nothing runs when a file is only looked at, so nobody has to allow anything.
#[test]
fn a_file_that_needs_an_entitlement_is_looked_at_and_not_built() {
    let here = Workspace::new(crate::RBUILD);
    let dockerfile = "FROM scratch\nARG A=b\nRUN --security=insecure [\"/a\"]\n";
    let context = here.context("c", dockerfile, &[]);
    assert_eq!(check(&here, &[], &context).code, 0);
    let context = context.to_str().unwrap();
    assert!(here.ok(["build", "--call=outline", context]).contains("A "));
    for command in ["build", "plan"] {
        let refused = here.fails([command, context]);
        assert!(refused.stderr.contains("entitlement security.insecure is not allowed"), "{refused:#?}");
    }
}

#[test]
fn a_plan_says_what_changed_in_words() {
    let Some(here) = with_busybox("a_plan_says_what_changed_in_words") else { return };
    let dockerfile = "FROM busybox\nCOPY d /d\nRUN echo one\n";
    let context = here.context("c", dockerfile, &[("d/f", "1")]);
    here.build("x", &context);
    fs::remove_file(context.join("d/f")).unwrap();
    assert!(plan(&here, &[], &context).contains("COPY d /d  (changed: /d/f (removed))\n"));
    here.build("x", &context);
    here.write("c/d/g", "1");
    assert!(plan(&here, &[], &context).contains("COPY d /d  (changed: /d/g (added))\n"));
    let json: serde_json::Value = serde_json::from_str(&plan(&here, &["--format=json"], &context)).unwrap();
    let step = &json["stages"][0]["steps"][0];
    assert_eq!((&step["reason"], &step["changed"]), (&"changed".into(), &serde_json::json!(["/d/g"])));
}

#[test]
fn what_cannot_be_had_is_named_once_and_with_what_was_meant() {
    let Some(here) = with_busybox("what_cannot_be_had_is_named_once") else { return };
    let said = |dockerfile: &str, command: &str| {
        let context = here.context("c", dockerfile, &[(".env", "A=1"), (".dockerignore", ".env\n")]);
        let ran = here.fails([command, context.to_str().unwrap()]);
        ran.stderr.lines().find(|line| line.starts_with("ERROR: ")).unwrap().to_owned()
    };
    let gone = said("FROM nowhere.invalid/x:1\n", "plan");
    assert!(
        gone.ends_with(
            "failed to resolve source metadata for nowhere.invalid/x:1: the store does not have it (nothing is pulled here: \
             fetch it with 'rbuild pull nowhere.invalid/x:1')"
        ),
        "{gone}"
    );
    let stage = said("FROM busybox AS builder\nFROM busybox\nCOPY --from=buidler /x /\n", "plan");
    assert!(stage.ends_with(": the store does not have it (did you mean builder?)"), "{stage}");
    for command in ["plan", "build"] {
        let ignored = said("FROM busybox\nCOPY .env /\n", command);
        assert!(ignored.ends_with("\"/.env\": not found: the ignore file leaves it out"), "{ignored}");
        let missing = said("FROM busybox\nCOPY env /\n", command);
        assert!(missing.ends_with("\"/env\": not found"), "{missing}");
    }
}
