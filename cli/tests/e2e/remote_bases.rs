//! Builds on images of a registry: what they ask it for, and what happens when it does not answer.

use crate::{RBUILD, wait_for, with_busybox};
use rbuild_testkit::{
    HttpBody, HttpReply, HttpServer, REGISTRY_PASSWORD, REGISTRY_USER, Ran, Registry, RegistryLogin,
    RegistryOptions, Workspace,
};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// A registry, and the name there of an image of two layers.
struct Remote {
    registry: Registry,
    base: String,
}

impl Remote {
    fn start(test: &str) -> Option<Self> {
        let here = with_busybox(test)?;
        let registry = Registry::start(&RegistryOptions::default())?;
        let base = format!("{}/team/base:1", registry.host());
        let dockerfile =
            "FROM busybox\nENV WHO=base\nRUN mkdir -m 750 /data && echo one > /data/one\nCMD cat /data/one\n";
        here.build(&base, &here.context("base", dockerfile, &[]));
        here.ok(["push", &base]);
        Some(Self { registry, base })
    }

    /// The requests since the first `before`, as `GET manifests` and `GET blobs`.
    fn asked(&self, before: usize) -> Vec<String> {
        let kind = |request: &String| {
            let (method, target) = request.split_once(' ').unwrap();
            let kind = ["manifests", "blobs"].into_iter().find(|kind| target.contains(&format!("/{kind}/")));
            format!("{method} {}", kind.unwrap_or("other"))
        };
        // the first contact with a registry asks which version it speaks
        self.registry.requests()[before..].iter().map(kind).filter(|request| request != "GET other").collect()
    }

    fn requests(&self) -> usize {
        self.registry.requests().len()
    }
}

fn build(there: &Workspace, dockerfile: &str, files: &[(&str, &str)]) -> String {
    there.build("x", &there.context("x", dockerfile, files))
}

fn layers(there: &Workspace) -> usize {
    let entries = fs::read_dir(there.store().join("layers")).unwrap();
    entries.filter(|layer| layer.as_ref().unwrap().path().join("fs").exists()).count()
}

#[test]
fn a_build_asks_for_layers_when_a_step_touches_them_and_once() {
    let Some(remote) = Remote::start("a_build_asks_for_layers_when_a_step_touches_them_and_once") else {
        return;
    };
    let there = Workspace::new(RBUILD);
    // nothing touches a file of the base
    let before = remote.requests();
    build(&there, &format!("FROM {}\nENV MORE=1\nLABEL a=b\n", remote.base), &[]);
    assert_eq!(remote.asked(before)[..], ["GET manifests", "GET blobs"], "the manifest and the config");
    assert_eq!(layers(&there), 0);
    assert!(there.ok(["inspect", "x"]).contains("WHO=base"));
    assert!(there.ok(["images", "--format", "{{.Size}}", "x"]).starts_with("0B"));
    assert!(there.ok(["history", "x"]).contains("RUN /bin/sh -c mkdir"));
    there.ok(["df"]);
    there.ok(["prune", "-f"]);

    // a COPY is put beside what the base has there
    let before = remote.requests();
    let dockerfile = format!("FROM {}\nCOPY f /data/f\nRUN cat /data/one /data/f > /both\n", remote.base);
    build(&there, &dockerfile, &[("f", "two")]);
    assert_eq!(remote.asked(before), ["GET blobs", "GET blobs"]);
    assert_eq!(there.ok(["run", "--rm", "x", "cat", "/both"]), "one\ntwo");
    assert_eq!(there.ok(["run", "--rm", "x", "stat", "-c", "%a", "/data"]), "750\n");

    // everything is cached
    let before = remote.requests();
    let said = build(&there, &dockerfile, &[("f", "two")]);
    assert_eq!(remote.asked(before), [""; 0], "{said}");
    let context = there.context("x", &dockerfile, &[("f", "two")]);
    there.ok(["build".as_ref(), "--pull".as_ref(), context.as_os_str()]);
    assert_eq!(remote.asked(before), ["GET manifests"], "whether it is still the same image");
}

