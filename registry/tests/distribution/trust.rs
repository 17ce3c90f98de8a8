//! Certificates, plain HTTP, and what is refused.

use crate::{chain, layer, pattern, quick, reference, run};
use rbuild_registry::{BlobBody, BlobUpload, Client, ClientOptions, Registries, RegistryError, Tls};
use rbuild_testkit::{Registry, RegistryOptions, RegistryTransport};
use std::{fs, net::UdpSocket};

async fn push(client: &Client, host: &str) -> Result<(), RegistryError> {
    let bytes = pattern(300_000);
    let blob = layer(&bytes);
    let upload = BlobUpload { descriptor: &blob, mount_from: None };
    client
        .upload_blob(&reference(host, "app"), upload, || BlobBody::from_bytes(bytes.clone()))
        .await
        .map(drop)
}

fn over(transport: RegistryTransport) -> Option<Registry> {
    Registry::start(&RegistryOptions { transport, ..RegistryOptions::default() })
}

/// This machine's address for other machines, which is not a loopback address. Nothing is sent.
fn outer_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then(|| address.to_string())
}

#[test]
fn loopback_speaks_plain_http_or_tls_with_any_certificate() {
    for transport in [RegistryTransport::PlainHttp, RegistryTransport::Tls] {
        let Some(registry) = over(transport) else { return };
        run(push(&Client::new(quick()), registry.host())).unwrap();
    }
}

#[test]
fn an_authority_given_for_a_host_is_believed_and_binding() {
    let Some(registry) = over(RegistryTransport::Tls) else { return };
    let certificate_directories = vec![registry.certificate_directory()];
    let client =
        Client::new(ClientOptions { certificate_directories: certificate_directories.clone(), ..quick() });
    run(push(&client, registry.host())).unwrap();

    // the directory of the first registry, with the name of the second: another authority
    let Some(other) = over(RegistryTransport::Tls) else { return };
    let directory = certificate_directories[0].join(other.host());
    fs::create_dir_all(&directory).unwrap();
    fs::copy(registry.authority(), directory.join("ca.crt")).unwrap();
    let client = Client::new(ClientOptions { certificate_directories, ..quick() });
    let error = run(push(&client, other.host())).unwrap_err();
    assert!(matches!(error, RegistryError::Tls { .. }), "{}", chain(&error));
}

#[test]
fn other_hosts_need_a_trusted_certificate() {
    let Some(address) = outer_address() else {
        rbuild_testkit::skip("this machine has no address but loopback");
        return;
    };
    let Some(registry) = over(RegistryTransport::TlsOn(address)) else { return };
    let host = registry.host();
    let error = run(push(&Client::new(quick()), host)).unwrap_err();
    assert!(matches!(error, RegistryError::Tls { .. }), "{}", chain(&error));
    assert!(error.to_string().contains(&format!("certs.d/{host}/ca.crt")), "{error}");

    let certificate_directories = vec![registry.certificate_directory()];
    run(push(&Client::new(ClientOptions { certificate_directories, ..quick() }), host)).unwrap();
    let registries = Registries::with_insecure([host]);
    run(push(&Client::new(ClientOptions { registries, ..quick() }), host)).unwrap();
    let tls = Tls::SkipVerifyOrPlainHttp;
    run(push(&Client::new(ClientOptions { tls, ..quick() }), host)).unwrap();
}

#[test]
fn a_certificate_file_that_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("127.0.0.1:9");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("ca.crt"), "junk").unwrap();
    let certificate_directories = vec![directory.path().to_owned()];
    let client = Client::new(ClientOptions { certificate_directories, ..quick() });
    let error = run(push(&client, "127.0.0.1:9")).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot use certificate file {}", own.join("ca.crt").display()));
}
