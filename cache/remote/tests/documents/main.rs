//! Caches in directories, written and read back, and descriptions from strangers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod description_laws;

use proptest::prelude::*;
use rbuild_cache::{CacheKey, KeyBuilder, LayerOrigin, Store, Writer};
use rbuild_image::RemoteImages;
use rbuild_oci::{Clock, Compression, Descriptor, DiffId, Digest, MediaType, Timestamp};
use rbuild_registry::{Client, ClientOptions};
use rbuild_remote_cache::{
    CacheDestination, CacheForm, CacheSource, CacheTarget, ImportedCache, Leftovers, RemoteCacheError,
    SharedCache, SharedLayer, SharedRecord,
};
use std::{fs, path::Path};
use tempfile::TempDir;

fn images() -> (TempDir, RemoteImages) {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(rbuild_testkit::now)).unwrap();
    let images = RemoteImages::new(&store, &Client::new(ClientOptions::default()));
    (directory, images)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn key(name: &str) -> CacheKey {
    CacheKey::definition(None, &KeyBuilder::new(name).finish_step())
}

/// A layer of a base image, and two steps on it.
fn shared() -> SharedCache {
    let mut shared = SharedCache::default();
    let layer = |name: &str, blob: bool| SharedLayer {
        diff_id: DiffId::from_digest(Digest::of(name.as_bytes())),
        content: Some(Digest::of(b"content")),
        blob: blob.then(|| Descriptor::new(MediaType::OciLayer(Compression::Gzip), Digest::of(b"blob"), 4)),
    };
    let stack: Vec<usize> = [("base", false), ("one", true), ("two", true)]
        .map(|(name, blob)| shared.layer(layer(name, blob)))
        .into();
    for (at, name) in [(1, "first"), (2, "second")] {
        shared.records.push(SharedRecord {
            key: key(name),
            by_content: (at == 2).then(|| key("content")),
            content_step: (at == 2).then(|| KeyBuilder::new("copied").finish_step()),
            parent: key("parent"),
            step: KeyBuilder::new(name).finish_step(),
            layer: stack[at],
            parent_layers: stack[..at].to_vec(),
            source_layers: Vec::new(),
            created: Timestamp::from(rbuild_testkit::now()),
            duration_ms: 7,
            machine: None,
        });
    }
    shared
}

fn import(directory: &Path) -> Result<ImportedCache, RemoteCacheError> {
    let (_store, images) = images();
    let source =
        CacheSource::Layout { directory: directory.to_owned(), tag: "latest".to_owned(), digest: None };
    block_on(source.import(&images))
}

fn export(directory: &Path, shared: &SharedCache) -> Descriptor {
    let (_store, images) = images();
    let target = CacheTarget::Layout {
        directory: directory.to_owned(),
        tag: "latest".to_owned(),
        leftovers: Leftovers::Kept,
    };
    let destination = CacheDestination { target, form: CacheForm::default() };
    block_on(async {
        destination.open(&images).await.unwrap();
        destination.publish(&images, shared).await.unwrap()
    })
}

/// Puts `description` in the place of the one of the cache in `directory`.
fn describe(directory: &Path, description: &[u8]) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        Descriptor::new(MediaType::OciManifest, digest, bytes.len() as u64)
    };
    let mut config = put(description);
    config.media_type = "application/vnd.buildkit.cacheconfig.v0".into();
    let manifest = rbuild_oci::Manifest::new(MediaType::OciManifest, config, Vec::new());
    let mut entry = put(&manifest.to_json());
    entry.annotations.insert("org.opencontainers.image.ref.name".to_owned(), "latest".to_owned());
    fs::write(directory.join("index.json"), rbuild_oci::Index::new(vec![entry]).to_json()).unwrap();
}

#[test]
fn what_is_written_is_read_and_found_by_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let shared = shared();
    let manifest = export(directory.path(), &shared);
    assert_eq!(manifest, export(directory.path(), &shared), "the same cache has the same bytes");
    let read = import(directory.path()).unwrap();
    assert_eq!(read.records(), 2);
    assert_eq!(read.record(&key("first")), Some(&shared.records[0]));
    for name in ["second", "content"] {
        assert_eq!(read.record(&key(name)), Some(&shared.records[1]));
    }
    assert_eq!(read.record(&key("third")), None);
    let step = KeyBuilder::new("second").finish_step();
    assert_eq!(read.records_of_step(&step).collect::<Vec<_>>(), [&shared.records[1]]);
    let result = read.result(&shared.records[1]).unwrap();
    let layout = directory.path().to_str().unwrap().to_owned();
    assert_eq!((result.origin, result.blob.size), (LayerOrigin::Layout { layout }, 4));
    assert_eq!(result.diff_id, DiffId::from_digest(Digest::of(b"two")));
}

