//! `build --load`: the image in a running docker or podman. What these answer when all is well was looked at with the real
//! ones, which `RBUILD_TEST_DAEMONS` names; a server of the tests' own does what they do when something is wrong.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{HttpBody, HttpReply, HttpRequest, HttpServer, Ran, Workspace, skip};
use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

const DOCKERFILE: &str = "FROM busybox\nCOPY f /f\nRUN cp /f /g\n";

fn load(here: &Workspace, daemon: &str, names: &[&str], context: &Path) -> Ran {
    let mut command = here.command(["build", "--progress=plain", "--load"]);
    command.args(names.iter().flat_map(|name| ["-t", name])).arg(context).env("DOCKER_HOST", daemon);
    Ran::of(command.output().unwrap())
}

/// What `docker` or `podman` says to `arguments`, asked at `daemon`.
fn ask(daemon: &str, arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).env("DOCKER_HOST", daemon).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Docker with its own store and with containerd's, and podman take what is new, and an unchanged image is not sent.
#[test]
fn real_daemons_take_what_is_new() {
    #[expect(clippy::disallowed_methods, reason = "the daemons are the machine's")]
    let Ok(daemons) = std::env::var("RBUILD_TEST_DAEMONS") else {
        return skip("RBUILD_TEST_DAEMONS names no daemons");
    };
    let Some(here) = with_busybox("real_daemons_take_what_is_new") else { return };
    for (number, daemon) in daemons.split_whitespace().enumerate() {
        let names = [format!("load{number}/a:1"), format!("load{number}/b:2")];
        let both = [names[0].as_str(), names[1].as_str()];
        let context = here.context("c", DOCKERFILE, &[("f", &format!("one {number}"))]);
        let first = load(&here, daemon, &both, &context);
        assert_eq!(first.code, 0, "{daemon}: {}", first.stderr);
        let inspect = |name: &str| {
            ask(daemon, &["inspect", "--format", "{{json .RootFS.Layers}} {{json .Config.Env}}", name])
        };
        let own = here.ok(["inspect", "--format", "{{json .RootFS.Layers}} {{json .Config.Env}}", both[0]]);
        assert_eq!([inspect(both[0]), inspect(both[1])], [own.clone(), own], "{daemon}");

        let again = load(&here, daemon, &[both[0], &format!("load{number}/c:3")], &context);
        assert!(again.stderr.contains("the daemon has the image already"), "{daemon}: {}", again.stderr);
        assert_eq!(inspect(&format!("load{number}/c:3")), inspect(both[1]));

        here.write("c/f", format!("two {number}"));
        let changed = load(&here, daemon, &both[..1], &context);
        assert!(
            changed.stderr.contains("the daemon has 1 of 3 layers already"),
            "{daemon}: {}",
            changed.stderr
        );
        assert_eq!(
            ask(daemon, &["run", "--rm", "--network=none", both[0], "cat", "/g"]),
            format!("two {number}")
        );
        assert_eq!(
            ask(daemon, &["run", "--rm", "--network=none", both[1], "cat", "/g"]),
            format!("one {number}")
        );
        ask(daemon, &["rmi", "-f", both[0], both[1], &format!("load{number}/c:3")]);
    }
}

/// An image for two platforms, of files alone.
fn load_two(here: &Workspace, daemon: &str, context: &Path) -> Ran {
    let mut command = here.command(["build", "--progress=plain", "--load", "-t", "two/a:1", "-t", "two/b:1"]);
    command.args(["--platform", "linux/amd64,linux/arm64"]).arg(context).env("DOCKER_HOST", daemon);
    Ran::of(command.output().unwrap())
}

const TWO: &str = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /f\nCOPY amd64 /\n";

