//! Caches in buckets: a real S3 server, and one that speaks as much of Azure's protocol as a cache needs.

use super::{DOCKERFILE, Machines, cached, id, layers};
use crate::RBUILD;
use rbuild_testkit::{
    HttpReply, HttpServer, Registry, RegistryOptions, S3_KEY, S3_SECRET, S3Server, Workspace,
};
use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Instant,
};

pub(super) fn bucket(server: &S3Server) -> String {
    let endpoint = server.endpoint();
    format!(
        "type=s3,bucket=bucket,region=us-east-1,endpoint_url={endpoint},use_path_style=true,name=app,\
         access_key_id={S3_KEY},secret_access_key={S3_SECRET}"
    )
}

/// Names, lengths and times of the objects below `directory`.
fn objects(directory: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut all = Vec::new();
    for place in ["blobs", "manifests"] {
        for entry in fs::read_dir(directory.join(place)).into_iter().flatten() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            all.push((
                entry.file_name().into_string().unwrap(),
                metadata.len(),
                metadata.modified().unwrap(),
            ));
        }
    }
    all.sort();
    all
}

/// True if a file below `directory` has `text`.
fn is_written(text: &str, directory: &Path) -> bool {
    let found = Command::new("grep").args(["-rqaF", text]).arg(directory).status().unwrap();
    found.success()
}

#[test]
fn a_bucket_is_a_cache() {
    let Some(machines) = Machines::start("a_bucket_is_a_cache") else { return };
    let Some(mut server) = S3Server::start() else { return };
    let (one, other) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    // more than one part of an upload
    let large =
        DOCKERFILE.replace("RUN mkdir /d\n", "RUN mkdir /d && head -c 20000000 /dev/urandom > /d/noise\n");
    let place = bucket(&server);
    let said = machines.builds(&one, &large, &["--cache-to", &format!("{place},mode=max")]);
    assert!(said.contains(&format!("exporting cache to s3://{}", &server.endpoint()[7..])), "{said}");
    let written = objects(&server.objects());
    assert_eq!(written.len(), 8, "seven layers and the description: {written:?}");
    assert!(written.iter().all(|(name, ..)| name == "app" || name.starts_with("sha256:")), "{written:?}");

    let sent = machines.builds(&one, &large, &["--cache-to", &format!("{place},mode=max")]);
    let blobs = |all: Vec<(String, u64, std::time::SystemTime)>| {
        all.into_iter().filter(|(name, ..)| name != "app").collect::<Vec<_>>()
    };
    assert_eq!(blobs(objects(&server.objects())), blobs(written), "what is there is not sent again: {sent}");

    let said = machines.builds(&other, &large, &["--cache-from", &place]);
    assert_eq!((cached(&said), id(&other)), (7, id(&one)), "{said}");
    assert_eq!(layers(&other), 5, "those of the image, because a later command has no login");
    server.kill();
    assert_eq!(
        other.ok(["run", "--rm", "app", "sh", "-c", "cat /d/copy && wc -c < /d/noise"]),
        "one\ntwo\nran\n20000000\n"
    );
    for machine in [&one, &other] {
        assert!(!is_written(S3_SECRET, machine.store()) && !is_written(S3_KEY, machine.store()));
    }
    assert!(!said.contains(S3_SECRET) && !sent.contains(S3_SECRET), "{said}");
}

#[test]
fn a_blob_of_a_bucket_that_is_not_what_it_should_be_makes_its_step_run() {
    let Some(machines) = Machines::start("a_blob_of_a_bucket_that_is_wrong") else { return };
    let Some(server) = S3Server::start() else { return };
    let one = Workspace::new(RBUILD);
    let place = bucket(&server);
    machines.builds(&one, DOCKERFILE, &["--cache-to", &format!("{place},mode=max")]);
    let blobs = server.objects().join("blobs");
    for damage in ["noise", "gone"] {
        for blob in fs::read_dir(&blobs).unwrap().map(|blob| blob.unwrap().path()) {
            match damage {
                "noise" => {
                    let length = fs::metadata(&blob).unwrap().len() as usize;
                    fs::write(&blob, vec![7; length]).unwrap();
                }
                _ => fs::remove_file(&blob).unwrap(),
            }
        }
        let other = Workspace::new(RBUILD);
        let said = machines.builds(&other, DOCKERFILE, &["--cache-from", &place]);
        assert!(said.contains("a cached layer cannot be had, and its step runs again"), "{damage}: {said}");
        assert_eq!(other.ok(["run", "--rm", "app"]), "one\ntwo\nran\n", "{damage}");
    }
}

