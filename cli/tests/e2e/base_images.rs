//! Where FROM looks: the policies of --pull, other stores on the machine, the lock file.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{Registry, RegistryOptions, Workspace};
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    process::Command,
    thread,
};

/// Pushes an image that holds the word `content` to `name`; returns the manifest's digest.
fn push(here: &Workspace, name: &str, content: &str) -> String {
    let dockerfile = format!("FROM busybox\nRUN echo {content} > /content\n");
    here.build(name, &here.context("pushed", &dockerfile, &[]));
    here.ok(["push", name]);
    here.ok(["images", "--digests", "--format", "{{.Digest}}", name]).trim().to_owned()
}

fn build(there: &Workspace, flags: &[&str], context: &Path) -> rbuild_testkit::Ran {
    let words = ["build", "-t", "x"].iter().chain(flags).copied().chain([context.to_str().unwrap()]);
    there.run(words)
}

fn content(there: &Workspace) -> String {
    there.ok(["run", "--rm", "x", "cat", "/content"])
}

#[test]
fn pull_says_when_the_registry_is_asked() {
    let Some(here) = with_busybox("pull_says_when_the_registry_is_asked") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let base = format!("{}/team/base:1", registry.host());
    push(&here, &base, "one");
    let there = Workspace::new(RBUILD);
    let context = there.context("c", &format!("FROM {base}\nRUN cat /content > /copy\n"), &[]);

    let before = registry.requests().len();
    let refused = build(&there, &["--pull=never"], &context);
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.stderr.contains(&format!("{base}: the store does not have it")), "{refused:#?}");
    assert!(refused.stderr.contains("fetch it with 'rbuild pull"), "{refused:#?}");
    assert_eq!(registry.requests().len(), before, "never is never");

    assert_eq!(build(&there, &["--pull=missing"], &context).code, 0);
    push(&here, &base, "two");
    for flags in [&["--pull=never"][..], &["--pull=false"], &["--pull=missing"], &[]] {
        let before = registry.requests().len();
        assert_eq!(build(&there, flags, &context).code, 0);
        assert_eq!(registry.requests().len(), before, "{flags:?}");
        assert_eq!(content(&there), "one\n");
    }
    assert_eq!(build(&there, &["--pull=always"], &context).code, 0);
    assert_eq!(content(&there), "two\n");

    // with the network gone, what is there works
    drop(registry);
    let cached = build(&there, &[], &context);
    assert!(cached.code == 0 && cached.stderr.contains("CACHED"), "{cached:#?}");
    let failed = build(&there, &["--pull"], &context);
    assert_eq!(failed.code, 3, "{failed:#?}");
    assert_eq!(build(&there, &["--pull=sometimes"], &context).code, 2);
}

#[test]
fn a_lock_file_keeps_a_build_on_the_images_it_had() {
    let Some(here) = with_busybox("a_lock_file_keeps_a_build_on_its_images") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let base = format!("{}/team/base:1", registry.host());
    let first = push(&here, &base, "one");
    let there = Workspace::new(RBUILD);
    let context = there.context("c", &format!("FROM {base}\nRUN cat /content > /copy\n"), &[]);
    let missing = build(&there, &["--locked"], &context);
    assert!(missing.code == 1 && missing.stderr.contains("rbuild.lock is not there"), "{missing:#?}");

    assert_eq!(build(&there, &["--lock"], &context).code, 0);
    let lock = context.join("rbuild.lock");
    let written = fs::read_to_string(&lock).unwrap();
    assert!(written.contains(&format!("\"{base}\": {{\n      \"digest\": \"{first}\"")), "{written}");

    let second = push(&here, &base, "two");
    // another machine, to which the tag has always led elsewhere
    let other = Workspace::new(RBUILD);
    assert_eq!(build(&other, &["--locked"], &context).code, 0);
    assert_eq!(content(&other), "one\n");
    let told = build(&other, &["--locked", "--pull"], &context);
    let moved = format!("moved from {first} to {second}");
    assert!(told.code == 0 && told.stderr.contains(&moved), "{told:#?}");
    assert_eq!(content(&other), "one\n");

    // the lock moves when it is told to, and says so
    assert_eq!(build(&there, &["--lock"], &context).code, 0);
    assert_eq!(fs::read_to_string(&lock).unwrap(), written, "what was built with is what was locked");
    let updated = build(&there, &["--lock", "--pull"], &context);
    assert!(updated.stderr.contains(&format!("rbuild.lock: {base} {moved}")), "{updated:#?}");
    assert_eq!(fs::read_to_string(&lock).unwrap(), written.replace(&first, &second));

    drop(registry);
    assert_eq!(build(&there, &["--locked"], &context).code, 0, "what is cached needs no network");
    assert_eq!(content(&there), "two\n");
    fs::write(context.join("Dockerfile"), "FROM other\n").unwrap();
    let unknown = build(&there, &["--locked"], &context);
    assert!(unknown.code == 1 && unknown.stderr.contains("other is not in the lock file"), "{unknown:#?}");
    fs::write(&lock, "{}").unwrap();
    let damaged = build(&there, &["--locked"], &context);
    assert!(damaged.code == 1 && damaged.stderr.contains("it is not a lock file"), "{damaged:#?}");
}

