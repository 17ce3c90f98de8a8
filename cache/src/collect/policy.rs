//! The policy of a collection: the images and the cache records that it may take.

use super::{
    inventory::{Inventory, freshness},
    layer_facts::LayerSizes,
};
use crate::{CacheKey, CacheRecord, EvictedBy, ImageRecord, Index, LayerId, Store};
use rbuild_oci::{ImageId, Timestamp};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fs,
    time::{Duration, SystemTime},
};

/// How long an evicted record is kept to explain misses.
const EVICTED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The policy of a collection. The default takes only garbage: leftovers, and things that nothing refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// The policy for cache records.
    pub records: RecordPrune,
    /// The policy for images.
    pub images: ImagePrune,
    /// Of the images that may go, only these; all without a list.
    pub only_images: Option<HashSet<ImageId>>,
    /// The policy for cache mounts.
    pub mounts: MountPrune,
    /// Of cache records and cache mounts, take only what was last of use before this time.
    pub older_than: Option<Timestamp>,
    /// Take the longest unused records first, and stop once the layers that only the cache needs are at most this big.
    pub keep_bytes: Option<u64>,
}

/// The policy for cache records: those that a collection may remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordPrune {
    /// Only those of no use: a layer of theirs is missing, or a power cut may have struck it.
    #[default]
    Useless,
    /// Those whose layer no image or container has.
    Unused,
    /// All but those a running build holds.
    All,
}

/// The policy for images: those that a collection removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImagePrune {
    /// None.
    #[default]
    Keep,
    /// Those that have neither a name nor a container.
    Dangling,
    /// Those that have no container; their names go with them.
    Unused,
}

/// The policy for the directories of `RUN --mount=type=cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountPrune {
    /// They stay.
    #[default]
    Keep,
    /// Those no build is using go.
    Unused,
}

/// Images to remove. An image for several platforms and its images stay or go together.
pub(super) fn images(options: &PruneOptions, store: &Store, inventory: &Inventory) -> HashSet<ImageId> {
    let (named, containers) = (inventory.named_images(), inventory.container_images());
    let is_contained = |image: &ImageRecord| {
        containers.contains(&image.id) || image.platforms.iter().any(|one| containers.contains(&one.image))
    };
    let goes = |image: &&ImageRecord| {
        let may_go = match options.images {
            ImagePrune::Keep => false,
            ImagePrune::Dangling => !named.contains(&image.id) && !is_contained(image),
            ImagePrune::Unused => !is_contained(image),
        };
        let written = || fs::metadata(store.image_path(&image.id)).and_then(|file| file.modified());
        let held = inventory.held.blobs.contains(image.id.as_digest());
        let recent = || inventory.held.oldest.is_some_and(|oldest| written().map_or(true, |w| w >= oldest));
        let chosen = options.only_images.as_ref().is_none_or(|only| only.contains(&image.id));
        may_go && chosen && !held && !recent()
    };
    let mut gone: HashSet<ImageId> = inventory.images.iter().filter(goes).map(|image| image.id).collect();
    let staying = inventory.images.iter().filter(|image| !gone.contains(&image.id));
    let parts: HashSet<ImageId> = staying.flat_map(|image| &image.platforms).map(|one| one.image).collect();
    gone.retain(|image| !parts.contains(image));
    gone
}

/// Evicted records that have explained long enough.
pub(super) fn expired(inventory: &Inventory, now: SystemTime) -> HashSet<CacheKey> {
    let limit = now.checked_sub(EVICTED_FOR).map(Timestamp::from);
    let old = |record: &CacheRecord| record.evicted.zip(limit).is_some_and(|(when, limit)| when < limit);
    inventory.records.iter().filter(|(_, record)| old(record)).map(|(key, _)| *key).collect()
}

/// The records to evict: all that are of no use, and as many of those that may go as `options` demands.
pub(super) fn records(
    options: &PruneOptions,
    inventory: &Inventory,
    index: &Index<'_>,
    sizes: &LayerSizes,
) -> HashMap<CacheKey, EvictedBy> {
    let fresh = freshness(&inventory.records);
    let image_layers = inventory.image_layers();
    let present = inventory.records.iter().filter(|(_, record)| record.evicted.is_none());
    let (usable, useless): (Vec<_>, Vec<_>) = present.partition(|(_, record)| {
        record.stamp.is_some_and(|stamp| index.survived(&stamp))
            && record.stack().all(|layer| inventory.layers.contains(layer))
    });
    let last_use = |record: &CacheRecord| fresh.get(&record.layer).copied().unwrap_or(record.created);
    let may_go = |record: &CacheRecord| {
        let of_kind = match options.records {
            RecordPrune::Useless => false,
            RecordPrune::Unused => !image_layers.contains(&record.layer),
            RecordPrune::All => true,
        };
        of_kind
            && !inventory.held.layers.contains(&record.layer)
            && options.older_than.is_none_or(|limit| last_use(record) < limit)
    };
    let mut candidates: Vec<_> = usable.iter().filter(|(_, record)| may_go(record)).collect();
    // of one chain the upper end goes first, because what stands on a missing layer is useless
    candidates.sort_by_key(|(_, record)| (last_use(record), Reverse(record.parent_layers.len())));
    let mut users = HashMap::<LayerId, usize>::new();
    for (_, record) in &usable {
        record.stack().for_each(|layer| *users.entry(*layer).or_default() += 1);
    }
    users.retain(|layer, _| !image_layers.contains(layer));
    let mut bytes: u64 = users.keys().map(|layer| sizes.of(layer)).sum();
    let mut evicted: HashMap<CacheKey, EvictedBy> =
        useless.into_iter().map(|(key, _)| (*key, EvictedBy::Lost)).collect();
    for (key, record) in candidates {
        if options.keep_bytes.is_some_and(|keep| bytes <= keep) {
            break;
        }
        evicted.insert(*key, EvictedBy::Prune);
        for layer in record.stack() {
            if let Some(count) = users.get_mut(layer) {
                *count -= 1;
                bytes -= if *count == 0 { sizes.of(layer) } else { 0 };
            }
        }
    }
    evicted
}