#[test]
fn a_bucket_that_refuses_or_is_gone_costs_no_build() {
    let Some(machines) = Machines::start("a_bucket_that_refuses_or_is_gone_costs_no_build") else { return };
    let Some(mut server) = S3Server::start() else { return };
    let one = Workspace::new(RBUILD);
    let wrong = bucket(&server).replace(S3_SECRET, "a-wrong-secret");
    let ran = machines.build(&one, DOCKERFILE, &["--cache-to", &wrong]);
    assert!(ran.code != 0 && ran.stderr.contains("SignatureDoesNotMatch"), "{ran:#?}");
    assert!(!ran.stderr.contains("RUN mkdir"), "no step has run: {ran:#?}");
    let more = ["--cache-from", &wrong, "--cache-to", &format!("{wrong},ignore-error=true")];
    let said = machines.builds(&one, DOCKERFILE, &more);
    let warnings =
        said.lines().filter(|line| line.contains("WARN: ") && line.contains("SignatureDoesNotMatch"));
    assert_eq!(warnings.count(), 2, "one each: {said}");
    assert!(said.contains("is not used: ") && said.contains("was not written: "), "{said}");
    assert!(!said.contains("a-wrong-secret"), "{said}");

    let place = bucket(&server);
    machines.builds(&one, DOCKERFILE, &["--cache-to", &format!("{place},mode=max")]);
    server.kill();
    let begun = Instant::now();
    let fresh = Workspace::new(RBUILD);
    let more = ["--cache-from", &place, "--cache-to", &format!("{place},ignore-error=true")];
    let said = machines.builds(&fresh, DOCKERFILE, &more);
    assert_eq!(cached(&said), 0, "{said}");
    assert!(
        said.contains("is not used: ") && begun.elapsed().as_secs() < 60,
        "{:?}: {said}",
        begun.elapsed()
    );
    assert_eq!(fresh.ok(["run", "--rm", "app"]), "one\ntwo\nran\n");
}

#[test]
fn a_container_of_azure_is_a_cache() {
    let Some(machines) = Machines::start("a_container_of_azure_is_a_cache") else { return };
    let stored: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
    let server = HttpServer::start(move |asked| {
        let mut stored = stored.lock().unwrap();
        let name = asked.target.split('?').next().unwrap().to_owned();
        let found = |bytes: &[u8]| {
            HttpReply::new(200, bytes)
                .header("Last-Modified", "Sat, 01 Aug 2026 00:00:00 GMT")
                .header("ETag", "\"1\"")
        };
        match asked.method.as_str() {
            "PUT" => {
                stored.insert(name, asked.body.clone());
                HttpReply::new(201, "").header("ETag", "\"1\"")
            }
            _ => match stored.get(&name) {
                Some(bytes) => found(bytes),
                None => HttpReply::new(404, ""),
            },
        }
    });
    let place = format!(
        "type=azblob,account_url=http://{}/acc,account_name=acc,secret_access_key=c2VjcmV0,name=app,prefix=ci",
        server.host()
    );
    let (one, other) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    machines.builds(&one, DOCKERFILE, &["--cache-to", &place]);
    let said = machines.builds(&other, DOCKERFILE, &["--cache-from", &place]);
    assert_eq!((cached(&said), id(&other)), (4, id(&one)), "{said}");
    let targets: Vec<_> = server.requests().into_iter().map(|asked| asked.target).collect();
    assert!(
        targets.iter().any(|target| target.starts_with("/acc/buildkit-cache/ci/blobs/sha256")),
        "{targets:?}"
    );
    assert!(targets.iter().any(|target| target == "/acc/buildkit-cache/ci/manifests/app"), "{targets:?}");
}

#[test]
fn layers_of_a_registry_s_cache_go_on_to_a_bucket() {
    let Some(machines) = Machines::start("layers_of_a_registry_s_cache_go_on_to_a_bucket") else { return };
    let Some(server) = S3Server::start() else { return };
    let (one, other, third) = (Workspace::new(RBUILD), Workspace::new(RBUILD), Workspace::new(RBUILD));
    machines.builds(&one, DOCKERFILE, &["--cache-to", &format!("{},mode=max", machines.cache())]);
    let place = bucket(&server);
    let more = ["--cache-from", &machines.cache(), "--cache-to", &format!("{place},mode=max")];
    machines.builds(&other, DOCKERFILE, &more);
    let said = machines.builds(&third, DOCKERFILE, &["--cache-from", &place]);
    assert_eq!((cached(&said), id(&third)), (7, id(&one)), "{said}");
    // and back
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let fourth = Workspace::new(RBUILD);
    let back = format!("type=registry,ref={}/team/back:1,mode=max", registry.host());
    machines.builds(&fourth, DOCKERFILE, &["--cache-from", &place, "--cache-to", &back]);
    assert_eq!(fourth.ok(["run", "--rm", "app"]), "one\ntwo\nran\n");
}
