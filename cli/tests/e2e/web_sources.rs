//! ADD of files of the web, from a real server: what becomes of them, when the server is asked, and servers that fail.

use crate::with_busybox;
use rbuild_testkit::{HttpBody, HttpReply, HttpRequest, HttpServer, Ran, Tar, Workspace};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Wed, 01 Jan 2020 00:00:00 GMT
const TIME: &str = "Wed, 01 Jan 2020 00:00:00 GMT";

fn try_build(here: &Workspace, instructions: &str) -> Ran {
    let context = here.context("web", &format!("FROM busybox\n{instructions}\n"), &[("local", "here")]);
    here.run(["build", "--progress=plain", "-t", "x", context.to_str().unwrap()])
}

fn build(here: &Workspace, instructions: &str) -> String {
    let ran = try_build(here, instructions);
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.stderr
}

/// What `stat` says of files in the image.
fn stat(here: &Workspace, files: &[&str]) -> Vec<String> {
    let words = ["run", "--rm", "x", "stat", "-c", "%n %a %u:%g %Y %s"].iter().chain(files);
    here.ok(words).lines().map(str::to_owned).collect()
}

#[test]
fn a_file_has_the_name_mode_and_time_that_docker_gives_it() {
    let Some(here) = with_busybox("ADD of files of the web") else { return };
    let tar = Tar::new().file("inside", b"unpacked").finish();
    let server = HttpServer::start(move |request| match request.target.as_str() {
        "/dir/a%20b?query=1" => HttpReply::new(200, "hello").header("Last-Modified", TIME),
        "/moved" => HttpReply::new(302, "").header("Location", "/dir/a%20b?query=1"),
        "/" => HttpReply::new(200, "root"),
        "/?named" => HttpReply::new(200, "n").header("Content-Disposition", "attachment; filename=\"given\""),
        "/file.tar" => HttpReply::new(200, tar.clone()).header("Last-Modified", TIME),
        _ => HttpReply::new(404, ""),
    });
    let at = format!("http://{}", server.host());
    build(
        &here,
        &format!(
            "ADD {at}/dir/a%20b?query=1 /one/\n\
             ADD {at}/moved /two/\n\
             ADD {at}/dir/a%20b?query=1 /three\n\
             ADD {at}/ {at}/?named local /four/\n\
             ADD --chmod=751 --chown=5:6 --link {at}/moved /five/six/\n\
             ADD {at}/file.tar /seven/\n\
             ADD --unpack=true --chown=7 {at}/file.tar /eight/\n\
             ADD --exclude=moved {at}/moved /nine/"
        ),
    );
    let files = [
        "/one/a b",
        "/two/moved",
        "/three",
        "/four/__unnamed__",
        "/four/given",
        "/four/local",
        "/five/six",
        "/five/six/moved",
        "/seven/file.tar",
        "/eight/inside",
        "/nine/moved",
    ];
    let found = stat(&here, &files);
    let local = found[5].clone();
    assert!(local.starts_with("/four/local 644 0:0 "), "{local}");
    assert!(found[6].starts_with("/five/six 751 5:6 "), "{found:?}");
    let length = found[8].rsplit(' ').next().unwrap().to_owned();
    let expected = [
        "/one/a b 600 0:0 1577836800 5".to_owned(),
        "/two/moved 600 0:0 1577836800 5".to_owned(),
        "/three 600 0:0 1577836800 5".to_owned(),
        "/four/__unnamed__ 600 0:0 0 4".to_owned(),
        "/four/given 600 0:0 0 1".to_owned(),
        local,
        found[6].clone(),
        "/five/six/moved 751 5:6 1577836800 5".to_owned(),
        format!("/seven/file.tar 600 0:0 1577836800 {length}"),
        found[9].clone(),
        "/nine/moved 600 0:0 1577836800 5".to_owned(),
    ];
    assert_eq!(found, expected);
    assert!(found[9].starts_with("/eight/inside 644 7:7 "), "{found:?}");
    // one file that several instructions add is fetched once
    let asked = server.requests().iter().filter(|request| request.target == "/dir/a%20b?query=1").count();
    assert_eq!(asked, 2);
}

