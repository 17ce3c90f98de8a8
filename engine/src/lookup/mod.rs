//! The one place that asks the cache for a step's result. A build and `plan` call the same two functions, so that they
//! cannot disagree: [`StepCache::look_up_all`] before anything runs, [`StepCache::find`] for a step whose inputs are done.

pub(crate) mod file_changes;
pub(crate) mod keys;
pub(crate) mod lower_stores;
pub(crate) mod masked;
pub(crate) mod miss;
pub(crate) mod mount_changes;
pub(crate) mod source_files;

mod borrowed;
mod imported;
mod same_content;

use crate::{
    BuildRequest, Error, MissReason,
    build::results::{Inputs, Origin, Results, StepResult},
    builds::records::Records,
    layers::layer_files::LayerFiles,
    lookup::{
        file_changes::StepFiles,
        keys::{Definition, Keyed, Keys},
        lower_stores::LowerStores,
        miss::{Missed, Misses},
        source_files::{SourceFiles, copies_layers, layer_sources},
    },
    report::reporter::Reporter,
    shared_cache::imports::Imports,
};
use rbuild_cache::{CacheKey, CacheRecord, Index, LayerId, Lease, Lookup, StepHash, StepLock, Store};
use rbuild_executor::{ExecutorError, Selection, Usage};
use rbuild_image::ImageError;
use rbuild_oci::Timestamp;
use rbuild_planner::{Action, CachePolicy, CopyAction, Plan, Step};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The cache as one build sees it, and the lease that keeps what the build found from being pruned.
pub(crate) struct StepCache {
    store: Store,
    files: LayerFiles,
    lease: Arc<Lease>,
    records: Records,
    lower: LowerStores,
    /// Records of lower stores whose results this build uses.
    borrowed: Mutex<Vec<(CacheKey, CacheRecord)>>,
    imports: Imports,
    /// What this build made although the cache was not wanted, for steps of it that are equal.
    made: Mutex<HashMap<CacheKey, CacheRecord>>,
    /// Layers that a cache promised and that cannot be had: records that need them count for nothing in this build.
    lost: Mutex<HashSet<LayerId>>,
    /// The caches that have the results of steps, and do not give them.
    unavailable: Mutex<HashMap<CacheKey, String>>,
}

/// A step whose inputs are done.
pub(crate) struct Ready<'a> {
    pub(crate) step: &'a Step,
    pub(crate) keyed: &'a Keyed,
    pub(crate) inputs: &'a Inputs,
    /// The files a COPY copies.
    pub(crate) selection: Option<Arc<Selection>>,
    /// The key of a COPY from layers by the content of its files.
    pub(crate) by_content: Option<CacheKey>,
    /// The hash of such a COPY by the content of its files.
    pub(crate) content_step: Option<StepHash>,
}

impl<'a> Ready<'a> {
    /// Finds the files that `step` copies, if it is a COPY.
    ///
    /// # Errors
    /// When a source is not there.
    pub(crate) fn new(
        step: &'a Step,
        keyed: &'a Keyed,
        inputs: &'a Inputs,
        sources: &SourceFiles,
    ) -> Result<Self, Error> {
        let selection = keyed.selection.clone();
        let mut ready = Self { step, keyed, inputs, selection, by_content: None, content_step: None };
        if let Action::Copy(action) = &step.action {
            if copies_layers(action) {
                let selection = sources.select_from_layers(action, inputs.source(&action.from)?)?;
                ready.select(action, selection);
            } else if ready.selection.is_none() {
                let selection = sources.select_from_context(action)?;
                if keyed.files.is_some_and(|files| files != selection.digest) {
                    let path = action.destination.to_string();
                    return Err(Error::Executor(ExecutorError::SourceChanged { path }));
                }
                ready.selection = Some(selection);
            }
        }
        Ok(ready)
    }

    /// The COPY from layers copies these files.
    pub(crate) fn select(&mut self, action: &CopyAction, selection: Arc<Selection>) {
        let step = rbuild_executor::describe_copy(action, &selection.digest).step;
        self.by_content = Some(self.keyed.by_content(&step));
        (self.content_step, self.selection) = (Some(step), Some(selection));
    }

    /// The hash under which a step is found by the content of the stages and images that it takes files from.
    fn by_sources(&self) -> Option<StepHash> {
        self.content_step.or_else(|| self.keyed.beside_mounts(self.inputs))
    }

