//! What the store holds, and making it smaller.

use crate::{ContainerState, Engine, Error, Force};
use rbuild_cache::{ImagePrune, MountPrune, PruneOptions, RecordPrune};
use rbuild_oci::{ImageId, Timestamp};

/// One line of `df`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageLine {
    /// `Images`, `Containers`, `Build Cache`.
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
    /// Of the build cache, so many bytes may stay: what was not used for the longest time goes first.
    pub keep_cache_bytes: Option<u64>,
    /// Ended containers as well.
    pub containers: PruneContainers,
    /// Of those, only these ids; all without a list.
    pub only_containers: Option<Vec<String>>,
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

/// The outcome of a prune.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// `untagged: …`, `deleted: …`, container ids.
    pub deleted: Vec<String>,
    /// Bytes freed.
    pub reclaimed: u64,
}

impl Engine {
    /// Lists the contents of the store, by kind.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be read.
    pub fn usage(&self) -> Result<Vec<UsageLine>, Error> {
        let usage = self.store.usage()?;
        let containers = self.containers()?;
        let running =
            containers.iter().filter(|container| container.state == ContainerState::Running).count();
        let in_use = usage.records.iter().filter(|record| record.in_use || record.shared).count();
        Ok(vec![
            UsageLine {
                kind: "Images",
                total: usage.images.len(),
                active: usage.images.iter().filter(|image| !image.containers.is_empty()).count(),
                size: usage.image_bytes,
                reclaimable: usage.image_reclaimable_bytes,
            },
            UsageLine {
                kind: "Containers",
                total: containers.len(),
                active: running,
                size: 0,
                reclaimable: 0,
            },
            UsageLine {
                kind: "Build Cache",
                total: usage.records.len(),
                active: in_use,
                size: usage.record_bytes + usage.mount_bytes + usage.build_bytes + usage.log_bytes,
                reclaimable: usage.record_bytes + usage.garbage_bytes + usage.log_bytes,
            },
        ])
    }

    /// Removes what `request` names, and whatever nothing leads to any more.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Io`].
    pub fn prune(&self, request: PruneRequest) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        if request.containers == PruneContainers::Stopped {
            for container in self.containers()? {
                let chosen = request.only_containers.as_ref().is_none_or(|only| only.contains(&container.id));
                if chosen && matches!(container.state, ContainerState::Exited(_)) {
                    pruned.deleted.push(self.remove_container(&container.id, Force::No)?);
                }
            }
        }
        let report = self.store.prune(&PruneOptions {
            images: match request.images {
                PruneImages::Keep => ImagePrune::Keep,
                PruneImages::Dangling => ImagePrune::Dangling,
                PruneImages::Unused => ImagePrune::Unused,
            },
            records: match request.build_cache {
                PruneCache::Keep => RecordPrune::Useless,
                PruneCache::Unused => RecordPrune::Unused,
                PruneCache::All => RecordPrune::All,
            },
            mounts: if request.build_cache == PruneCache::All {
                MountPrune::Unused
            } else {
                MountPrune::Keep
            },
            only_images: request.only_images.map(|only| only.into_iter().collect()),
            older_than: request.cache_before,
            keep_bytes: request.keep_cache_bytes,
        })?;
        pruned.deleted.extend(report.references.iter().map(|name| format!("untagged: {}", name.familiar())));
        pruned.deleted.extend(report.images.iter().map(|image| format!("deleted: {image}")));
        pruned.reclaimed = report.freed_bytes + self.store.sweep()?;
        Ok(pruned)
    }
}
