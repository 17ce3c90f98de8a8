//! Images that are known and whose layers are elsewhere, on a registry that answers as each test wants it.

use crate::{
    archives::tar,
    registry::{Fixture, block_on},
};
use rbuild_cache::{FoundIn, ImageRecord, LayerId, LayerOrigin, RemoteLayer};
use rbuild_image::{
    ArchiveFormat, ArchiveSource, Depth, ImageError, ImageEvent, ImageForm, Import, Pulled, PushedAs,
    RemoteImages, SaveItem, apply_tar, assemble, import_tar, layer_tar, load, save, validate,
};
use rbuild_oci::{
    Compression, ContainerConfig, Descriptor, Digest, FailureClass, HistoryEntry, ImageConfig, ImageName,
    Manifest, MediaType, Platform, Reference,
};
use rbuild_registry::{Client, ClientOptions, RetryPolicy};
use rbuild_testkit::{HttpBody, HttpReply, HttpServer, Registry, RegistryOptions, has_root};
use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// An image of two layers, the upper one with a directory that only the lower one describes.
fn image(fixture: &Fixture) -> ImageRecord {
    let import = Import {
        config: ContainerConfig { cmd: Some(vec!["/bin/sh".to_owned()]), ..ContainerConfig::default() },
        platform: Platform::host(),
        created: "2024-01-02T03:04:05Z".parse().unwrap(),
        comment: "Imported from -".to_owned(),
    };
    let mut lower = tar::Builder::new(Vec::new());
    let mut directory = tar::Header::new_gnu();
    directory.set_entry_type(tar::EntryType::Directory);
    directory.set_mode(0o710);
    directory.set_size(0);
    lower.append_data(&mut directory, "etc", &[][..]).unwrap();
    let lease = fixture.store.lease().unwrap();
    let base = import_tar(&fixture.store, &lease, &*lower.into_inner().unwrap(), import).unwrap();
    let json = fixture.store.blob(base.id.as_digest()).unwrap().unwrap();
    let mut config = ImageConfig::from_json(&json).unwrap();
    let below = [base.layers[0].layer];
    let above = tar(&[("etc/issue", "two")]);
    let applied =
        apply_tar(&fixture.store, &lease, &*above, &below, &rbuild_image::BlobRetention::Recipe).unwrap();
    config.rootfs.diff_ids.push(applied.diff_id);
    config.history.push(HistoryEntry { created_by: "COPY".to_owned(), ..HistoryEntry::default() });
    assemble(&fixture.store, &lease, &config, &[base.layers[0].layer, applied.layer]).unwrap()
}

/// A registry that has `image` as `app:1`, its layers compressed, and what a test does to its blobs.
struct Served {
    server: HttpServer,
    blobs: Arc<Mutex<HashMap<Digest, HttpReply>>>,
    layers: Vec<Digest>,
    image: ImageRecord,
}

impl Served {
    fn start() -> Self {
        let fixture = Fixture::new();
        let image = image(&fixture);
        let config = fixture.store.blob(image.id.as_digest()).unwrap().unwrap();
        let gzip = |layer: &LayerId| {
            let mut tar = Vec::new();
            layer_tar(&fixture.store, layer).unwrap().read_to_end(&mut tar).unwrap();
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&tar).unwrap();
            gzip.finish().unwrap()
        };
        let blobs: Vec<Vec<u8>> = image.layers.iter().map(|layer| gzip(&layer.layer)).collect();
        let described =
            |media_type, bytes: &Vec<u8>| Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        let layers =
            blobs.iter().map(|blob| described(MediaType::OciLayer(Compression::Gzip), blob)).collect();
        let manifest =
            Manifest::new(MediaType::OciManifest, described(MediaType::OciConfig, &config), layers);
        let layers: Vec<Digest> = blobs.iter().map(|blob| Digest::of(blob)).collect();
        let replies = blobs.into_iter().chain([config]).map(|b| (Digest::of(&b), HttpReply::new(200, b)));
        let blobs = Arc::new(Mutex::new(replies.collect::<HashMap<_, _>>()));
        let (manifest, replies) = (manifest.to_json(), blobs.clone());
        let server = HttpServer::start(move |request| {
            if request.target.contains("/manifests/") {
                let media_type = MediaType::OciManifest.to_string();
                return HttpReply::new(200, manifest.clone()).header("Content-Type", &media_type);
            }
            let digest = request.target.rsplit('/').next().and_then(|text| text.parse().ok());
            let replies = replies.lock().unwrap();
            digest.and_then(|digest: Digest| replies.get(&digest)).cloned().unwrap_or(HttpReply::new(404, ""))
        });
        Self { server, blobs, layers, image }
    }

    fn reference(&self) -> Reference {
        format!("{}/app:1", self.server.host()).parse().unwrap()
    }

    /// How often each blob was asked for.
    fn requests(&self, blob: &Digest) -> usize {
        let wanted = format!("/blobs/{blob}");
        self.server.requests().iter().filter(|request| request.target.ends_with(&wanted)).count()
    }

    fn answer(&self, blob: &Digest, reply: HttpReply) {
        self.blobs.lock().unwrap().insert(*blob, reply);
    }
}

