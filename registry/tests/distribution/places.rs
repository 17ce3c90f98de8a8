//! Mirrors, moved and blocked repositories, as configuration files ask for them.

use crate::{all, chain, layer, pattern, quick, reference, run};
use rbuild_oci::{Digest, MediaType};
use rbuild_registry::{
    BlobBody, BlobUpload, Client, ClientOptions, Listener, Notice, Registries, RegistryError,
};
use rbuild_testkit::{HttpReply, HttpServer, Registry, RegistryOptions};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

const FILE: &str = "/etc/x.conf";

fn conf(text: &str) -> Registries {
    Registries::from_registries_conf(Path::new(FILE), text).expect("the file is right")
}

fn places(registries: &Registries, name: &str) -> Vec<String> {
    let places = registries.places(&name.parse().expect("a reference")).expect("nothing is blocked");
    places.iter().map(ToString::to_string).collect()
}

#[test]
fn registries_conf_leads_as_its_manual_says() {
    let registries = conf(
        r#"
        unqualified-search-registries = ["quay.io", "docker.io"]
        short-name-mode = "enforcing"
        [aliases]
        "fedora" = "registry.fedoraproject.org/fedora"
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "m1.example:5000/hub"
        [[registry.mirror]]
        location = "m2.example"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "m3.example"
        pull-from-mirror = "tag-only"
        [[registry]]
        prefix = "docker.io/team"
        location = "internal.example/hub-team"
        [[registry]]
        prefix = "*.evil.example"
        blocked = true
        [[registry]]
        prefix = "ok.evil.example"
        [[registry]]
        prefix = "*.moved.example"
        location = "new.example/old"
        [[registry]]
        location = "digests.example"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "m.example"
        "#,
    );
    assert_eq!(
        places(&registries, "debian:12"),
        [
            "m1.example:5000/hub/library/debian:12",
            "m3.example/library/debian:12",
            "docker.io/library/debian:12"
        ]
    );
    let digest = Digest::of(b"x");
    assert_eq!(
        places(&registries, &format!("debian@{digest}"))[1],
        format!("m2.example/library/debian@{digest}")
    );
    assert_eq!(places(&registries, "team/app"), ["internal.example/hub-team/app:latest"]);
    assert_eq!(places(&registries, "teams/app").len(), 3, "a prefix ends where a name does");
    assert_eq!(places(&registries, "a.b.moved.example/x:1"), ["new.example/old/x:1"]);
    assert_eq!(places(&registries, "digests.example/a").len(), 1);
    assert_eq!(places(&registries, "quay.io/a/b"), ["quay.io/a/b:latest"]);
    assert_eq!(
        places(&registries, "ok.evil.example/a"),
        ["ok.evil.example/a:latest"],
        "a name beats a wildcard"
    );
    let error = registries.places(&"x.evil.example/a".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "x.evil.example/a is blocked by /etc/x.conf");
    // a short name is Docker Hub's
    assert_eq!(places(&registries, "fedora")[2], "docker.io/library/fedora:latest");
}

#[test]
fn mistakes_in_files_are_named_with_their_place() {
    let error = |text: &str| {
        Registries::from_registries_conf(Path::new(FILE), text).expect_err("the file is wrong").to_string()
    };
    assert!(error("a = \n").starts_with("cannot use /etc/x.conf: line 1: "), "{}", error("a = \n"));
    assert!(error("[[registry]]\nblocked = true").ends_with("a registry without prefix and location"));
    let mirror = "[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\nlocation = 'b.example'\n";
    assert!(
        error(&format!("{mirror}pull-from-mirror = 'x'")).ends_with("must be all, digest-only or tag-only")
    );
    assert!(
        error("[[registry]]\nprefix = 'a.example'\nlocation = 'hub'")
            .ends_with("\"hub\" is not host[:port][/path]")
    );
    let daemon = Registries::from_docker_daemon(Path::new("/d.json"), "{").expect_err("it is no JSON");
    assert!(daemon.to_string().starts_with("cannot use /d.json: EOF"), "{daemon}");
}

#[test]
fn hosts_toml_and_daemon_json() {
    let toml = r#"
        server = "https://registry-1.docker.io"
        [host."https://second.example"]
        capabilities = ["pull"]
        [host."https://harbor.example/v2/hub"]
        capabilities = ["pull", "resolve"]
        override_path = true
        ca = ["ca.pem"]
        [host."http://push.example:5000"]
        capabilities = ["push"]
    "#;
    let file = Path::new("/etc/containerd/certs.d/docker.io/hosts.toml");
    let registries = Registries::from_containerd_hosts("docker.io", file, toml).unwrap();
    let digest = Digest::of(b"x");
    assert_eq!(
        places(&registries, &format!("debian@{digest}")),
        [
            // in the order of the file
            format!("second.example/library/debian@{digest}"),
            format!("harbor.example/hub/library/debian@{digest}"),
            format!("docker.io/library/debian@{digest}")
        ]
    );
    assert_eq!(places(&registries, "debian").len(), 2, "without resolve a mirror is not asked for a tag");
    let odd = "[host.\"https://a.example/odd\"]";
    assert!(Registries::from_containerd_hosts("docker.io", file, odd).is_err());
    let any = Registries::from_containerd_hosts("*", file, "[host.\"https://all.example\"]").unwrap();
    assert_eq!(places(&any, "quay.io/a/b:1"), ["all.example/a/b:1", "quay.io/a/b:1"]);

    let json = r#"{"registry-mirrors": ["https://m.example/"], "insecure-registries": ["10.0.0.0/8"], "debug": true}"#;
    let (docker, _) = Registries::from_docker_daemon(Path::new("/d.json"), json).unwrap();
    assert_eq!(
        places(&docker, "debian"),
        ["m.example/library/debian:latest", "docker.io/library/debian:latest"]
    );
    assert_eq!(places(&docker, "quay.io/a/b"), ["quay.io/a/b:latest"]);
    // the first file that speaks of a registry counts
    assert_eq!(places(&registries.or(docker), "debian")[0], "harbor.example/hub/library/debian:latest");
}

