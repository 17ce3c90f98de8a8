//! Pushes that end before their time: killed, or left by a registry that dies.

use crate::RBUILD;
use rbuild_testkit::{Harm, HttpReply, HttpServer, Ran, Registry, RegistryOptions, Relay, Workspace};
use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// As a relay passes them on: 16 KiB in a hundredth of a second.
const SLOW: Harm = Harm::Slow(16 << 10);

/// Bytes of a layer that takes long.
const LARGE: usize = 24 << 20;

/// A registry that keeps what arrives of a broken request, as the specification wishes, and forgets no upload.
fn keeping_registry() -> HttpServer {
    let (uploads, blobs) =
        (Mutex::new(Vec::<Vec<u8>>::new()), Mutex::new(BTreeMap::<String, Vec<u8>>::new()));
    HttpServer::start(move |request| {
        let mut uploads = uploads.lock().unwrap();
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let name = path.rsplit('/').next().unwrap().to_owned();
        let number = name.parse::<usize>().ok().filter(|number| *number < uploads.len());
        let range = |bytes: &Vec<u8>| format!("0-{}", bytes.len().saturating_sub(1));
        let location = |number: usize| format!("/v2/a/blobs/uploads/{number}");
        match (request.method.as_str(), number) {
            ("POST", _) => {
                uploads.push(Vec::new());
                HttpReply::new(202, "").header("Location", &location(uploads.len() - 1))
            }
            ("GET", Some(number)) => HttpReply::new(204, "")
                .header("Location", &location(number))
                .header("Range", &range(&uploads[number])),
            ("PATCH" | "PUT", Some(number)) => {
                uploads[number].extend_from_slice(&request.body);
                if request.method == "PUT" {
                    let digest = query.trim_start_matches("digest=").replace("%3A", ":");
                    blobs.lock().unwrap().insert(digest, uploads[number].clone());
                    return HttpReply::new(201, "");
                }
                HttpReply::new(202, "").header("Location", &location(number))
            }
            ("PUT", None) => HttpReply::new(201, ""),
            ("HEAD", None) if blobs.lock().unwrap().contains_key(&name) => HttpReply::new(200, ""),
            _ => HttpReply::new(404, ""),
        }
    })
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(next).collect()
}

fn push(here: &Workspace, name: &str) -> Child {
    let mut command = here.command(["push", name]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a push has noted an upload, and then as long as some bytes need.
fn wait_for_upload(here: &Workspace) {
    let begun = Instant::now();
    let noted = || {
        let notes = fs::read_dir(here.store().join("uploads")).into_iter().flatten().flatten();
        notes.into_iter().any(|note| note.metadata().is_ok_and(|metadata| metadata.len() > 0))
    };
    while !noted() {
        assert!(begun.elapsed() < Duration::from_secs(30), "no upload begins");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(900));
}

#[test]
fn a_killed_push_is_gone_on_with() {
    let server = keeping_registry();
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = Arc::clone(&slow);
    let harm = move |_| if is_slow.load(Ordering::Relaxed) { SLOW } else { Harm::None };
    let relay = Relay::start(&server.host(), harm);
    let here = Workspace::new(RBUILD);
    let name = format!("{}/a:1", relay.host());
    let context = here.context("c", "FROM scratch\nCOPY large /\n", &[]);
    // more than the sockets on the way hold
    fs::write(context.join("large"), noise(LARGE)).unwrap();
    here.build(&name, &context);

    let mut killed = push(&here, &name);
    wait_for_upload(&here);
    killed.kill().unwrap();
    killed.wait().unwrap();
    slow.store(false, Ordering::Relaxed);
    let parts = || {
        let requests = server.requests().into_iter();
        let bodies = requests.filter(|request| request.method == "PATCH").map(|request| request.body.len());
        bodies.collect::<Vec<_>>()
    };
    // what is on the way still arrives
    let begun = Instant::now();
    while parts().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the broken request does not end");
        thread::sleep(Duration::from_millis(10));
    }
    let pushed = Ran::of(push(&here, &name).wait_with_output().unwrap());
    assert_eq!(pushed.code, 0, "{pushed:?}");
    let parts = parts();
    assert!(parts.len() == 2 && parts.iter().all(|part| *part > 100_000), "{parts:?}");
    let whole: usize = parts.iter().sum();
    assert!((LARGE..LARGE + 100_000).contains(&whole), "nothing is sent twice: {parts:?}");
    assert_eq!(fs::read_dir(here.store().join("uploads")).unwrap().count(), 0, "its note is gone");
}

#[test]
fn a_registry_that_dies_is_one_error_and_gets_the_rest_with_the_next_push() {
    let Some(mut registry) = Registry::start(&RegistryOptions::default()) else { return };
    let relay = Relay::start(registry.host(), |_| SLOW);
    let here = Workspace::new(RBUILD);
    let name = format!("{}/a:1", relay.host());
    let context = here.context("c", "FROM scratch\nCOPY small /\nCOPY large /\n", &[("small", "small")]);
    fs::write(context.join("large"), noise(5 << 20)).unwrap();
    here.build(&name, &context);

    let left = push(&here, &name);
    wait_for_upload(&here);
    registry.kill();
    let left = Ran::of(left.wait_with_output().unwrap());
    assert_eq!(left.code, 3, "{left:?}");
    assert_eq!(left.stderr.lines().filter(|line| line.starts_with("Error: ")).count(), 1, "{left:?}");
    assert!(left.stderr.contains(&relay.host()), "{left:?}");
    assert!(!left.stderr.contains("warning"), "{left:?}");
    assert!(
        !here.ok(["inspect", "--format", "{{.RepoDigests}}", &name]).contains("sha256"),
        "nothing is named"
    );

    registry.restart();
    let pushed = Ran::of(push(&here, &name).wait_with_output().unwrap());
    assert_eq!(pushed.code, 0, "{pushed:?}");
    let begun = registry.requests().iter().filter(|request| request.starts_with("POST ")).count();
    assert!(begun <= 2, "what arrived before is not sent again: {:?}", registry.requests());
    let other = Workspace::new(RBUILD);
    other.ok(["pull", &name]);
}
