//! Attributes of outputs, each by what it changes.

use crate::with_busybox;
use rbuild_testkit::{Registry, RegistryOptions, RegistryTransport};
use serde_json::Value;
use std::{
    fs,
    net::UdpSocket,
    process::{Command, Stdio},
};

#[test]
fn an_output_s_own_epoch_takes_the_place_of_the_build_s() {
    let Some(here) = with_busybox("an_output_s_own_epoch") else { return };
    let context = here.context("c", "FROM scratch\nCOPY f /f\nCMD [\"/f\"]\n", &[("f", "f")]);
    let context = context.to_str().unwrap();
    let build =
        |output: &str| here.ok(["build", "-q", "--build-arg", "SOURCE_DATE_EPOCH=99", "-o", output, context]);
    build("type=tar,dest=f.tar,source-date-epoch=7");
    let tar = here.path().join("f.tar");
    let listed = Command::new("tar").args(["--utc", "--full-time", "-tvf"]).arg(tar).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("1970-01-01 00:00:07"), "{listed}");
    build("type=image,name=a,source-date-epoch=0");
    assert_eq!(here.ok(["inspect", "-f", "{{.Created}}", "a"]), "1970-01-01T00:00:00Z\n");
    build("type=image,name=b");
    assert_eq!(here.ok(["inspect", "-f", "{{.Created}}", "b"]), "1970-01-01T00:01:39Z\n");
}

#[test]
fn an_image_without_a_name_is_found_by_the_digest_of_its_manifest() {
    let Some(here) = with_busybox("an_image_without_a_name_is_found") else { return };
    let context = here.context("c", "FROM busybox\nRUN echo it > /it\n", &[]);
    let context = context.to_str().unwrap();
    let build = ["build", "-q", "-o", "type=image,dangling-name-prefix=r.example/loose", context];
    let id = here.ok(build);
    let row = here.ok([
        "images",
        "--digests",
        "--no-trunc",
        "--format",
        "{{.Repository}}@{{.Digest}} {{.ID}}",
        "r.example/loose",
    ]);
    let (name, found) = row.trim().split_once(' ').unwrap();
    assert_eq!(found, id.trim());
    assert_eq!(here.ok(["run", "--rm", name, "cat", "/it"]), "it\n");
    assert!(here.ok(["image", "prune", "-f"]).contains("0B"), "it has a name");
    assert_eq!(here.ok(build), id);
    assert_eq!(
        here.ok(["images", "-q", "r.example/loose"]).lines().count(),
        1,
        "the same image has the same name"
    );
    // the digest is that of bytes which the store has
    let blob = here.store().join("blobs/sha256").join(name.rsplit_once(':').unwrap().1);
    let manifest: Value = serde_json::from_slice(&fs::read(blob).unwrap()).unwrap();
    assert_eq!(manifest["config"]["digest"], id.trim());
    here.ok(["rmi", name]);
    assert_eq!(here.ok(["images", "-q"]).lines().count(), 1);
}

/// This machine's address for other machines, which is not a loopback address. Nothing is sent.
fn outer_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then(|| address.to_string())
}

#[test]
fn a_registry_with_an_unknown_certificate_takes_what_is_said_to_be_for_it() {
    let test = "a_registry_with_an_unknown_certificate_takes_what_is_said_to_be_for_it";
    let Some(here) = with_busybox(test) else { return };
    let Some(address) = outer_address() else {
        rbuild_testkit::skip_named(test, format_args!("this machine has no address but loopback"));
        return;
    };
    let transport = RegistryTransport::TlsOn(address);
    let options = RegistryOptions { transport, ..RegistryOptions::default() };
    let Some(registry) = Registry::start(&options) else { return };
    let context = here.context("c", "FROM scratch\nCOPY f /f\n", &[("f", "f")]);
    let context = context.to_str().unwrap();
    let output = format!("type=registry,name={}/a:1", registry.host());
    let refused = here.fails(["build", "-q", "-o", &output, context]);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    here.ok(["build", "-q", "-o", &format!("{output},registry.insecure=true"), context]);
}

