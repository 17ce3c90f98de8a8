//! Where files and base images come from besides the context: named contexts, layouts, standard input; and the time that
//! `SOURCE_DATE_EPOCH` fixes.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Ran, Workspace};
use serde_json::Value;
use std::{
    fs::{self, File, Permissions},
    io::Write,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Builds `dockerfile` as `x` with these flags.
fn try_build(here: &Workspace, dockerfile: &str, flags: &[&str]) -> Ran {
    let context = here.context("main", dockerfile, &[("file", "of the main context")]);
    let words = ["build", "-t", "x"].iter().chain(flags).map(|word| (*word).to_owned());
    here.run(words.chain([context.display().to_string()]))
}

fn build(here: &Workspace, dockerfile: &str, flags: &[&str]) -> String {
    let ran = try_build(here, dockerfile, flags);
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.stderr
}

fn inspect(here: &Workspace, format: &str) -> Value {
    serde_json::from_str(&here.ok(["inspect", "-f", format, "x"])).unwrap()
}

/// `(created by, empty, comment)` of the image `x`, oldest first.
fn history(here: &Workspace) -> Vec<(String, bool, String)> {
    let config = config(here);
    let entries = config["history"].as_array().unwrap().iter();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    entries
        .map(|entry| (text(entry, "created_by"), entry["empty_layer"] == true, text(entry, "comment")))
        .collect()
}

/// The config document of the image `x`.
fn config(here: &Workspace) -> Value {
    let layout = layout(here, "x", "saved");
    let read = |file: &Path| serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap();
    let blob = |digest: &Value| {
        layout.join("blobs/sha256").join(digest.as_str().unwrap().strip_prefix("sha256:").unwrap())
    };
    let manifest = read(&blob(&read(&layout.join("index.json"))["manifests"][0]["digest"]));
    read(&blob(&manifest["config"]["digest"]))
}

/// Saves the image `name` as an OCI layout directory.
fn layout(here: &Workspace, name: &str, directory: &str) -> PathBuf {
    let (archive, directory) = (here.path().join("layout.tar"), here.path().join(directory));
    here.ok(["save", "--format", "oci", "-o", archive.to_str().unwrap(), name]);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    let unpacked = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&directory).status();
    assert!(unpacked.unwrap().success());
    directory
}

