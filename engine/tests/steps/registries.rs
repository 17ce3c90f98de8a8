//! What an engine asks registries and their token servers for.

use super::world::World;
use crate::EventSink;
use rbuild_oci::{Descriptor, Digest, ImageConfig, Manifest, MediaType, Platform, Reference};
use rbuild_registry::{BlobBody, BlobUpload, Client, ClientOptions, Credentials};
use rbuild_testkit::{Registry, RegistryLogin, RegistryOptions};
use std::collections::BTreeSet;

/// A registry that gives nothing without a token, and what a client needs for it.
fn registry() -> Option<(Registry, ClientOptions)> {
    let options = RegistryOptions { login: RegistryLogin::Bearer, ..RegistryOptions::default() };
    let registry = Registry::start(&options)?;
    let credentials = Credentials::from_docker_config(&registry.docker_config()).unwrap();
    Some((registry, ClientOptions { credentials, ..ClientOptions::default() }))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Pushes an image without layers, which an unprivileged test can pull.
async fn push(client: &Client, reference: &Reference) {
    let mut config = ImageConfig::scratch(&Platform::host());
    config.config.env.push(format!("NAME={reference}"));
    let config = config.to_json();
    let descriptor = Descriptor::new(MediaType::OciConfig, Digest::of(&config), config.len() as u64);
    let upload = BlobUpload { descriptor: &descriptor, mount_from: None };
    client.upload_blob(reference, upload, || BlobBody::from_bytes(config.clone())).await.unwrap();
    let manifest = Manifest::new(MediaType::OciManifest, descriptor, Vec::new()).to_json();
    client.put_manifest(reference, &MediaType::OciManifest, manifest.into()).await.unwrap();
}

#[test]
fn base_images_of_one_registry_share_tokens_and_connections() {
    let Some((registry, options)) = registry() else { return };
    let names = ["a:1", "a:2", "a:3", "b:1", "c:1"].map(|name| format!("{}/{name}", registry.host()));
    let dockerfile: String = names.iter().map(|name| format!("FROM {name}\n")).collect();
    let used = (0..4).map(|stage| format!("COPY --from={stage} / /\n"));
    let world = World::with_registries(&(dockerfile + &used.collect::<String>()), options.clone());
    block_on(async {
        let client = Client::new(options);
        for name in &names {
            push(&client, &name.parse().unwrap()).await;
        }
        let before = (registry.token_requests().len(), registry.connections());
        world.resolve().await.unwrap();
        let tokens: Vec<String> =
            registry.token_requests()[before.0..].iter().map(|request| request.target.clone()).collect();
        // one for each repository, whatever the number of its tags
        assert_eq!(tokens.len(), 3, "{tokens:?}");
        assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 3, "{tokens:?}");
        // each image takes a challenge, its manifest and its config, on one connection at most
        let connections = registry.connections();
        assert!(connections - before.1 <= names.len(), "{} connections", connections - before.1);
        // a later pull of the same engine has its token and its connection already
        world.engine().pull(&names[0].parse().unwrap(), None, EventSink::ignore()).await.unwrap();
        assert_eq!((registry.token_requests().len() - before.0, registry.connections()), (3, connections));
    });
    for name in &names {
        assert!(world.store().reference(&name.parse().unwrap()).unwrap().is_some(), "{name} was not fetched");
    }
}

#[test]
fn an_engine_pulls_again_after_the_runtime_of_its_connections_is_gone() {
    let Some((registry, options)) = registry() else { return };
    let world = World::with_registries("FROM scratch\n", options.clone());
    let name: Reference = format!("{}/a:1", registry.host()).parse().unwrap();
    block_on(push(&Client::new(options), &name));
    let before = registry.token_requests().len();
    for _ in 0..2 {
        block_on(world.engine().pull(&name, None, EventSink::ignore())).unwrap();
    }
    assert_eq!(registry.token_requests().len() - before, 1);
}

#[test]
fn a_few_of_many_base_images_are_asked_for_at_once() {
    let Some((registry, options)) = registry() else { return };
    let names: Vec<String> = (0..60).map(|tag| format!("{}/a:{tag}", registry.host())).collect();
    let dockerfile: String = names.iter().map(|name| format!("FROM {name}\n")).collect();
    let used: String = (0..names.len() - 1).map(|stage| format!("COPY --from={stage} / /\n")).collect();
    let world = World::with_registries(&(dockerfile + &used), options.clone());
    block_on(async {
        let client = Client::new(options);
        for name in &names {
            push(&client, &name.parse().unwrap()).await;
        }
        let before = registry.connections();
        world.resolve().await.unwrap();
        let connections = registry.connections() - before;
        assert!((2..=16).contains(&connections), "{connections} connections");
    });
}
