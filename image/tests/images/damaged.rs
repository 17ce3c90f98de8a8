//! Archives and layouts that are cut, lack files, or say what is not so: one clear error each, and nothing is kept that is not
//! whole.

use crate::{
    archives::{Fixture, tar},
    registry::{self, block_on},
};
use rbuild_image::{ArchiveFormat, ArchiveSource, Depth, ImageError, Layout, validate};
use rbuild_oci::{Digest, FailureClass, Platform};
use rbuild_testkit::{HttpReply, HttpServer, has_root};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, io::Cursor, path::Path, sync::Arc};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// The parts of an OCI image, not yet pointing at each other.
struct Parts {
    layers: Vec<Vec<u8>>,
    /// What is changed in the descriptors of config and layers once they are right.
    described: BTreeMap<&'static str, Value>,
    config: Value,
    manifest: Value,
    /// The entry of the index for the manifest.
    entry: Value,
    index: Value,
    /// Files in place of those that should be there; without content, they are missing.
    files: BTreeMap<String, Option<Vec<u8>>>,
}

impl Parts {
    fn new() -> Self {
        let tars = [tar(&[("a", "1")]), tar(&[("b", "2")])];
        let diff_ids: Vec<String> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
        let host = Platform::host();
        Self {
            layers: tars.iter().map(|tar| zstd::encode_all(&tar[..], 1).unwrap()).collect(),
            described: BTreeMap::new(),
            config: json!({
                "architecture": host.architecture, "os": "linux", "config": {},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }),
            manifest: json!({"schemaVersion": 2, "mediaType": MANIFEST}),
            entry: json!({"annotations": {"io.containerd.image.name": "example.org/damaged:1"}}),
            index: json!({"schemaVersion": 2, "mediaType": INDEX}),
            files: BTreeMap::new(),
        }
    }

    /// The files of the layout, by name.
    fn layout(mut self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        let mut put = |bytes: Vec<u8>, media_type: &str| {
            let digest = Digest::of(&bytes);
            let size = bytes.len();
            files.insert(format!("blobs/sha256/{}", digest.hex()), bytes);
            json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
        };
        let mut config = put(self.config.to_string().into_bytes(), CONFIG);
        let mut layers: Vec<Value> = self.layers.into_iter().map(|layer| put(layer, LAYER)).collect();
        for (key, value) in self.described {
            let (part, field) = key.split_once(' ').unwrap();
            let part = if part == "config" { &mut config } else { &mut layers[1] };
            part[field] = value;
        }
        if self.manifest.get("config").is_none() {
            self.manifest["config"] = config;
            self.manifest["layers"] = layers.into();
        }
        let mut entry = put(self.manifest.to_string().into_bytes(), MANIFEST);
        for (key, value) in self.entry.as_object().unwrap() {
            entry[key] = value.clone();
        }
        if self.index.is_object() && self.index.get("manifests").is_none() {
            self.index["manifests"] = json!([entry]);
        }
        files.insert("index.json".to_owned(), self.index.to_string().into_bytes());
        for (end, content) in self.files {
            let name = files.keys().find(|name| name.ends_with(&end)).cloned().unwrap_or(end);
            match content {
                Some(content) => files.insert(name, content),
                None => files.remove(&name),
            };
        }
        files
    }
}

/// What is wrong with an image, and what the error says.
type Damage = (&'static str, fn(&mut Parts), &'static str);

