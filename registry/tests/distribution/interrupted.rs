//! Transfers that break in the middle: behind relays that cut connections, proxies that fail requests, tokens that expire.

use crate::{all, client_for, layer, pattern, quick, reference, run, transfer::made_on_the_fly};
use rbuild_oci::{Digest, Reference};
use rbuild_registry::{
    BlobBody, BlobUpload, Client, ClientOptions, Credentials, Listener, Notice, RegistryError, RetryPolicy,
    UploadNotes,
};
use rbuild_testkit::{
    Harm, HttpReply, HttpRequest, HttpServer, Registry, RegistryLogin, RegistryOptions, Relay,
};
use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// An upload endpoint that keeps what arrives of a broken request, as the specification wishes.
fn keeps_what_arrives() -> (HttpServer, Arc<Mutex<Vec<u8>>>) {
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let store = Arc::clone(&kept);
    let server = HttpServer::start(move |request| {
        let mut store = store.lock().expect("no holder panics");
        let location = "/v2/a/blobs/uploads/1?state=x";
        let range = format!("0-{}", store.len().saturating_sub(1));
        match request.method.as_str() {
            "POST" => {
                store.clear();
                HttpReply::new(202, "").header("Location", location)
            }
            "GET" => HttpReply::new(204, "").header("Location", location).header("Range", &range),
            "PATCH" | "PUT" => {
                let from = request.header("content-range").and_then(|range| range.split('-').next());
                if from.is_some_and(|from| from != store.len().to_string()) {
                    return HttpReply::new(416, "");
                }
                store.extend_from_slice(&request.body);
                let whole = request.target.contains(&Digest::of(&store).hex()[..]);
                match (request.method.as_str(), whole) {
                    ("PATCH", _) => HttpReply::new(202, "").header("Location", location),
                    (_, true) => HttpReply::new(201, ""),
                    (_, false) => HttpReply::new(400, "digest invalid"),
                }
            }
            _ => HttpReply::new(404, ""),
        }
    });
    (server, kept)
}

fn body_bytes(requests: &[HttpRequest]) -> usize {
    requests.iter().map(|request| request.body.len()).sum()
}

#[test]
fn a_broken_upload_goes_on_where_the_registry_has_come() {
    let bytes = pattern(5_000_000);
    let blob = layer(&bytes);
    // connection 0 asks for TLS, 1 opens the upload
    let harm = |number| if number == 2 { Harm::CutUpwards(2_000_000) } else { Harm::None };
    for known in [true, false] {
        let (server, kept) = keeps_what_arrives();
        let relay = Relay::start(&server.host(), harm);
        let name = reference(&relay.host(), "a");
        let client = Client::new(quick());
        if known {
            let upload = BlobUpload { descriptor: &blob, mount_from: None };
            run(client.upload_blob(&name, upload, || BlobBody::from_bytes(bytes.clone()))).unwrap();
        } else {
            let sent = run(client.upload_stream(&name, || made_on_the_fly(bytes.len()))).unwrap();
            assert_eq!(sent, 5_000_000);
        }
        assert!(*kept.lock().unwrap() == bytes, "known: {known}");
        let arrived = body_bytes(&server.requests());
        assert_eq!(arrived, 5_000_000, "known: {known}; nothing arrives twice");
    }
}

/// What two processes note of an upload, one after the other.
#[derive(Default)]
struct Noted(Mutex<Option<String>>);

impl Noted {
    fn send(
        &self,
        client: &Client,
        name: &Reference,
        bytes: &[u8],
        known: bool,
    ) -> Result<(), RegistryError> {
        let earlier = self.0.lock().expect("no holder panics").clone();
        let note = |location: &str| *self.0.lock().expect("no holder panics") = Some(location.to_owned());
        let notes = UploadNotes { earlier: earlier.as_deref(), note: &note };
        if known {
            let blob = layer(bytes);
            let open = || BlobBody::from_bytes(bytes.to_vec());
            return run(client.upload_noted_blob(name, &blob, notes, open));
        }
        run(client.upload_noted_stream(name, notes, || made_on_the_fly(bytes.len()))).map(drop)
    }
}