/// A store with the image resolved, and nothing of it fetched.
struct Resolved {
    fixture: Fixture,
    images: RemoteImages,
    pulled: Pulled,
}

fn client() -> Client {
    let retry = RetryPolicy { retries: 0, ..RetryPolicy::default() };
    Client::new(ClientOptions { retry, stall_limit: Duration::from_secs(2), ..ClientOptions::default() })
}

fn resolve(served: &Served) -> Resolved {
    let fixture = Fixture::new();
    let images = RemoteImages::new(&fixture.store, &client());
    let pulled = resolve_again(&fixture, &images, served);
    Resolved { fixture, images, pulled }
}

fn resolve_again(fixture: &Fixture, images: &RemoteImages, served: &Served) -> Pulled {
    let lease = Arc::new(fixture.store.lease().unwrap());
    block_on(images.resolve(&served.reference(), &Platform::host(), &lease)).unwrap()
}

impl Resolved {
    fn stack(&self) -> Vec<LayerId> {
        self.pulled.image.layers.iter().map(|layer| layer.layer).collect()
    }

    fn fetch(&self) -> Result<(), ImageError> {
        block_on(self.images.fetch_layers(&self.stack(), &|_| {}))
    }

    /// Says that the files of the lower layer are at `remote`.
    fn redirect(&self, remote: &RemoteLayer) {
        let store = &self.fixture.store;
        let lock = store.try_lock_layer(&self.stack()[0]).unwrap().unwrap();
        store.set_remote_layer(&lock, remote.clone()).unwrap();
    }

    /// How many layers are still elsewhere.
    fn elsewhere(&self) -> usize {
        let is_elsewhere = |layer: &&LayerId| self.fixture.store.remote_layer(layer).unwrap().is_some();
        self.stack().iter().filter(is_elsewhere).count()
    }

    /// Sees that the files are those of the image.
    fn check(&self) {
        assert_eq!(self.elsewhere(), 0);
        let image = self.fixture.store.image(&self.pulled.image.id).unwrap().unwrap();
        validate(&self.fixture.store, &image, Depth::Content).unwrap();
        let top = self.fixture.store.layer_fs(&self.stack()[1]);
        assert_eq!(fs::read_to_string(top.join("etc/issue")).unwrap(), "two");
        use std::os::unix::fs::MetadataExt;
        assert_eq!(
            fs::metadata(top.join("etc")).unwrap().mode() & 0o7777,
            0o710,
            "as the layer below has it"
        );
        // nothing but the layers themselves is left
        assert_eq!(fs::read_dir(self.fixture.store.root().join("layers")).unwrap().count(), 2);
    }
}

fn causes(error: &ImageError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[test]
fn resolving_asks_for_no_layer_and_fetching_for_each_once() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    let resolved = resolve(&served);
    assert_eq!(resolved.pulled.image.id, served.image.id);
    assert_eq!(served.server.requests().len(), 2, "manifest and config");
    assert_eq!(resolved.elsewhere(), 2);
    validate(&resolved.fixture.store, &resolved.pulled.image, Depth::Records).unwrap();
    let diff_ids = |image: &ImageRecord| image.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>();
    assert_eq!(diff_ids(&resolved.pulled.image), diff_ids(&served.image));
    // again: the config is known, and the layers keep their ids
    let again = resolve_again(&resolved.fixture, &resolved.images, &served);
    assert_eq!(again, resolved.pulled);
    assert_eq!(served.server.requests().len(), 3);

    resolved.fetch().unwrap();
    resolved.check();
    resolved.fetch().unwrap();
    assert_eq!(served.layers.iter().map(|layer| served.requests(layer)).collect::<Vec<_>>(), [1, 1]);
    // one that is fetched stays where it is
    let again = block_on(resolved.images.pull(&served.reference(), &Platform::host(), &|_| {})).unwrap();
    assert_eq!(again.image.layers[0].layer, resolved.stack()[0]);
    resolved.check();
}