const DAMAGES: &[Damage] = &[
    ("nothing", |_| {}, ""),
    ("a layer's size", |p| drop(p.described.insert("layer size", json!(7))), "should have 7 bytes and has "),
    (
        "a config's size",
        |p| drop(p.described.insert("config size", json!(7))),
        "should have 7 bytes and has ",
    ),
    ("a manifest's size", |p| p.entry["size"] = json!(7), "should have 7 bytes and has "),
    (
        "a negative size",
        |p| drop(p.described.insert("layer size", json!(-7))),
        "invalid manifest: invalid value",
    ),
    ("a missing layer", |p| p.lack_layer(), "has no file \"blobs/sha256/"),
    (
        "a missing config",
        |p| p.files_of(|p| p.config.to_string().into_bytes(), None),
        "has no file \"blobs/sha256/",
    ),
    (
        "a layer's digest",
        |p| drop(p.described.insert("layer digest", json!(Digest::of(b"x").to_string()))),
        "has no file \"blobs/sha256/",
    ),
    (
        "another algorithm",
        |p| drop(p.described.insert("layer digest", json!(format!("sha512:{}", "0".repeat(128))))),
        "invalid digest \"sha512:0",
    ),
    ("a layer's bytes", |p| p.replace_layer(), "expected a blob sha256:"),
    (
        "a config's bytes",
        |p| p.files_of(|p| p.config.to_string().into_bytes(), Some(b"{}")),
        "bytes and has 2",
    ),
    ("a config that is none", |p| p.config = json!({}), "missing field `architecture`"),
    ("a config that is a list", |p| p.config = json!([]), "invalid image config: it is an array"),
    ("a root of another type", |p| p.config["rootfs"]["type"] = json!("base"), "rootfs is of type \"base\""),
    (
        "too few diff ids",
        |p| drop(p.config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop()),
        "has 2 layers, but its config names 1",
    ),
    (
        "diff ids in a wrong order",
        |p| p.config["rootfs"]["diff_ids"].as_array_mut().unwrap().reverse(),
        "should be sha256:",
    ),
    (
        "a layer that is no tar",
        |p| p.layers[1] = zstd::encode_all(&[7; 2000][..], 1).unwrap(),
        "wrong checksum",
    ),
    (
        "an encrypted layer",
        |p| drop(p.described.insert("layer mediaType", json!(format!("{LAYER}+encrypted")))),
        "a layer of type \"application/vnd.oci.image.layer.v1.tar+zstd+encrypted\"",
    ),
    (
        "a chart",
        |p| drop(p.described.insert("config mediaType", json!("application/vnd.cncf.helm.config.v1+json"))),
        "it is no container image",
    ),
    (
        "schema 1",
        |p| p.manifest = json!({"schemaVersion": 1, "config": {}, "fsLayers": []}),
        "push the image again with a newer tool",
    ),
    ("schema 3", |p| p.manifest["schemaVersion"] = json!(3), "it has schema version 3"),
    (
        "a manifest called index",
        |p| p.entry["mediaType"] = json!(INDEX),
        "it is a manifest, but its media type is ",
    ),
    (
        "a manifest that calls itself index",
        |p| p.manifest["mediaType"] = json!(INDEX),
        "it is a manifest, but its media type is ",
    ),
    ("both", |p| p.manifest["manifests"] = json!([]), "it is both a manifest and an index"),
    ("an index of no images", |p| p.index["manifests"] = json!([]), "has no image"),
    ("an index that is a manifest", |p| p.index = json!({"schemaVersion": 2, "config": {}}), ""),
    ("an index that is a list", |p| p.index = json!([2, INDEX, []]), "it is an array"),
    (
        "an index that is cut",
        |p| drop(p.files.insert("index.json".into(), Some(b"{\"schemaVersion\":2,".to_vec()))),
        "EOF while parsing",
    ),
    ("an empty index", |p| drop(p.files.insert("index.json".into(), Some(Vec::new()))), "EOF while parsing"),
    (
        "an index that is no text",
        |p| drop(p.files.insert("index.json".into(), Some(vec![0xff; 99]))),
        "expected value",
    ),
    (
        "an endless index",
        |p| drop(p.files.insert("index.json".into(), Some(vec![b' '; (16 << 20) + 1]))),
        "has 16777217 bytes, more than the 16777216 allowed",
    ),
];

impl Parts {
    fn files_of(&mut self, bytes: impl Fn(&Self) -> Vec<u8>, content: Option<&[u8]>) {
        let name = Digest::of(&bytes(self)).hex();
        self.files.insert(name, content.map(<[u8]>::to_vec));
    }

    fn lack_layer(&mut self) {
        self.files_of(|parts| parts.layers[1].clone(), None);
    }

