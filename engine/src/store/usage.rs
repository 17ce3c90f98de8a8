//! What the store holds, and making it smaller.

use crate::{ContainerState, Engine, Error, Force, SpaceLimits, VolumeUsage, familiar_mount_id};
use rbuild_cache::{
    CachePart, Container, Effect, EvictedBy, ImagePrune, ImageUsage, LayerId, Limit, MountPrune,
    PruneOptions, RecordPrune, RecordUsage, Store, Usage, Volume, VolumeName,
};
use rbuild_oci::{ImageId, Reference, Timestamp};
use std::collections::{BTreeMap, HashSet};

/// One line of `df`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageLine {
    /// `Images`, `Containers`, `Local Volumes`, `Build Cache`.
    pub kind: &'static str,
    /// The number of such objects.
    pub total: usize,
    /// The number that are in use.
    pub active: usize,
    /// Their bytes.
    pub size: u64,
    /// Bytes that pruning would free.
    pub reclaimable: u64,
}

/// Everything in the store, with its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailedUsage {
    /// The images.
    pub images: Vec<ImageUsage>,
    /// The containers, each with the bytes that it has written.
    pub containers: Vec<(Container, u64)>,
    /// The volumes.
    pub volumes: Vec<VolumeUsage>,
    /// The parts of the build cache.
    pub cache: Vec<CacheEntry>,
    image_bytes: u64,
    reclaimable_image_bytes: u64,
    /// Bytes of the build cache that no image has, of the records of builds, and of what failed steps left.
    pub cache_bytes: u64,
    reclaimable_cache_bytes: u64,
}

impl DetailedUsage {
    fn lines(&self) -> Vec<UsageLine> {
        let runs = |container: &&(Container, u64)| container.0.state == ContainerState::Running;
        let sum = |containers: &mut dyn Iterator<Item = &(Container, u64)>| {
            containers.map(|(_, bytes)| bytes).sum::<u64>()
        };
        vec![
            UsageLine {
                kind: "Images",
                total: self.images.len(),
                active: self.images.iter().filter(|image| !image.containers.is_empty()).count(),
                size: self.image_bytes,
                reclaimable: self.reclaimable_image_bytes,
            },
            UsageLine {
                kind: "Containers",
                total: self.containers.len(),
                active: self.containers.iter().filter(runs).count(),
                size: sum(&mut self.containers.iter()),
                reclaimable: sum(&mut self.containers.iter().filter(|container| !runs(container))),
            },
            UsageLine {
                kind: "Local Volumes",
                total: self.volumes.len(),
                active: self.volumes.iter().filter(|volume| volume.containers > 0).count(),
                size: self.volumes.iter().map(|volume| volume.bytes).sum(),
                reclaimable: self
                    .volumes
                    .iter()
                    .filter(|volume| volume.containers == 0)
                    .map(|volume| volume.bytes)
                    .sum(),
            },
            UsageLine {
                kind: "Build Cache",
                total: self.cache.len(),
                active: self.cache.iter().filter(|entry| entry.in_use || entry.shared).count(),
                size: self.cache_bytes,
                reclaimable: self.reclaimable_cache_bytes,
            },
        ]
    }
}

/// A part of the build cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The id of its layer; of a cache mount, the name of its directory.
    pub id: String,
    /// Its kind.
    pub kind: CacheKind,
    /// The instruction that made it; of a cache mount, its id; of a layer that nothing uses any more, these words.
    pub description: String,
    /// Its bytes on the disk.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When a build last used it.
    pub last_used: Timestamp,
    /// The layer it stands on, if there is one.
    pub parents: Vec<String>,
    /// True if a running build has it.
    pub in_use: bool,
    /// True if an image or a container has its layer.
    pub shared: bool,
}

/// The kinds of parts of the build cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// What a step made.
    Step,
    /// The directory of a `RUN --mount=type=cache`.
    Mount,
}