#[test]
fn one_layer_is_fetched_without_those_above_it() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    let resolved = resolve(&served);
    block_on(resolved.images.fetch_layers(&resolved.stack()[..1], &|_| {})).unwrap();
    assert_eq!((resolved.elsewhere(), served.requests(&served.layers[1])), (1, 0));
    resolved.fetch().unwrap();
    resolved.check();
    assert_eq!(served.requests(&served.layers[0]), 1);
}

#[test]
fn two_fetches_at_once_bring_each_layer_once() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    let resolved = resolve(&served);
    let started = AtomicUsize::new(0);
    // as two processes: each with a client and a handle on the store of its own
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let store = resolved.fixture.reopened();
                let images = RemoteImages::new(&store, &client());
                let tell = |event| {
                    if matches!(event, ImageEvent::LayerStarted { .. }) {
                        started.fetch_add(1, Ordering::Relaxed);
                    }
                };
                block_on(images.fetch_layers(&resolved.stack(), &tell)).unwrap();
            });
        }
    });
    assert_eq!(started.into_inner(), 2, "the second fetch finds the layers there");
    resolved.check();
    assert_eq!(served.layers.iter().map(|layer| served.requests(layer)).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn what_a_fetch_needs_and_does_not_get_is_named() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    let layer = served.layers[1];
    let good = served.blobs.lock().unwrap()[&layer].clone();
    let HttpBody::Whole(bytes) = good.body.clone() else { panic!("the blob is served whole") };
    let mut damaged = bytes.clone();
    damaged[12] ^= 1;
    let longer = [bytes.as_slice(), b"more"].concat();
    let announced = bytes.len();
    let half = bytes[..announced / 2].to_vec();
    let resolved = resolve(&served);
    let host = served.server.host();
    let message = format!("cannot fetch layer {layer} of {host}/app:1 from {host}: ");
    for (reply, said, class) in [
        (HttpReply::new(404, ""), "not found in", FailureClass::Input),
        (HttpReply::new(500, ""), "answered 500", FailureClass::Environment),
        (HttpReply::new(403, ""), "denied", FailureClass::Input),
        (HttpReply::new(200, damaged), "", FailureClass::Input),
        (HttpReply::new(200, longer), "", FailureClass::Input),
        (
            HttpReply::with_body(HttpBody::BrokenOff { sent: half.clone(), announced }),
            "",
            FailureClass::Environment,
        ),
        (
            HttpReply::with_body(HttpBody::Stalled { sent: half, announced }),
            "stalled",
            FailureClass::Environment,
        ),
    ] {
        served.answer(&layer, reply);
        let error = resolved.fetch().unwrap_err();
        let text = causes(&error);
        assert!(text.starts_with(&message) && text.contains(said), "{text}");
        assert_eq!(error.class(), class, "{text}");
        assert_eq!(resolved.elsewhere(), 2, "nothing of it counts");
    }
    served.answer(&layer, good);
    resolved.fetch().unwrap();
    resolved.check();
}

