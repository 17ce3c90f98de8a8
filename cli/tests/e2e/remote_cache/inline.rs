//! Caches that images carry: `--cache-to type=inline`, and `--cache-from` with the name of such an image.

use super::{DOCKERFILE, Machines, cached, id, layers};
use crate::RBUILD;
use rbuild_testkit::{HttpReply, HttpServer, Workspace};
use std::process::Command;

/// The config of the image `name` of a machine, as its bytes.
fn config(machine: &Workspace, name: &str) -> String {
    let archive = machine.path().join("config.tar");
    machine.ok(["save", "-o", archive.to_str().unwrap(), name]);
    let id = machine.ok(["images", "-q", "--no-trunc", name]);
    let hex = id.trim().trim_start_matches("sha256:");
    let listed =
        Command::new("tar").arg("-xOf").arg(&archive).arg(format!("blobs/sha256/{hex}")).output().unwrap();
    let listed = if listed.status.success() {
        listed
    } else {
        Command::new("tar").arg("-xOf").arg(&archive).arg(format!("{hex}.json")).output().unwrap()
    };
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8(listed.stdout).unwrap()
}

impl Machines {
    fn image(&self) -> String {
        format!("{}/team/app:1", self.registry.host())
    }

    /// Pushes what `machine` has built.
    fn push(&self, machine: &Workspace) {
        machine.ok(["tag", "app", &self.image()]);
        machine.ok(["push", &self.image()]);
    }
}

#[test]
fn an_image_that_was_pushed_is_a_cache_of_its_steps() {
    let Some(machines) = Machines::start("an_image_that_was_pushed_is_a_cache_of_its_steps") else { return };
    let (one, other) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    let image = machines.image();
    machines.builds(&one, DOCKERFILE, &["--cache-to", "type=inline"]);
    machines.push(&one);
    let before = machines.registry.requests().len();
    let said = machines.builds(&other, DOCKERFILE, &["--cache-from", &image, "--cache-to", "type=inline"]);
    assert_eq!(cached(&said), 4, "the steps of the image: {said}");
    assert_eq!((id(&one), layers(&other)), (id(&other), 0));
    let requests = &machines.registry.requests()[before..];
    let blobs: Vec<_> = requests.iter().filter(|request| request.contains("/team/app/blobs/")).collect();
    assert_eq!(blobs.len(), 1, "the config alone: {blobs:?}");
    assert_eq!(other.ok(["run", "--rm", "app"]), "one\ntwo\nran\n");

    // the argument asks for it too, and what is built on such an image does not inherit it
    let third = Workspace::new(RBUILD);
    machines.builds(&third, DOCKERFILE, &["--cache-from", &image, "--build-arg", "BUILDKIT_INLINE_CACHE=1"]);
    assert_eq!(id(&third), id(&one));
    assert!(config(&third, "app").contains("\"moby.buildkit.cache.v0\":\"W3"), "base64 of a list");
    let above = third.context("above", &format!("FROM {image}\nLABEL a=b\n"), &[]);
    third.build("above", &above);
    let inherited = config(&third, "above");
    assert!(!inherited.contains("buildkit.cache") && !inherited.contains("rbuild.cache"), "{inherited}");
    // without being asked for, an image carries nothing
    machines.builds(&third, DOCKERFILE, &[]);
    let plain = config(&third, "app");
    assert!(!plain.contains("buildkit.cache") && !plain.contains("rbuild.cache"), "{plain}");
}

#[test]
fn equal_builds_give_equal_images_that_carry_caches() {
    let Some(machines) = Machines::start("equal_builds_give_equal_images_that_carry_caches") else { return };
    let ids = ["1", "2"].map(|_| {
        let machine = Workspace::new(RBUILD);
        let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000"];
        let more = ["--cache-to", "type=inline", "-o", "type=image,rewrite-timestamp=true"];
        machines.builds(&machine, DOCKERFILE, &[&epoch[..], &more[..]].concat());
        machines.push(&machine);
        id(&machine)
    });
    assert_eq!(ids[0], ids[1]);
    // the layers of this image are not those that the steps made, and they are found nevertheless
    let other = Workspace::new(RBUILD);
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--cache-from", &machines.image()];
    let said = machines.builds(&other, DOCKERFILE, &epoch);
    assert_eq!(cached(&said), 4, "{said}");
    assert_eq!(other.ok(["run", "--rm", "app"]), "one\ntwo\nran\n");
}

#[test]
fn each_image_of_an_index_carries_its_own_steps() {
    let Some(machines) = Machines::start("each_image_of_an_index_carries_its_own_steps") else { return };
    let (one, other) = (Workspace::new(RBUILD), Workspace::new(RBUILD));
    let (image, text) =
        (machines.image(), "FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\nWORKDIR /w\n");
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    machines.builds(&one, text, &[&platforms[..], &["--cache-to", "type=inline"]].concat());
    machines.push(&one);
    let said = machines.builds(&other, text, &[&platforms[..], &["--cache-from", &image]].concat());
    assert_eq!(cached(&said), 4, "{said}");
}

#[test]
fn what_cannot_be_used_is_said() {
    let Some(machines) = Machines::start("what_cannot_be_used_is_said") else { return };
    let one = Workspace::new(RBUILD);
    let serve = |config: String| {
        let digest = rbuild::Digest::of(config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{}}},"layers":[]}}"#,
            config.len()
        );
        HttpServer::start(move |asked| match asked.target.as_str() {
            "/v2/" => HttpReply::new(200, "{}"),
            target if target.contains("/manifests/") => HttpReply::new(200, manifest.clone())
                .header("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
            _ => HttpReply::new(200, config.clone()),
        })
    };
    let rootfs = r#""architecture":"amd64","os":"linux","rootfs":{"type":"layers"}"#;
    for (field, reason) in [
        // [{"digest":"sha256:aa"}]
        (
            r#""moby.buildkit.cache.v0":"W3siZGlnZXN0Ijoic2hhMjU2OmFhIn1d","#,
            "and only BuildKit finds steps by the keys of its 1 records: ",
        ),
        (r#""rbuild.cache":"?","#, "what its config carries is no base64"),
        (r#""rbuild.cache":"e30=","#, "cannot read the cache description of"),
        // {"version":7}
        (r#""rbuild.cache":"eyJ2ZXJzaW9uIjo3fQ==","#, "is of version 7, which this version does not know"),
        ("", "is an image that carries no cache: build it with --cache-to type=inline"),
    ] {
        let server = serve(format!("{{{field}{rootfs}}}"));
        let from = format!("{}/team/app:1", server.host());
        let fresh = Workspace::new(RBUILD);
        let said = machines.builds(&fresh, "FROM BASE\nRUN true\n", &["--cache-from", &from]);
        assert!(said.contains(&format!("the cache {from} is not used: ")) && said.contains(reason), "{said}");
    }
    let ran = machines.build(&one, DOCKERFILE, &["--squash", "--cache-to", "type=inline"]);
    assert!(ran.code == 1 && ran.stderr.contains("leave one of the two out"), "{ran:#?}");
}
