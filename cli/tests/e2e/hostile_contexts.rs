//! Contexts on the network that mean no good: hostile archives, repositories that want to run something or to show files of the
//! machine, servers that break off, lead in circles or say nothing. One error each, nothing outside, nothing left.

use crate::with_busybox;
use rbuild_testkit::{
    GitServer, HttpBody, HttpReply, HttpRequest, HttpServer, Ran, Tar, Workspace, hostile_archives,
};
use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    time::Instant,
};

fn try_build(here: &Workspace, words: &[&str]) -> Ran {
    here.run(["build", "--progress=plain", "-t", "x"].iter().chain(words))
}

/// What must stay as it is, and what must not be left.
fn assert_clean(here: &Workspace, attack: &str) {
    let bait = here.path().join("bait");
    let names: Vec<_> = fs::read_dir(&bait).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"], "{attack}");
    assert_eq!(fs::read_to_string(bait.join("secret")).unwrap(), "hidden", "{attack}");
    let left = fs::read_dir(here.store().join("tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{attack}: nothing half-made stays");
    assert!(!here.path().join("escaped").exists() && !here.store().join("escaped").exists(), "{attack}");
}

/// Nothing of what failed is in the store in part.
fn assert_whole(here: &Workspace) {
    let verified = here.run(["cache", "verify"]);
    assert_eq!(verified.code, 0, "{verified:#?}");
}

#[test]
fn hostile_archives_as_contexts_do_no_harm() {
    let Some(here) = with_busybox("hostile archives as contexts") else { return };
    here.write("bait/secret", "hidden");
    let archives = hostile_archives();
    let served: Vec<(String, Vec<u8>)> = archives
        .iter()
        .enumerate()
        .map(|(number, archive)| (format!("/{number}"), archive.bytes.clone()))
        .collect();
    let server = HttpServer::start(move |request| {
        let found = served.iter().find(|(target, _)| *target == request.target);
        found.map_or_else(|| HttpReply::new(404, ""), |(_, bytes)| HttpReply::new(200, bytes.clone()))
    });
    let dockerfile = here.write("Dockerfile", "FROM busybox\nCOPY . /all/\n").display().to_string();
    for (number, archive) in archives.iter().enumerate() {
        let ran = try_build(&here, &["-f", &dockerfile, &format!("http://{}/{number}", server.host())]);
        assert!(matches!(ran.code, 0 | 1 | 3), "{}: {ran:#?}", archive.name);
        assert!(ran.code == 0 || ran.stderr.contains("ERROR: failed to build"), "{}: {ran:#?}", archive.name);
        assert!(!ran.stderr.contains("panicked"), "{}: {ran:#?}", archive.name);
        assert_clean(&here, archive.name);
    }
    assert_whole(&here);
}

#[test]
fn a_dockerfile_of_an_archive_that_leads_out_is_not_read() {
    let Some(here) = with_busybox("Dockerfiles that lead out of archives") else { return };
    let secret = here.write("bait/secret", "hidden").display().to_string();
    let archive = Tar::new().symlink("Dockerfile", &secret).file("file", "x").finish();
    let server = HttpServer::start(move |_| HttpReply::new(200, archive.clone()));
    let url = format!("http://{}/c.tar", server.host());
    let ran = try_build(&here, &[&url]);
    assert!(ran.code == 1 && ran.stderr.contains("not in the build context"), "{ran:#?}");
    assert!(!ran.stderr.contains("hidden"), "{ran:#?}");
    assert_clean(&here, "a link");
}

#[test]
fn servers_of_contexts_that_fail_are_named() {
    let Some(here) = with_busybox("failing servers of contexts") else { return };
    here.write("bait/secret", "hidden");
    let archive =
        Tar::new().file("Dockerfile", "FROM busybox\nCOPY file /file\n").file("file", "resumed").finish();
    let server = HttpServer::start(move |request: &HttpRequest| match request.target.as_str() {
        "/loop" => HttpReply::new(302, "").header("Location", "/loop"),
        "/file" => HttpReply::new(302, "").header("Location", "file:///etc/passwd"),
        "/login" => HttpReply::new(401, ""),
        "/short" => HttpReply::with_body(HttpBody::BrokenOff {
            sent: archive[..900].to_vec(),
            announced: archive.len(),
        }),
        "/cut" => match request.header("range") {
            Some("bytes=900-") => {
                let range = format!("bytes 900-{}/{}", archive.len() - 1, archive.len());
                HttpReply::new(206, archive[900..].to_vec())
                    .header("Content-Range", &range)
                    .header("ETag", "\"1\"")
            }
            _ => {
                let body = HttpBody::BrokenOff { sent: archive[..900].to_vec(), announced: archive.len() };
                HttpReply::with_body(body).header("ETag", "\"1\"")
            }
        },
        _ => HttpReply::new(404, "nothing here"),
    });
    let url = |path: &str| format!("http://{}/{path}", server.host());
    for (path, expected) in [
        ("none", "answered 404: nothing here"),
        ("loop", "too many redirects"),
        ("file", "redirect"),
        ("login", "answered 401"),
        ("short", "short"),
    ] {
        let ran = try_build(&here, &[&url(path)]);
        assert!(ran.code != 0 && ran.stderr.contains(expected), "{path}: {ran:#?}");
        assert_eq!(ran.stderr.matches("failed to fetch").count(), 1, "{path}: {ran:#?}");
        assert_clean(&here, path);
    }
    assert_whole(&here);
    let ran = try_build(&here, &[&url("cut")]);
    assert_eq!(ran.code, 0, "a connection that was cut goes on where it was: {ran:#?}");
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/file"]), "resumed");
}

#[test]
fn nothing_of_a_repository_runs_and_no_file_of_the_machine_is_shown() {
    let Some(here) = with_busybox("hostile repositories as contexts") else { return };
    here.write("bait/secret", "hidden");
    let server = GitServer::start();
    let repository = server.repository("a.git");
    let mark = here.path().join("mark");
    let evil = here.write("evil", format!("#!/bin/sh\ntouch {}\ncat\n", mark.display()));
    fs::set_permissions(&evil, Permissions::from_mode(0o755)).unwrap();
    here.write(
        ".gitconfig",
        format!(
            "[filter \"evil\"]\nsmudge = {0}\nclean = {0}\n[core]\nhooksPath = {1}\n",
            evil.display(),
            here.path().display()
        ),
    );
    fs::copy(&evil, here.path().join("post-checkout")).unwrap();
    repository.commit(&[
        ("Dockerfile", "FROM busybox\nCOPY . /all/\n"),
        ("file", "raw"),
        (".gitattributes", "file filter=evil\n"),
    ]);
    for flag in ["BUILDKIT_CONTEXT_KEEP_GIT_DIR=0", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"] {
        let mut command = here.command(["build", "-t", "x", "--build-arg", flag, &server.url("a.git")]);
        command.env("GIT_CONFIG_GLOBAL", here.path().join(".gitconfig")).env("GIT_SSH_COMMAND", &evil);
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert_eq!(here.ok(["run", "--rm", "x", "cat", "/all/file"]), "raw");
        assert!(!mark.exists());
    }
    repository.git(&["submodule", "--quiet", "add", "--", server.url("a.git").as_str(), "sub"]);
    let secret = repository.work_tree.display().to_string();
    for path in [secret.clone(), format!("file://{secret}"), format!("ext::sh -c touch% {}", mark.display())]
    {
        repository.git(&["config", "-f", ".gitmodules", "submodule.sub.url", &path]);
        repository.commit(&[]);
        let ran = try_build(&here, &[&server.url("a.git")]);
        assert!(ran.code != 0 && ran.stderr.contains("not allowed"), "{path}: {ran:#?}");
        assert_clean(&here, &path);
    }
    repository.git(&["config", "-f", ".gitmodules", "submodule.sub.path", "../../../bait"]);
    repository.commit(&[]);
    let ran = try_build(&here, &[&server.url("a.git")]);
    assert!(!ran.stderr.contains("hidden") && !mark.exists(), "{ran:#?}");
    assert_clean(&here, "a path that leads up");
    assert_whole(&here);
}

#[test]
fn a_build_whose_server_says_nothing_can_be_stopped() {
    let Some(here) = with_busybox("silent servers") else { return };
    // connections are taken, and never answered
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for url in [
        format!("http://127.0.0.1:{port}/a.git"),
        format!("http://127.0.0.1:{port}/a.tar"),
        format!("git://127.0.0.1:{port}/a"),
    ] {
        let began = Instant::now();
        let mut child = here.command(["build", "-q", &url]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(child.try_wait().unwrap().is_none(), "{url}: it waits");
        let stopped = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(stopped.unwrap().success());
        assert!(!child.wait().unwrap().success(), "{url}");
        assert!(began.elapsed().as_secs() < 20, "{url}");
    }
}
