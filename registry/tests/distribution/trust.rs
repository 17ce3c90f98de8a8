//! Certificates, plain HTTP, and what is refused.

use crate::{chain, layer, pattern, quick, reference, run};
use rbuild_registry::{BlobBody, BlobUpload, Client, ClientOptions, Registries, RegistryError, Tls};
use rbuild_testkit::{Registry, RegistryOptions, RegistryTransport};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    thread,
};

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
fn a_registry_may_want_a_certificate_of_the_client() {
    let Some(registry) = over(RegistryTransport::TlsForClients) else { return };
    let host = registry.host();
    let directory = registry.certificate_directory();
    let client = || {
        let certificate_directories = vec![directory.clone()];
        Client::new(ClientOptions { certificate_directories, ..quick() })
    };
    let error = run(push(&client(), host)).unwrap_err();
    let expected = format!("it wants a certificate of the client; put it in certs.d/{host}/client.cert");
    // the server's word is lost when its end of the connection overtakes it: what is left is a connection that ended
    let is_lost = matches!(error, RegistryError::Connection { .. })
        && error.advice().is_some_and(|advice| advice.contains("may want a certificate of the client"));
    assert!(error.to_string().contains(&expected) || is_lost, "{}", chain(&error));
    let (certificate, key) = registry.certificate_and_key();
    fs::copy(certificate, directory.join(host).join("client.cert")).unwrap();
    fs::copy(key, directory.join(host).join("client.key")).unwrap();
    run(push(&client(), host)).unwrap();

    // the same by containerd's file
    let file = directory.join(host).join("hosts.toml");
    let text = format!(
        "server = 'https://{host}'\nca = 'ca.crt'\nclient = [['{}', '{}']]\n",
        certificate.display(),
        key.display()
    );
    let registries = Registries::from_containerd_hosts(host, &file, &text).unwrap();
    run(push(&Client::new(ClientOptions { registries, ..quick() }), host)).unwrap();
}

#[test]
fn a_failed_handshake_says_why() {
    let Some(address) = outer_address() else {
        rbuild_testkit::skip("this machine has no address but loopback");
        return;
    };
    let Some(registry) = over(RegistryTransport::TlsOn(address.clone())) else { return };
    // its certificate is for the outer address and for 127.0.0.1
    let other = registry.host().replace(&address, "127.0.0.2");
    let directory = registry.certificate_directory();
    fs::create_dir_all(directory.join(&other)).unwrap();
    fs::copy(registry.authority(), directory.join(&other).join("ca.crt")).unwrap();
    let client = Client::new(ClientOptions { certificate_directories: vec![directory], ..quick() });
    let error = run(push(&client, &other)).unwrap_err();
    let expected = format!("its certificate is for another name than {other}");
    assert!(error.to_string().contains(&expected), "{}", chain(&error));

    let listener = TcpListener::bind((address.as_str(), 0)).unwrap();
    let plain = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // the client hangs up when it has seen that this is no TLS
            let _ = stream
                .read(&mut [0; 512])
                .and_then(|_| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let error = run(push(&Client::new(quick()), &plain)).unwrap_err();
    assert!(
        error.to_string().contains("it speaks plain HTTP; if that is meant, call it insecure"),
        "{}",
        chain(&error)
    );
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
