//! The policy of a collection: the images and the cache records that it may take.

use super::{
    inventory::{Inventory, last_uses},
    layer_facts::LayerFacts,
    price::{CachePart, Candidate, Needs, Price, choose},
    space::Limit,
};
use crate::{CacheKey, CacheRecord, EvictedBy, ImageRecord, Index, LayerId, MountUsage, Store};
use rbuild_oci::{ImageId, Timestamp};
use std::{
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
    /// Of the cache, only these parts; all without a list.
    pub only_parts: Option<HashSet<CachePart>>,
    /// Take of the cache what is cheapest to make again first, and stop as soon as the limit allows.
    pub limit: Option<Limit>,
    /// What the records say that took them.
    pub by: EvictedBy,
    /// What happens to what was chosen.
    pub effect: Effect,
}

/// What a collection does with what it has chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// It removes it.
    #[default]
    Remove,
    /// It reports it.
    Report,
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
    /// Those that have no container and whose names others have got, with none left.
    Replaced,
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
            ImagePrune::Replaced => {
                !named.contains(&image.id) && !is_contained(image) && store.image_was_replaced(&image.id)
            }
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

/// What of the cache goes.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    /// Something has to go.
    pub(super) is_over_limit: bool,
    /// Records, and what took each of them.
    pub(super) records: HashMap<CacheKey, EvictedBy>,
    /// Cache mounts, by their directories.
    pub(super) mounts: HashSet<String>,
}

/// The parts of the cache to evict: all records that are of no use, and as much of what may go as `options` demands.
pub(super) fn evictions(
    options: &PruneOptions,
    (store, inventory): (&Store, &Inventory),
    index: &Index<'_>,
    facts: &Facts<'_>,
) -> Evictions {
    let present = inventory.records.iter().filter(|(_, record)| record.evicted.is_none());
    let (usable, useless): (Vec<_>, Vec<_>) = present.partition(|(_, record)| {
        record.stamp.is_some_and(|stamp| index.survived(&stamp))
            && record.stack().all(|layer| inventory.layers.contains(layer))
    });
    let cache = Cache::new(inventory, &usable, facts, store.now().into());
    let mut candidates = cache.layers(options);
    candidates.extend(cache.mounts(options));
    let all = cache.total + facts.failed_bytes;
    let keep = options.limit.as_ref().and_then(|limit| limit.keep(all, store));
    let gone: HashSet<CachePart> = match keep {
        None => candidates.into_iter().map(|candidate| candidate.part).collect(),
        // what failed steps left goes first
        Some(keep) => choose(candidates, &cache.needs, (cache.total, keep)),
    };
    let mut evictions =
        Evictions { is_over_limit: keep.is_none_or(|keep| keep < all), ..Evictions::default() };
    evictions.records.extend(useless.into_iter().map(|(key, _)| (*key, EvictedBy::Lost)));
    let taken = usable.iter().filter(|(_, record)| gone.contains(&CachePart::Layer(record.layer)));
    evictions.records.extend(taken.map(|(key, _)| (*key, options.by)));
    evictions.mounts.extend(gone.into_iter().filter_map(|part| match part {
        CachePart::Mount(name) => Some(name),
        CachePart::Layer(_) => None,
    }));
    evictions
}

/// What was gathered before any lock was taken.
pub(super) struct Facts<'a> {
    pub(super) layers: &'a LayerFacts,
    pub(super) mounts: &'a [MountUsage],
    /// When layers were last used by builds that made nothing.
    pub(super) recent: &'a HashMap<LayerId, Timestamp>,
    /// Bytes that failed steps left and that may go.
    pub(super) failed_bytes: u64,
}

/// The build cache as one collection sees it.
struct Cache<'a> {
    inventory: &'a Inventory,
    facts: &'a Facts<'a>,
    /// The usable records of each layer.
    records: HashMap<LayerId, Vec<&'a CacheRecord>>,
    last_use: HashMap<LayerId, Timestamp>,
    image_layers: HashSet<LayerId>,
    needs: Needs,
    /// Bytes of all that only the cache needs.
    total: u64,
    now: Timestamp,
}

