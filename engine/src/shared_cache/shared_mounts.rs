//! Cache mounts that travel with the caches of other machines (`mounts=`): a machine that has none of them begins with those of
//! the last one.
//!
//! They are no part of a result, so nothing that goes wrong with them fails a build.

use crate::{
    Activity, BuildRequest, CacheInput, CacheMounts, CacheOutput, Causes, Engine, Error, Warning,
    report::reporter::Reporter, store::cache_mounts,
};
use rbuild_cache::{Cancel, ScratchDir, Store};
use rbuild_image::RemoteImages;
use rbuild_oci::Descriptor;
use rbuild_planner::{Action, MountKind, Plan, StepId};
use rbuild_remote_cache::{CacheDestination, CacheSource, SharedMount};
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

/// The largest cache mount that travels, in bytes, when nothing else was said.
const LIMIT: u64 = 2 << 30;

/// A cache mount that a cache has.
#[derive(Clone, Debug)]
pub(crate) struct OfferedMount {
    pub(crate) from: CacheSource,
    pub(crate) mount: SharedMount,
}

/// The parts of the engine that bringing and sending need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MountTransfer {
    store: Store,
    images: RemoteImages,
    limits: CacheMounts,
    cancel: Cancel,
}

/// Those of the mounts of `input`, which the cache has, that the caller wants.
pub(crate) fn offered(input: &CacheInput, mounts: &[SharedMount]) -> Vec<OfferedMount> {
    let wanted = |mount: &&SharedMount| input.mounts.iter().any(|id| cache_mounts::rooted(id) == mount.id);
    let offer = |mount: &SharedMount| OfferedMount { from: input.source.clone(), mount: mount.clone() };
    mounts.iter().filter(wanted).map(offer).collect()
}

impl MountTransfer {
    /// For a build of `request` that `cancel` stops.
    pub(crate) fn new(engine: &Engine, request: &BuildRequest, cancel: &Cancel) -> Self {
        let (store, images) = (engine.store.clone(), engine.remote.clone());
        Self { store, images, limits: request.cache_mounts.clone(), cancel: cancel.clone() }
    }

    /// Brings those of `offered` that one of `steps`, which are about to run, uses and the store has not, or has empty.
    pub(crate) async fn bring(
        &self,
        offered: &[OfferedMount],
        (plan, steps): (&Plan, &BTreeSet<StepId>),
        reporter: &Reporter,
    ) {
        let used = used(plan, steps);
        let mut seen = BTreeSet::new();
        for offer in offered.iter().filter(|offer| used.contains(offer.mount.id.as_str())) {
            if !seen.insert(&offer.mount.id) {
                continue;
            }
            let id = cache_mounts::familiar_mount_id(&offer.mount.id).to_owned();
            match self.is_filled(&offer.mount.id) {
                Ok(true) => {}
                Ok(false) => {
                    let activity = reporter.begin(Activity::ImportMount { id: id.clone() });
                    if let Err(error) = activity.end_with(self.bring_one(offer).await) {
                        reporter.warn(Warning::CacheMountNotShared { id, causes: Causes::of(&error) });
                    }
                }
                Err(error) => reporter.warn(Warning::CacheMountNotShared { id, causes: Causes::of(&error) }),
            }
        }
    }

    fn is_filled(&self, id: &str) -> Result<bool, Error> {
        let mounts = self.store.measured_mounts()?;
        let of_id = mounts.iter().filter(|mount| mount.id == id);
        let has_files =
            |place: PathBuf| std::fs::read_dir(place).is_ok_and(|mut files| files.next().is_some());
        let mut places = of_id.map(|mount| self.store.root().join("mounts").join(&mount.directory).join("0"));
        Ok(places.any(has_files))
    }