#[test]
fn a_later_process_goes_on_with_an_upload_that_the_registry_knows() {
    let bytes = pattern(5_000_000);
    let giving_up = RetryPolicy { retries: 0, first_delay: Duration::ZERO };
    for known in [true, false] {
        let (server, kept) = keeps_what_arrives();
        let harm = |number| if number == 2 { Harm::CutUpwards(2_000_000) } else { Harm::None };
        let relay = Relay::start(&server.host(), harm);
        let (name, noted) = (reference(&relay.host(), "a"), Noted::default());
        let killed = Client::new(ClientOptions { retry: giving_up, ..quick() });
        noted.send(&killed, &name, &bytes, known).unwrap_err();
        // the server notices later than the client
        for _ in 0..1000 {
            if kept.lock().unwrap().is_empty() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        assert!(!kept.lock().unwrap().is_empty());
        noted.send(&Client::new(quick()), &name, &bytes, known).unwrap();
        assert!(*kept.lock().unwrap() == bytes, "known: {known}");
        assert_eq!(body_bytes(&server.requests()), 5_000_000, "known: {known}; nothing arrives twice");
        // of other bytes in the upload the registry finds another digest
        *kept.lock().unwrap() = pattern(6_000_000)[1_000_000..3_000_000].to_vec();
        noted.send(&Client::new(quick()), &name, &bytes, known).unwrap();
        assert!(*kept.lock().unwrap() == bytes, "known: {known}; it starts over");
    }
}

#[test]
fn an_upload_that_the_registry_has_forgotten_starts_over() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let client = Client::new(quick());
    for earlier in ["nonsense", "http://127.0.0.1:1/v2/a/blobs/uploads/1", "UPLOAD"] {
        let earlier =
            earlier.replace("UPLOAD", &format!("http://{}/v2/a/blobs/uploads/1?_state=x", registry.host()));
        for known in [true, false] {
            let noted = Noted(Mutex::new(Some(earlier.clone())));
            let sent = noted.send(&client, &reference(registry.host(), "a"), &pattern(2_000_000), known);
            sent.unwrap_or_else(|error| panic!("{earlier} {known}: {error}"));
        }
    }
}

#[test]
fn the_real_registry_gets_a_large_blob_over_a_line_that_breaks() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let bytes = pattern(40_000_000);
    let blob = layer(&bytes);
    // the first tries break; this registry loses the upload with the connection
    let harm = |number| if (2..4).contains(&number) { Harm::CutUpwards(9_000_000) } else { Harm::None };
    let relay = Relay::start(registry.host(), harm);
    let name = reference(&relay.host(), "large");
    let client = Client::new(quick());
    run(async {
        let upload = BlobUpload { descriptor: &blob, mount_from: None };
        client.upload_blob(&name, upload, || BlobBody::from_bytes(bytes.clone())).await.unwrap();
        let sent =
            client.upload_stream(&reference(&relay.host(), "made"), || made_on_the_fly(30_000_000)).await;
        assert_eq!(sent.unwrap(), 30_000_000);
        let direct = reference(registry.host(), "large");
        assert!(all(client.fetch_blob(&direct, &blob).await.unwrap()).await.unwrap() == bytes);
    });
}

#[test]
fn a_download_over_a_line_that_always_breaks_arrives() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let bytes = pattern(30_000_000);
    let blob = layer(&bytes);
    let direct = reference(registry.host(), "a");
    let client = Client::new(quick());
    run(async {
        let upload = BlobUpload { descriptor: &blob, mount_from: None };
        client.upload_blob(&direct, upload, || BlobBody::from_bytes(bytes.clone())).await.unwrap();
        // more breaks than retries: a try that brings something does not count
        let relay = Relay::start(registry.host(), |_| Harm::CutDownwards(4_000_000));
        let name = reference(&relay.host(), "a");
        assert!(all(client.fetch_blob(&name, &blob).await.unwrap()).await.unwrap() == bytes);
    });
}