/// Docker's containerd store takes an image for several platforms, and others say why they do not.
#[test]
fn real_daemons_take_several_platforms_or_say_why_not() {
    #[expect(clippy::disallowed_methods, reason = "the daemons are the machine's")]
    let Ok(daemons) = std::env::var("RBUILD_TEST_DAEMONS") else {
        return skip("RBUILD_TEST_DAEMONS names no daemons");
    };
    let Some(here) = with_busybox("real_daemons_take_several_platforms") else { return };
    for daemon in daemons.split_whitespace() {
        let context = here.context("two", TWO, &[("amd64", daemon), ("arm64", "a")]);
        let ran = load_two(&here, daemon, &context);
        if ran.code != 0 {
            let words = "cannot take an image for several platforms: ";
            assert!(ran.code == 3 && ran.stderr.contains(words), "{daemon}: {}", ran.stderr);
            continue;
        }
        for (name, platform) in [("two/a:1", "linux/amd64"), ("two/b:1", "linux/arm64")] {
            let layers =
                ["image", "inspect", "--platform", platform, "--format", "{{json .RootFS.Layers}}", name];
            assert_eq!(ask(daemon, &layers), here.ok(layers), "{daemon}");
        }
        let again = load_two(&here, daemon, &context);
        assert!(again.stderr.contains("the daemon has the image already"), "{daemon}: {}", again.stderr);
        here.write("two/arm64", "b");
        let changed = load_two(&here, daemon, &context);
        assert!(changed.stderr.contains("layers already"), "{daemon}: {}", changed.stderr);
        ask(daemon, &["rmi", "-f", "two/a:1", "two/b:1"]);
    }
}