impl<'a> Cache<'a> {
    fn new(
        inventory: &'a Inventory,
        usable: &[&'a (CacheKey, CacheRecord)],
        facts: &'a Facts<'a>,
        now: Timestamp,
    ) -> Self {
        let image_layers = inventory.image_layers();
        let mut records: HashMap<LayerId, Vec<&CacheRecord>> = HashMap::new();
        let mut stacks: HashMap<LayerId, HashSet<LayerId>> = HashMap::new();
        for (_, record) in usable {
            records.entry(record.layer).or_default().push(record);
            stacks.entry(record.layer).or_default().extend(record.stack());
        }
        let needed: HashSet<LayerId> = stacks.values().flatten().copied().collect();
        let bytes: HashMap<LayerId, u64> =
            needed.difference(&image_layers).map(|layer| (*layer, facts.layers.bytes(layer))).collect();
        let mounts: u64 = facts.mounts.iter().map(|mount| mount.bytes).sum();
        let total = bytes.values().sum::<u64>() + mounts;
        let stacks = stacks.into_iter().map(|(layer, stack)| (layer, stack.into_iter().collect())).collect();
        let last_use = last_uses(&inventory.records, facts.recent);
        Self { inventory, facts, records, last_use, image_layers, needs: Needs { stacks, bytes }, total, now }
    }

    /// The layers whose records may go. Under a limit those that images have stay, because that would free nothing.
    fn layers(&self, options: &PruneOptions) -> Vec<Candidate> {
        let may_go = |layer: &LayerId| match options.records {
            RecordPrune::Useless => false,
            RecordPrune::Unused => !self.image_layers.contains(layer),
            RecordPrune::All => options.limit.is_none() || !self.image_layers.contains(layer),
        };
        let last_use = |layer: &LayerId, records: &[&CacheRecord]| {
            let made = records.iter().map(|record| record.created).max();
            self.last_use.get(layer).copied().or(made).unwrap_or(self.now)
        };
        let mut candidates = Vec::new();
        for (layer, records) in &self.records {
            let used = last_use(layer, records);
            let goes = may_go(layer)
                && !self.inventory.held.layers.contains(layer)
                && options.takes(&CachePart::Layer(*layer), used);
            if goes {
                let took = records.iter().map(|record| record.duration_ms).max().unwrap_or(0);
                let depth = records.iter().map(|record| record.parent_layers.len()).max().unwrap_or(0);
                let price = Price::of_layer((took, self.facts.layers.bytes(layer)), (used, self.now), depth);
                candidates.push(Candidate { part: CachePart::Layer(*layer), price, mount_bytes: 0 });
            }
        }
        candidates
    }

    fn mounts(&self, options: &PruneOptions) -> Vec<Candidate> {
        if options.mounts == MountPrune::Keep {
            return Vec::new();
        }
        let candidate = |mount: &MountUsage| Candidate {
            part: CachePart::Mount(mount.directory.clone()),
            price: Price::of_mount(mount.last_used, self.now),
            mount_bytes: mount.bytes,
        };
        let mounts = self.facts.mounts.iter();
        let chosen =
            mounts.filter(|mount| options.takes(&CachePart::Mount(mount.directory.clone()), mount.last_used));
        chosen.map(candidate).collect()
    }
}

impl PruneOptions {
    /// True if the records to take are all, but for their age.
    pub(super) fn takes_all_records(&self) -> bool {
        self.records == RecordPrune::All && self.only_parts.is_none() && self.limit.is_none()
    }

    /// True if what failed steps left is among what may go.
    pub(super) fn may_take_failed_steps(&self) -> bool {
        self.records != RecordPrune::Useless && self.only_parts.is_none()
    }

    /// True if a part of the cache that was last used then is among those that may go.
    fn takes(&self, part: &CachePart, last_use: Timestamp) -> bool {
        self.only_parts.as_ref().is_none_or(|only| only.contains(part))
            && self.older_than.is_none_or(|limit| last_use < limit)
    }
}