#[test]
fn layers_that_are_elsewhere_are_fetched_to_be_compressed_again() {
    let test = "layers_that_are_elsewhere_are_fetched_to_be_compressed_again";
    let Some(remote) = Remote::start(test) else { return };
    let there = Workspace::new(RBUILD);
    let (kept, converted) =
        ["kept", "converted"].map(|tag| format!("{}/team/copy:{tag}", remote.registry.host())).into();
    for name in [&kept, &converted] {
        there.build(name, &there.context("x", &format!("FROM {}\nLABEL a=b\n", remote.base), &[]));
    }
    let types = |pushed: String| {
        let digest = pushed.split_once("sha256:").unwrap().1;
        let manifest = there.store().join("blobs/sha256").join(&digest[..64]);
        let manifest = fs::read_to_string(manifest).unwrap();
        ["tar+gzip", "tar+zstd"].map(|kind| manifest.matches(kind).count())
    };
    assert_eq!(types(there.ok(["push", "--compression-format", "zstd", &kept])), [2, 0]);
    assert_eq!(layers(&there), 0);
    let forced = ["push", "--compression-format", "zstd", "--force-compression", &converted];
    assert_eq!(types(there.ok(forced)), [0, 2]);
    let reader = Workspace::new(RBUILD);
    reader.ok(["pull", &converted]);
    assert_eq!(reader.ok(["run", "--rm", &converted, "cat", "/data/one"]), "one\n");
}

#[test]
fn a_cached_build_needs_no_layer_of_its_base() {
    let Some(remote) = Remote::start("a_cached_build_needs_no_layer_of_its_base") else { return };
    let there = Workspace::new(RBUILD);
    let other = format!("{}/team/other:1", remote.registry.host());
    let dockerfile = format!(
        "FROM {} AS made\nRUN echo made > /made\nFROM {other}\nCOPY --from=made /made /\nRUN cat /made\n",
        remote.base
    );
    let here = with_busybox("a_cached_build_needs_no_layer_of_its_base").unwrap();
    here.build(&other, &here.context("o", "FROM busybox\nRUN echo other > /other\n", &[]));
    here.ok(["push", &other]);
    build(&there, &dockerfile, &[]);
    // without the result of its last step
    let changed = dockerfile.replace("RUN cat /made", "LABEL a=b");
    let before = remote.requests();
    build(&there, &changed, &[]);
    assert_eq!(remote.asked(before), [""; 0]);
    // a new name for the same base: known layers stay known
    let renamed = format!("{}/team/renamed:2", remote.registry.host());
    here.ok(["tag", &other, &renamed]);
    here.ok(["push", &renamed]);
    let before = remote.requests();
    let said = build(&there, &dockerfile.replace(&other, &renamed), &[]);
    assert_eq!(remote.asked(before), ["GET manifests"], "{said}");
    assert!(said.contains("CACHED"), "{said}");
}

#[test]
fn a_base_that_was_made_again_is_compared_by_its_files() {
    let Some(here) = with_busybox("a_base_that_was_made_again_is_compared_by_its_files") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let base = format!("{}/again:1", registry.host());
    let made = here.context("base", "FROM busybox\nRUN mkdir /d && echo same > /d/f\n", &[]);
    let push = || {
        here.ok(["build".as_ref(), "--no-cache".as_ref(), "-t".as_ref(), base.as_ref(), made.as_os_str()]);
        here.ok(["push", &base]);
    };
    push();
    let there = Workspace::new(RBUILD);
    let dockerfile = format!("FROM {base}\nRUN cat /d/f > /out\n");
    build(&there, &dockerfile, &[]);
    // other times make another layer
    std::thread::sleep(Duration::from_millis(1100));
    push();
    let bare = there.context("bare", &format!("FROM {base}\n"), &[]);
    there.ok(["build".as_ref(), "--pull".as_ref(), bare.as_os_str()]);
    assert_eq!(layers(&there), 3, "busybox is known; the other layer is elsewhere");
    let context = there.context("x", &dockerfile, &[]);
    let plan = there.ok(["plan".as_ref(), context.as_os_str()]);
    assert!(plan.contains("maybe"), "{plan}");
    assert_eq!(layers(&there), 3, "a plan fetches nothing");
    let said = there.build("x", &context);
    assert!(said.contains("CACHED") && layers(&there) == 4, "{said}");
}