    /// Another layer in the place of the second, as long as that and whole.
    fn replace_layer(&mut self) {
        let other = zstd::encode_all(&tar(&[("b", "3")])[..], 1).unwrap();
        self.files_of(|parts| parts.layers[1].clone(), Some(&other));
    }
}

/// The message of an error with its causes.
fn told(error: &ImageError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Checks that a refused archive left no image, no name and nothing unfinished.
fn nothing_is_left(fixture: &Fixture, what: &str) {
    assert_eq!(fixture.store.references().unwrap(), [], "{what}");
    assert_eq!(fixture.store.images().unwrap(), [], "{what}");
    // a process that writes has a directory of its own there
    let unfinished = rbuild_testkit::described(&fixture.store.root().join("tmp"));
    assert_eq!(unfinished.iter().filter(|line| line.contains('/')).collect::<Vec<_>>(), [""; 0], "{what}");
}

fn write(directory: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let _ = fs::remove_dir_all(directory);
    for (name, bytes) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn each_damage_of_an_archive_and_a_layout_is_named() {
    if !has_root() {
        return;
    }
    let host = Platform::host();
    let fixture = Fixture::new();
    let directory = fixture.path("layout");
    // the whole one comes last, into the store that has seen all the others
    for (what, damage, expected) in DAMAGES.iter().rev() {
        let mut parts = Parts::new();
        damage(&mut parts);
        let files = parts.layout();
        write(&directory, &files);
        let packed = rbuild_testkit::Tar::new();
        let packed = files.iter().fold(packed, |packed, (name, bytes)| packed.file(name, bytes)).finish();
        let lease = fixture.store.lease().unwrap();
        let of_layout = Layout::open(&directory).and_then(|layout| {
            let digest = layout.find(None)?;
            layout.load(&fixture.store, &lease, (&digest, &host), &|_| {})
        });
        drop(lease);
        let source = ArchiveSource::Stream(Box::new(Cursor::new(packed)));
        let of_archive = rbuild_image::load(&fixture.store, source, None, &|_| {});
        if *what == "nothing" {
            of_layout.unwrap();
            fixture.check(&of_archive.unwrap());
            continue;
        }
        for error in [of_layout.err(), of_archive.err()] {
            let error = error.unwrap_or_else(|| panic!("{what} is taken"));
            let text = told(&error);
            let is_unlisted = text.contains("no image is tagged") && *what == "an index of no images";
            assert!(text.contains(expected) || is_unlisted, "{what}: {text}");
            assert_eq!(error.class(), FailureClass::Input, "{what}: {text}");
        }
        nothing_is_left(&fixture, what);
    }
}

#[test]
fn an_image_for_another_platform_is_named_with_what_there_is() {
    if !has_root() {
        return;
    }
    for (platforms, message) in [
        (json!([{"os": "linux", "architecture": "s390x"}]), "has no image for linux/"),
        (json!([]), "it has none"),
    ] {
        let mut files = Parts::new().layout();
        let mut index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let entry = index["manifests"][0].clone();
        let offered = platforms.as_array().unwrap().iter().map(|platform| {
            let mut entry = entry.clone();
            entry["platform"] = platform.clone();
            entry
        });
        let inner = json!({"schemaVersion": 2, "manifests": offered.collect::<Vec<_>>()}).to_string();
        let digest = Digest::of(inner.as_bytes());
        index["manifests"] = json!([{"mediaType": INDEX, "digest": digest.to_string(), "size": inner.len()}]);
        files.insert("index.json".to_owned(), index.to_string().into_bytes());
        files.insert(format!("blobs/sha256/{}", digest.hex()), inner.into_bytes());
        let packed = rbuild_testkit::Tar::new();
        let packed = files.iter().fold(packed, |packed, (name, bytes)| packed.file(name, bytes)).finish();
        let fixture = Fixture::new();
        let source = ArchiveSource::Stream(Box::new(Cursor::new(packed)));
        let error = rbuild_image::load(&fixture.store, source, Some(&Platform::host()), &|_| {}).unwrap_err();
        assert!(told(&error).contains(message), "{}", told(&error));
        nothing_is_left(&fixture, message);
    }
}

/// Each cut leaves an image that is whole, when only what nobody needs is missing, or none.
#[test]
fn an_archive_that_is_cut_anywhere_is_refused_or_whole() {
    if !has_root() {
        return;
    }
    let from = Fixture::new();
    let item = from.image();
    for format in [ArchiveFormat::Docker, ArchiveFormat::Oci] {
        let whole = fs::read(from.save(&item, format)).unwrap();
        let packed = zstd::encode_all(&whole[..], 3).unwrap();
        for (bytes, step) in [(&whole, 512), (&packed, packed.len() / 40)] {
            let to = Fixture::new();
            let path = to.path("cut.tar");
            let mut taken = 0;
            let ends = (0..bytes.len()).step_by(step).flat_map(|end| [end.saturating_sub(1), end, end + 1]);
            for end in ends.filter(|end| *end < bytes.len()) {
                fs::write(&path, &bytes[..end]).unwrap();
                match to.load(&path) {
                    Ok(loaded) => {
                        assert_eq!(loaded[0].id, item.image.id, "cut at {end}");
                        to.check(&loaded);
                        taken += 1;
                    }
                    Err(error) => {
                        let text = told(&error);
                        assert_eq!(error.class(), FailureClass::Input, "cut at {end}: {text}");
                        if taken == 0 {
                            nothing_is_left(&to, &format!("cut at {end}: {text}"));
                        }
                    }
                }
            }
            fs::write(&path, bytes).unwrap();
            let loaded = to.load(&path).unwrap();
            to.check(&loaded);
            validate(&to.store, &to.image_of(&loaded[0]), Depth::Content).unwrap();
            assert!(taken < 8, "{taken} cuts were taken for whole");
        }
    }
}

#[test]
fn an_archive_that_names_its_files_without_end_is_refused() {
    if !has_root() {
        return;
    }
    let fixture = Fixture::new();
    let load = |archive: Vec<u8>| {
        let source = ArchiveSource::Stream(Box::new(Cursor::new(archive)));
        let error = rbuild_image::load(&fixture.store, source, None, &|_| {}).unwrap_err();
        nothing_is_left(&fixture, &error.to_string());
        told(&error)
    };
    let padding = " ".repeat(8 << 20);
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}}).to_string() + &padding;
    let images = vec![json!({"Config": "c.json", "Layers": []}); 10_000];
    let archive = tar(&[("c.json", &config), ("manifest.json", &json!(images).to_string())]);
    assert!(load(archive).starts_with("JSON that the archive names in all has "));

    let layers = vec!["l"; 1_000_000];
    let images = json!([{"Config": "c.json", "Layers": layers}]).to_string();
    let archive = tar(&[("l", ""), ("c.json", "{}"), ("manifest.json", &images)]);
    assert!(load(archive).starts_with("image c.json has 1000000 layers, more than "));

    let long = "n".repeat(1025);
    assert!(load(tar(&[(&long, "")])).contains("a name has 1025 bytes, more than the 1024"));
}

#[test]
fn what_a_registry_has_that_is_no_image_is_not_fetched() {
    if !has_root() {
        return;
    }
    let mut parts = Parts::new();
    parts.described.insert("config mediaType", json!("application/vnd.cncf.helm.config.v1+json"));
    let files = parts.layout();
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = files[&format!("blobs/sha256/{}", &digest["sha256:".len()..])].clone();
    let server =
        HttpServer::start(move |_| HttpReply::new(200, manifest.clone()).header("Content-Type", MANIFEST));
    let fixture = registry::Fixture::new();
    let lease = Arc::new(fixture.store.lease().unwrap());
    let chart = format!("{}/chart:1", server.host()).parse().unwrap();
    let error = block_on(fixture.images().resolve(&chart, &Platform::host(), &lease)).unwrap_err();
    assert!(told(&error).contains("it is no container image"), "{}", told(&error));
    assert_eq!(error.class(), FailureClass::Input);
    let blobs = server.requests().iter().filter(|request| request.target.contains("/blobs/")).count();
    assert_eq!((blobs, fixture.store.images().unwrap()), (0, Vec::new()));
}
