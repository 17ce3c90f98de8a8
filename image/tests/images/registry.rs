//! Pulling and pushing on a real registry.

use rbuild_cache::{ImageRecord, LayerFiles, Store, TarBlob, Writer};
use rbuild_image::{
    ArchiveFormat, Depth, ImageError, ImageEvent, ImageForm, Import, Packing, Pulled, PushedAs, RemoteImages,
    SaveItem, examine_layer, import_tar, layer_diff, save, validate,
};
use rbuild_oci::Clock;
use rbuild_oci::{ContainerConfig, Descriptor, Digest, ImageName, Index, Manifest, MediaType, Platform};
use rbuild_registry::{Client, ClientOptions, RetryPolicy};
use rbuild_testkit::{Harm, HttpReply, HttpServer, Registry, RegistryOptions, Relay, now};
use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub(crate) struct Fixture {
    directory: tempfile::TempDir,
    pub(crate) store: Store,
    client: Client,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), &Writer::Root, Clock::new(now)).unwrap();
        Self { directory, store, client: Client::new(ClientOptions::default()) }
    }

    pub(crate) fn images(&self) -> RemoteImages {
        RemoteImages::new(&self.store, &self.client)
    }

    /// The store, opened once more.
    pub(crate) fn reopened(&self) -> Store {
        Store::open(self.store.root(), &Writer::Root, Clock::new(now)).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An image of one layer that is longer than a few buffers and does not compress to nothing.
    pub(crate) fn image(&self, seed: u64) -> ImageRecord {
        let mut state = seed;
        let content: Vec<u8> = (0..5 << 20)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 60) as u8
            })
            .collect();
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, "content", &*content).unwrap();
        let import = Import {
            config: ContainerConfig::default(),
            platform: Platform::host(),
            created: "2024-01-02T03:04:05Z".parse().unwrap(),
            comment: "Imported from -".to_owned(),
        };
        import_tar(&self.store, &self.store.lease().unwrap(), &*builder.into_inner().unwrap(), import)
            .unwrap()
    }

    pub(crate) fn push(&self, image: &ImageRecord, name: &ImageName) -> (String, Vec<ImageEvent>) {
        self.push_packed(image, name, &Packing::default())
    }

    pub(crate) fn push_packed(
        &self,
        image: &ImageRecord,
        name: &ImageName,
        packing: &Packing,
    ) -> (String, Vec<ImageEvent>) {
        let events = Mutex::new(Vec::new());
        let tell = |event| events.lock().unwrap().push(event);
        let form = ImageForm::packed(*packing);
        let images = self.images();
        let pushed = block_on(images.push((image, &[]), (name, PushedAs::Tag), &form, &tell)).unwrap();
        (pushed.digest.to_string(), events.into_inner().unwrap())
    }

    pub(crate) fn pull(&self, name: &ImageName) -> Result<(Pulled, Vec<ImageEvent>), ImageError> {
        let reference = name.as_reference();
        let events = Mutex::new(Vec::new());
        let tell = |event| events.lock().unwrap().push(event);
        let pulled = block_on(self.images().pull(reference, &Platform::host(), &tell))?;
        validate(&self.store, &pulled.image, Depth::Content).unwrap();
        assert_eq!(self.store.reference(reference).unwrap().unwrap().image, pulled.image.id);
        Ok((pulled, events.into_inner().unwrap()))
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn registry() -> Option<Registry> {
    if !rbuild_testkit::has_root() {
        return None;
    }
    Registry::start(&RegistryOptions::default())
}

pub(crate) fn name(registry: &Registry, rest: &str) -> ImageName {
    format!("{}/{rest}", registry.host()).parse().unwrap()
}

#[test]
fn a_pushed_image_is_pulled_the_same_and_pushed_on_unchanged() {
    let Some(registry) = registry() else { return };
    let from = Fixture::new();
    let image = from.image(1);
    let reference = name(&registry, "team/app:1");
    let (digest, _) = from.push(&image, &reference);
    let to = Fixture::new();
    let (pulled, _) = to.pull(&reference).unwrap();
    assert_eq!(pulled.image.id, image.id);
    assert_eq!(pulled.digest.to_string(), digest);
    let rbuild_cache::LayerDiff { diff_id, .. } =
        layer_diff(&to.store, &pulled.image.layers[0].layer).unwrap();
    assert_eq!(diff_id, image.layers[0].diff_id);
    // to another repository: the same manifest, and the layer is taken over, not sent
    let (again, events) = to.push(&pulled.image, &name(&registry, "team/other:2"));
    assert_eq!(again, digest);
    let mounted =
        |event: &ImageEvent| matches!(event, ImageEvent::LayerMounted { from, .. } if from == "team/app");
    assert!(events.iter().any(mounted), "{events:?}");
    // pulling again asks for the manifest and nothing else
    let before = registry.requests().len();
    let (_, events) = to.pull(&reference).unwrap();
    assert!(events.iter().any(|event| matches!(event, ImageEvent::LayerExists { .. })));
    assert_eq!(registry.requests().len() - before, 1, "{:?}", &registry.requests()[before..]);
}

#[test]
fn a_pull_that_broke_off_goes_on_at_the_next_try() {
    let Some(registry) = registry() else { return };
    let from = Fixture::new();
    let image = from.image(3);
    from.push(&image, &name(&registry, "app:1"));
    let asked = HttpServer::in_front_of(registry.host(), |_, _| None);
    let breaks = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&breaks);
    let line = Relay::start(&asked.host(), move |_| {
        if still.load(Ordering::Relaxed) { Harm::CutDownwards(200_000) } else { Harm::None }
    });
    let reference: ImageName = format!("{}/app:1", line.host()).parse().unwrap();
    let mut to = Fixture::new();
    let retry = RetryPolicy { retries: 1, first_delay: Duration::from_millis(1) };
    to.client = Client::new(ClientOptions { retry, ..ClientOptions::default() });
    to.pull(&reference).unwrap_err();
    let ranges = || -> Vec<usize> {
        let requests = asked.requests();
        let ranges = requests.iter().filter_map(|request| request.header("range"));
        ranges
            .map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap())
            .collect()
    };
    let before = ranges();
    breaks.store(false, Ordering::Relaxed);
    let (pulled, _) = to.pull(&reference).unwrap();
    assert_eq!(pulled.image.id, image.id);
    let after = ranges();
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    assert!(after[before.len()] > before[0], "it begins with what arrived in both tries: {after:?}");
    assert_eq!(fs::read_dir(to.store.root().join("partial")).unwrap().count(), 0);
}