/// The things to remove from the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Images that no name and no container holds, or also named ones that no container uses.
    pub images: PruneImages,
    /// Of those, only these; all without a list.
    pub only_images: Option<Vec<ImageId>>,
    /// The build cache as well.
    pub build_cache: PruneCache,
    /// Of the build cache, only what was last of use before this moment.
    pub cache_before: Option<Timestamp>,
    /// Of the build cache, only these parts, by [`CacheEntry::id`]; all without a list.
    pub only_cache: Option<Vec<String>>,
    /// How far the build cache is reduced: what is cheapest to make again goes first.
    pub cache_limits: SpaceLimits,
    /// Ended containers as well.
    pub containers: PruneContainers,
    /// Of those, only these ids; all without a list.
    pub only_containers: Option<Vec<String>>,
    /// Networks in which no container has a place as well.
    pub networks: PruneNetworks,
    /// Of those, only these ids; all without a list.
    pub only_networks: Option<Vec<String>>,
    /// Volumes that no container has as well.
    pub volumes: PruneVolumes,
    /// Of those, only these; all without a list.
    pub only_volumes: Option<Vec<VolumeName>>,
    /// Removing, or only saying what would be removed.
    pub effect: PruneEffect,
}

/// What a prune does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PruneEffect {
    /// It removes what was asked for.
    #[default]
    Remove,
    /// It says what it would remove.
    Report,
}

/// The images to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PruneImages {
    /// None.
    #[default]
    Keep,
    /// Those without a name.
    Dangling,
    /// All that no container uses.
    Unused,
}

/// The cache records to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PruneCache {
    /// None.
    #[default]
    Keep,
    /// Those whose layers no image uses.
    Unused,
    /// All; layers that images use stay.
    All,
}

/// The containers to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PruneContainers {
    /// None.
    #[default]
    Keep,
    /// Those that have ended.
    Stopped,
}

/// The networks to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PruneNetworks {
    /// None.
    #[default]
    Keep,
    /// Those in which no container has a place.
    Unused,
}

/// The volumes to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PruneVolumes {
    /// None.
    #[default]
    Keep,
    /// Those whose names were made up.
    Anonymous,
    /// All that no container has.
    All,
}

/// The outcome of a prune.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The ids of containers that went.
    pub containers: Vec<String>,
    /// The names of networks that went.
    pub networks: Vec<String>,
    /// The names of volumes that went.
    pub volumes: Vec<String>,
    /// The names of images that went.
    pub untagged: Vec<Reference>,
    /// The images that went.
    pub images: Vec<ImageId>,
    /// The parts of the build cache that went.
    pub cache: Vec<CacheEntry>,
    /// What failed steps left that went: the id of a build, a dash and the number of its step.
    pub failed_steps: Vec<String>,
    /// Bytes freed.
    pub reclaimed: u64,
}

impl Engine {
    /// Lists the contents of the store, by kind.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be read.
    pub fn usage(&self) -> Result<Vec<UsageLine>, Error> {
        Ok(self.detailed_usage()?.lines())
    }

    /// Lists the contents of the store, one by one.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be read.
    pub fn detailed_usage(&self) -> Result<DetailedUsage, Error> {
        let _reserve = self.store.reserve();
        let usage = self.store.usage()?;
        let containers = self.containers()?;
        let volumes = self.volume_usage(&containers)?;
        let written = |container: Container| {
            let sizes = self.container_sizes(&container)?;
            Ok::<_, Error>((container, sizes.written))
        };
        let containers = containers.into_iter().map(written).collect::<Result<Vec<_>, _>>()?;
        let mounts: u64 = usage.mounts.iter().map(|mount| mount.bytes).sum();
        let left = usage.log_bytes + usage.failed_bytes;
        Ok(DetailedUsage {
            cache: cache_entries(&usage, &self.store),
            image_bytes: usage.image_bytes,
            reclaimable_image_bytes: usage.image_reclaimable_bytes,
            cache_bytes: usage.record_bytes + mounts + usage.garbage_bytes + usage.build_bytes + left,
            reclaimable_cache_bytes: usage.record_bytes + mounts + usage.garbage_bytes + left,
            images: usage.images,
            containers,
            volumes,
        })
    }

