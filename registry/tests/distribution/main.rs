//! The client against the real registry, and against servers that lie, stall and break off.

mod interrupted;
mod login;
mod misbehaviour;
mod places;
mod text_laws;
mod texts;
mod transfer;
mod trust;

use rbuild_oci::{Compression, Descriptor, Digest, MediaType, Reference};
use rbuild_registry::{BlobStream, Client, ClientOptions, Credentials, RegistryError, RetryPolicy};
use rbuild_testkit::Registry;
use std::time::Duration;

/// Runs `future` as the engine would: one thread, all drivers.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(future)
}

/// Options that do not make tests wait.
fn quick() -> ClientOptions {
    ClientOptions {
        retry: RetryPolicy { retries: 3, first_delay: Duration::from_millis(5) },
        stall_limit: Duration::from_secs(5),
        ..ClientOptions::default()
    }
}

fn client_for(registry: &Registry) -> Client {
    let credentials =
        Credentials::from_docker_config(&registry.docker_config()).expect("testkit writes JSON");
    Client::new(ClientOptions { credentials, ..quick() })
}

fn reference(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().expect("tests name valid references")
}

fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::OciLayer(Compression::None), Digest::of(bytes), bytes.len() as u64)
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn all(mut stream: BlobStream) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next_chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Error and causes as a person sees them.
fn chain(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