#[test]
fn an_image_of_this_store_is_locked_by_its_id() {
    let Some(here) = with_busybox("an_image_of_this_store_is_locked_by_its_id") else { return };
    let id = here.ok(["images", "-q", "--no-trunc", "busybox"]).trim().to_owned();
    let context = here.context("c", "FROM busybox\nRUN true\n", &[]);
    assert_eq!(build(&here, &["--lock"], &context).code, 0);
    let lock = fs::read_to_string(context.join("rbuild.lock")).unwrap();
    assert!(lock.contains(&format!("\"image\": \"{id}\"")), "{lock}");
    here.build("other", &here.context("other", "FROM busybox\nRUN echo > /other\n", &[]));
    here.ok(["tag", "other", "busybox"]);
    let told = build(&here, &["--locked"], &context);
    assert!(told.code == 0 && told.stderr.contains("busybox moved from image sha256:"), "{told:#?}");
    assert_eq!(here.fails(["run", "--rm", "x", "ls", "/other"]).code, 1, "the locked one was used");
    // previews obey it too
    let path = context.to_str().unwrap();
    assert!(here.ok(["plan", "--locked", path]).contains("cached"));
    assert!(!here.ok(["plan", path]).contains("cached"));
    here.ok(["check", "--locked", path]);
    let refused = here.run(["build", "--check", "--lock", path]);
    assert!(refused.code == 2 && refused.stderr.contains("--lock is written after a build"), "{refused:#?}");
    fs::write(context.join("Dockerfile"), "FROM other\n").unwrap();
    for command in ["plan", "check"] {
        let unknown = here.fails([command, "--locked", path]);
        assert!(unknown.stderr.contains("other is not in the lock file"), "{command}: {unknown:#?}");
    }
}

#[test]
fn an_oci_layout_gives_images_by_their_names() {
    let Some(here) = with_busybox("an_oci_layout_gives_images_by_their_names") else { return };
    here.build("team/base:1", &here.context("base", "FROM busybox\nRUN echo one > /content\n", &[]));
    here.ok(["save", "--format", "oci", "-o", "base.tar", "team/base:1"]);
    let layout = here.path().join("layout");
    fs::create_dir(&layout).unwrap();
    let unpacked =
        Command::new("tar").arg("-xf").arg(here.path().join("base.tar")).arg("-C").arg(&layout).status();
    assert!(unpacked.unwrap().success());
    let there = Workspace::new(RBUILD);
    let context = there.context("c", "FROM team/base:1\nRUN cat /content > /copy\n", &[]);
    let source = format!("--image-source=oci:{}", layout.display());
    let built = build(&there, &[&source, "--pull=never"], &context);
    assert_eq!(built.code, 0, "{built:#?}");
    assert_eq!(content(&there), "one\n");
    assert!(there.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]).contains("team/base:1"));
    let context = there.context("c", "FROM team/base:2\n", &[]);
    assert_eq!(build(&there, &[&source, "--pull=never"], &context).code, 1, "a tag of another image");
    // previews look there as well
    let fresh = Workspace::new(RBUILD);
    let context = fresh.context("c", "FROM team/base:1\nRUN cat /content > /copy\nENV A=$NOWHERE\n", &[]);
    let path = context.to_str().unwrap();
    assert!(fresh.fails(["plan", path]).stderr.contains("the store does not have it"));
    assert!(fresh.ok(["plan", &source, path]).contains("RUN cat /content"));
    assert!(fresh.run(["check", &source, path]).stdout.contains("UndefinedVar"));
    // one that is not there is an error, though nothing of it is needed
    for command in ["build", "plan", "check"] {
        let missing = fresh.fails([command, "--image-source=oci:/nowhere", path]);
        assert!(missing.stderr.contains("/nowhere: no such file or directory"), "{command}: {missing:#?}");
    }
    let wrong = build(&there, &["--image-source=nowhere"], &context);
    assert!(wrong.code == 2 && wrong.stderr.contains("invalid image source \"nowhere\""), "{wrong:#?}");
}