#[test]
fn what_needs_the_whole_image_fetches_it() {
    let Some(remote) = Remote::start("what_needs_the_whole_image_fetches_it") else { return };
    let dockerfile = format!("FROM {}\nENV MORE=1\n", remote.base);
    let known = || {
        let there = Workspace::new(RBUILD);
        build(&there, &dockerfile, &[]);
        assert_eq!(layers(&there), 0);
        there
    };
    let there = known();
    assert_eq!(there.ok(["run", "--rm", "x"]), "one\n");
    assert_eq!(layers(&there), 2);

    let there = known();
    let ran = there.fails(["run", "--pull=never", "--rm", "x"]);
    assert!(ran.stderr.contains(&format!("layers of {} are not fetched yet", remote.base)), "{ran:?}");
    assert!(ran.stderr.contains(&format!("'rbuild pull {}'", remote.base)), "{ran:?}");
    there.ok(["save", "-o", "saved.tar", "x"]);
    let loading = known();
    loading.ok(["load".as_ref(), "-i".as_ref(), there.path().join("saved.tar").as_os_str()]);
    assert_eq!(layers(&loading), 2, "an archive has the layers as well");
    let before = remote.requests();
    assert_eq!(
        loading.ok(["run", "--name", "changed", "x", "sh", "-c", "echo new > /new; cat /data/one"]),
        "one\n"
    );
    let new = format!("{}/team/new:1", remote.registry.host());
    loading.ok(["commit", "changed", &new]);
    loading.ok(["push", &new]);
    assert!(!remote.asked(before).contains(&"GET blobs".to_owned()));

    // what is elsewhere is pushed without being fetched
    let there = known();
    let before = remote.requests();
    let pushed = format!("{}/other/pushed:1", remote.registry.host());
    there.ok(["tag", "x", &pushed]);
    there.ok(["push", &pushed]);
    assert!(!remote.asked(before).contains(&"GET blobs".to_owned()), "{:?}", remote.asked(before));
    assert_eq!(layers(&there), 0);
    there.ok(["pull", &pushed]);
    assert_eq!(layers(&there), 2, "a pull brings an image whole");
    assert_eq!(there.ok(["run", "--rm", &pushed]), "one\n");
}

#[test]
fn files_of_other_images_are_fetched_for_copies_and_mounts() {
    let Some(remote) = Remote::start("files_of_other_images_are_fetched_for_copies_and_mounts") else {
        return;
    };
    let base = &remote.base;
    let there = Workspace::new(RBUILD);
    let before = remote.requests();
    build(&there, &format!("FROM scratch\nCOPY --from={base} /data /data\n"), &[]);
    assert_eq!(remote.asked(before), ["GET manifests", "GET blobs", "GET blobs", "GET blobs"]);
    let there = with_busybox("files_of_other_images_are_fetched_for_copies_and_mounts").unwrap();
    let mounted =
        format!("FROM busybox\nRUN --mount=from={base},source=/data,target=/m cat /m/one > /copied\n");
    build(&there, &mounted, &[]);
    assert_eq!(there.ok(["run", "--rm", "x", "cat", "/copied"]), "one\n");
    // a stage that nothing needs is not even resolved
    let there = Workspace::new(RBUILD);
    let before = remote.requests();
    build(&there, &format!("FROM {base} AS unused\nRUN true\nFROM scratch\nCOPY f /f\n"), &[("f", "x")]);
    assert_eq!(remote.requests(), before);
}