#[test]
fn a_daemon_for_one_platform_is_heard_before_the_build() {
    let Some(here) = with_busybox("a_daemon_for_one_platform") else { return };
    let context = here.context("two", TWO, &[("amd64", "x"), ("arm64", "a")]);
    let server = HttpServer::start(|request: &HttpRequest| match request.target.as_str() {
        "/_ping" => HttpReply::new(200, "OK"),
        "/info" => {
            HttpReply::new(200, r#"{"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"]]}"#)
        }
        _ => HttpReply::new(500, "{}"),
    });
    let ran = load_two(&here, &format!("tcp://{}", server.host()), &context);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let words = "docker without its containerd image store, which its daemon.json turns on, keeps images for one: \
        choose one with --platform, or push the image";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert!(!ran.stderr.contains("COPY"), "before the build: {}", ran.stderr);
}

/// A daemon without images, whose answer to a load is up to the test.
fn daemon(load: impl Fn(usize) -> HttpReply + Send + Sync + 'static) -> HttpServer {
    let loads = AtomicUsize::new(0);
    HttpServer::start(move |request: &HttpRequest| match request.target.split('?').next() {
        Some("/_ping") => HttpReply::new(200, "OK"),
        Some("/images/json") => HttpReply::new(200, r#"[{"Id":"sha256:1","RepoTags":["x:1"]}]"#),
        Some("/images/load") => load(loads.fetch_add(1, Ordering::Relaxed)),
        _ => HttpReply::new(404, r#"{"message":"no such image"}"#),
    })
}

#[test]
fn a_daemon_that_fails_is_heard_and_the_image_stays_in_the_store() {
    let test = "a_daemon_that_fails_is_heard_and_the_image_stays_in_the_store";
    let Some(here) = with_busybox(test) else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "1")]);
    let whole = |status, body: &str| HttpReply::new(status, body);
    for (answer, message) in [
        (
            whole(200, "{\"error\":\"no space left on device\"}\n"),
            "could not load the image: no space left on device",
        ),
        (
            whole(200, "{\"stream\":\"Loading\"}\n{\"errorDetail\":{\"message\":\"bad \\u001b[31mlayer\"}}"),
            "could not load the image: bad \\u001b[31mlayer",
        ),
        (
            whole(200, "{\"stream\":\"Error unpacking image a: gone\\n\"}\n"),
            "could not load the image: Error unpacking image a: gone",
        ),
        (whole(500, r#"{"message":"read-only"}"#), "answers 500 to an image: read-only"),
        (whole(200, "<html>\n"), "gave an answer that makes no sense to an image: expected value"),
        (
            HttpReply::with_body(HttpBody::BrokenOff { sent: b"{}".to_vec(), announced: 9 }),
            "the connection to the daemon at",
        ),
    ] {
        let server = daemon(move |_| answer.clone());
        let ran = load(&here, &format!("tcp://{}", server.host()), &["x:1"], &context);
        assert_eq!(ran.code, 3, "{message}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{message}: {}", ran.stderr);
        assert!(here.ok(["images", "-q", "x:1"]).len() > 1, "{message}");
    }
}

#[test]
fn a_daemon_that_lost_a_layer_gets_the_whole_image() {
    let Some(here) = with_busybox("a_daemon_that_lost_a_layer_gets_the_whole_image") else { return };
    let context = here.context("c", DOCKERFILE, &[("f", "1")]);
    here.build("x:1", &context);
    let layers = here.ok(["inspect", "--format", "{{json .RootFS}}", "x:1"]);
    let layers = Arc::new(layers.replacen("\"Type\"", "\"T\"", 1));
    let loads = AtomicUsize::new(0);
    let server = HttpServer::start(move |request: &HttpRequest| match request.target.split('?').next() {
        Some("/_ping") => HttpReply::new(200, "OK"),
        Some("/images/json") => HttpReply::new(200, r#"[{"Id":"sha256:1","RepoTags":["x:1"]}]"#),
        Some("/images/sha256:1/json") => {
            HttpReply::new(200, format!(r#"{{"Id":"sha256:1","RootFS":{layers}}}"#))
        }
        Some("/images/load") if loads.fetch_add(1, Ordering::Relaxed) == 0 => {
            HttpReply::new(500, r#"{"message":"open blobs/sha256/1: no such file or directory"}"#)
        }
        Some("/images/load") => HttpReply::new(200, "{\"stream\":\"Loaded image: x:1\"}\n"),
        _ => HttpReply::new(404, r#"{"message":"no such image"}"#),
    });
    let ran = load(&here, &format!("tcp://{}", server.host()), &["x:1"], &context);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let sent: Vec<usize> = server
        .requests()
        .iter()
        .filter(|request| request.target.starts_with("/images/load"))
        .map(|request| request.body.len())
        .collect();
    assert!(matches!(sent[..], [first, second] if first < 20_000 && second > 1_000_000), "{sent:?}");
}

#[test]
fn a_daemon_that_is_not_there_is_missed_before_any_work() {
    let test = "a_daemon_that_is_not_there_is_missed_before_any_work";
    let Some(here) = with_busybox(test) else { return };
    let context = here.context("c", "FROM busybox\nRUN echo worked\n", &[]);
    for (daemon, code, message) in [
        (
            "unix:///nowhere/docker.sock",
            3,
            "cannot connect to a docker or podman at unix:///nowhere/docker.sock: is it running?",
        ),
        ("ssh://host", 1, "daemons are reached through sockets and ports; forward the socket with ssh -L"),
        ("nonsense", 1, "a scheme is missing"),
    ] {
        let ran = load(&here, daemon, &[], &context);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains(message) && !ran.stderr.contains("worked"), "{}", ran.stderr);
    }
    let server = HttpServer::start(|_: &HttpRequest| HttpReply::new(404, "<html>not a daemon"));
    let ran = load(&here, &format!("tcp://{}", server.host()), &[], &context);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("answers 404 to a ping: Not Found"), "{}", ran.stderr);
}

/// Without a daemon `--load` is what it is for those who call rbuild docker: the image is in the store.
#[test]
fn without_a_daemon_the_store_has_the_image() {
    let here = Workspace::new(RBUILD);
    if Path::new("/var/run/docker.sock").exists() || Path::new("/run/podman/podman.sock").exists() {
        return skip("a daemon runs on this machine");
    }
    let context = here.context("c", "FROM scratch\nCOPY f /\n", &[("f", "1")]);
    let mut command = here.command(["build", "--load", "-t", "x"]);
    let ran = Ran::of(
        command.arg(&context).env_remove("DOCKER_HOST").env_remove("XDG_RUNTIME_DIR").output().unwrap(),
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("--load: no docker or podman runs here"), "{}", ran.stderr);
    here.ok(["inspect", "x"]);
}