#[test]
fn the_descriptor_of_an_index_is_annotated() {
    let Some(here) = with_busybox("the_descriptor_of_an_index_is_annotated") else { return };
    let context = here.context("c", "FROM scratch\nCOPY f /f\n", &[("f", "f")]);
    let context = context.to_str().unwrap();
    let output = "type=oci,tar=false,dest=layout,annotation-index-descriptor.a=top,annotation-index.b=index";
    let both = "linux/amd64,linux/arm64";
    here.ok([
        "build",
        "-q",
        "--platform",
        both,
        "-o",
        output,
        "--annotation",
        "index-descriptor:c=flag",
        "--annotation",
        "manifest,manifest-descriptor[linux/arm64]:d=arm",
        "--annotation",
        "manifest[linux/amd64]:e=amd",
        context,
    ]);
    let read = |path: &str| -> Value {
        serde_json::from_slice(&fs::read(here.path().join("layout").join(path)).unwrap()).unwrap()
    };
    let top = read("index.json")["manifests"][0].clone();
    assert_eq!((&top["annotations"]["a"], &top["annotations"]["c"]), (&"top".into(), &"flag".into()));
    let index = read(&format!("blobs/{}", top["digest"].as_str().unwrap().replace(':', "/")));
    assert_eq!(index["annotations"]["b"], "index");
    let annotations = |value: &Value| value["annotations"].to_string();
    let seen: Vec<[String; 2]> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let path = format!("blobs/{}", entry["digest"].as_str().unwrap().replace(':', "/"));
            [annotations(entry), annotations(&read(&path))]
        })
        .collect();
    let [amd, arm] = [r#"{"d":"arm","e":"amd"}"#, r#"{"d":"arm"}"#];
    assert_eq!(seen, [["null", amd], [arm, arm]]);
    let absent = here.fails([
        "build",
        "-q",
        "-o",
        "type=oci,dest=x",
        "--annotation",
        "manifest[linux/foo]:a=b",
        context,
    ]);
    assert!(absent.stderr.contains("invalid annotation: no platform linux/foo found"), "{}", absent.stderr);
    let single = here.fails(["build", "-q", "-o", output, context]);
    assert!(
        single.stderr.contains("index annotations not supported for single platform export"),
        "{}",
        single.stderr
    );
}

#[test]
fn the_metadata_of_a_build_has_docker_s_keys() {
    let Some(here) = with_busybox("the_metadata_of_a_build_has_docker_s_keys") else { return };
    let context = here.context("c", "from busybox\nARG V\nRUN echo $V > /v\n", &[]);
    let context = context.to_str().unwrap();
    let metadata = |words: &[&str], variables: &[(&str, &str)]| -> Value {
        let mut command =
            here.command(["build", "-q", "--metadata-file", "m.json"].iter().chain(words).chain([&context]));
        let built = command.envs(variables.iter().copied()).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        serde_json::from_slice(&fs::read(here.path().join("m.json")).unwrap()).unwrap()
    };
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let asked =
        ["-t", "a", "--build-arg", "V=2", "--build-arg", "http_proxy=http://u:secret@p", "--label", "l=1"];
    let usual = metadata(&asked, &[]);
    assert_eq!(
        keys(&usual),
        [
            "buildx.build.provenance",
            "buildx.build.ref",
            "containerimage.config.digest",
            "containerimage.digest",
            "image.name"
        ]
    );
    let provenance = &usual["buildx.build.provenance"];
    assert_eq!(keys(provenance), ["builder", "buildType", "materials", "invocation"]);
    let arguments = &provenance["invocation"]["parameters"]["args"];
    assert_eq!(
        *arguments,
        serde_json::json!({"build-arg:V": "2", "label:l": "1"}),
        "and no password of a proxy"
    );
    let base = &provenance["materials"][0];
    assert_eq!(base["uri"], "pkg:docker/busybox@latest?platform=linux%2Famd64");
    let id = here.ok(["inspect", "-f", "{{.Id}}", "busybox"]);
    assert_eq!(format!("sha256:{}", base["digest"]["sha256"].as_str().unwrap()), id.trim());
    // the ref leads to the build
    let build = usual["buildx.build.ref"].as_str().unwrap();
    assert!(build.starts_with("default/default/"), "{build}");
    assert!(here.ok(["builds", "inspect", build]).contains("RUN echo"));

    let all = metadata(&[], &[("BUILDX_METADATA_PROVENANCE", "max"), ("BUILDX_METADATA_WARNINGS", "1")]);
    assert!(all["buildx.build.provenance"]["metadata"]["buildFinishedOn"].is_string(), "{all:#}");
    assert_eq!(all["buildx.build.warnings"][0]["range"][0]["start"]["line"], 1, "{all:#}");
    let files = metadata(&["-o", "out"], &[]);
    assert_eq!(keys(&files), ["buildx.build.provenance", "buildx.build.ref"]);
    let none = metadata(&["-o", "out"], &[("BUILDX_METADATA_PROVENANCE", "disabled")]);
    assert_eq!(keys(&none), ["buildx.build.ref"]);
}