/// A directory with busybox and a few files, one of which its ignore file leaves out.
fn root_directory(here: &Workspace) -> PathBuf {
    here.write("root/etc/issue", "of the directory");
    here.write("root/ignored", "nobody sees this");
    let root = here.write("root/.dockerignore", "ignored\n").parent().unwrap().to_owned();
    build(here, "FROM busybox\n", &[]);
    fs::create_dir(root.join("bin")).unwrap();
    let busybox = here.command(["run", "--rm", "busybox", "cat", "/bin/busybox"]).output().unwrap();
    fs::write(root.join("bin/busybox"), busybox.stdout).unwrap();
    fs::set_permissions(root.join("bin/busybox"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    symlink("busybox", root.join("bin/sh")).unwrap();
    root
}

#[test]
fn a_directory_is_the_base_of_a_stage() {
    let Some(here) = with_busybox("a_directory_is_the_base_of_a_stage") else { return };
    let root = root_directory(&here);
    let flag = format!("--build-context=src={}", root.display());
    let dockerfile =
        "FROM src\nENV A=b\nRUN /bin/busybox ls -a / /etc > /listed\nCOPY --from=src etc/issue /copy\n";
    build(&here, dockerfile, &[&flag]);
    assert_eq!(here.ok(["run", "--rm", "x", "/bin/busybox", "cat", "/copy"]), "of the directory");
    let listed = here.ok(["run", "--rm", "x", "/bin/busybox", "cat", "/listed"]);
    assert!(listed.contains("issue") && listed.contains(".dockerignore"), "{listed}");
    assert!(!listed.contains("ignored\n.\n") && !listed.lines().any(|line| line == "ignored"), "{listed}");
    // three layers and two instructions that make one: the last layer has an entry of the exporter's
    let entry = |by: &str, empty, comment: &str| (by.to_owned(), empty, comment.to_owned());
    assert_eq!(
        history(&here),
        [
            entry("ENV A=b", true, "buildkit.dockerfile.v0"),
            entry(
                "RUN /bin/sh -c /bin/busybox ls -a / /etc > /listed # buildkit",
                false,
                "buildkit.dockerfile.v0"
            ),
            entry("COPY etc/issue /copy # buildkit", false, "buildkit.dockerfile.v0"),
            entry("[stage-0 2/3] COPY --from=src etc/issue /copy", false, "buildkit.exporter.image.v0"),
        ]
    );
    assert_eq!(inspect(&here, "{{len .RootFS.Layers}}"), 3);

    let again = build(&here, dockerfile, &[&flag]);
    assert_eq!(again.matches(" CACHED").count(), 3, "{again}");
    here.write("root/ignored", "changed, and nobody sees that");
    let again = build(&here, dockerfile, &[&flag]);
    assert_eq!(again.matches(" CACHED").count(), 3, "{again}");
    here.write("root/etc/issue", "changed");
    let changed = build(&here, dockerfile, &[&flag]);
    assert_eq!(changed.matches(" CACHED").count(), 0, "{changed}");
    assert_eq!(here.ok(["run", "--rm", "x", "/bin/busybox", "cat", "/copy"]), "changed");
}

#[test]
fn a_directory_stands_in_for_a_stage() {
    let Some(here) = with_busybox("a_directory_stands_in_for_a_stage") else { return };
    let root = root_directory(&here);
    let flag = format!("--build-context=made={}", root.display());
    let dockerfile = "FROM busybox AS made\nRUN false\nLABEL never=1\n\
        FROM made AS next\nLABEL a=b\n\
        FROM busybox\nCOPY --from=made /etc/issue /issue\nRUN --mount=from=made,target=/m cmp /m/etc/issue /issue\n";
    build(&here, dockerfile, &[&flag]);
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/issue"]), "of the directory");
    build(&here, dockerfile, &[&flag, "--target=next"]);
    assert_eq!(inspect(&here, "{{json .Config.Labels}}"), serde_json::json!({"a": "b"}));
    assert_eq!(here.ok(["run", "--rm", "x", "/bin/busybox", "cat", "/etc/issue"]), "of the directory");
    build(&here, dockerfile, &[&flag, "--target=made"]);
    assert_eq!(history(&here)[0].0, "local source for made");
    // every spelling of the image is replaced, another tag is not
    let dockerfile = "FROM docker.io/library/made:latest\nCOPY --from=made:latest /etc/issue /issue\n";
    build(&here, dockerfile, &[&flag]);
    let other = try_build(&here, "FROM made:1\n", &[&flag]);
    assert!(
        other.stderr.contains("failed to resolve source metadata for docker.io/library/made:1"),
        "{other:#?}"
    );
}

#[test]
fn an_image_of_a_layout_is_a_base() {
    let Some(here) = with_busybox("an_image_of_a_layout_is_a_base") else { return };
    build(&here, "FROM busybox\nRUN echo one > /which\nENV FROM_LAYOUT=1\nUSER 7\n", &[]);
    let one = layout(&here, "x", "one");
    let there = Workspace::new(RBUILD);
    there.import(rbuild_testkit::Base::Busybox);
    let flag = format!("--build-context=base=oci-layout://{}", one.display());
    let dockerfile = "FROM base AS from\nRUN echo $FROM_LAYOUT $(id -u) $(cat /which) > /tmp/said\n\
        FROM busybox\nCOPY --from=base:latest /which /which\nCOPY --from=from /tmp/said /said\n\
        RUN --mount=from=base,target=/m cat /m/which >> /which\n";
    build(&there, dockerfile, &[&flag]);
    assert_eq!(there.ok(["run", "--rm", "x", "cat", "/said", "/which"]), "1 7 one\none\none\n");
    let again = build(&there, dockerfile, &[&flag]);
    assert_eq!(again.matches(" CACHED").count(), 4, "{again}");
    let named = there.ok(["images", "--format", "{{.Repository}}"]);
    assert_eq!(named.lines().filter(|name| !["x", "busybox"].contains(name)).count(), 0, "{named}");
    // a layout of one image gives it, whatever its tag; the digest decides
    let index: Value = serde_json::from_slice(&fs::read(one.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    for end in [":other".to_owned(), format!("@{digest}"), format!(":other@{digest}")] {
        build(&there, "FROM base\n", &[&format!("{flag}{end}")]);
    }
    assert_eq!(inspect(&there, "{{json .Config.User}}"), "7");
    let plan = there.ok(["plan".as_ref(), flag.as_ref(), there.path().join("main").as_os_str()]);
    assert!(plan.contains("base"), "{plan}");
}

#[test]
fn a_layout_is_not_believed() {
    let Some(here) = with_busybox("a_layout_is_not_believed") else { return };
    let wrong = |directory: &Path, end: &str, part: &str| {
        let flag = format!("--build-context=base=oci-layout://{}{end}", directory.display());
        let there = Workspace::new(RBUILD);
        let ran = try_build(&there, "FROM base\nRUN true\n", &[&flag]);
        assert!(
            ran.code != 0 && ran.stderr.contains(part) && !ran.stderr.contains("panicked"),
            "{part}: {ran:#?}"
        );
        assert_eq!(there.ok(["images", "-q"]), "");
    };
    wrong(&here.path().join("none"), "", "oci-layout reference");
    wrong(here.path(), "", "the layout has no file \"index.json\"");
    let whole = layout(&here, "busybox", "whole");
    let absent = format!("@sha256:{}", "1".repeat(64));
    wrong(&whole, &absent, "could not be resolved: the layout has no file \"blobs/sha256/1111");
    // every blob in turn, one byte changed
    for entry in fs::read_dir(whole.join("blobs/sha256")).unwrap() {
        let damaged = layout(&here, "busybox", "damaged");
        let blob = damaged.join("blobs/sha256").join(entry.unwrap().file_name());
        let mut bytes = fs::read(&blob).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(&blob, bytes).unwrap();
        wrong(&damaged, "", "could not be resolved");
    }
    // a layout cannot show files outside of it
    let outside = layout(&here, "busybox", "outside");
    fs::rename(outside.join("index.json"), here.path().join("index.json")).unwrap();
    symlink(here.path().join("index.json"), outside.join("index.json")).unwrap();
    wrong(&outside, "", "could not be resolved: cannot open index.json: it leads out of the layout");
    // two images, and the name of neither
    let several = layout(&here, "busybox", "several");
    let mut index: Value = serde_json::from_slice(&fs::read(several.join("index.json")).unwrap()).unwrap();
    let mut second = index["manifests"][0].clone();
    second["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "second"});
    index["manifests"].as_array_mut().unwrap().push(second);
    fs::write(several.join("index.json"), index.to_string()).unwrap();
    wrong(&several, ":third", "no image is tagged \"third\": there is latest, second");
    let flag = format!("--build-context=base=oci-layout://{}:second", several.display());
    build(&here, "FROM base\nRUN true\n", &[&flag]);
}

#[test]
fn contexts_that_cannot_be_are_refused_before_any_work() {
    let Some(here) = with_busybox("contexts_that_cannot_be_are_refused") else { return };
    here.write("file", "");
    for (value, message) in [
        ("x=none", "failed to build: failed to get build context x: stat none: no such file or directory"),
        ("x=", "failed to build: failed to get build context x: stat : no such file or directory"),
        ("x=file", "failed to build: failed to get build context path file: not a directory"),
        ("x", "invalid context value: x, expected key=value"),
        (
            "X=none",
            "invalid context name X: invalid reference format: repository name (library/X) must be lowercase",
        ),
        ("x=target:y", "failed to build: failed to find target y for context x"),
    ] {
        let ran = try_build(&here, "FROM busybox\nRUN true\n", &["--build-context", value]);
        assert!(ran.code != 0 && ran.stderr.contains(&format!("ERROR: {message}\n")), "{value}: {ran:#?}");
        assert!(!ran.stderr.contains("RUN true"), "{ran:#?}");
    }
    let scratch = try_build(
        &here,
        "FROM busybox\nCOPY --from=x /file /\n",
        &["--build-context", "x=docker-image://scratch"],
    );
    assert!(scratch.stderr.contains("\"/file\": not found"), "{scratch:#?}");
    build(&here, "FROM x\nCOPY file /\n", &["--build-context", "x=docker-image://scratch"]);
    assert_eq!(inspect(&here, "{{len .RootFS.Layers}}"), 1);
}

/// Builds `x` with `archive` on standard input.
fn build_from(here: &Workspace, archive: &[u8], words: &[&str]) -> Ran {
    let mut command = here.command(["build", "-t", "x"].iter().chain(words).chain(&["-"]));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(archive);
    Ran::of(child.wait_with_output().unwrap())
}

/// The tar of `directory`, made with `flags`.
fn packed(directory: &Path, flags: &str) -> Vec<u8> {
    let made = Command::new("tar").args(["-C", directory.to_str().unwrap(), flags, "-", "."]).output();
    made.unwrap().stdout
}

#[test]
fn an_archive_on_standard_input_is_the_context() {
    let Some(here) = with_busybox("an_archive_on_standard_input_is_the_context") else { return };
    let dockerfile = "FROM busybox\nCOPY . /c/\nRUN cd /c && ls -an . sub > /list && cat sub/file >> /list\n";
    let files = [("sub/file", "inside\n"), ("left", "out"), (".dockerignore", "left\nDockerfile*\n")];
    let context = here.context("c", dockerfile, &files);
    fs::write(context.join("Dockerfile.other"), "FROM busybox\nRUN echo other > /list\n").unwrap();
    fs::set_permissions(context.join("sub/file"), Permissions::from_mode(0o640)).unwrap();
    chown(context.join("sub/file"), Some(1234), Some(1234)).ok();
    let run = |archive: &[u8], words: &[&str]| build_from(&here, archive, words);
    let packed = |flags: &str| packed(&context, flags);
    let list = || here.ok(["run", "--rm", "x", "cat", "/list"]);
    for flags in ["-cf", "-czf"] {
        let ran = run(&packed(flags), &[]);
        assert_eq!(ran.code, 0, "{flags}: {ran:#?}");
        let list = list();
        // as with docker, an ignore file is for directories, and an archive says whose its files are
        assert!(list.contains("inside") && list.contains("left") && list.contains("sub"), "{list}");
        let file = |line: &str| line.starts_with("-rw-r-----") && line.contains(" 1234     1234 ");
        assert!(list.lines().any(file), "{list}");
    }
    // the content counts, not the archive
    assert!(run(&packed("-cJf"), &[]).stderr.contains("CACHED"));
    assert_eq!(run(&packed("-cf"), &["-f", "Dockerfile.other"]).code, 0);
    assert_eq!(list(), "other\n");
}

#[test]
fn a_hostile_archive_as_context_is_refused() {
    let Some(here) = with_busybox("a_hostile_archive_as_context_is_refused") else { return };
    let dockerfile = "FROM busybox\nCOPY . /c/\n";
    let long = "inside\n".repeat(4000);
    let context = here.context("c", dockerfile, &[("file", long.as_str())]);
    let run = |archive: &[u8], words: &[&str]| build_from(&here, archive, words);
    let packed = |flags: &str| packed(&context, flags);
    // a Dockerfile that leads out of the archive is not read
    fs::remove_file(context.join("Dockerfile")).unwrap();
    symlink("/etc/passwd", context.join("Dockerfile")).unwrap();
    let ran = run(&packed("-cf"), &[]);
    assert!(ran.code != 0 && ran.stderr.contains("which is not in the build context"), "{ran:#?}");
    assert!(!ran.stderr.contains("root:"), "{ran:#?}");
    // what goes on and on is no Dockerfile
    let endless = vec![b'#'; (16 << 20) + 1];
    let ran = run(&endless, &[]);
    assert!(ran.code == 1 && ran.stderr.contains("is longer than 16 MiB"), "{ran:#?}");
    fs::remove_file(context.join("Dockerfile")).unwrap();
    File::create(context.join("Dockerfile")).unwrap().set_len(1 << 40).unwrap();
    let ran = here.fails(["build", context.to_str().unwrap()]);
    assert!(ran.code == 1 && ran.stderr.contains("is longer than 16 MiB"), "{ran:#?}");
    fs::remove_file(context.join("Dockerfile")).unwrap();
    // no device is read, and a user may have none
    let device = context.join("Dockerfile");
    let made = Command::new("mknod").arg(&device).args(["b", "7", "1"]).status().unwrap();
    assert!(made.success());
    let ran = run(&packed("-cf"), &[]);
    assert!(ran.code == 1 && ran.stderr.contains("open Dockerfile"), "{ran:#?}");
    let ran = here.fails(["build", context.to_str().unwrap()]);
    assert!(ran.code == 1 && ran.stderr.contains("Dockerfile is not a regular file"), "{ran:#?}");
    fs::remove_file(&device).unwrap();
    // damage shows at the very end of a compressed archive
    fs::write(&device, dockerfile).unwrap();
    let mut damaged = packed("-czf");
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    let ran = run(&damaged, &[]);
    assert!(ran.code == 1 && ran.stderr.contains("cannot extract the build context"), "{ran:#?}");
    // an archive that is cut
    let whole = packed("-cf");
    let cut = run(&whole[..whole.len() / 2 - 300], &[]);
    assert!(cut.code == 1 && cut.stderr.contains("cannot extract the build context"), "{cut:#?}");
    let unpacked = fs::read_dir(here.store().join("tmp")).map_or(0, Iterator::count);
    assert_eq!(unpacked, 0, "what was unpacked goes with its build");
}

#[test]
fn standard_input_is_a_dockerfile_or_refused() {
    let Some(here) = with_busybox("standard_input_is_a_dockerfile_or_refused") else { return };
    let context = here.context("c", "FROM busybox\n", &[("file", "in the context")]);
    let run = |words: &[&str], input: &[u8]| {
        let mut command = here.command(["build", "-t", "x"].iter().chain(words));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // what refuses its arguments need not read
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::of(child.wait_with_output().unwrap())
    };
    let directory = context.to_str().unwrap();
    assert_eq!(run(&["-"], b"FROM busybox\nRUN true\n").code, 0);
    assert_eq!(run(&["-f", "-", directory], b"FROM busybox\nCOPY file /\n").code, 0);
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";
    let packed = Command::new("tar").args(["-cf", "-", "-C", directory, "file"]).output().unwrap();
    let archive = packed.stdout;
    for (words, input, message) in [
        (&["-"][..], &archive[..], "failed to read dockerfile: open Dockerfile"),
        (&["-"], gzip, "the build context is not a tar archive"),
        (&["-f", "other", "-"], gzip, "the build context is not a tar archive"),
        (&["-"], b"COPY file /\n", "no build stage in current context"),
        (&["-f", "-", directory], gzip, "the Dockerfile on standard input is an archive"),
        (
            &["-f", "other", "-"],
            b"FROM busybox\n",
            "ERROR: failed to build: ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles\n",
        ),
        (
            &["-f", "-", "-"],
            b"",
            "ERROR: failed to build: invalid argument: can't use stdin for both build context and dockerfile\n",
        ),
        (&["http://127.0.0.1:1/a.tar"], b"", "failed to fetch http://127.0.0.1:1/a.tar"),
        (&["-f", "http://127.0.0.1:1/D", directory], b"", "http://127.0.0.1:1/D"),
    ] {
        let ran = run(words, input);
        assert!(ran.code != 0 && ran.stderr.contains(message), "{words:?}: {ran:#?}");
    }
}

#[test]
fn an_epoch_takes_the_place_of_the_clock() {
    let Some(here) = with_busybox("an_epoch_takes_the_place_of_the_clock") else { return };
    let dockerfile = "FROM busybox\nENV A=b\nWORKDIR /a/b\nRUN echo \"<$SOURCE_DATE_EPOCH>\" > /seen; stat -c %Y /a/b >> /seen\n";
    let times = |flags: &[&str]| {
        build(&here, dockerfile, flags);
        let config = config(&here);
        let mut times = vec![config["created"].clone()];
        times.extend(
            config["history"].as_array().unwrap().iter().skip(1).map(|entry| entry["created"].clone()),
        );
        times
    };
    for (seconds, time) in [
        ("1000000000", "2001-09-09T01:46:40Z"),
        ("0", "1970-01-01T00:00:00Z"),
        ("-1", "1969-12-31T23:59:59Z"),
    ] {
        // a RUN is not run again because a directory has another time
        let given = format!("SOURCE_DATE_EPOCH={seconds}");
        assert_eq!(times(&["--no-cache", "--build-arg", &given]), [time; 4]);
        let seen = here.ok(["run", "--rm", "x", "cat", "/seen"]);
        assert_eq!(seen, format!("<>\n{seconds}\n"), "only stages that declare it see it");
    }
    // local sources have no time of their own
    let now = times(&["--build-arg", "SOURCE_DATE_EPOCH=context"]);
    assert!(now[0].as_str().unwrap() > "2020", "{now:?}");
    let now = times(&["--build-arg", "SOURCE_DATE_EPOCH=src", "--build-context", "src=main"]);
    assert!(now[0].as_str().unwrap() > "2020", "{now:?}");
    let said = |dockerfile: &str, variable: Option<&str>, flags: &[&str]| {
        let context = here.context("said", dockerfile, &[]);
        let words = ["build", "-t", "x"].iter().chain(flags).map(|word| (*word).to_owned());
        let mut command = here.command(words.chain([context.display().to_string()]));
        command.envs(variable.map(|value| ("SOURCE_DATE_EPOCH", value)));
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ran:#?}");
        here.ok(["run", "--rm", "x", "cat", "/said"])
    };
    let declared = "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /said\n";
    assert_eq!(said(declared, Some("88"), &[]), "88\n");
    assert_eq!(said(declared, Some("88"), &["--build-arg", "SOURCE_DATE_EPOCH"]), "88\n");
    assert_eq!(said(declared, Some("88"), &["--build-arg", "SOURCE_DATE_EPOCH=99"]), "99\n");
    assert_eq!(said(declared, Some("88"), &["--build-arg", "SOURCE_DATE_EPOCH="]), "\n");
    let global = format!("ARG SOURCE_DATE_EPOCH=66\n{declared}");
    assert_eq!(said(&global, Some(""), &[]), "66\n");
    assert_eq!(said(&global, Some("88"), &[]), "88\n");
    for (value, message) in [
        ("soon", "ERROR: failed to build: failed to solve: invalid SOURCE_DATE_EPOCH: soon\n"),
        ("1.5", "invalid SOURCE_DATE_EPOCH: 1.5\n"),
        (" 5", "invalid SOURCE_DATE_EPOCH:  5\n"),
        ("253402300800", "invalid SOURCE_DATE_EPOCH: 253402300800\n"),
        ("other", "SOURCE_DATE_EPOCH stage must use FROM scratch\n"),
    ] {
        let dockerfile = "FROM busybox AS other\nFROM busybox\n";
        let ran = try_build(&here, dockerfile, &["--build-arg", &format!("SOURCE_DATE_EPOCH={value}")]);
        assert!(ran.code != 0 && ran.stderr.contains(message), "{value}: {ran:#?}");
    }
}