    /// The parts of the build cache.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be read.
    pub fn cache_entries(&self) -> Result<Vec<CacheEntry>, Error> {
        Ok(cache_entries(&self.store.usage()?, &self.store))
    }

    /// Removes what `request` names, and whatever nothing leads to any more.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Io`].
    pub fn prune(&self, request: &PruneRequest) -> Result<Pruned, Error> {
        let _reserve = self.store.reserve();
        let mut pruned = Pruned::default();
        let removes = request.effect == PruneEffect::Remove;
        if request.containers == PruneContainers::Stopped {
            for container in self.containers()? {
                let chosen = request.only_containers.as_ref().is_none_or(|only| only.contains(&container.id));
                if chosen && matches!(container.state, ContainerState::Exited(_)) {
                    pruned.containers.push(if removes {
                        self.remove_container(&container.id, Force::No)?
                    } else {
                        container.id
                    });
                }
            }
        }
        self.isolation.end_left_behind();
        if request.networks == PruneNetworks::Unused {
            pruned.networks = self.prune_unused_networks(request.only_networks.as_deref(), request.effect)?;
        }
        let (volumes, freed) = self.prune_volumes(request)?;
        pruned.volumes = volumes;
        let options = request.options(&self.store)?;
        let before = if request.build_cache == PruneCache::Keep { Vec::new() } else { self.cache_entries()? };
        let report = self.store.prune(&options)?;
        (pruned.untagged, pruned.images) = (report.references, report.images);
        pruned.failed_steps = report.failed_steps;
        let layers = report.records.iter().map(|(_, record)| record.layer.to_string());
        let garbage = report.layers.iter().map(ToString::to_string);
        let gone: HashSet<String> =
            layers.chain(garbage).chain(report.mounts.iter().map(|mount| mount.directory.clone())).collect();
        pruned.cache = before.into_iter().filter(|entry| gone.contains(&entry.id)).collect();
        pruned.reclaimed = report.freed_bytes + freed;
        if removes {
            pruned.reclaimed += self.store.sweep()?;
        }
        Ok(pruned)
    }
}

impl Engine {
    /// Removes the networks in which no container has a place, or says which these are; of those with the ids of `only` alone, if there
    /// is such a list. Their names.
    ///
    /// # Errors
    /// As [`Engine::remove_named_network`], but for networks that are in use or gone.
    pub fn prune_unused_networks(
        &self,
        only: Option<&[String]>,
        effect: PruneEffect,
    ) -> Result<Vec<String>, Error> {
        let mut chosen = self.networks()?;
        chosen.retain(|network| only.is_none_or(|only| only.contains(&network.id)));
        if effect == PruneEffect::Remove {
            return self.prune_networks(&chosen);
        }
        let mut unused = Vec::new();
        for network in &chosen {
            if self.network_places(network)?.is_empty() {
                unused.push(network.name.to_string());
            }
        }
        Ok(unused)
    }

    /// Removes the volumes that a prune is to remove, or says which these are; their names, and their bytes.
    fn prune_volumes(&self, request: &PruneRequest) -> Result<(Vec<String>, u64), Error> {
        let goes = |volume: &Volume| match request.volumes {
            PruneVolumes::Keep => false,
            PruneVolumes::Anonymous => volume.is_anonymous(),
            PruneVolumes::All => true,
        };
        if request.volumes == PruneVolumes::Keep {
            return Ok((Vec::new(), 0));
        }
        let chosen = |name: &VolumeName| request.only_volumes.as_ref().is_none_or(|only| only.contains(name));
        let volumes = self.volumes()?.into_iter().filter(goes).map(|volume| volume.name).filter(chosen);
        if request.effect == PruneEffect::Remove {
            return self.remove_unused_volumes(&volumes.collect::<Vec<_>>());
        }
        let used = self.used_volumes()?;
        let unused: Vec<VolumeName> = volumes.filter(|name| !used.contains_key(name)).collect();
        let bytes = unused.iter().map(|name| self.store.volume_bytes(name)).sum();
        Ok((unused.iter().map(VolumeName::to_string).collect(), bytes))
    }
}

