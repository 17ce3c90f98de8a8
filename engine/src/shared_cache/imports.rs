//! The caches of other machines that a build reads (`--cache-from`), and what they have of its steps.
//!
//! Keys are the same on every machine, layer ids are not: what a record stood on is compared by DiffIds, and where those
//! differ by what the layers contain, times apart. So a step that another machine ran on equal files is found, whatever made
//! them. A result that is taken becomes a record of this store, whose layer is elsewhere until something stands on it.

use crate::{
    Activity, CacheInput, Causes, Error, MissReason, Warning,
    build::results::{Inputs, Origin, Results, StepResult},
    layers::lost_layers::Lost,
    lookup::{
        keys::{Definition, Keyed, Keys},
        source_files::layer_sources,
    },
    report::reporter::Reporter,
    shared_cache::shared_mounts::{self, OfferedMount},
};
use futures_util::future::join_all;
use rbuild_cache::{CacheKey, CacheRecord, LayerId, Lease, RemoteLayer, StepHash, Store};
use rbuild_image::RemoteImages;
use rbuild_oci::{ChainId, DiffId, Digest};
use rbuild_planner::{CachePolicy, Filesystem, Plan, Step, StepId};
use rbuild_remote_cache::{ImportedCache, RemoteCacheError, SharedLayer, SharedRecord};
use std::{
    collections::{BTreeMap, HashMap},
    iter,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::timeout;

/// The time in which a cache has to say what it has: a build that waits longer gains nothing.
const IMPORT_LIMIT: Duration = Duration::from_secs(30);

/// Caches that were read.
#[derive(Default)]
pub(crate) struct Imports {
    caches: Vec<ImportedCache>,
    /// Cache mounts that the caller wants from them.
    mounts: Vec<OfferedMount>,
    /// What the layers of taken results contain, as their caches say.
    contents: Mutex<HashMap<LayerId, Digest>>,
    /// What turned out to be missing.
    lost: Mutex<Vec<Lost>>,
}

/// A result that a cache has of a step whose inputs are not looked at yet.
struct Found<'a> {
    cache: &'a ImportedCache,
    record: &'a SharedRecord,
    remote: RemoteLayer,
    /// The DiffIds of its stack, its own on top.
    stack: Vec<DiffId>,
}

/// The DiffIds of a stack.
enum Diffs {
    /// There is no such stack yet.
    Absent,
    /// That of a layer was not computed.
    Unknown,
    Known(Vec<DiffId>),
}

/// What finds a step whose stages and images were made in another way.
pub(crate) struct ByContent {
    /// The key of a COPY on just this parent.
    pub(crate) key: Option<CacheKey>,
    /// The hash of a COPY by the files that it copies.
    pub(crate) copied: Option<StepHash>,
    /// The hash of a RUN beside its mounts, whose layers are to be compared.
    pub(crate) mounted: Option<StepHash>,
}

/// Tells whether a layer of this store contains what a layer of a cache does.
pub(crate) type IsSame<'a> = &'a dyn Fn(&SharedLayer, &LayerId) -> Result<bool, Error>;

impl Imports {
    /// Reads the descriptions of `sources`. One that cannot be had or used is warned of and left out.
    pub(crate) async fn load(inputs: &[CacheInput], images: &RemoteImages, reporter: &Reporter) -> Self {
        let images = images.heard_by(reporter.listener());
        let loading = inputs.iter().map(async |input| {
            let source = &input.source;
            let activity = reporter.begin(Activity::ImportCache { from: source.to_string() });
            let importing = timeout(IMPORT_LIMIT, source.import(&images)).await;
            let (subject, seconds) = (source.to_string(), IMPORT_LIMIT.as_secs());
            let importing = importing.unwrap_or(Err(RemoteCacheError::Slow { subject, seconds }));
            match activity.end_with(importing) {
                Ok(cache) => Some((shared_mounts::offered(input, cache.mounts()), cache)),
                Err(error) => {
                    let causes = Causes::of(&error);
                    reporter.warn(Warning::CacheNotImported { from: source.to_string(), causes });
                    None
                }
            }
        });
        let loaded: Vec<_> = join_all(loading).await.into_iter().flatten().collect();
        let (mounts, caches): (Vec<_>, _) = loaded.into_iter().unzip();
        Self { caches, mounts: mounts.concat(), ..Self::default() }
    }