#[test]
fn the_metadata_file_has_the_digest_under_which_others_find_the_image() {
    let Some(here) = with_busybox("the_metadata_file_has_the_digest") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let context = here.context("c", "FROM scratch\nCOPY Dockerfile /\n", &[]);
    let metadata = |words: &[&str]| -> Value {
        let all = ["build", "-q", "--metadata-file", "m.json", "-o", "type=oci,dest=x.tar,compression=zstd"];
        here.ok(all.iter().chain(words).chain([&context.to_str().unwrap()]));
        serde_json::from_slice(&fs::read(here.path().join("m.json")).unwrap()).unwrap()
    };
    let name = format!("{}/a:1", registry.host());
    let several = metadata(&["--push", "--tls-verify=false", "-t", &name]);
    let inspected: Value = serde_json::from_str(&here.ok(["inspect", &name])).unwrap();
    let pushed = inspected[0]["RepoDigests"][0].as_str().unwrap().rsplit('@').next().unwrap().to_owned();
    assert_eq!(several["containerimage.digest"], pushed);
    let index = metadata(&["--platform", "linux/amd64,linux/arm64"]);
    assert!(index.get("containerimage.config.digest").is_none(), "an index has no config: {index:#}");
}

#[test]
fn a_reader_that_goes_early_is_no_error() {
    let Some(here) = with_busybox("a_reader_that_goes_early_is_no_error") else { return };
    let context = here.context("c", "FROM busybox\n", &[]);
    let context = context.to_str().unwrap();
    for words in [
        ["build", "-o", "-", context].as_slice(),
        &["build", "-o", "type=oci", context],
        &["save", "busybox"],
    ] {
        let mut child = here.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(141), "{words:?}: {told}");
        assert!(
            !told.contains("ERROR") && !told.contains("Error:") && !told.contains("pipe"),
            "{words:?}: {told}"
        );
    }
}

#[test]
fn what_a_killed_export_has_left_is_removed_by_the_next_one() {
    let Some(here) = with_busybox("what_a_killed_export_has_left_is_removed") else { return };
    let context = here.context("c", "FROM scratch\nCOPY d /d\n", &[("d/f", "f")]);
    let mut gone = Command::new("true").spawn().unwrap();
    let number = gone.id();
    gone.wait().unwrap();
    let directory = here.path().join("out/d");
    fs::create_dir_all(&directory).unwrap();
    let file = |name: String| directory.join(name);
    let (left, running, other) = (
        file(format!(".rbuild-{number}")),
        file(format!(".rbuild-{}", std::process::id())),
        file(".rbuild-x".into()),
    );
    [&left, &running, &other].into_iter().for_each(|path| fs::write(path, "half").unwrap());
    here.ok(["build", "-o", "out", context.to_str().unwrap()]);
    assert!(!left.exists(), "its process has ended");
    assert!(
        running.exists() && other.exists(),
        "another build may be writing it, or it is a file of somebody's"
    );
}

#[test]
fn the_metadata_of_a_build_names_the_secrets_and_agents_that_its_steps_mount() {
    let Some(here) =
        with_busybox("the_metadata_of_a_build_names_the_secrets_and_agents_that_its_steps_mount")
    else {
        return;
    };
    let text = "FROM busybox\nRUN --mount=type=secret,id=a --mount=type=secret,id=b --mount=type=ssh true\n\
                RUN --mount=type=secret,id=a,required true\n";
    let context = here.context("c", text, &[("value", "v")]);
    let context = context.to_str().unwrap();
    for _ in ["executed", "cached"] {
        here.ok([
            "build",
            "--secret",
            "id=a,src=c/value",
            "--secret",
            "id=unused,src=c/value",
            "--metadata-file",
            "m.json",
            context,
        ]);
        let metadata: Value = serde_json::from_slice(&fs::read(here.path().join("m.json")).unwrap()).unwrap();
        let parameters = &metadata["buildx.build.provenance"]["invocation"]["parameters"];
        let expected = serde_json::json!([{"id": "a"}, {"id": "b", "optional": true}]);
        assert_eq!(parameters["secrets"], expected, "{parameters:#}");
        assert_eq!(parameters["ssh"], serde_json::json!([{"id": "default", "optional": true}]));
    }
}