    /// The keys under which its record belongs, its own first, with the hash of the step for each.
    fn keys(&self) -> Vec<(CacheKey, StepHash)> {
        let own = (self.keyed.key, self.keyed.description.step);
        let by_sources = self.by_sources().map(|step| (self.keyed.by_content(&step), step));
        [own].into_iter().chain(by_sources).collect()
    }

    pub(crate) fn files(&self) -> StepFiles<'_> {
        StepFiles { step: self.step, keyed: self.keyed, selection: self.selection.as_deref() }
    }
}

/// The outcome of looking a step up.
pub(crate) enum Found {
    Hit(Hit),
    Miss(MissReason),
    /// A plan cannot say: files that would have to be compared are elsewhere.
    Unknown(MissReason),
}

/// A result that the cache has.
pub(crate) struct Hit {
    pub(crate) result: StepResult,
    /// Where its record belongs as well, for the next look-up, and the hash of the step there.
    keys: Vec<(CacheKey, StepHash)>,
}

/// A step that was carried out.
pub(crate) struct Done {
    pub(crate) layer: LayerId,
    /// Bytes of the disk that the layer takes.
    pub(crate) bytes: Option<u64>,
    pub(crate) created: Timestamp,
    pub(crate) took: Duration,
    /// What its command used, if it has one.
    pub(crate) usage: Option<Usage>,
}

impl StepCache {
    /// The cache in `store` for the build of `request`. `files` are those of its layers, which `lease` holds.
    ///
    /// # Errors
    /// When one of the request's lower stores cannot be used.
    pub(crate) fn open(
        (store, files): (&Store, &LayerFiles),
        lease: Arc<Lease>,
        request: &BuildRequest,
        reporter: &Reporter,
    ) -> Result<Self, Error> {
        Ok(Self {
            store: store.clone(),
            files: files.clone(),
            lease,
            records: Records::new((store, files.cancel()), request, reporter),
            lower: LowerStores::open(store, request)?,
            borrowed: Mutex::default(),
            imports: Imports::default(),
            made: Mutex::default(),
            lost: Mutex::default(),
            unavailable: Mutex::default(),
        })
    }

    /// The lease that keeps the layers of this build from being pruned.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The records of this build.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// Takes every result that the definition keys find. When the records kept of the last such build answer everything,
    /// the index is not opened at all.
    ///
    /// # Errors
    /// When the lease fails; a cache that fails is an empty one.
    pub(crate) fn look_up_all(
        &self,
        plan: &Plan,
        keys: &Keys,
        results: &mut Results,
    ) -> Result<Misses, Error> {
        let recent = self.records.recent();
        let mut unanswered = false;
        for step in plan.steps.iter().filter(|step| step.cache == CachePolicy::Use) {
            let keyed = keys.step(step.id);
            unanswered |= keyed.definition == Definition::Untrusted
                || !take(results, step, recent.record(&keyed.key).cloned());
        }
        if !unanswered {
            let used: HashSet<CacheKey> = keys.iter().map(|keyed| keyed.key).collect();
            if used.len() == recent.records().count() {
                self.records.recent_is_complete();
            }
        }
        let mut misses = Misses::new(keys, recent);
        if unanswered {
            let looked = self.store.index(|index| {
                let open = plan.steps.iter().filter(|step| step.cache == CachePolicy::Use);
                open.for_each(|step| look_up(index, (step, keys.step(step.id)), results, &mut misses));
                Ok(())
            });
            if let Err(error) = looked {
                self.records.warn_of("index", &error);
            }
            self.records.tell_mended();
        }
        self.hold(results)?;
        if unanswered && self.lower.are_there() {
            self.borrow_all(plan, keys, results);
            self.hold(results)?;
        }
        Ok(misses)
    }

    /// Records in the own index what was found in lower stores.
    ///
    /// # Errors
    /// When no recording thread can be started.
    pub(crate) fn keep_borrowed(&self) -> Result<(), Error> {
        for (key, record) in std::mem::take(&mut *self.borrowed()) {
            self.records.recorder()?.record(key, record);
        }
        Ok(())
    }

