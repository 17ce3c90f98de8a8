//! Pushing and pulling.

use crate::{all, chain, client_for, layer, pattern, reference, run};
use rbuild_oci::{Digest, Hasher, ImageName, Manifest, MediaType};
use rbuild_registry::{
    BlobBody, BlobStart, BlobUpload, Client, ClientOptions, MountOutcome, RegistryError, UploadOutcome,
};
use rbuild_testkit::{Registry, RegistryOptions};
use std::{io, thread};
use tokio::sync::{mpsc, oneshot};

const CONFIG: &[u8] = b"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\"}}";

#[test]
fn an_image_comes_back_as_it_was_pushed() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    run(async {
        let client = client_for(&registry);
        let tagged = reference(registry.host(), "team/app:v1");
        let bytes = pattern(5_000_000);
        let (blob, mut config) = (layer(&bytes), layer(CONFIG));
        config.media_type = MediaType::OciConfig;
        assert!(!client.blob_exists(&tagged, &blob.digest).await.unwrap());
        for (descriptor, content) in [(&blob, bytes.clone()), (&config, CONFIG.to_vec())] {
            let upload = BlobUpload { descriptor, mount_from: None };
            let open = || BlobBody::from_reader(io::Cursor::new(content.clone()));
            assert_eq!(client.upload_blob(&tagged, upload, open).await.unwrap(), UploadOutcome::Uploaded);
        }
        assert!(client.blob_exists(&tagged, &blob.digest).await.unwrap());

        let manifest = Manifest::new(MediaType::OciManifest, config.clone(), vec![blob.clone()]).to_json();
        let digest =
            client.put_manifest(&tagged, &MediaType::OciManifest, manifest.clone().into()).await.unwrap();
        assert_eq!(digest, Digest::of(&manifest));
        let head = client.head_manifest(&tagged).await.unwrap();
        assert_eq!((head.digest, head.size), (digest, manifest.len() as u64));
        let pinned = reference(registry.host(), &format!("team/app@{digest}"));
        for name in [&tagged, &pinned] {
            let fetched = client.fetch_manifest(name).await.unwrap();
            assert_eq!((&fetched.bytes[..], fetched.digest), (&manifest[..], digest));
            assert_eq!(fetched.media_type, MediaType::OciManifest);
        }
        assert_eq!(client.list_tags(&tagged).await.unwrap(), [ImageName::new(tagged.clone()).unwrap()]);
        assert_eq!(all(client.fetch_blob(&pinned, &blob).await.unwrap()).await.unwrap(), bytes);
        assert_eq!(all(client.fetch_blob(&pinned, &config).await.unwrap()).await.unwrap(), CONFIG);
    });
}

#[test]
fn a_blob_in_another_repository_is_mounted_without_its_bytes() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    run(async {
        let client = client_for(&registry);
        let (one, two) = (reference(registry.host(), "one"), reference(registry.host(), "two"));
        let bytes = pattern(100_000);
        let blob = layer(&bytes);
        let open = || BlobBody::from_bytes(bytes.clone());
        let plain = BlobUpload { descriptor: &blob, mount_from: None };
        client.upload_blob(&one, plain, open).await.unwrap();
        let before = registry.requests().len();
        let mounting = BlobUpload { descriptor: &blob, mount_from: Some("one") };
        assert_eq!(client.upload_blob(&two, mounting, open).await.unwrap(), UploadOutcome::Mounted);
        let requests = registry.requests();
        assert_eq!(requests.len(), before + 1, "{:?}", &requests[before..]);
        assert!(client.blob_exists(&two, &blob.digest).await.unwrap());

        let three = reference(registry.host(), "three");
        assert_eq!(client.mount_blob(&three, &blob.digest, "one").await.unwrap(), MountOutcome::Mounted);
        let nowhere = Digest::of(b"nowhere");
        assert_eq!(client.mount_blob(&three, &nowhere, "one").await.unwrap(), MountOutcome::Refused);
        let absent = BlobUpload { descriptor: &blob, mount_from: Some("absent") };
        let four = reference(registry.host(), "four");
        assert_eq!(client.upload_blob(&four, absent, open).await.unwrap(), UploadOutcome::Uploaded);
    });
}

/// A blob that a thread makes while it is sent.
pub(crate) fn made_on_the_fly(length: usize) -> (BlobBody, oneshot::Receiver<Digest>) {
    let (chunks, body) = mpsc::channel(2);
    let (digest, stated) = oneshot::channel();
    thread::spawn(move || {
        let mut hasher = Hasher::new();
        for chunk in pattern(length).chunks(70_000) {
            hasher.update(chunk);
            if chunks.blocking_send(Ok(chunk.to_vec().into())).is_err() {
                return;
            }
        }
        // an upload that has ended needs no digest
        let _ = digest.send(hasher.finish());
    });
    (BlobBody::from_channel(body), stated)
}

