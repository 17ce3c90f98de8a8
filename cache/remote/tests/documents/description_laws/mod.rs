//! Laws of descriptions of caches.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rbuild_cache::LayerOrigin;
use rbuild_oci::{Compression, Descriptor, Digest, MediaType};
use rbuild_remote_cache::{ImportedCache, RemoteCacheError, SharedCache};
use serde_json::{Value, json};

/// Checks the laws on bytes, and says what they are: `cache`, `BuildKit's`, `image` or `BuildKit's image` for the config of an image
/// that carries one, or `nothing`.
pub(crate) fn check(bytes: &[u8]) -> &'static str {
    match SharedCache::read("it", bytes) {
        Ok(cache) => {
            check_cache(&cache);
            let written = cache.describe();
            assert_eq!(SharedCache::read("it", &written).expect("what is written can be read"), cache);
            check_carried(&written, &cache);
            "cache"
        }
        Err(RemoteCacheError::Foreign { .. }) if !is_config(bytes) => "BuildKit's",
        Err(error) => {
            assert!(!error.to_string().is_empty());
            match SharedCache::carried_by(("it", bytes), &layers_of(bytes)) {
                Ok(cache) => {
                    check_cache(&cache);
                    "image"
                }
                Err(RemoteCacheError::Foreign { .. }) => "BuildKit's image",
                Err(_) => "nothing",
            }
        }
    }
}

/// Each record is found by its keys, and all that it names is there.
fn check_cache(cache: &SharedCache) {
    let imported = ImportedCache::new(LayerOrigin::Layout { layout: "/".to_owned() }, cache.clone());
    assert_eq!(imported.records(), cache.records.len());
    for record in &cache.records {
        assert!(imported.record(&record.key).is_some());
        for step in [Some(record.step), record.content_step].into_iter().flatten() {
            assert!(imported.records_of_step(&step).any(|found| found == record));
        }
        let all = record.parent_layers.iter().chain(&record.source_layers).chain([&record.layer]);
        all.for_each(|layer| assert_eq!(imported.layer(*layer), &cache.layers[*layer]));
        assert_eq!(imported.result(record).is_some(), cache.layers[record.layer].blob.is_some());
    }
}

/// An image can carry what is read of a description.
fn check_carried(description: &[u8], cache: &SharedCache) {
    let description: Value = serde_json::from_slice(description).expect("it was written as JSON");
    let part = BASE64_STANDARD.encode(description["rbuild"].to_string());
    let diff_ids: Vec<_> = cache.layers.iter().map(|layer| layer.diff_id).collect();
    let config =
        json!({"rbuild.cache": part, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
    let carried = SharedCache::carried_by(("it", config.as_bytes()), &layers(diff_ids.len()));
    assert_eq!(carried.expect("it has a layer for each DiffId").records, cache.records);
}

fn is_config(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).is_ok_and(|config| config["rootfs"].is_object())
}

/// A manifest's layers for the config of an image.
fn layers_of(config: &[u8]) -> Vec<Descriptor> {
    let config: Value = serde_json::from_slice(config).unwrap_or_default();
    layers(config["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len))
}

fn layers(count: usize) -> Vec<Descriptor> {
    let media_type = MediaType::OciLayer(Compression::Gzip);
    (0..count).map(|at| Descriptor::new(media_type.clone(), Digest::of(&at.to_be_bytes()), 1)).collect()
}