/// An engine that has one image, whose archive it streams in chunks. Returns the requests when it is asked for `/over`.
fn engine(
    socket: &Path,
    name: &'static str,
    (id, archive): (String, Vec<u8>),
) -> thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let mut asked = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let target = request.split(' ').nth(1).unwrap().replace("%2F", "/").replace("%3A", ":");
            if target == "/_ping" {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK")
                    .unwrap();
                continue;
            }
            if target == format!("/images/{name}/json") {
                let body = format!("{{\"Id\":\"{id}\"}}");
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
                .unwrap();
            } else if target == format!("/images/{name}/get") {
                write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
                    .unwrap();
                for chunk in archive.chunks(100_000) {
                    write!(stream, "{:x}\r\n", chunk.len()).unwrap();
                    stream.write_all(chunk).unwrap();
                    write!(stream, "\r\n").unwrap();
                }
                write!(stream, "0\r\n\r\n").unwrap();
            } else {
                write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
            }
            if target == "/over" {
                return asked;
            }
            asked.push(target);
        }
        asked
    })
}

#[test]
fn an_image_of_docker_s_engine_is_copied_once() {
    let Some(here) = with_busybox("an_image_of_docker_s_engine_is_copied_once") else { return };
    here.build("team/base:1", &here.context("base", "FROM busybox\nRUN echo one > /content\n", &[]));
    here.ok(["save", "-o", "base.tar", "team/base:1"]);
    let archive = fs::read(here.path().join("base.tar")).unwrap();
    let id = here.ok(["images", "-q", "--no-trunc", "team/base:1"]).trim().to_owned();
    let there = Workspace::new(RBUILD);
    let socket = there.path().join("docker.sock");
    let engine = engine(&socket, "docker.io/team/base:1", (id, archive));
    let context = there.context("c", "FROM team/base:1\nRUN cat /content > /copy\n", &[]);
    let build = |flags: &[&str]| {
        let words = ["build", "--image-source", "docker", "-t", "x"].iter().chain(flags).copied();
        let mut command = there.command(words.chain([context.to_str().unwrap()]));
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        rbuild_testkit::Ran::of(command.output().unwrap())
    };
    let built = build(&[]);
    assert_eq!(built.code, 0, "{built:#?}");
    assert!(built.stderr.contains("look for docker.io/team/base:1 in docker at"), "{built:#?}");
    assert_eq!(content(&there), "one\n");
    assert_eq!(build(&[]).code, 0, "the store has it now");
    assert_eq!(build(&["--pull"]).code, 0, "docker has it, so no registry is asked");
    fs::write(context.join("Dockerfile"), "FROM team/none:1\n").unwrap();
    let missing = build(&["--pull=never"]);
    assert!(
        missing.code == 1 && missing.stderr.contains("team/none:1: the store does not have it"),
        "{missing:#?}"
    );

    let mut last = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    last.write_all(b"GET /over HTTP/1.1\r\n\r\n").unwrap();
    let asked = engine.join().unwrap();
    let expected = ["team/base:1/json", "team/base:1/get", "team/base:1/json", "team/none:1/json"];
    assert_eq!(asked, expected.map(|target| format!("/images/docker.io/{target}")));
    fs::remove_file(&socket).unwrap();
    let gone = build(&["--pull=never"]);
    assert!(gone.code == 3 && gone.stderr.contains("docker.sock"), "{gone:#?}");
}

#[test]
fn an_image_of_the_containers_tools_comes_through_podman() {
    let Some(here) = with_busybox("an_image_of_the_containers_tools_comes_through_podman") else { return };
    here.build("localhost/base:1", &here.context("base", "FROM busybox\nRUN echo one > /content\n", &[]));
    here.ok(["save", "-o", "base.tar", "localhost/base:1"]);
    let there = Workspace::new(RBUILD);
    // podman finds its own builds by their short names
    let podman = format!(
        "#!/bin/sh\ncase \"$*\" in\n'image exists -- base:1') exit 0;;\n'save --quiet --format docker-archive -- base:1') cat {0}; exit $(cat {0}.code);;\nesac\nexit 1\n",
        here.path().join("base.tar").display()
    );
    let program = there.write("bin/podman", podman);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let context = there.context("c", "FROM base:1\nRUN cat /content > /copy\n", &[]);
    let build = || {
        let words = ["build", "--image-source", "containers-storage", "--pull=never", "-t", "x"];
        let mut command = there.command(words.into_iter().chain([context.to_str().unwrap()]));
        command.env("PATH", format!("{}:/usr/bin:/bin", program.parent().unwrap().display()));
        rbuild_testkit::Ran::of(command.output().unwrap())
    };
    fs::write(here.path().join("base.tar.code"), "125").unwrap();
    let failed = build();
    assert!(
        failed.code != 0 && failed.stderr.contains("podman save ended with exit status: 125"),
        "{failed:#?}"
    );
    fs::write(here.path().join("base.tar.code"), "0").unwrap();
    let built = build();
    assert_eq!(built.code, 0, "{built:#?}");
    assert_eq!(content(&there), "one\n");
    let names = there.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(names.lines().any(|name| name == "base:1") && !names.contains("localhost"), "{names}");
}
