//! Logging in, by every way a registry may want it.

use crate::{client_for, layer, pattern, quick, reference, run};
use rbuild_registry::{
    BlobBody, BlobUpload, Client, ClientOptions, Credentials, Login, RegistryError, Secret,
};
use rbuild_testkit::{
    HttpReply, HttpServer, IDENTITY_TOKEN, REGISTRY_USER, Registry, RegistryLogin, RegistryOptions,
    write_program,
};
use std::fs;

fn with_login(login: RegistryLogin) -> Option<Registry> {
    Registry::start(&RegistryOptions { login, ..RegistryOptions::default() })
}

fn password(text: &str) -> Login {
    Login::Password { username: REGISTRY_USER.to_owned(), password: Secret::new(text) }
}

/// Pushes a blob and asks for it.
async fn push(client: &Client, host: &str) -> Result<bool, RegistryError> {
    let name = reference(host, "private/app");
    let bytes = pattern(200_000);
    let blob = layer(&bytes);
    let upload = BlobUpload { descriptor: &blob, mount_from: None };
    client.upload_blob(&name, upload, || BlobBody::from_bytes(bytes.clone())).await?;
    client.blob_exists(&name, &blob.digest).await
}

/// Checks the rules that both kinds of login share.
fn check_login(registry: &Registry) {
    let host = registry.host();
    run(async {
        let client = client_for(registry);
        client.check_login(host).await.expect("the login is right");
        assert!(push(&client, host).await.expect("the login allows it"));

        let anonymous = Client::new(quick());
        let error = push(&anonymous, host).await.expect_err("only a login may push");
        let said = error.to_string();
        let expected = format!(
            "push access denied for {host}/private/app, repository does not exist or may require authorization"
        );
        assert!(said.starts_with(&expected), "{said}");
        let error = anonymous
            .fetch_manifest(&reference(host, "private/app"))
            .await
            .expect_err("only a login may pull");
        assert!(error.to_string().starts_with("pull access denied for "), "{error}");

        let wrong = Credentials::of(host, password("wrong"));
        let stranger = Client::new(ClientOptions { credentials: wrong, ..quick() });
        let error = stranger.check_login(host).await.expect_err("the password is wrong");
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error:?}");
        assert!(error.to_string().contains("wrong or missing"), "{error}");
    });
}

#[test]
fn basic_login() {
    let Some(registry) = with_login(RegistryLogin::Basic) else { return };
    check_login(&registry);
}

#[test]
fn bearer_login_fetches_one_token_for_a_scope() {
    let Some(registry) = with_login(RegistryLogin::Bearer) else { return };
    check_login(&registry);
    let before = registry.token_requests().len();
    run(async {
        let client = client_for(&registry);
        for _ in 0..3 {
            assert!(push(&client, registry.host()).await.unwrap());
        }
    });
    let tokens = &registry.token_requests()[before..];
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert!(tokens[0].target.contains("repository%3Aprivate%2Fapp%3Apull%2Cpush"), "{}", tokens[0].target);
}

#[test]
fn the_right_to_push_is_known_before_anything_is_sent() {
    for login in [RegistryLogin::Basic, RegistryLogin::Bearer] {
        let Some(registry) = with_login(login) else { return };
        let name = reference(registry.host(), "team/app");
        run(async {
            client_for(&registry).check_push(&name).await.expect("the login allows it");
            let error = Client::new(quick()).check_push(&name).await.expect_err("only a login may push");
            assert!(error.to_string().starts_with("push access denied for "), "{error}");
        });
        let requests = registry.requests();
        let left: Vec<&String> = requests.iter().filter(|request| request.starts_with("PUT")).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(
            requests.iter().any(|request| request.starts_with("DELETE")),
            "the upload stays open: {requests:?}"
        );
    }
}

#[test]
fn identity_tokens_are_exchanged_by_oauth() {
    let Some(registry) = with_login(RegistryLogin::Bearer) else { return };
    let credentials = Credentials::of(registry.host(), Login::IdentityToken(Secret::new(IDENTITY_TOKEN)));
    let client = Client::new(ClientOptions { credentials, ..quick() });
    assert!(run(push(&client, registry.host())).unwrap());
    assert!(registry.token_requests().iter().all(|request| request.method == "POST"));
}

