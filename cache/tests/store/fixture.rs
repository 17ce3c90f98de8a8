//! Stores and what the tests put into them.

use rbuild_cache::{
    CacheKey, CacheRecord, ImageLayer, ImageRecord, KeyBuilder, LayerId, LayerMeta, LayerSource, Lease,
    RefRecord, StepInputs, Store, Writer,
};
use rbuild_oci::{DiffId, Digest, ImageId, Timestamp};
use std::{fs, os::unix::fs::PermissionsExt, time::SystemTime};
use tempfile::TempDir;

pub(crate) fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store"), &Writer::Root).unwrap();
    (directory, store)
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

pub(crate) fn layer(store: &Store, lease: &Lease, text: &str) -> LayerId {
    let draft = store.new_layer().unwrap();
    fs::write(draft.fs().join("file"), text).unwrap();
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
        sources: None,
        inputs: StepInputs::new("run").with("argv", name),
        duration_ms: 5,
        instruction: format!("RUN {name}"),
        evicted: None,
        stamp: None,
    };
    (CacheKey::definition(None, &step), record)
}

pub(crate) fn image(store: &Store, name: &str, layers: &[LayerId]) -> ImageRecord {
    let id = ImageId::from_digest(store.put_blob(format!("config of {name}").as_bytes()).unwrap());
    let layer = |layer: &LayerId| ImageLayer {
        layer: *layer,
        diff_id: DiffId::from_digest(Digest::of(layer.to_string().as_bytes())),
        tar_size: 1024,
        size: 0,
        blob: None,
    };
    let image =
        ImageRecord { id, layers: layers.iter().map(layer).collect(), manifest: None, created: now() };
    store.sync().unwrap();
    store.put_image(&image).unwrap();
    image
}

pub(crate) fn tag(store: &Store, name: &str, image: &ImageRecord) {
    let record = RefRecord { image: image.id, manifest: None, tagged_at: now() };
    store.set_reference(&name.parse().unwrap(), &record).unwrap();
}