    fn borrowed(&self) -> MutexGuard<'_, Vec<(CacheKey, CacheRecord)>> {
        self.borrowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a step up whose inputs are done. The first look-up has already answered for its definition key, so that one is
    /// asked again only if another process has written to the index since, or an equal step of this build may have.
    ///
    /// # Errors
    /// When the lease fails; a cache that fails is an empty one.
    pub(crate) fn find(&self, ready: &Ready<'_>, misses: &Misses) -> Result<Found, Error> {
        let (step, keyed) = (ready.step, ready.keyed);
        let missed = Missed { files: ready.files(), inputs: Some(ready.inputs) };
        let reason = || misses.reason(&missed, &self.records);
        if step.cache == CachePolicy::Ignore {
            let made = self.made().get(&keyed.key).filter(|made| stands_on(made, ready.inputs)).cloned();
            return Ok(made.map_or_else(|| Found::Miss(reason()), |made| Found::Hit(Hit::new(made, ready))));
        }
        let mut earlier = misses.earlier(step.id);
        let renewed;
        if ready.by_sources().is_some() || keyed.repeated || self.store.index_has_other_writers() {
            // an unusable index was already reported by the first look-up
            match self.store.index(|index| Ok(look_again(index, ready))) {
                Ok(Ok(record))
                    if !self.is_lost(&record) && self.lease.hold(&[record.layer], &[])?.is_empty() =>
                {
                    return Ok(Found::Hit(Hit::new(*record, ready)));
                }
                Ok(Err(records)) => {
                    renewed = records;
                    earlier = &renewed;
                }
                Ok(Ok(_)) | Err(_) => {}
            }
        }
        if self.lower.are_there()
            && let Some(hit) = self.borrow(ready)
            && self.lease.hold(&[hit.result.layer()], &[])?.is_empty()
        {
            return Ok(Found::Hit(hit));
        }
        let same = self.same_content(ready, earlier);
        match same.and_then(|same| same.map_or_else(|| self.elsewhere(ready), |hit| Ok(Some(hit)))) {
            Ok(Some(hit)) => Ok(Found::Hit(hit)),
            Ok(None) => {
                let reason = || match reason() {
                    MissReason::New => self.imports.reason(keyed).unwrap_or(MissReason::New),
                    other => other,
                };
                Ok(Found::Miss(self.unavailable(&keyed.key).unwrap_or_else(reason)))
            }
            Err(Error::Image(ImageError::LayerElsewhere { .. })) => Ok(Found::Unknown(reason())),
            Err(error) => Err(error),
        }
    }

    /// True if a step whose inputs must be made first may still be in the cache: an earlier build ran it too, or it
    /// copies or mounts files of stages, which are compared by content.
    pub(crate) fn may_find_later(step: &Step, misses: &Misses) -> bool {
        let by_content = match &step.action {
            Action::Copy(action) => copies_layers(action),
            Action::Run(_) => !layer_sources(step).is_empty(),
            Action::Workdir(_) => false,
        };
        step.cache == CachePolicy::Use && (by_content || !misses.earlier(step.id).is_empty())
    }

    /// Records a result that was found under the other keys of its step.
    ///
    /// # Errors
    /// When no recording thread can be started.
    pub(crate) fn remember(&self, hit: &Hit) -> Result<(), Error> {
        for (key, step) in &hit.keys {
            let record = CacheRecord { step: *step, ..CacheRecord::clone(&hit.result.record) };
            self.records.recorder()?.record(*key, record);
        }
        Ok(())
    }

    /// Records the new layer of a step. The step's lock is released when other processes can see the record.
    ///
    /// # Errors
    /// When no recording thread can be started.
    pub(crate) fn keep(&self, ready: &Ready<'_>, done: &Done, lock: StepLock) -> Result<StepResult, Error> {
        let (keyed, parent) = (ready.keyed, &ready.inputs.parent);
        // a record without lists explains less, and is as good as another
        let inputs = file_changes::recorded(&ready.files(), &self.store);
        let inputs = inputs.unwrap_or_else(|_| keyed.description.inputs.clone());
        let record = CacheRecord {
            layer: done.layer,
            created: done.created,
            step: keyed.description.step,
            parent: Some(keyed.parent),
            parent_layers: parent.to_vec(),
            source_layers: ready.inputs.source_layers(),
            by_content: ready.by_content,
            content_step: ready.by_sources(),
            layer_bytes: done.bytes,
            inputs,
            duration_ms: done.took.as_millis() as u64,
            peak_memory: done.usage.and_then(|usage| usage.peak_memory),
            processor_ms: done.usage.map(|usage| usage.processor_time.as_millis() as u64),
            instruction: ready.step.name.clone(),
            evicted: None,
            evicted_by: None,
            machine: None,
            stamp: None,
        };
        let recorder = self.records.recorder()?;
        for (key, step) in ready.keys().into_iter().skip(1) {
            recorder.record(key, CacheRecord { step, ..record.clone() });
        }
        if keyed.repeated && ready.step.cache == CachePolicy::Ignore {
            self.made().insert(keyed.key, record.clone());
        }
        recorder.record_and_unlock(keyed.key, record.clone(), lock);
        Ok(StepResult::new(record, parent, Origin::Executed))
    }