#[test]
fn credential_helpers_are_asked_once() {
    let Some(registry) = with_login(RegistryLogin::Basic) else { return };
    let directory = tempfile::tempdir().unwrap();
    let (helper, asked) = (directory.path().join("docker-credential-test"), directory.path().join("asked"));
    let answer =
        format!(r#"{{"Username":"{REGISTRY_USER}","Secret":"{}"}}"#, rbuild_testkit::REGISTRY_PASSWORD);
    let script = format!("#!/bin/sh\ncat >>{}\necho '{answer}'\n", asked.display());
    write_program(&helper, &script);
    let credentials = Credentials::from_docker_config(r#"{"credsStore":"test"}"#).unwrap();
    let helper_path = format!("{}:/usr/bin:/bin", directory.path().display());
    let client = Client::new(ClientOptions { credentials, helper_path, ..quick() });
    assert!(run(push(&client, registry.host())).unwrap());
    assert_eq!(fs::read_to_string(asked).unwrap(), registry.host());
}

#[test]
fn a_credential_helper_is_asked_again_when_its_answer_is_refused() {
    for (login, status) in
        [(RegistryLogin::Basic, None), (RegistryLogin::Bearer, None), (RegistryLogin::Basic, Some(403))]
    {
        let Some(registry) = with_login(login) else { return };
        // a registry whose logins last some hours says 403 of an old one
        let proxy = HttpServer::in_front_of(registry.host(), move |_, request| {
            let old = request.header("authorization") == Some("Basic dGVzdGVyOm9sZA==");
            status
                .filter(|_| old)
                .map(|status| HttpReply::new(status, "Your authorization token has expired."))
        });
        let directory = tempfile::tempdir().unwrap();
        let answers = directory.path().join("asked");
        let script = format!(
            "#!/bin/sh\nread server\necho >>{0}\n[ $(wc -l <{0}) = 1 ] && secret=old || secret='{1}'\n\
             echo \"{{\\\"Username\\\":\\\"{REGISTRY_USER}\\\",\\\"Secret\\\":\\\"$secret\\\"}}\"\n",
            answers.display(),
            rbuild_testkit::REGISTRY_PASSWORD
        );
        write_program(&directory.path().join("docker-credential-test"), &script);
        let credentials = Credentials::from_docker_config(r#"{"credsStore":"test"}"#).unwrap();
        let helper_path = format!("{}:/usr/bin:/bin", directory.path().display());
        let client = Client::new(ClientOptions { credentials, helper_path, ..quick() });
        assert!(run(push(&client, &proxy.host())).unwrap(), "{login:?} {status:?}");
        assert_eq!(fs::read_to_string(answers).unwrap().lines().count(), 2, "{login:?} {status:?}");
    }
}

#[test]
fn redirects_to_other_hosts_carry_no_authorization() {
    let content = pattern(1000);
    let blob = layer(&content);
    let body = content.clone();
    let elsewhere = HttpServer::start(move |_| HttpReply::new(200, body.clone()));
    let target = format!("http://{}/signed?key=1", elsewhere.host());
    let registry = HttpServer::start(move |request| match request.header("authorization") {
        None => HttpReply::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) => HttpReply::new(307, "").header("Location", &target),
    });
    let host = registry.host();
    let credentials = Credentials::of(&host, password("hunter2"));
    let client = Client::new(ClientOptions { credentials, ..quick() });
    let received = run(async {
        let stream = client.fetch_blob(&reference(&host, "a"), &blob).await?;
        crate::all(stream).await
    });
    assert_eq!(received.unwrap(), content);
    assert!(registry.requests().iter().any(|request| request.header("authorization").is_some()));
    let seen = elsewhere.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
}

#[test]
fn a_login_is_not_sent_to_an_unprotected_token_server_elsewhere() {
    let registry = HttpServer::start(|_| {
        HttpReply::new(401, "").header("WWW-Authenticate", "Bearer realm=\"http://192.0.2.77/token\"")
    });
    let host = registry.host();
    let credentials = Credentials::of(&host, password("hunter2"));
    let client = Client::new(ClientOptions { credentials, ..quick() });
    let error = run(client.fetch_manifest(&reference(&host, "a"))).unwrap_err();
    assert!(matches!(error, RegistryError::InsecureRealm { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}