/// Content, tag and time.
type File = (&'static str, Option<&'static str>, Option<&'static str>);

/// A server of one file, whose content, tag and time can be changed, and which knows conditions or does not.
#[derive(Clone)]
struct Served {
    file: Arc<Mutex<File>>,
}

impl Served {
    fn start(knows_conditions: bool) -> (Self, HttpServer) {
        let served = Self { file: Arc::new(Mutex::new(("one", Some("\"1\""), None))) };
        let file = served.file.clone();
        let server = HttpServer::start(move |request| {
            let (body, etag, time) = *file.lock().unwrap();
            let same = |name, value: Option<&str>| value.is_some() && request.header(name) == value;
            let unchanged = match etag {
                Some(_) => same("if-none-match", etag),
                None => same("if-modified-since", time),
            };
            let mut reply = HttpReply::new(200, body);
            if knows_conditions && unchanged {
                reply = HttpReply::new(304, "");
            }
            for (name, value) in [("ETag", etag), ("Last-Modified", time)] {
                reply = value.into_iter().fold(reply, |reply, value| reply.header(name, value));
            }
            reply
        });
        (served, server)
    }

    fn set(&self, body: &'static str, etag: Option<&'static str>, time: Option<&'static str>) {
        *self.file.lock().unwrap() = (body, etag, time);
    }
}

#[test]
fn an_unchanged_file_is_a_hit_and_a_changed_one_is_not() {
    for knows_conditions in [true, false] {
        let Some(here) = with_busybox("revalidation of files of the web") else { return };
        let (served, server) = Served::start(knows_conditions);
        let add = format!("ADD http://{}/file /file\nRUN cat /file", server.host());
        let cached = |log: &str| log.matches("CACHED").count();
        assert_eq!(cached(&build(&here, &add)), 0);
        // the file itself, the ADD and the RUN
        assert_eq!(cached(&build(&here, &add)), 3, "the tag is the same");
        served.set("two", Some("\"2\""), None);
        let log = build(&here, &add);
        assert!(cached(&log) == 0 && log.contains("two"), "{log}");
        served.set("two", Some("\"3\""), None);
        assert_eq!(cached(&build(&here, &add)), 2, "the content is the same");
        served.set("three", None, Some(TIME));
        build(&here, &add);
        assert_eq!(cached(&build(&here, &add)), 2 + usize::from(knows_conditions), "the time is the same");
        served.set("three", None, Some("Thu, 02 Jan 2020 00:00:00 GMT"));
        assert_eq!(
            cached(&build(&here, &add)),
            1,
            "the file's time is part of the layer, and RUN sees the same files"
        );
    }
}

#[test]
fn a_file_whose_digest_is_given_is_asked_for_once() {
    let Some(here) = with_busybox("checksums of files of the web") else { return };
    let server = HttpServer::start(|_| HttpReply::new(200, "hello"));
    let url = format!("http://{}/file", server.host());
    let right = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let add = format!("ADD --checksum={right} {url} /file");
    build(&here, &add);
    assert_eq!(server.requests().len(), 1);
    let log = build(&here, &add);
    assert!(log.contains("CACHED"), "{log}");
    // also for a step that is new
    build(&here, &format!("ADD --checksum={right} {url} /other"));
    assert_eq!(server.requests().len(), 1);
    let log = build(&here, &format!("ADD {url} /file"));
    assert!(log.contains("CACHED"), "a checksum changes nothing: {log}");

    let wrong = right.replace("2cf", "fff");
    let other = format!("http://{}/other", server.host());
    for url in [url, other] {
        let ran = try_build(&here, &format!("ADD --checksum={wrong} {url} /file"));
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert!(ran.stderr.contains(&format!("digest mismatch {right}: {wrong}")), "{}", ran.stderr);
        assert!(ran.stderr.contains("Dockerfile:2"), "{}", ran.stderr);
    }
}

#[test]
fn bytes_that_were_damaged_or_pruned_are_fetched_again() {
    let Some(here) = with_busybox("lost files of the web") else { return };
    let server = HttpServer::start(|request| match request.header("if-none-match") {
        Some(_) => HttpReply::new(304, ""),
        None => HttpReply::new(200, "hello").header("ETag", "\"1\""),
    });
    let add = |place: &str| format!("ADD http://{}/file {place}", server.host());
    build(&here, &add("/a"));
    let blob =
        here.store().join("blobs/sha256/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    std::fs::write(&blob, "hallo").unwrap();
    let ran = try_build(&here, &add("/b"));
    assert!(ran.code != 0 && ran.stderr.contains("damaged"), "{ran:#?}");
    build(&here, &add("/b"));
    assert_eq!(std::fs::read(&blob).unwrap(), b"hello");
    here.ok(["builder", "prune", "-a", "-f"]);
    assert!(!blob.exists());
    build(&here, &add("/c"));
    assert_eq!(stat(&here, &["/c"]), ["/c 600 0:0 0 5"]);
}

#[test]
fn servers_that_fail_are_named_with_the_place_in_the_dockerfile() {
    let Some(here) = with_busybox("failing web servers") else { return };
    let broken = Arc::new(AtomicUsize::new(0));
    let tries = broken.clone();
    let server = HttpServer::start(move |request: &HttpRequest| match request.target.as_str() {
        "/loop" => HttpReply::new(302, "").header("Location", "/loop"),
        "/file" => HttpReply::new(302, "").header("Location", "file:///etc/passwd"),
        "/login" => HttpReply::new(401, ""),
        "/cut" if request.header("range") == Some("bytes=3-") => {
            HttpReply::new(206, "lo").header("Content-Range", "bytes 3-4/5").header("ETag", "\"1\"")
        }
        "/cut" => {
            tries.fetch_add(1, Ordering::Relaxed);
            let body = HttpBody::BrokenOff { sent: b"hel".to_vec(), announced: 5 };
            HttpReply::with_body(body).header("ETag", "\"1\"")
        }
        _ => HttpReply::new(404, "nothing here"),
    });
    for (path, expected) in [
        ("none", "answered 404: nothing here"),
        ("loop", "too many redirects"),
        ("file", "redirect"),
        ("login", "answered 401"),
    ] {
        let ran = try_build(&here, &format!("RUN true\nADD http://me:hidden@{}/{path} /", server.host()));
        assert!(ran.code != 0 && ran.stderr.contains(expected), "{path}: {ran:#?}");
        assert!(ran.stderr.contains("Dockerfile:3"), "{path}: {}", ran.stderr);
        let said = ran.stderr.lines().filter(|line| line.contains("failed to fetch"));
        assert!(
            said.clone().count() == 1 && said.clone().all(|line| !line.contains("hidden")),
            "{path}: {ran:#?}"
        );
    }
    build(&here, &format!("ADD http://{}/cut /cut", server.host()));
    assert_eq!(broken.load(Ordering::Relaxed), 1, "what has come is not fetched again");
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/cut"]), "hello");
}

#[test]
fn files_come_through_the_proxy_of_the_environment() {
    let Some(here) = with_busybox("proxies for files of the web") else { return };
    let proxy = HttpServer::start(|_| HttpReply::new(200, "through the proxy"));
    let context = here.context("web", "FROM busybox\nADD http://nowhere.example/file /\n", &[]);
    let mut command = here.command(["build", "-t", "x", context.to_str().unwrap()]);
    let ran = Ran::of(command.env("http_proxy", format!("http://{}", proxy.host())).output().unwrap());
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(proxy.requests()[0].target, "http://nowhere.example/file");
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/file"]), "through the proxy");
}

#[test]
fn a_lock_file_keeps_a_build_on_the_files_it_had() {
    let Some(here) = with_busybox("ADD of files of the web") else { return };
    let content = Arc::new(Mutex::new("one"));
    let served = content.clone();
    let server = HttpServer::start(move |_| HttpReply::new(200, *served.lock().unwrap()));
    let url = format!("http://{}/f", server.host());
    let add = format!("FROM busybox\nADD {url} /f\nRUN cat /f\n");
    let context = here.context("locked", &add, &[]);
    let context = context.to_str().unwrap();
    let build = |flag: &str| here.run(["build", "--progress=plain", flag, "-t", "x", context]);
    assert_eq!(build("--lock").code, 0);
    let lock = std::fs::read_to_string(here.path().join("locked/rbuild.lock")).unwrap();
    let digest = rbuild::Digest::of(b"one");
    assert!(lock.contains(&format!("\"{url}\": {{\n      \"http\": \"{digest}\"")), "{lock}");
    *content.lock().unwrap() = "two";
    // what is kept is what is locked
    assert!(build("--locked").stderr.contains("CACHED"));
    let there = Workspace::new(crate::RBUILD);
    there.import(rbuild_testkit::Base::Busybox);
    // busybox is another image there, so that the lock of the file alone is looked at
    let file = there.path().join("locked/rbuild.lock");
    there.context("locked", &add, &[("rbuild.lock", &lock)]);
    let id = |of: &Workspace| of.ok(["images", "-q", "--no-trunc", "busybox"]).trim().to_owned();
    std::fs::write(&file, lock.replace(&id(&here), &id(&there))).unwrap();
    let path = there.path().join("locked");
    let moved = there.fails(["build", "--locked", path.to_str().unwrap()]);
    let words = format!("the lock file has {digest}, and the file is {} now", rbuild::Digest::of(b"two"));
    assert!(moved.stderr.contains(&words) && moved.stderr.contains("build with --lock"), "{moved:#?}");
    assert!(moved.stderr.contains(">>> ADD"), "{moved:#?}");
    // locking again says what moved, and a file that is not locked is refused
    let again = build("--lock");
    let words = format!("rbuild.lock: {url} moved from {digest} to {}", rbuild::Digest::of(b"two"));
    assert!(again.code == 0 && again.stderr.contains(&words), "{again:#?}");
    here.context("locked", &format!("{add}ADD {url}2 /2\n"), &[]);
    let unknown = build("--locked");
    assert!(unknown.code == 1 && unknown.stderr.contains("it is not in the lock file"), "{unknown:#?}");
}