#[test]
fn five_bases_are_resolved_and_fetched_side_by_side() {
    let Some(remote) = Remote::start("five_bases_are_resolved_and_fetched_side_by_side") else { return };
    let here = with_busybox("five_bases_are_resolved_and_fetched_side_by_side").unwrap();
    // no manifest is answered before all six are asked for: bases that wait for each other would never be
    let (asking, all_ask) = (Mutex::new(0), Condvar::new());
    let front = HttpServer::in_front_of(remote.registry.host(), move |_, request| {
        if request.target.contains("/manifests/") {
            let mut asking = asking.lock().unwrap();
            *asking += 1;
            all_ask.notify_all();
            let waited = all_ask.wait_timeout_while(asking, Duration::from_secs(60), |asking| *asking < 6);
            if waited.unwrap().1.timed_out() {
                return Some(HttpReply::new(500, "the others were not asked for"));
            }
        }
        None
    });
    let (mut dockerfile, mut copies) = (String::new(), String::new());
    for number in 1..=5 {
        let name = format!("five/base{number}:1");
        let pushed = format!("{}/{name}", remote.registry.host());
        let text = format!("FROM busybox\nRUN echo {number} > /{number}\n");
        here.build(&pushed, &here.context(&format!("b{number}"), &text, &[]));
        here.ok(["push", &pushed]);
        dockerfile += &format!("FROM {}/{name} AS s{number}\nRUN cp /{number} /copy{number}\n", front.host());
        copies += &format!("COPY --from=s{number} /copy{number} /\n");
    }
    let base = remote.base.replace(remote.registry.host(), &front.host());
    dockerfile += &format!("FROM {base}\n{copies}");
    let there = Workspace::new(RBUILD);
    let context = there.context("x", &dockerfile, &[]);
    let ran = there.run(["build".as_ref(), "-t".as_ref(), "x".as_ref(), context.as_os_str()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let steps: Vec<&str> = ran.stderr.lines().collect();
    let resolving = |line: &&&str| line.contains("load metadata for");
    let numbers: Vec<&str> =
        steps.iter().filter(resolving).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(numbers.len(), 6, "{ran:?}");
    let asked: Vec<String> = front.requests().into_iter().map(|request| request.target).collect();
    let manifests = asked.iter().filter(|request| request.contains("/manifests/")).count();
    let mut blobs: Vec<&String> = asked.iter().filter(|request| request.contains("/blobs/")).collect();
    assert_eq!(manifests, 6, "{asked:?}");
    let all = blobs.len();
    blobs.sort();
    blobs.dedup();
    assert_eq!(blobs.len(), all, "nothing is fetched twice");
    // six configs, the layer of busybox, five more, and the one of the base
    assert!(all <= 6 + 6 * 2, "{asked:?}");
    let files = ["cat", "/copy1", "/copy2", "/copy3", "/copy4", "/copy5", "/data/one"];
    assert_eq!(there.ok(["run", "--rm", "x"].into_iter().chain(files)), "1\n2\n3\n4\n5\none\n");
}

#[test]
fn a_fetch_that_fails_says_what_was_wanted_from_where() {
    let Some(remote) = Remote::start("a_fetch_that_fails_says_what_was_wanted_from_where") else { return };
    let there = Workspace::new(RBUILD);
    build(&there, &format!("FROM {}\n", remote.base), &[]);
    let dockerfile = format!("FROM {}\nENV A=1\nRUN true\n", remote.base);
    let context = there.context("x", &dockerfile, &[]);
    let fails = || there.fails(["build".as_ref(), context.as_os_str()]);
    let named = |ran: &Ran| {
        let host = remote.registry.host();
        assert!(
            ran.stderr.contains("failed to fetch the files it needs: cannot fetch layer sha256:"),
            "{ran:?}"
        );
        assert!(ran.stderr.contains(&format!(" of {} from {host}: ", remote.base)), "{ran:?}");
        assert!(ran.stderr.contains("Dockerfile:3"), "{ran:?}");
    };
    // the registry has cleaned up
    let layer = layer_blob(&remote);
    let deleted = request(remote.registry.host(), "DELETE", &format!("/v2/team/base/blobs/{layer}"));
    assert_eq!(deleted.0, 202);
    let ran = fails();
    named(&ran);
    assert!(ran.stderr.contains(&format!("pull it again with 'rbuild pull {}'", remote.base)), "{ran:?}");
    assert_eq!(ran.code, 1);

    let there_base = remote.base.clone();
    let host = remote.registry.host().to_owned();
    drop(remote);
    let ran = there.fails(["build".as_ref(), context.as_os_str()]);
    assert!(ran.stderr.contains(&format!(" of {there_base} from {host}: ")), "{ran:?}");
    assert!(ran.stderr.contains("refused"), "{ran:?}");
    assert!(
        ran.stderr.contains(&format!("nothing else has the layer: see that {host} can be reached")),
        "{ran:?}"
    );
    assert_eq!(ran.code, 3, "that is the machine's matter: {ran:?}");
    // what needs nothing of it still works
    build(&there, &format!("FROM {there_base}\nENV B=2\n"), &[]);
    let context = there.context("x", &dockerfile, &[]);
    let plan = there.ok(["plan".as_ref(), context.as_os_str()]);
    assert!(plan.contains("RUN true"), "{plan}");
}

#[test]
fn a_fetch_uses_the_login_of_its_own_time() {
    let Some(here) = with_busybox("a_fetch_uses_the_login_of_its_own_time") else { return };
    let options = RegistryOptions { login: RegistryLogin::Basic, ..RegistryOptions::default() };
    let Some(registry) = Registry::start(&options) else { return };
    let base = format!("{}/private:1", registry.host());
    let login = ["login", "-u", REGISTRY_USER, "-p", REGISTRY_PASSWORD, registry.host()];
    here.ok(login);
    here.ok(["tag", "busybox", &base]);
    here.ok(["push", &base]);
    let there = Workspace::new(RBUILD);
    there.ok(login);
    build(&there, &format!("FROM {base}\n"), &[]);
    there.ok(["logout", registry.host()]);
    let kept = Command::new("grep").args(["-rqaF", REGISTRY_PASSWORD]).arg(there.store()).status().unwrap();
    assert_eq!(kept.code(), Some(1), "no login is in the store");
    let context = there.context("x", &format!("FROM {base}\nRUN echo in > /out\n"), &[]);
    let ran = there.fails(["build".as_ref(), context.as_os_str()]);
    assert!(ran.stderr.contains("denied"), "{ran:?}");
    assert!(ran.stderr.contains(&format!("rbuild login {}", registry.host())), "{ran:?}");
    there.ok(login);
    there.build("x", &context);
}

#[test]
fn a_build_that_is_killed_while_it_fetches_leaves_nothing_half() {
    let Some(remote) = Remote::start("a_build_that_is_killed_while_it_fetches_leaves_nothing_half") else {
        return;
    };
    let (host, layer) = (remote.registry.host().to_owned(), layer_blob(&remote));
    // stands between rbuild and the registry, and stops in the middle of the layer
    let stalls = Arc::new(AtomicBool::new(true));
    let still = stalls.clone();
    let server = HttpServer::start(move |asked| {
        let (status, media_type, body) = request(&host, &asked.method, &asked.target);
        if still.load(Ordering::Relaxed) && asked.target.ends_with(&layer) {
            let sent = body[..body.len() / 2].to_vec();
            return HttpReply::with_body(HttpBody::Stalled { sent, announced: body.len() });
        }
        HttpReply::new(status, body).header("Content-Type", &media_type)
    });
    let there = Workspace::new(RBUILD);
    let base = remote.base.replace(remote.registry.host(), &server.host());
    let context = there.context("x", &format!("FROM {base}\nRUN cat /data/one > /copy\n"), &[]);
    let mut child =
        there.command(["build".as_ref(), "-t".as_ref(), "x".as_ref(), context.as_os_str()]).spawn().unwrap();
    wait_for(|| server.requests().iter().filter(|asked| asked.target.contains("/blobs/")).count() >= 3);
    wait_for(|| unpacking(there.store()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(layers(&there), 0);
    stalls.store(false, Ordering::Relaxed);
    there.build("x", &context);
    assert_eq!(layers(&there), 3);
    assert_eq!(there.ok(["run", "--rm", "x", "cat", "/copy"]), "one\n");
    there.ok(["prune", "-f"]);
    assert_eq!(fs::read_dir(there.store().join("locks/layers")).unwrap().count(), 0);
}

/// True if something of a layer was written.
fn unpacking(store: &Path) -> bool {
    let spaces = fs::read_dir(store.join("tmp")).into_iter().flatten().flatten();
    spaces.flat_map(|space| fs::read_dir(space.path()).into_iter().flatten().flatten()).count() > 0
}

/// The digest of the base's lower layer.
fn layer_blob(remote: &Remote) -> String {
    let (_, _, manifest) = request(remote.registry.host(), "GET", "/v2/team/base/manifests/1");
    let manifest = String::from_utf8(manifest).unwrap();
    let layers = manifest.split("\"layers\"").nth(1).unwrap();
    let digest = layers.split("sha256:").nth(1).unwrap();
    format!("sha256:{}", &digest[..64])
}

/// Status, media type and body of the answer.
fn request(host: &str, method: &str, target: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(host).unwrap();
    let accepted = "application/vnd.oci.image.manifest.v1+json, */*";
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nAccept: {accepted}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    };
    (status, head.lines().find_map(named).unwrap_or_default(), answer[end + 4..].to_vec())
}

#[test]
fn a_digest_that_was_pulled_by_digest_and_by_tag_stands_once() {
    let Some(remote) = Remote::start("a_digest_that_was_pulled_by_digest_and_by_tag") else { return };
    let here = Workspace::new(RBUILD);
    let digests = || here.ok(["inspect", "-f", "{{join .RepoDigests \" \"}}", &remote.base]);
    here.ok(["pull", &remote.base]);
    let pin = digests().trim().to_owned();
    assert!(pin.starts_with(remote.base.trim_end_matches(":1")) && pin.contains("@sha256:"), "{pin}");
    here.ok(["rmi", &remote.base]);
    for name in [&pin, &remote.base, &pin] {
        here.ok(["pull", name]);
    }
    assert_eq!(digests(), format!("{pin}\n"));
    assert_eq!(here.ok(["images", "--digests", "-q"]).lines().count(), 1);
}

#[test]
fn a_slow_registry_holds_up_no_image_of_another_one() {
    let Some(remote) = Remote::start("a_slow_registry_holds_up_no_image_of_another_one") else { return };
    let (host, layer) = (remote.registry.host().to_owned(), layer_blob(&remote));
    let server = HttpServer::start(move |asked| {
        let (status, media_type, body) = request(&host, &asked.method, &asked.target);
        if asked.target.ends_with(&layer) {
            let sent = body[..1].to_vec();
            return HttpReply::with_body(HttpBody::Stalled { sent, announced: body.len() });
        }
        HttpReply::new(status, body).header("Content-Type", &media_type)
    });
    let there = Workspace::new(RBUILD);
    let slow = remote.base.replace(remote.registry.host(), &server.host());
    let mut child = there.command(["pull", &slow]).spawn().unwrap();
    wait_for(|| server.requests().iter().filter(|asked| asked.target.contains("/blobs/")).count() >= 3);
    wait_for(|| unpacking(there.store()));
    there.ok(["pull", &remote.base]);
    assert!(child.try_wait().unwrap().is_none(), "the slow one still waits");
    assert_eq!(there.ok(["run", "--rm", &remote.base, "cat", "/data/one"]), "one\n");
    child.kill().unwrap();
    child.wait().unwrap();
    // and what it left is not in the way of the slow one's name
    assert_eq!(there.ok(["run", "--rm", &slow, "cat", "/data/one"]), "one\n");
}
