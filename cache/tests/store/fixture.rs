//! Stores and what the tests put into them.

use rbuild_cache::{
    CacheKey, CacheMountSpec, CacheRecord, Container, ContainerState, ImageLayer, ImageRecord, KeyBuilder,
    LayerId, LayerMeta, LayerSource, Lease, RefRecord, StepInputs, Store, Writer,
};
use rbuild_oci::{Clock, ContainerConfig, DiffId, Digest, ImageId, Timestamp};
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

pub(crate) fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Store::open(&directory.path().join("store"), &Writer::Root, Clock::new(rbuild_testkit::now)).unwrap();
    (directory, store)
}

pub(crate) fn now() -> Timestamp {
    rbuild_testkit::now().into()
}

pub(crate) fn layer(store: &Store, lease: &Lease, text: &str) -> LayerId {
    layer_with(store, lease, |fs| fs::write(fs.join("file"), text).unwrap())
}

pub(crate) fn layer_with(store: &Store, lease: &Lease, fill: impl FnOnce(&Path)) -> LayerId {
    let draft = store.new_layer().unwrap();
    fill(draft.fs());
    // what overlayfs leaves in a work directory
    fs::create_dir(draft.work().join("work")).unwrap();
    fs::set_permissions(draft.work().join("work"), fs::Permissions::from_mode(0o000)).unwrap();
    let meta = LayerMeta::new(now(), LayerSource::Own);
    draft.commit(lease, &meta).unwrap()
}

pub(crate) fn record(layer: LayerId, stack: &[LayerId], name: &str) -> (CacheKey, CacheRecord) {
    let step = KeyBuilder::new("run").field("name", name).finish_step();
    let record = CacheRecord {
        layer,
        created: now(),
        step,
        parent: None,
        parent_layers: stack.to_vec(),
        source_layers: Vec::new(),
        by_content: None,
        content_step: None,
        inputs: StepInputs::new("run").with("argv", name),
        duration_ms: 5,
        peak_memory: None,
        processor_ms: None,
        instruction: format!("RUN {name}"),
        layer_bytes: None,
        evicted: None,
        evicted_by: None,
        machine: None,
        stamp: None,
    };
    (CacheKey::definition(None, &step), record)
}

pub(crate) fn image(store: &Store, name: &str, layers: &[LayerId]) -> ImageRecord {
    let id = ImageId::from_digest(store.put_blob(format!("config of {name}").as_bytes()).unwrap());
    let layer = |layer: &LayerId| ImageLayer {
        layer: *layer,
        diff_id: DiffId::from_digest(Digest::of(layer.to_string().as_bytes())),
        tar_size: Some(1024),
        size: Some(0),
        blob: None,
    };
    let image = ImageRecord {
        id,
        layers: layers.iter().map(layer).collect(),
        manifest: None,
        created: now(),
        platforms: Vec::new(),
    };
    store.sync().unwrap();
    store.put_image(&image).unwrap();
    image
}

pub(crate) fn container(id: &str, layers: &[LayerId]) -> Container {
    Container {
        oom_killed: false,
        paused: false,
        health: None,
        network: None,
        id: id.to_owned(),
        name: format!("name of {id}"),
        image: "an image".to_owned(),
        image_id: ImageId::from_digest(Digest::of(b"an image")),
        layers: layers.to_vec(),
        command: vec!["sh".to_owned()],
        config: ContainerConfig::default(),
        created: now(),
        started: None,
        finished: None,
        pid: None,
        state: ContainerState::Created,
        remove_when_ended: false,
        settings: None,
    }
}

pub(crate) fn tag(store: &Store, name: &str, image: &ImageRecord) {
    let record = RefRecord { image: image.id, manifest: None, tagged_at: now() };
    store.set_name(&name.parse().unwrap(), &record).unwrap();
}

/// A cache mount of this process's own user, since only root can give one away.
pub(crate) fn mount_spec(id: &str) -> CacheMountSpec<'_> {
    let own = fs::metadata("/proc/self").unwrap();
    CacheMountSpec { id, mode: None, uid: Some(own.uid()), gid: Some(own.gid()), seed: None }
}

/// Runs an ignored test (`module::name`) in a process of its own, with the store's root on its standard input.
pub(crate) fn child(test: &str, root: &Path, word: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{}\n{word}", root.display()).unwrap();
    child
}

/// The store and the word that such a process reads from its standard input.
pub(crate) fn parent() -> (Store, String) {
    let mut lines = std::io::stdin().lines();
    let mut line = || lines.next().unwrap().unwrap();
    (Store::open(Path::new(&line()), &Writer::Root, Clock::new(rbuild_testkit::now)).unwrap(), line())
}