#[test]
fn a_cache_that_sends_nothing_any_more_is_not_asked_again() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    let layer = served.layers[0];
    let first = resolve(&served);
    let retry = RetryPolicy { retries: 4, ..RetryPolicy::default() };
    let options = ClientOptions { retry, stall_limit: Duration::from_secs(2), ..ClientOptions::default() };
    let images = RemoteImages::new(&first.fixture.store, &Client::new(options));
    let resolved = Resolved { images, ..first };
    let remote = resolved.fixture.store.remote_layer(&resolved.stack()[0]).unwrap().unwrap();
    let (sent, announced) = (vec![0x1f, 0x8b], remote.blob.size as usize);
    resolved.redirect(&RemoteLayer { found_in: FoundIn::Cache, ..remote });
    served.answer(&layer, HttpReply::with_body(HttpBody::Stalled { sent, announced }));
    let error = resolved.fetch().unwrap_err();
    assert!(causes(&error).contains("stalled for 2 seconds"), "{}", causes(&error));
    assert!(served.requests(&layer) <= 2, "{} times", served.requests(&layer));
    // an image that has the layer in the same repository is more than a cache
    resolve_again(&resolved.fixture, &resolved.images, &served);
    let remote = resolved.fixture.store.remote_layer(&resolved.stack()[0]).unwrap().unwrap();
    assert_eq!(remote.found_in, FoundIn::Image);
}

#[test]
fn without_a_network_a_fetch_fails_and_a_kept_image_does_not() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    let resolved = resolve(&served);
    let store = &resolved.fixture.store;
    let remotes: Vec<_> =
        resolved.stack().iter().map(|layer| store.remote_layer(layer).unwrap().unwrap()).collect();
    // nothing listens on that port
    resolved.redirect(&RemoteLayer {
        origin: LayerOrigin::Registry("127.0.0.1:1/app:1".parse().unwrap()),
        ..remotes[0].clone()
    });
    let error = resolved.fetch().unwrap_err();
    let text = causes(&error);
    let layer = served.layers[0];
    assert!(text.starts_with(&format!("cannot fetch layer {layer} of 127.0.0.1:1/app:1 from 127.0.0.1:1: ")));
    assert!(text.contains("connection to 127.0.0.1:1 refused"), "{text}");
    assert_eq!(error.class(), FailureClass::Environment);
    resolved.redirect(&remotes[0]);
    resolved.fetch().unwrap();
    let asked = served.server.requests().len();
    resolved.fetch().unwrap();
    assert_eq!(served.server.requests().len(), asked, "what is here needs no network");
}

#[test]
fn a_layer_is_fetched_from_where_its_manifest_was_seen_last() {
    if !has_root() {
        return;
    }
    let (gone, there) = (Served::start(), Served::start());
    let resolved = resolve(&gone);
    assert_eq!(gone.layers, there.layers, "both serve the same image");
    let again = resolve_again(&resolved.fixture, &resolved.images, &there);
    assert_eq!(again.image.layers, resolved.pulled.image.layers);
    resolved.fetch().unwrap();
    resolved.check();
    let asked = |served: &Served| served.layers.iter().map(|layer| served.requests(layer)).sum::<usize>();
    assert_eq!((asked(&gone), asked(&there)), (0, 2));
}

#[test]
fn an_image_that_lies_about_its_layers_is_found_out_and_harms_no_other() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    let honest = resolve(&served);
    // the config of the image, with layers in the wrong order
    let mut remote = honest.fixture.store.remote_layer(&honest.stack()[0]).unwrap().unwrap();
    let true_blob = remote.blob.clone();
    remote.blob = honest.fixture.store.remote_layer(&honest.stack()[1]).unwrap().unwrap().blob;
    honest.redirect(&remote);
    let error = honest.fetch().unwrap_err();
    assert!(causes(&error).contains(" should be "), "{}", causes(&error));
    assert_eq!(honest.elsewhere(), 2);
    // resolving the true manifest again corrects the record
    resolve_again(&honest.fixture, &honest.images, &served);
    assert_eq!(honest.fixture.store.remote_layer(&honest.stack()[0]).unwrap().unwrap().blob, true_blob);
    honest.fetch().unwrap();
    honest.check();
}

