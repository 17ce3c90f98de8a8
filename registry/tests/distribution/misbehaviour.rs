//! Servers that lie, stall, break off or have a bad moment.

use crate::{all, chain, layer, pattern, quick, reference, run};
use rbuild_oci::Descriptor;
use rbuild_registry::{
    BlobBody, BlobUpload, Client, ClientOptions, Piece, RegistryError, Revalidated, Validators,
};
use rbuild_testkit::{HttpBody, HttpReply, HttpRequest, HttpServer};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// Fetches `blob` from a server that gives this answer.
fn fetched(
    blob: &Descriptor,
    answer: impl Fn(&HttpRequest) -> HttpReply + Send + Sync + 'static,
) -> Result<Vec<u8>, RegistryError> {
    let server = HttpServer::start(answer);
    let name = reference(&server.host(), "a");
    run(async { all(Client::new(quick()).fetch_blob(&name, blob).await?).await })
}

#[test]
fn blobs_that_are_not_what_they_should_be() {
    let bytes = pattern(10_000);
    let blob = layer(&bytes);
    let error = fetched(&blob, |_| HttpReply::new(200, vec![7; 10_000])).unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error:?}");
    let error = fetched(&blob, |_| HttpReply::new(200, pattern(9_999))).unwrap_err();
    assert!(matches!(error, RegistryError::SizeMismatch { found: 9_999, .. }), "{error:?}");
    let error = fetched(&blob, |_| HttpReply::with_body(HttpBody::Unannounced(pattern(9_999)))).unwrap_err();
    assert!(matches!(error, RegistryError::SizeMismatch { found: 9_999, .. }), "{error:?}");
    let error = fetched(&blob, |_| HttpReply::with_body(HttpBody::Endless)).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 10_000, .. }), "{error:?}");
}

#[test]
fn manifests_that_are_not_what_they_should_be() {
    let server = HttpServer::start(|request| match request.target.as_str() {
        "/v2/endless/manifests/latest" => HttpReply::with_body(HttpBody::Endless),
        "/v2/lie/manifests/latest" => {
            let other = layer(b"other").digest.to_string();
            HttpReply::new(200, "{}").header("Docker-Content-Digest", &other)
        }
        _ => HttpReply::new(200, "{}"),
    });
    let fetch =
        |name: &str| run(Client::new(quick()).fetch_manifest(&reference(&server.host(), name))).unwrap_err();
    assert!(matches!(fetch("endless"), RegistryError::TooLarge { .. }));
    assert!(matches!(fetch("lie"), RegistryError::DigestMismatch { .. }));
    let pinned = format!("a@{}", layer(b"x").digest);
    assert!(matches!(fetch(&pinned), RegistryError::DigestMismatch { .. }));
}

#[test]
fn a_broken_or_stalled_download_is_resumed_by_range() {
    let bytes = pattern(50_000);
    let blob = layer(&bytes);
    let tries = AtomicUsize::new(0);
    let received = fetched(&blob, move |request| {
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let from: usize = range.map_or(0, |from| from.parse().unwrap());
        let rest = &pattern(50_000)[from..];
        let sent = rest[..20_000.min(rest.len())].to_vec();
        let body = match tries.fetch_add(1, Ordering::Relaxed) {
            0 => HttpBody::BrokenOff { sent, announced: rest.len() },
            1 => HttpBody::Stalled { sent, announced: rest.len() },
            _ => HttpBody::Whole(rest.to_vec()),
        };
        let mut reply = HttpReply::with_body(body);
        if from > 0 {
            reply.status = 206;
            reply = reply.header("Content-Range", &format!("bytes {from}-49999/50000"));
        }
        reply
    });
    assert_eq!(received.unwrap(), bytes);
}

#[test]
fn a_server_without_ranges_is_resumed_too_and_endless_breaking_ends() {
    let bytes = pattern(50_000);
    let blob = layer(&bytes);
    let tries = AtomicUsize::new(0);
    let received = fetched(&blob, move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => HttpReply::with_body(HttpBody::BrokenOff { sent: pattern(30_000), announced: 50_000 }),
        _ => HttpReply::new(200, pattern(50_000)),
    });
    assert_eq!(received.unwrap(), bytes);
    let tries = AtomicUsize::new(0);
    let received = fetched(&blob, move |request| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => HttpReply::with_body(HttpBody::BrokenOff { sent: pattern(30_000), announced: 50_000 }),
        _ if request.header("range").is_some() => HttpReply::new(416, ""),
        _ => HttpReply::new(200, pattern(50_000)),
    });
    assert_eq!(received.unwrap(), bytes, "a refused range is no refused blob");
    let broken = HttpBody::BrokenOff { sent: pattern(100), announced: 50_000 };
    let error = fetched(&blob, move |_| HttpReply::with_body(broken.clone())).unwrap_err();
    assert!(matches!(error, RegistryError::Connection { .. }), "{error:?}");
}