    /// The cache mounts that the caller wants and they have.
    pub(crate) fn mounts(&self) -> &[OfferedMount] {
        &self.mounts
    }

    /// True if there is no cache to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.caches.is_empty()
    }

    /// Takes every result that definition keys find, for steps that have none. Returns the steps that have one now.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) fn take_all(
        &self,
        (store, lease): (&Store, &Lease),
        (plan, keys): (&Plan, &Keys),
        results: &mut Results,
    ) -> Result<Vec<StepId>, Error> {
        let mut known = HashMap::new();
        let mut found: BTreeMap<StepId, Found<'_>> = BTreeMap::new();
        for step in &plan.steps {
            let keyed = keys.step(step.id);
            let is_open = step.cache == CachePolicy::Use && results.step(step.id).is_none();
            if is_open && keyed.definition == Definition::Trusted {
                let mut diffs = |files: &Filesystem| diffs_of(files, &found, results, store, &mut known);
                if let Some(hit) = self.caches.iter().find_map(|cache| take(cache, (step, keyed), &mut diffs))
                {
                    found.insert(step.id, hit);
                }
            }
        }
        let wanted = found.values().map(|hit| (hit.remote.clone(), ChainId::each(&hit.stack).pop()));
        let layers = rbuild_image::known_or_elsewhere(store, lease, wanted.collect())?;
        let mut taken = Vec::with_capacity(layers.len());
        for ((step, hit), layer) in found.into_iter().zip(layers) {
            let (planned, keyed) = (&plan.steps[step.0], keys.step(step));
            let Some(parent) = results.stack(&planned.parent) else { continue };
            // a stage that is only copied from may have no result, and then its layers have no ids
            let sources = results.inputs(planned).map(|inputs| inputs.source_layers()).unwrap_or_default();
            self.note_content(layer, hit.cache.layer(hit.record.layer));
            let record = record(hit.record, (planned, keyed), layer, (&parent, sources));
            results.insert(step, StepResult::new(record, &parent, Origin::Cache));
            taken.push(step);
        }
        Ok(taken)
    }

    /// The result that a cache has of a step whose inputs are done, as a record of this store.
    ///
    /// # Errors
    /// When the store fails, or a layer cannot be compared because its files cannot be had.
    pub(crate) fn find(
        &self,
        (store, lease): (&Store, &Lease),
        (step, keyed, by_content): (&Step, &Keyed, ByContent),
        inputs: &Inputs,
        is_same: IsSame<'_>,
    ) -> Result<Option<CacheRecord>, Error> {
        let same_content = |shared: &SharedLayer, layer: &LayerId| match (shared.content, self.content(layer))
        {
            (Some(one), Some(other)) if one == other => Ok(true),
            _ => is_same(shared, layer),
        };
        for cache in &self.caches {
            let equal = |shared: &[usize], own: &[LayerId]| -> Result<bool, Error> {
                if shared.len() != own.len() {
                    return Ok(false);
                }
                for (shared, own) in shared.iter().zip(own) {
                    if !same_content(cache.layer(*shared), own)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            };
            let by_key = by_content.key.and_then(|key| cache.record(&key)).into_iter();
            let copied = by_content.copied.iter().flat_map(|step| cache.records_of_step(step));
            let steps = iter::once(&keyed.description.step).chain(&by_content.mounted);
            let others = steps.flat_map(|step| cache.records_of_step(step));
            let by_files = by_key.chain(copied).zip(iter::repeat(false));
            for (record, sources) in by_files.chain(others.zip(iter::repeat(true))) {
                let Some(remote) = cache.result(record) else { continue };
                if self.has_lost(&remote)
                    || (sources && !equal(&record.source_layers, &inputs.source_layers())?)
                    || !equal(&record.parent_layers, &inputs.parent)?
                {
                    continue;
                }
                let layers = rbuild_image::known_or_elsewhere(store, lease, vec![(remote, None)])?;
                let Some(layer) = layers.first() else { continue };
                self.note_content(*layer, cache.layer(record.layer));
                let on = (&*inputs.parent, inputs.source_layers());
                return Ok(Some(self::record(record, (step, keyed), *layer, on)));
            }
        }
        Ok(None)
    }

    /// Why the result that a cache has of a step was not taken, if it has one: it is without its files, or stands on others.
    pub(crate) fn reason(&self, keyed: &Keyed) -> Option<MissReason> {
        let mut reason = None;
        for cache in &self.caches {
            let by_key = cache.record(&keyed.key).into_iter();
            for record in by_key.chain(cache.records_of_step(&keyed.description.step)) {
                match cache.result(record).filter(|remote| !self.has_lost(remote)) {
                    Some(_) => reason = Some(MissReason::OtherBase),
                    None => return Some(MissReason::OtherMachine),
                }
            }
        }
        reason
    }

    /// What a layer contains, as the cache it came from says.
    pub(crate) fn content(&self, layer: &LayerId) -> Option<Digest> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).get(layer).copied()
    }

    /// From now on results that need what is `lost` count for nothing.
    pub(crate) fn lose(&self, lost: Lost) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).push(lost);
    }

    fn has_lost(&self, remote: &RemoteLayer) -> bool {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.iter().any(|lost| lost.covers(&remote.blob.digest))
    }

    fn note_content(&self, layer: LayerId, shared: &SharedLayer) {
        if let Some(content) = shared.content {
            self.contents.lock().unwrap_or_else(PoisonError::into_inner).insert(layer, content);
        }
    }
}