#[test]
fn a_layer_without_a_blob_gives_no_result() {
    let directory = tempfile::tempdir().unwrap();
    let mut shared = shared();
    shared.layers[1].blob = None;
    export(directory.path(), &shared);
    let read = import(directory.path()).unwrap();
    assert_eq!(read.result(read.record(&key("first")).unwrap()), None);
    assert!(read.result(read.record(&key("second")).unwrap()).is_some());
}

#[test]
fn impossible_descriptions_are_refused_with_the_reason() {
    let text = |change: &dyn Fn(&mut serde_json::Value)| {
        // what the last change left would be found as well
        let directory = tempfile::tempdir().unwrap();
        export(directory.path(), &shared());
        let files = fs::read_dir(directory.path().join("blobs/sha256")).unwrap();
        let bytes = files.map(|file| fs::read(file.unwrap().path()).unwrap());
        let mut found = bytes.filter(|bytes| bytes.starts_with(b"{\"records\""));
        let mut value: serde_json::Value = serde_json::from_slice(&found.next().unwrap()).unwrap();
        change(&mut value["rbuild"]);
        let changed = value.to_string();
        fs::remove_dir_all(directory.path().join("blobs")).unwrap();
        describe(directory.path(), changed.as_bytes());
        import(directory.path()).map(|read| read.records()).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error}: {source}")
        })
    };
    assert_eq!(text(&|_| {}), Ok(2));
    let many = |value: &mut serde_json::Value| {
        value["records"][0]["parent_layers"] = serde_json::json!(vec![0; 499]);
    };
    for (change, reason) in [
        (
            &(|value: &mut serde_json::Value| value["records"][1]["layer"] = 3.into())
                as &dyn Fn(&mut serde_json::Value),
            "names a layer that is not in it",
        ),
        (
            &|value| value["records"][0]["source_layers"] = serde_json::json!([9]),
            "names a layer that is not in it",
        ),
        (&many, "more layers than any image"),
        (&|value| value["records"][0]["key"] = "x".into(), "cannot read the cache description"),
        (&|value| value["records"][0]["layer"] = (-1).into(), "cannot read the cache description"),
        (&|value| value["layers"][1]["diff_id"] = "sha256:x".into(), "cannot read the cache description"),
        (
            &|value| value["layers"][1]["blob"]["mediaType"] = "text/plain".into(),
            "the media type of something else",
        ),
        (&|value| value["version"] = 2.into(), "is of version 2"),
        (&|value| *value = serde_json::Value::Null, "only BuildKit finds steps by the keys"),
    ] {
        let error = text(change).unwrap_err();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn true_descriptions_keep_the_laws() {
    let of = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/caches").join(name);
        description_laws::check(&fs::read(path).unwrap())
    };
    assert_eq!((of("rbuild.json"), of("buildkit.json")), ("cache", "BuildKit's"));
    assert_eq!((of("image-rbuild.json"), of("image-buildkit.json")), ("image", "BuildKit's image"));
    assert_eq!(description_laws::check(&shared().describe()), "cache");
    // what is passed over need not even be text
    let mut bytes = shared().describe();
    let at = bytes.windows(8).position(|part| part == b"\"digest\"").unwrap() + 12;
    bytes[at] = 0xff;
    assert_eq!(description_laws::check(&bytes), "cache");
}

#[test]
fn directories_that_lead_elsewhere_are_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), directory.path().join("blobs")).unwrap();
    let (_store, images) = images();
    let target = CacheTarget::Layout {
        directory: directory.path().to_owned(),
        tag: "latest".to_owned(),
        leftovers: Leftovers::Kept,
    };
    let destination = CacheDestination { target, form: CacheForm::default() };
    let error = block_on(destination.open(&images)).unwrap_err();
    assert!(error.to_string().ends_with("/blobs"), "{error}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_description_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..2000) {
        let directory = tempfile::tempdir().unwrap();
        describe(directory.path(), &bytes);
        prop_assert!(import(directory.path()).is_err());
        // a true one that was cut
        export(directory.path(), &shared());
        let found = fs::read_dir(directory.path().join("blobs/sha256")).unwrap();
        let whole = found.map(|file| fs::read(file.unwrap().path()).unwrap()).find(|bytes| bytes.starts_with(b"{\"records\"")).unwrap();
        let cut = cut.min(whole.len() - 1);
        describe(directory.path(), &whole[..cut]);
        prop_assert!(import(directory.path()).is_err());
    }
}