#[test]
fn a_push_with_nothing_to_do_sends_nothing() {
    let Some(registry) = registry() else { return };
    let fixture = Fixture::new();
    let image = fixture.image(2);
    let reference = name(&registry, "app:latest");
    let (digest, _) = fixture.push(&image, &reference);
    let before = registry.requests().len();
    let (again, _) = fixture.push(&image, &reference);
    assert_eq!(again, digest);
    let requests = &registry.requests()[before..];
    assert_eq!(requests.len(), 1, "{requests:?}");
    // under another tag the blobs are seen to be there
    let (_, events) = fixture.push(&image, &name(&registry, "app:other"));
    assert!(!events.iter().any(|event| matches!(event, ImageEvent::LayerStarted { .. })), "{events:?}");
    let requests = &registry.requests()[before + 1..];
    assert!(!requests.iter().any(|request| request.starts_with("PATCH")), "{requests:?}");
}

#[test]
fn skopeo_reads_what_was_pushed_and_its_images_are_pulled() {
    let Some(registry) = registry() else { return };
    let fixture = Fixture::new();
    let image = fixture.image(3);
    let reference = name(&registry, "app:1");
    fixture.push(&image, &reference);
    let layout = fixture.directory.path().join("layout");
    let copy = |from: &str, to: &str, more: &[&str]| {
        let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        Command::new("skopeo").args(["copy", "-q"]).args(tls).args(more).args([from, to]).status()
    };
    let source = format!("docker://{reference}");
    let Ok(status) = copy(&source, &format!("oci:{}:x", layout.display()), &[]) else {
        return rbuild_testkit::skip("skopeo cannot be run");
    };
    assert!(status.success());
    // uncompressed layers, which skopeo then compresses because its options ask for it
    let archive = fixture.directory.path().join("saved.tar");
    let item = SaveItem { image: image.clone(), platforms: Vec::new(), names: vec![reference.clone()] };
    let mut out = std::fs::File::create(&archive).unwrap();
    save(&fixture.store, &[item], ArchiveFormat::Docker, &mut out).unwrap();
    let archive = format!("docker-archive:{}", archive.display());
    for (tag, source, more) in [
        ("zstd", &archive, ["--format=oci", "--dest-compress-format=zstd"].as_slice()),
        ("v2s2", &source, &["--format=v2s2"]),
    ] {
        let target = name(&registry, &format!("by-skopeo-{tag}:1"));
        assert!(copy(source, &format!("docker://{target}"), more).unwrap().success());
        let to = Fixture::new();
        let (pulled, _) = to.pull(&target).unwrap();
        let blob = pulled.image.layers[0].blob.as_ref().unwrap();
        let zstd = blob.media_type.layer_compression() == Some(rbuild_oci::Compression::Zstd);
        assert_eq!(zstd, tag == "zstd");
        // pushed on with the bytes it came with
        let (digest, _) = to.push(&pulled.image, &name(&registry, "again:1"));
        assert_eq!(digest, pulled.digest.to_string());
    }
}