#[test]
fn bad_moments_pass_and_bad_hours_are_reported() {
    let tries = AtomicUsize::new(0);
    let bytes = pattern(100);
    let blob = layer(&bytes);
    let received = fetched(&blob, move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => HttpReply::new(503, "later"),
        1 => HttpReply::new(429, "slowly").header("Retry-After", "0"),
        _ => HttpReply::new(200, pattern(100)),
    });
    assert_eq!(received.unwrap(), bytes);
    let json = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#;
    let error = fetched(&blob, move |_| HttpReply::new(429, json)).unwrap_err();
    assert!(error.to_string().ends_with("answered 429: TOOMANYREQUESTS: pull rate limit"), "{error}");
}

#[test]
fn redirects_lead_to_the_web_only() {
    for (target, scheme) in [("file:///etc/passwd", "file:"), ("ftp://example.com/x", "ftp:")] {
        let error =
            fetched(&layer(b"x"), move |_| HttpReply::new(307, "").header("Location", target)).unwrap_err();
        let text = chain(&error);
        assert!(text.contains(&format!("a redirect to {scheme}, where only https:")), "{text}");
        assert!(!text.contains("TLS") && !text.contains("passwd"), "{text}");
    }
}

#[test]
fn redirects_have_an_end() {
    let error = fetched(&layer(b"x"), |_| HttpReply::new(307, "").header("Location", "/again")).unwrap_err();
    assert!(chain(&error).contains("too many redirects"), "{}", chain(&error));
}

#[test]
fn an_upload_is_started_over_with_all_its_bytes() {
    let tries = AtomicUsize::new(0);
    let server = HttpServer::start(move |request| match request.method.as_str() {
        "POST" => HttpReply::new(202, "").header("Location", "/v2/a/blobs/uploads/1?state=x"),
        _ if tries.fetch_add(1, Ordering::Relaxed) == 0 => HttpReply::new(502, "bad gateway"),
        _ => HttpReply::new(201, ""),
    });
    let bytes = pattern(1_000_000);
    let blob = layer(&bytes);
    let upload = BlobUpload { descriptor: &blob, mount_from: None };
    let client = Client::new(quick());
    run(client.upload_blob(&reference(&server.host(), "a"), upload, || BlobBody::from_bytes(bytes.clone())))
        .unwrap();
    let requests = server.requests();
    let puts: Vec<&HttpRequest> = requests.iter().filter(|request| request.method == "PUT").collect();
    assert_eq!(puts.len(), 2);
    assert!(
        puts[1].target.starts_with("/v2/a/blobs/uploads/1?state=x&digest=sha256%3A"),
        "{}",
        puts[1].target
    );
    assert_eq!(puts[1].header("content-length"), Some("1000000"));
    assert_eq!(puts[1].body, bytes);
}

#[test]
fn a_closed_repository_of_a_token_server_reads_as_denied() {
    let tokens = HttpServer::start(|_| {
        HttpReply::new(403, r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#)
    });
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", tokens.host());
    let server = HttpServer::start(move |_| HttpReply::new(401, "").header("WWW-Authenticate", &realm));
    let name = reference(&server.host(), "team/app");
    let error = run(Client::new(quick()).fetch_manifest(&name)).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with(&format!("pull access denied for {}/team/app, ", server.host())), "{said}");
    assert!(said.ends_with(": requested access is denied"), "{said}");
}