/// A manifest and a blob in a registry.
async fn filled(registry: &Registry, path: &str, bytes: &[u8]) -> (Vec<u8>, rbuild_oci::Descriptor) {
    let client = Client::new(quick());
    let (name, blob) = (reference(registry.host(), path), layer(bytes));
    let upload = BlobUpload { descriptor: &blob, mount_from: None };
    client
        .upload_blob(&name, upload, || BlobBody::from_bytes(bytes.to_vec()))
        .await
        .expect("the registry takes it");
    let manifest = rbuild_oci::Manifest::new(MediaType::OciManifest, blob.clone(), Vec::new()).to_json();
    client
        .put_manifest(&name, &MediaType::OciManifest, manifest.clone().into())
        .await
        .expect("and its manifest");
    (manifest, blob)
}

#[test]
fn mirrors_are_asked_in_order_and_failures_passed_over() {
    let Some(origin) = Registry::start(&RegistryOptions::default()) else { return };
    let Some(mirror) = Registry::start(&RegistryOptions::default()) else { return };
    let broken = HttpServer::start(|_| HttpReply::new(500, "out of order"));
    run(async {
        let bytes = pattern(300_000);
        let (manifest, blob) = filled(&origin, "app:1", &bytes).await;
        filled(&mirror, "copy/app:1", &bytes).await;
        let text = format!(
            "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}/copy'\n",
            origin.host(),
            broken.host(),
            mirror.host()
        );
        let heard: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let notices = Arc::clone(&heard);
        let listener = Listener::new(move |notice| notices.lock().unwrap().push(notice));
        let client = Client::new(ClientOptions { registries: conf(&text), ..quick() }).heard_by(listener);
        let before = origin.requests().len();
        let name = reference(origin.host(), "app:1");
        assert_eq!(client.fetch_manifest(&name).await.unwrap().bytes, manifest);
        assert!(all(client.fetch_blob(&name, &blob).await.unwrap()).await.unwrap() == bytes);
        assert_eq!(origin.requests().len(), before, "the mirror has everything");
        let asked = broken.requests().len();
        assert!(asked <= 3, "{asked} requests to a mirror that is out of order");
        let heard = heard.lock().unwrap().clone();
        assert!(matches!(&heard[..], [Notice::MirrorFailed { .. }]), "{heard:?}");
        assert!(heard[0].to_string().contains("answered 500: out of order"), "{}", heard[0]);
        // the registry itself has what the mirror lacks, and gets what is pushed
        filled(&origin, "only/here:1", &bytes).await;
        assert!(client.fetch_manifest(&reference(origin.host(), "only/here:1")).await.is_ok());
        let error = client.fetch_manifest(&reference(origin.host(), "nowhere:1")).await.unwrap_err();
        assert!(matches!(error, RegistryError::NotFound { .. }), "{}", chain(&error));
        let upload = BlobUpload { descriptor: &blob, mount_from: None };
        let pushed = reference(origin.host(), "pushed");
        client.upload_blob(&pushed, upload, || BlobBody::from_bytes(bytes.clone())).await.unwrap();
        assert!(Client::new(quick()).blob_exists(&pushed, &blob.digest).await.unwrap());
    });
}

#[test]
fn a_mirror_that_breaks_off_is_replaced_in_the_middle_of_a_blob() {
    let Some(origin) = Registry::start(&RegistryOptions::default()) else { return };
    let bytes = pattern(3_000_000);
    let sent = bytes[..1_000_000].to_vec();
    let mirror = HttpServer::start(move |request| match request.target.contains("/blobs/") {
        true if request.header("range").is_none() => {
            let body = rbuild_testkit::HttpBody::BrokenOff { sent: sent.clone(), announced: 3_000_000 };
            HttpReply::with_body(body)
        }
        _ => HttpReply::new(500, ""),
    });
    run(async {
        let (_, blob) = filled(&origin, "app:1", &bytes).await;
        let text = format!(
            "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}'\n",
            origin.host(),
            mirror.host()
        );
        let client = Client::new(ClientOptions { registries: conf(&text), ..quick() });
        let name = reference(origin.host(), "app:1");
        assert!(all(client.fetch_blob(&name, &blob).await.unwrap()).await.unwrap() == bytes);
    });
}

#[test]
fn nothing_is_pushed_to_a_blocked_registry() {
    let server = HttpServer::start(|_| HttpReply::new(200, ""));
    let text = format!("[[registry]]\nlocation = '{}'\nblocked = true\n", server.host());
    let client = Client::new(ClientOptions { registries: conf(&text), ..quick() });
    let name = reference(&server.host(), "a");
    let pushed = run(client.check_push(&name)).unwrap_err();
    let pulled = run(client.fetch_manifest(&name)).unwrap_err();
    for error in [pushed, pulled] {
        assert!(matches!(error, RegistryError::Blocked { .. }), "{error:?}");
    }
    assert!(server.requests().is_empty());
}