#[test]
fn what_is_missing_is_said() {
    let Some(registry) = registry() else { return };
    let error = Fixture::new().pull(&name(&registry, "none:1")).unwrap_err();
    assert!(matches!(error, ImageError::Registry(_)), "{error}");
    assert!(error.to_string().contains("none:1"), "{error}");
}

#[test]
fn an_index_that_states_another_size_is_refused() {
    let config = Descriptor::new(MediaType::OciConfig, Digest::of(b"config"), 6);
    let manifest = Manifest::new(MediaType::OciManifest, config, Vec::new()).to_json();
    let mut entry = Descriptor::new(MediaType::OciManifest, Digest::of(&manifest), 5);
    entry.platform = Some(Platform::host());
    let index = Index::new(vec![entry]).to_json();
    let server = HttpServer::start(move |request| {
        if request.target.ends_with("/app/manifests/1") {
            HttpReply::new(200, index.clone()).header("Content-Type", MediaType::OciIndex.as_str())
        } else if request.target.contains("/app/manifests/") {
            HttpReply::new(200, manifest.clone()).header("Content-Type", MediaType::OciManifest.as_str())
        } else {
            HttpReply::new(200, "{}")
        }
    });
    let name: ImageName = format!("{}/app:1", server.host()).parse().unwrap();
    let error = Fixture::new().pull(&name).unwrap_err();
    assert!(error.to_string().contains("whose size is 5"), "{error}");
}

#[test]
fn a_layer_with_the_longest_path_is_whole_wherever_the_store_is() {
    if !rbuild_testkit::has_root() {
        return;
    }
    let here = Fixture::new();
    let path = vec!["a"; 2045].join("/");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    builder.append_data(&mut header, &path, &b"deep"[..]).unwrap();
    let import = Import {
        config: ContainerConfig::default(),
        platform: Platform::host(),
        created: "2024-01-02T03:04:05Z".parse().unwrap(),
        comment: String::new(),
    };
    let tar = builder.into_inner().unwrap();
    let image = import_tar(&here.store, &here.store.lease().unwrap(), &*tar, import).unwrap();
    validate(&here.store, &image, Depth::Content).unwrap();
    let found = examine_layer(&here.store, &image.layers[0].layer, TarBlob::Whole);
    assert_eq!(found, LayerFiles::Sound);
}
