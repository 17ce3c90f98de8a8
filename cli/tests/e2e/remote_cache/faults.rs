//! Servers of caches that are slow, lie or die: what they cost is bounded, and no build fails.

use super::{Machines, cached};
use crate::{RBUILD, with_busybox};
use rbuild_testkit::{HttpBody, HttpReply, HttpServer, Workspace};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const TEXT: &str = "FROM BASE\nRUN echo ran > /ran\nCMD [\"cat\", \"/ran\"]\n";

/// A server whose answer for a manifest has this body.
fn server(body: HttpBody) -> HttpServer {
    HttpServer::start(move |asked| {
        let mut reply =
            HttpReply::new(200, "{}").header("Content-Type", "application/vnd.oci.image.index.v1+json");
        if asked.target.contains("/manifests/") {
            reply.body = body.clone();
        }
        reply
    })
}

#[test]
fn a_server_that_lies_or_stalls_costs_a_line_and_half_a_minute_at_most() {
    let Some(machines) = Machines::start("a_server_that_lies_or_stalls") else { return };
    let whole = |text: &str| HttpBody::Whole(text.as_bytes().to_vec());
    let bodies = [
        (whole("<html>log in here</html>"), "cannot read the manifest of"),
        (whole(r#"{"schemaVersion":2,"hello":[]}"#), "it is neither a manifest nor an index"),
        (whole(&" ".repeat(100 << 20)), "sent more than 4194304 bytes"),
        (HttpBody::Endless, "sent more than 4194304 bytes"),
        (HttpBody::Stalled { sent: b"{".to_vec(), announced: 100 }, "has not said within 30 seconds"),
    ];
    for (body, reason) in bodies {
        let server = server(body);
        let machine = Workspace::new(RBUILD);
        let begun = Instant::now();
        let from = format!("{}/team/cache:1", server.host());
        let said = machines.builds(&machine, TEXT, &["--cache-from", &from]);
        let warnings = said.lines().filter(|line| line.contains("WARN: the cache ") && line.contains(reason));
        assert_eq!((warnings.count(), cached(&said)), (1, 0), "{reason}: {said}");
        assert!(begun.elapsed().as_secs() < 60, "{reason}: {:?}", begun.elapsed());
        assert_eq!(machine.ok(["run", "--rm", "app"]), "ran\n");
    }
}

/// A registry without blobs, where the bytes of one are answered with `answer`; without one, they are not answered at all.
fn registry(answer: Option<HttpReply>) -> HttpServer {
    HttpServer::start(move |asked| match (asked.method.as_str(), asked.target.contains("/blobs/uploads/")) {
        ("POST", true) => HttpReply::new(202, "").header("Location", "/v2/team/cache/blobs/uploads/1"),
        ("PUT" | "PATCH", true) => answer.clone().unwrap_or_else(|| {
            thread::sleep(Duration::from_secs(600));
            HttpReply::new(500, "")
        }),
        ("HEAD", _) => HttpReply::new(404, ""),
        _ => HttpReply::new(200, "{}"),
    })
}

#[test]
fn a_registry_that_takes_nothing_any_more_does_not_hold_the_build() {
    let Some(machines) = Machines::start("a_registry_that_takes_nothing_any_more") else { return };
    let busy = HttpReply::new(503, "").header("Retry-After", "50");
    let build = |answer: Option<HttpReply>, more: &str| {
        let (server, machine) = (registry(answer), Workspace::new(RBUILD));
        let to = format!("type=registry,ref={}/team/cache:1{more}", server.host());
        let ran = machines.build(&machine, TEXT, &["--cache-to", &to]);
        assert_eq!(machine.ok(["run", "--rm", "app"]), "ran\n");
        (ran, server.host())
    };
    thread::scope(|scope| {
        let ignored = scope.spawn(|| build(None, ",ignore-error=true"));
        let fatal = scope.spawn(|| build(None, ""));
        let (ran, host) = build(Some(busy), ",ignore-error=true");
        let said = format!(
            "WARN: the cache {host}/team/cache:1 was not written: {host} has taken nothing for 30 seconds, and before: "
        );
        assert!(ran.code == 0 && ran.stderr.contains(&said) && ran.stderr.contains("503"), "{ran:#?}");
        let (ran, host) = ignored.join().unwrap();
        let said = format!(
            "WARN: the cache {host}/team/cache:1 was not written: {host} has taken nothing for 30 seconds\n"
        );
        assert!(ran.code == 0 && ran.stderr.contains(&said), "{ran:#?}");
        let (ran, host) = fatal.join().unwrap();
        assert!(
            ran.code != 0 && ran.stderr.contains(&format!("{host} has taken nothing for 30 ")),
            "{ran:#?}"
        );
    });
}

#[test]
fn an_interrupted_build_writes_no_cache_to_its_end() {
    let Some(here) = with_busybox("an_interrupted_build_writes_no_cache_to_its_end") else { return };
    let dockerfile = "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=128 2>/dev/null\n";
    let context = here.context("c", dockerfile, &[]);
    let cache = here.path().join("shared");
    let to = format!("type=local,dest={},compression=zstd,compression-level=22", cache.display());
    let words = ["build", "--progress=plain", "--cache-to", &to, context.to_str().unwrap()];
    let mut build = here.command(words).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(build.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("exporting cache to")), "its step has run");
    let interrupted = Command::new("kill").args(["-INT", &build.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    assert_eq!(build.wait().unwrap().code(), Some(130));
    let left: Vec<_> = fs::read_dir(cache.join("blobs/sha256")).unwrap().collect();
    assert!(left.is_empty(), "its layer was not written to the end, and nothing is left of it: {left:?}");
}
