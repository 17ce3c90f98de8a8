//! The answers of `build --call`, the version, and the metadata of a build.

use crate::{check, data};
use rbuild::{
    ArgumentOutline, BuiltTarget, Checked, Descriptor, Exported, Finding, MountOutline, Outline, Platform,
    Target,
};
use rbuild_docker_api::{BuildMetadata, CheckAnswer, OutlineAnswer, TargetsAnswer, Version};
use serde_json::json;

#[test]
fn checks_have_docker_s_shape() {
    let finding = |rule: &str, url: Option<&str>, lines| Finding {
        rule: rule.to_owned(),
        description: "what it asks for",
        url: url.map(str::to_owned),
        message: "what is wrong".to_owned(),
        lines,
        excerpt: String::new(),
    };
    let checked = |findings| Checked {
        findings,
        failure: None,
        failure_lines: Some((4, 5)),
        file: "Dockerfile".to_owned(),
        text: b"FROM x\n".to_vec(),
    };
    let found = vec![finding("A", Some("https://example.org/a/"), (1, 3)), finding("B", None, (2, 2))];
    check(CheckAnswer::new(&checked(found), None), &data("answers/check.json"));
    let failure = Some("it cannot be built".to_owned());
    check(CheckAnswer::new(&checked(Vec::new()), failure), &data("answers/check-failed.json"));
}

#[test]
fn outlines_have_docker_s_shape() {
    let mount = |id: &str, required| MountOutline { id: id.to_owned(), required, lines: (7, 7) };
    let argument = |name: &str, value: Option<&str>| ArgumentOutline {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        description: String::new(),
        lines: (2, 2),
    };
    let outline = Outline {
        name: Some("app".to_owned()),
        description: "the program".to_owned(),
        arguments: vec![argument("A", Some("1")), argument("B", None)],
        secrets: vec![mount("token", true), mount("other", false)],
        agents: Vec::new(),
        text: b"FROM x\n".to_vec(),
    };
    check(OutlineAnswer::from(&outline), &data("answers/outline.json"));
}

#[test]
fn targets_have_docker_s_shape() {
    let target = |name: Option<&str>, default: bool| Target {
        name: name.map(str::to_owned),
        description: String::new(),
        base: "busybox".to_owned(),
        platform: default.then(|| "linux/amd64".to_owned()),
        lines: (1, 1),
        default,
    };
    let targets = [target(Some("base"), false), target(None, true)];
    check(TargetsAnswer::new(&targets, b"FROM x\n"), &data("answers/targets.json"));
}

#[test]
fn small_documents_have_docker_s_names() {
    let host: Platform = "linux/arm64".parse().unwrap();
    let side = json!({"Version": "1.2.3", "APIVersion": "", "GitCommit": "", "Os": "linux", "Arch": "arm64"});
    assert_eq!(json!(Version::new("1.2.3", &host)), json!({"Client": side, "Server": side}));
    let id = format!("sha256:{}", "c".repeat(64));
    let image = id.parse().unwrap();
    let built = |outputs: Vec<Exported>| BuiltTarget { outputs };
    let stored = built(vec![Exported::Store { image, platforms: Vec::new() }]);
    let metadata = BuildMetadata::new(&stored, &["a".parse().unwrap(), "r.example/b:1".parse().unwrap()]);
    assert_eq!(json!(metadata)["image.name"], "docker.io/library/a:latest,r.example/b:1");
    let nameless = json!(BuildMetadata::new(&stored, &[]));
    assert_eq!(nameless, json!({"containerimage.config.digest": id, "containerimage.digest": id}));
    let digest = format!("sha256:{}", "d".repeat(64));
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = Descriptor::new(media_type.into(), digest.parse().unwrap(), 7);
    let pushed =
        built(vec![Exported::Store { image, platforms: Vec::new() }, Exported::Registry { image, manifest }]);
    let descriptor = json!({"mediaType": media_type, "digest": digest, "size": 7});
    assert_eq!(
        json!(BuildMetadata::new(&pushed, &[])),
        json!({
            "containerimage.config.digest": id,
            "containerimage.descriptor": descriptor,
            "containerimage.digest": digest
        })
    );
    assert_eq!(json!(BuildMetadata::new(&built(vec![Exported::Files]), &[])), json!({}));
}