#[test]
fn requests_that_fail_now_and_then_do_not_fail_the_push() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    // every seventh request fails
    let proxy = HttpServer::in_front_of(registry.host(), move |number, _| {
        (number % 7 == 3).then(|| HttpReply::new(503, "overloaded"))
    });
    let name = reference(&proxy.host(), "flaky");
    let client = Client::new(quick());
    run(async {
        for at in 0..10 {
            let bytes = pattern(200_000 + at);
            let blob = layer(&bytes);
            let upload = BlobUpload { descriptor: &blob, mount_from: None };
            client.upload_blob(&name, upload, || BlobBody::from_bytes(bytes.clone())).await.unwrap();
            assert!(client.blob_exists(&name, &blob.digest).await.unwrap());
            assert!(all(client.fetch_blob(&name, &blob).await.unwrap()).await.unwrap() == bytes);
        }
    });
}

#[test]
fn a_token_that_expires_in_mid_upload_is_renewed() {
    let options = RegistryOptions { login: RegistryLogin::Bearer, ..RegistryOptions::default() };
    let Some(registry) = Registry::start(&options) else { return };
    let expired = Mutex::new(0);
    let realm = registry.token_realm();
    let proxy = HttpServer::in_front_of(registry.host(), move |_, request| {
        // the registry has taken the bytes when it finds that the token has expired
        let mut expired = expired.lock().unwrap();
        let sends = request.method == "PUT" || request.method == "PATCH";
        if !sends || *expired == 2 {
            return None;
        }
        *expired += 1;
        let challenge =
            format!("Bearer realm=\"{realm}\",service=\"rbuild-test-registry\",error=\"invalid_token\"");
        Some(HttpReply::new(401, "").header("WWW-Authenticate", &challenge))
    });
    let config = registry.docker_config().replace(registry.host(), &proxy.host());
    let credentials = Credentials::from_docker_config(&config).unwrap();
    let client = Client::new(ClientOptions { credentials, ..quick() });
    let name = reference(&proxy.host(), "private/app");
    let bytes = pattern(2_000_000);
    let blob = layer(&bytes);
    run(async {
        let upload = BlobUpload { descriptor: &blob, mount_from: None };
        client.upload_blob(&name, upload, || BlobBody::from_bytes(bytes.clone())).await.unwrap();
        assert!(
            client_for(&registry)
                .blob_exists(&reference(registry.host(), "private/app"), &blob.digest)
                .await
                .unwrap()
        );
    });
    assert_eq!(
        registry.token_requests().len(),
        4,
        "one at first, one for each refusal, one of the other client"
    );
}

#[test]
fn a_slow_line_is_no_stall() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let relay = Relay::start(registry.host(), |_| Harm::Slow(8_000));
    let client = Client::new(ClientOptions { stall_limit: Duration::from_millis(700), ..quick() });
    let bytes = pattern(1_500_000);
    let blob = layer(&bytes);
    let name = reference(&relay.host(), "slow");
    run(async {
        let upload = BlobUpload { descriptor: &blob, mount_from: None };
        client.upload_blob(&name, upload, || BlobBody::from_bytes(bytes.clone())).await.unwrap();
        assert!(all(client.fetch_blob(&name, &blob).await.unwrap()).await.unwrap() == bytes);
    });
}

#[test]
fn a_long_wait_is_announced() {
    let tries = Mutex::new(0);
    let server = HttpServer::start(move |_| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        match *tries {
            1 => HttpReply::new(429, "slowly").header("Retry-After", "2"),
            _ => HttpReply::new(200, "{}"),
        }
    });
    let heard: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let notices = Arc::clone(&heard);
    let listener = Listener::new(move |notice| notices.lock().unwrap().push(notice));
    let retry = RetryPolicy { retries: 1, first_delay: Duration::from_millis(1) };
    let client = Client::new(ClientOptions { retry, ..quick() }).heard_by(listener);
    run(client.fetch_manifest(&reference(&server.host(), "a"))).unwrap();
    let heard = heard.lock().unwrap();
    let expected = format!("{} answered 429 Too Many Requests: trying again in 2 s", server.host());
    assert_eq!(heard.iter().map(Notice::to_string).collect::<Vec<_>>(), [expected]);
}