#[test]
fn a_failed_pull_names_nothing() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    served.answer(&served.layers[1], HttpReply::new(404, ""));
    let fixture = Fixture::new();
    let images = RemoteImages::new(&fixture.store, &client());
    block_on(images.pull(&served.reference(), &Platform::host(), &|_| {})).unwrap_err();
    assert_eq!(fixture.store.references().unwrap(), []);
    assert_eq!(fixture.store.images().unwrap(), []);
    fixture.store.prune(&rbuild_cache::PruneOptions::default()).unwrap();
    assert_eq!(fs::read_dir(fixture.store.root().join("layers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(fixture.store.root().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn loading_an_archive_fills_the_layers_that_were_elsewhere() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    let resolved = resolve(&served);
    let from = Fixture::new();
    let item = SaveItem { image: image(&from), platforms: Vec::new(), names: Vec::new() };
    let path = from.path("saved.tar");
    let mut file = fs::File::create(&path).unwrap();
    save(&from.store, &[item], ArchiveFormat::Docker, &mut file).unwrap();
    let source = || ArchiveSource::File(fs::File::open(&path).unwrap());
    // while another process fetches the lower one, its files are put into a new layer instead
    let lock = resolved.fixture.store.try_lock_layer(&resolved.stack()[0]).unwrap().unwrap();
    let other = resolve(&served);
    load(&other.fixture.store, source(), None, &|_| {}).unwrap();
    other.check();
    drop(lock);
    load(&resolved.fixture.store, source(), None, &|_| {}).unwrap();
    resolved.check();
    let blobs = served.layers.iter().map(|layer| served.requests(layer)).sum::<usize>();
    assert_eq!(blobs, 0, "everything was in the archive");
}

#[test]
fn an_image_is_saved_when_its_layers_are_there() {
    if !has_root() {
        return;
    }
    let served = Served::start();
    let resolved = resolve(&served);
    let save_it = || {
        let image = resolved.fixture.store.image(&resolved.pulled.image.id).unwrap().unwrap();
        let mut out = Vec::new();
        let item = SaveItem { image, platforms: Vec::new(), names: Vec::new() };
        save(&resolved.fixture.store, &[item], ArchiveFormat::Docker, &mut out).map(|()| out)
    };
    assert!(matches!(save_it(), Err(ImageError::LayerElsewhere { .. })));
    resolved.fetch().unwrap();
    let to = Fixture::new();
    load(&to.store, ArchiveSource::Stream(Box::new(std::io::Cursor::new(save_it().unwrap()))), None, &|_| {})
        .unwrap();
    let loaded = to.store.image(&resolved.pulled.image.id).unwrap().unwrap();
    validate(&to.store, &loaded, Depth::Content).unwrap();
}

#[test]
fn a_layer_that_is_elsewhere_is_mounted_or_passed_on_when_it_is_pushed() {
    if !has_root() {
        return;
    }
    let options = RegistryOptions::default();
    let (Some(first), Some(second)) = (Registry::start(&options), Registry::start(&options)) else { return };
    let from = Fixture::new();
    let name = |registry: &Registry, rest: &str| -> ImageName {
        format!("{}/{rest}", registry.host()).parse().unwrap()
    };
    let source = name(&first, "base:1");
    let (digest, _) = from.push(&image(&from), &source);
    let to = Fixture::new();
    let images = RemoteImages::new(&to.store, &client());
    let lease = Arc::new(to.store.lease().unwrap());
    let pulled = block_on(images.resolve(source.as_reference(), &Platform::host(), &lease)).unwrap();
    let layers =
        || first.requests().iter().filter(|request| request.starts_with("GET /v2/base/blobs/")).count();
    let before = layers();
    // to the same registry: nothing is moved
    assert_eq!(to.push(&pulled.image, &name(&first, "other:1")).0, digest);
    assert_eq!(layers(), before);
    // to another one: from there to here, past the store
    assert_eq!(to.push(&pulled.image, &name(&second, "app:1")).0, digest);
    assert_eq!(layers(), before + 2);
    for layer in &pulled.image.layers {
        assert!(to.store.remote_layer(&layer.layer).unwrap().is_some());
        assert_eq!(to.store.blob_size(&layer.blob.as_ref().unwrap().digest), None);
    }
    let last = Fixture::new();
    assert_eq!(last.pull(&name(&second, "app:1")).unwrap().0.image.id, pulled.image.id);
    // what cannot be had cannot be passed on
    drop(first);
    let third = Registry::start(&options).unwrap();
    let third = name(&third, "app:1");
    let form = ImageForm::default();
    let pushing = images.push((&pulled.image, &[]), (&third, PushedAs::Tag), &form, &|_| {});
    let error = block_on(pushing);
    let text = causes(&error.unwrap_err());
    assert!(text.contains("cannot fetch layer sha256:"), "{text}");
}