/// What `cache` has of a step, if its key finds it and it stood on just these layers.
fn take<'a>(
    cache: &'a ImportedCache,
    (step, keyed): (&Step, &Keyed),
    diffs: &mut dyn FnMut(&Filesystem) -> Diffs,
) -> Option<Found<'a>> {
    let record = cache.record(&keyed.key)?;
    let remote = cache.result(record)?;
    let of = |layers: &[usize]| layers.iter().map(|layer| cache.layer(*layer).diff_id).collect::<Vec<_>>();
    let mut stack = match diffs(&step.parent) {
        Diffs::Known(stack) if stack == of(&record.parent_layers) => stack,
        Diffs::Known(_) | Diffs::Unknown | Diffs::Absent => return None,
    };
    let mut sources = Some(Vec::new());
    for source in layer_sources(step) {
        match (diffs(source), &mut sources) {
            (Diffs::Known(layers), Some(all)) => all.extend(layers),
            (Diffs::Unknown, _) => return None,
            // what is copied from a stage whose own result is not there needs that stage no more
            (Diffs::Absent, _) => sources = None,
            (Diffs::Known(_), None) => {}
        }
    }
    if sources.is_some_and(|sources| sources != of(&record.source_layers)) {
        return None;
    }
    stack.push(remote.diff_id);
    Some(Found { cache, record, remote, stack })
}

/// The DiffIds of `files`, with those of results that are about to be taken.
fn diffs_of(
    files: &Filesystem,
    found: &BTreeMap<StepId, Found<'_>>,
    results: &Results,
    store: &Store,
    known: &mut HashMap<LayerId, Option<DiffId>>,
) -> Diffs {
    if let Filesystem::Step(step) = files
        && let Some(hit) = found.get(step)
    {
        return Diffs::Known(hit.stack.clone());
    }
    let Some(stack) = results.stack(files) else { return Diffs::Absent };
    let mut diff = |layer: &LayerId| {
        *known.entry(*layer).or_insert_with(|| {
            // a layer that cannot be described equals no other
            rbuild_image::known_layer_diff(store, layer).ok().flatten().map(|diff| diff.diff_id)
        })
    };
    stack.iter().map(&mut diff).collect::<Option<_>>().map_or(Diffs::Unknown, Diffs::Known)
}

/// A record of a cache as one of this store, where its layer is `layer`.
fn record(
    shared: &SharedRecord,
    (step, keyed): (&Step, &Keyed),
    layer: LayerId,
    (parent, sources): (&[LayerId], Vec<LayerId>),
) -> CacheRecord {
    CacheRecord {
        layer,
        created: shared.created,
        step: keyed.description.step,
        parent: Some(keyed.parent),
        parent_layers: parent.to_vec(),
        source_layers: sources,
        by_content: shared.by_content,
        content_step: shared.content_step,
        inputs: keyed.description.inputs.clone(),
        layer_bytes: None,
        duration_ms: shared.duration_ms,
        peak_memory: None,
        processor_ms: None,
        instruction: step.name.clone(),
        evicted: None,
        evicted_by: None,
        machine: shared.machine,
        stamp: None,
    }
}