    async fn bring_one(&self, offer: &OfferedMount) -> Result<(), Error> {
        let SharedMount { id, blob } = &offer.mount;
        let limit = self.limit(id);
        if blob.size > limit {
            return Err(cache_mounts::too_large(id, blob.size, limit));
        }
        let scratch = self.store.scratch_dir()?;
        let path = scratch.path().join("mount");
        let created = File::options().read(true).write(true).create_new(true).open(&path);
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action, path, source }
        };
        let mut file = created.map_err(failed("create", &path))?;
        let fetched = offer.from.fetch(&self.images, blob, (&mut file, &path)).await;
        fetched.map_err(|source| Error::CachedMount { id: id.clone(), source: Box::new(source) })?;
        drop(file);
        let (store, id) = (self.store.clone(), id.clone());
        let unpacking = tokio::task::spawn_blocking(move || {
            let file = File::open(&path).map_err(failed("open", &path))?;
            let imported = cache_mounts::import(&store, Some(&id), file).map(drop);
            drop::<ScratchDir>(scratch);
            imported
        });
        unpacking.await.map_err(|panicked| Error::Worker(panicked.to_string()))?
    }

    /// Sends the cache mounts that `output` gets. One that is not here and that it has already stays there.
    pub(crate) async fn send(
        &self,
        output: &CacheOutput,
        offered: &[OfferedMount],
        reporter: &Reporter,
    ) -> Vec<SharedMount> {
        let mut sent = Vec::new();
        for id in &output.mounts {
            let rooted = cache_mounts::rooted(id);
            let destination = &output.destination;
            let result = match self.is_filled(&rooted) {
                Ok(true) => self.send_one(destination, &rooted).await.map(Some),
                Ok(false) => Ok(self.left_there(destination, &rooted, offered).await),
                Err(error) => Err(error),
            };
            match result {
                Ok(mount) => sent.extend(mount),
                Err(error) => {
                    let causes = Causes::of(&error);
                    reporter.warn(Warning::CacheMountNotShared { id: id.clone(), causes });
                }
            }
        }
        sent
    }

    async fn left_there(
        &self,
        destination: &CacheDestination,
        id: &str,
        offered: &[OfferedMount],
    ) -> Option<SharedMount> {
        let offer = offered.iter().find(|offer| offer.mount.id == id)?;
        let has = destination.has(&self.images, &offer.mount.blob).await;
        has.is_ok_and(|has| has).then(|| offer.mount.clone())
    }

    async fn send_one(&self, destination: &CacheDestination, id: &str) -> Result<SharedMount, Error> {
        let scratch = self.store.scratch_dir()?;
        let path = scratch.path().join("mount");
        let (own, id, to) = (self.clone(), id.to_owned(), path.clone());
        let packing =
            tokio::task::spawn_blocking(move || own.pack(&id, &to).map(|blob| SharedMount { id, blob }));
        let mount = packing.await.map_err(|panicked| Error::Worker(panicked.to_string()))??;
        let sent = destination.send(&self.images, (&mount.blob, &path)).await;
        sent.map_err(|source| Error::CachedMount { id: mount.id.clone(), source: Box::new(source) })?;
        Ok(mount)
    }

    /// Writes what a mount has, compressed, to the file `path`.
    fn pack(&self, id: &str, path: &Path) -> Result<Descriptor, Error> {
        let limit = self.limit(id);
        let held = cache_mounts::held(&self.store, id, &self.cancel)?;
        if held.bytes > limit {
            return Err(cache_mounts::too_large(id, held.bytes, limit));
        }
        let write = |source| Error::Io { action: "write", path: path.to_owned(), source };
        let mut file = File::create_new(path).map_err(write)?;
        Ok(rbuild_image::compress_tar(held.tar(&self.store)?, &mut file)?)
    }

    fn limit(&self, id: &str) -> u64 {
        self.limits.max_bytes(id).unwrap_or(LIMIT)
    }
}

/// The ids of the cache mounts that `steps` use.
fn used<'a>(plan: &'a Plan, steps: &BTreeSet<StepId>) -> BTreeSet<&'a str> {
    let mut used = BTreeSet::new();
    for step in steps {
        let Action::Run(action) = &plan.steps[step.0].action else { continue };
        for mount in &action.mounts {
            if let MountKind::Cache { id, .. } = &mount.kind {
                used.insert(id.as_str());
            }
        }
    }
    used
}