impl PruneRequest {
    fn options(&self, store: &Store) -> Result<PruneOptions, Error> {
        let part = |id: &String| match id.parse() {
            Ok(layer) => CachePart::Layer(layer),
            Err(_) => CachePart::Mount(id.clone()),
        };
        let limits = self.cache_limits;
        let limit = (limits != SpaceLimits::default()).then(|| limits.budget(store).map(Limit::Within));
        Ok(PruneOptions {
            images: match self.images {
                PruneImages::Keep => ImagePrune::Keep,
                PruneImages::Dangling => ImagePrune::Dangling,
                PruneImages::Unused => ImagePrune::Unused,
            },
            records: match self.build_cache {
                PruneCache::Keep => RecordPrune::Useless,
                PruneCache::Unused => RecordPrune::Unused,
                PruneCache::All => RecordPrune::All,
            },
            // a person who chooses cache mounts by a filter wants them
            mounts: match (self.build_cache, &self.only_cache) {
                (PruneCache::All, _) | (PruneCache::Unused, Some(_)) => MountPrune::Unused,
                (PruneCache::Keep, _) | (PruneCache::Unused, None) => MountPrune::Keep,
            },
            only_images: self.only_images.as_ref().map(|only| only.iter().copied().collect()),
            only_parts: self.only_cache.as_ref().map(|only| only.iter().map(part).collect()),
            older_than: self.cache_before,
            limit: limit.transpose()?,
            effect: match self.effect {
                PruneEffect::Remove => Effect::Remove,
                PruneEffect::Report => Effect::Report,
            },
            by: EvictedBy::Prune,
        })
    }
}

fn cache_entries(usage: &Usage, store: &Store) -> Vec<CacheEntry> {
    let mut entries: BTreeMap<LayerId, CacheEntry> = BTreeMap::new();
    for RecordUsage { record, size_bytes, last_used, shared, in_use, .. } in &usage.records {
        let new = || CacheEntry {
            id: record.layer.to_string(),
            kind: CacheKind::Step,
            description: record.instruction.clone(),
            size: *size_bytes,
            created: record.created,
            last_used: *last_used,
            parents: record.parent_layers.iter().rev().take(1).map(ToString::to_string).collect(),
            in_use: *in_use,
            shared: *shared,
        };
        entries.entry(record.layer).or_insert_with(new);
    }
    let mounts = usage.mounts.iter().map(|mount| CacheEntry {
        id: mount.directory.clone(),
        kind: CacheKind::Mount,
        description: match mount.id.as_str() {
            "" => "cache mount".to_owned(),
            id => format!("cache mount {}", familiar_mount_id(id)),
        },
        size: mount.bytes,
        created: mount.created,
        last_used: mount.last_used,
        parents: Vec::new(),
        in_use: mount.in_use,
        shared: false,
    });
    let garbage = usage.layers.iter().filter(|layer| usage.garbage.contains(&layer.layer));
    let unused = garbage.filter_map(|layer| {
        // removed since the store was listed
        let created = store.layer_meta(&layer.layer).ok()?.created;
        Some(CacheEntry {
            id: layer.layer.to_string(),
            kind: CacheKind::Step,
            description: "layer that nothing uses any more".to_owned(),
            size: layer.size_bytes,
            created,
            last_used: created,
            parents: Vec::new(),
            in_use: false,
            shared: false,
        })
    });
    entries.into_values().chain(mounts).chain(unused).collect()
}