#[test]
fn files_are_fetched_through_redirects_and_revalidated() {
    let server = HttpServer::start(|request| match request.target.as_str() {
        "/old" => HttpReply::new(302, "").header("Location", "/dir/new%20file"),
        "/dir/new%20file" if request.header("if-none-match") == Some("\"1\"") => HttpReply::new(304, ""),
        "/dir/new%20file" => HttpReply::new(200, pattern(5000)).header("ETag", "\"1\""),
        _ => HttpReply::new(404, "gone"),
    });
    let client = Client::new(quick());
    let url = |path: &str| format!("http://{}/{path}", server.host());
    run(async {
        let fetched = client.fetch_url(&url("old"), &Validators::default()).await.unwrap();
        let Revalidated::Changed(mut download) = fetched else { panic!("there is no earlier copy") };
        assert_eq!((download.content_length(), download.final_path()), (Some(5000), "/dir/new%20file"));
        let validators = download.validators().clone();
        let mut bytes = Vec::new();
        while let Some(piece) = download.next_piece().await.unwrap() {
            let Piece::Bytes(chunk) = piece else { panic!("nothing broke") };
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(bytes, pattern(5000));
        let again = client.fetch_url(&url("old"), &validators).await.unwrap();
        assert!(matches!(again, Revalidated::Unchanged));
        let error = client.fetch_url(&url("none"), &Validators::default()).await.err().unwrap();
        assert_eq!(error.to_string(), format!("{} answered 404: gone", server.host()));
        assert!(client.fetch_url("ftp://x/y", &Validators::default()).await.is_err());
    });
}

#[test]
fn a_server_that_sends_next_to_nothing_is_given_up() {
    let server = HttpServer::start(|_| HttpReply::with_body(HttpBody::Trickle));
    let client = Client::new(ClientOptions { stall_limit: Duration::from_secs(1), ..quick() });
    let error = run(async {
        let fetched = client.fetch_url(&format!("http://{}/", server.host()), &Validators::default()).await?;
        let Revalidated::Changed(mut download) = fetched else { panic!("there is no earlier copy") };
        while download.next_piece().await?.is_some() {}
        Ok::<_, RegistryError>(())
    })
    .unwrap_err();
    assert!(matches!(error, RegistryError::Slow { bytes: 1..1024, seconds: 1, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 1, "it would be as slow again");
    let name = reference(&server.host(), "a");
    let error = run(async { all(client.fetch_blob(&name, &layer(&[0; 1000])).await?).await }).unwrap_err();
    assert!(matches!(error, RegistryError::Slow { .. }), "{error:?}");
    // what says why there is none is not waited for either
    let server = HttpServer::start(|_| HttpReply { status: 404, ..HttpReply::with_body(HttpBody::Trickle) });
    let error = run(Client::new(quick()).fetch_manifest(&reference(&server.host(), "a"))).unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
}

#[test]
fn a_file_that_breaks_off_goes_on_where_it_was_or_begins_anew() {
    let whole = pattern(300_000);
    // the status of an answer to a request for a range
    for (etag, ranges) in [
        (Some("\"1\""), 206),
        (Some("\"1\""), 200),
        (Some("\"1\""), 416),
        (None, 206),
        (Some("W/\"1\""), 206),
    ] {
        let (bytes, tries) = (whole.clone(), AtomicUsize::new(0));
        let server = HttpServer::start(move |request| {
            let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
            let start =
                request.header("range").and_then(|range| range[6..].trim_end_matches('-').parse().ok());
            let reply = match start.filter(|_| ranges != 200) {
                _ if first => {
                    let sent = bytes[..100_000].to_vec();
                    HttpReply::with_body(HttpBody::BrokenOff { sent, announced: bytes.len() })
                }
                Some(_) if ranges == 416 => HttpReply::new(416, ""),
                Some(start) => {
                    let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                    HttpReply::new(206, &bytes[start..]).header("Content-Range", &range)
                }
                None => HttpReply::new(200, bytes.clone()),
            };
            etag.map_or(reply.clone(), |etag| reply.header("ETag", etag))
        });
        let client = Client::new(quick());
        let (received, restarts) = run(async {
            let url = format!("http://{}/file", server.host());
            let fetched = client.fetch_url(&url, &Validators::default()).await.unwrap();
            let Revalidated::Changed(mut download) = fetched else { panic!("there is no earlier copy") };
            let (mut received, mut restarts) = (Vec::new(), 0);
            while let Some(piece) = download.next_piece().await.unwrap() {
                match piece {
                    Piece::Bytes(chunk) => received.extend_from_slice(&chunk),
                    Piece::Restart => {
                        received.clear();
                        restarts += 1;
                    }
                }
            }
            (received, restarts)
        });
        assert!(received == whole, "{etag:?} {ranges}");
        let strong = etag == Some("\"1\"");
        assert_eq!(restarts, usize::from(!strong), "{etag:?} {ranges}");
        let asked = server.requests()[1].header("if-range").map(str::to_owned);
        assert_eq!(asked.as_deref(), etag.filter(|_| strong));
    }
}