#[test]
fn a_blob_made_on_the_fly_is_streamed() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    run(async {
        let client = client_for(&registry);
        let name = reference(registry.host(), "stream");
        assert_eq!(client.upload_stream(&name, || made_on_the_fly(3_000_000)).await.unwrap(), 3_000_000);
        let blob = layer(&pattern(3_000_000));
        assert_eq!(all(client.fetch_blob(&name, &blob).await.unwrap()).await.unwrap(), pattern(3_000_000));
    });
}

#[test]
fn an_upload_that_fails_on_our_side_says_so() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    run(async {
        let client = client_for(&registry);
        let name = reference(registry.host(), "broken");
        let blob = layer(&pattern(100_000));
        let upload = BlobUpload { descriptor: &blob, mount_from: None };

        let unreadable = || {
            let (chunks, body) = mpsc::channel(2);
            chunks.try_send(Ok(pattern(10).into())).unwrap();
            chunks.try_send(Err(io::Error::other("disk on fire"))).unwrap();
            BlobBody::from_channel(body)
        };
        let error = client.upload_blob(&name, upload, unreadable).await.unwrap_err();
        assert!(matches!(error, RegistryError::Body { .. }), "{error:?}");
        assert!(chain(&error).ends_with("disk on fire"), "{}", chain(&error));

        let short = || BlobBody::from_bytes(pattern(10));
        let error = client.upload_blob(&name, upload, short).await.unwrap_err();
        assert!(chain(&error).ends_with("10 bytes read of a blob of 100000"), "{}", chain(&error));

        let abandoned = || (BlobBody::from_bytes(pattern(10)), oneshot::channel().1);
        let error = client.upload_stream(&name, abandoned).await.unwrap_err();
        assert!(matches!(error, RegistryError::Abandoned { .. }), "{error:?}");

        let wrong = || BlobBody::from_bytes(vec![0; 100_000]);
        let error = client.upload_blob(&name, upload, wrong).await.unwrap_err();
        assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
    });
}

#[test]
fn a_download_goes_on_where_it_stopped() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    run(async {
        let client = client_for(&registry);
        let name = reference(registry.host(), "resume");
        let bytes = pattern(300_000);
        let blob = layer(&bytes);
        let upload = BlobUpload { descriptor: &blob, mount_from: None };
        client.upload_blob(&name, upload, || BlobBody::from_bytes(bytes.clone())).await.unwrap();
        for offset in [1, 299_999, 300_000] {
            let mut hasher = Hasher::new();
            hasher.update(&bytes[..offset]);
            let start = BlobStart::Checked { offset: offset as u64, hasher };
            let stream = client.fetch_blob_from(&name, &blob, start).await.unwrap();
            assert_eq!(all(stream).await.unwrap(), &bytes[offset..]);
        }
        let mut wrong = Hasher::new();
        wrong.update(b"x");
        let start = BlobStart::Checked { offset: 1, hasher: wrong };
        let error = all(client.fetch_blob_from(&name, &blob, start).await.unwrap()).await.unwrap_err();
        assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error:?}");
    });
}

#[test]
fn what_is_not_there_is_reported_as_docker_does() {
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    run(async {
        let client = client_for(&registry);
        let name = reference(registry.host(), "no/such:image");
        let expected = format!("failed to resolve reference \"{name}\": not found");
        assert_eq!(client.fetch_manifest(&name).await.unwrap_err().to_string(), expected);
        assert_eq!(client.head_manifest(&name).await.unwrap_err().to_string(), expected);
        let error = client.fetch_blob(&name, &layer(b"none")).await.err().unwrap();
        assert!(matches!(error, RegistryError::BlobNotFound { .. }), "{error:?}");

        let json = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
        let put = client.put_manifest(&name, &MediaType::OciManifest, json.to_vec().into()).await;
        assert!(matches!(put, Err(RegistryError::Server { status: 400..=499, .. })), "{put:?}");
    });
    let host = registry.host().to_owned();
    drop(registry);
    let gone = reference(&host, "a");
    let error = run(Client::new(ClientOptions::default()).fetch_manifest(&gone)).unwrap_err();
    assert_eq!(error.to_string(), format!("connection to {host} refused"));
}

#[test]
fn requests_can_be_made_from_any_thread() {
    fn movable<T: Send>(_: &T) {}
    let client = Client::new(ClientOptions::default());
    let name = reference("127.0.0.1:1", "a");
    let blob = layer(b"");
    movable(&client.fetch_manifest(&name));
    movable(&async { client.fetch_blob(&name, &blob).await?.next_chunk().await });
    let upload = BlobUpload { descriptor: &blob, mount_from: None };
    movable(&client.upload_blob(&name, upload, || BlobBody::from_bytes(Vec::new())));
    movable(&client.upload_stream(&name, || (BlobBody::from_bytes(Vec::new()), oneshot::channel().1)));
}