    fn made(&self) -> MutexGuard<'_, HashMap<CacheKey, CacheRecord>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the layers of all results from being pruned; results whose layers are gone are dropped, with those above.
    fn hold(&self, results: &mut Results) -> Result<(), Error> {
        let layers: Vec<LayerId> = results.layers().into_iter().collect();
        let missing = self.lease.hold(&layers, &[])?;
        if !missing.is_empty() {
            results.discard(&missing.layers);
        }
        Ok(())
    }
}

impl Hit {
    fn new(record: CacheRecord, ready: &Ready<'_>) -> Self {
        let (step, by_content) = (ready.keyed.description.step, ready.by_content);
        let record = CacheRecord { step, by_content, content_step: ready.by_sources(), ..record };
        Self { result: StepResult::new(record, &ready.inputs.parent, Origin::Cache), keys: ready.keys() }
    }
}

/// True if `record` was made on these very layers.
fn stands_on(record: &CacheRecord, inputs: &Inputs) -> bool {
    record.parent_layers == *inputs.parent && record.source_layers == inputs.source_layers()
}

/// Makes `record` the result of `step`, if there is one and the step's parent has a result too. It must stand on the very
/// layers it was made on: a parent that was built again may hold something else under the same key. Its sources are
/// compared when they are all there; what is copied from a stage whose own result is gone needs that stage no more.
fn take(results: &mut Results, step: &Step, record: Option<Arc<CacheRecord>>) -> bool {
    let (Some(record), Some(parent)) = (record, results.stack(&step.parent)) else { return false };
    let inputs = results.inputs(step);
    if record.parent_layers != *parent
        || inputs.is_some_and(|inputs| inputs.source_layers() != record.source_layers)
    {
        return false;
    }
    results.insert(step.id, StepResult::new(record, &parent, Origin::Cache));
    true
}

/// Looks `step` up in the index, unless it has a result.
fn look_up(index: &Index<'_>, (step, keyed): (&Step, &Keyed), results: &mut Results, misses: &mut Misses) {
    if results.step(step.id).is_some() {
        return;
    }
    let lookup = index.lookup(&keyed.key);
    let found = match &lookup {
        Lookup::Hit(record) if keyed.definition == Definition::Trusted => {
            take(results, step, Some(Arc::new(CacheRecord::clone(record))))
        }
        Lookup::Hit(_) | Lookup::Miss(_) => false,
    };
    if !found {
        misses.insert(step.id, lookup, usable_records(index, &keyed.description.step));
    }
}

/// The record of a step whose inputs are done, made on these very inputs; else what the index has of the same step on
/// other parents, and with the same files of other stages and images. COPY from layers is looked up by content alone. An untrusted definition key is skipped: it proves
/// nothing.
fn look_again(index: &Index<'_>, ready: &Ready<'_>) -> Result<Box<CacheRecord>, Vec<CacheRecord>> {
    let definition = (ready.keyed.definition == Definition::Trusted).then_some(ready.keyed.key);
    if let Some(key) = ready.by_content.or(definition)
        && let Lookup::Hit(record) = index.lookup(&key)
        && record.parent_layers == *ready.inputs.parent
    {
        return Ok(record);
    }
    let steps = ready.keys().into_iter().map(|(_, step)| step);
    Err(steps.flat_map(|step| usable_records(index, &step)).collect())
}

/// Records of a step that may be used, newest first: neither evicted nor possibly struck by a power cut.
fn usable_records(index: &Index<'_>, step: &StepHash) -> Vec<CacheRecord> {
    let usable = |(key, _)| match index.lookup(&key) {
        Lookup::Hit(record) => Some(*record),
        Lookup::Miss(_) => None,
    };
    index.records_of_step(step).into_iter().filter_map(usable).collect()
}
