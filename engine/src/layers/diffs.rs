//! DiffIds of the layers that an output needs: computed by workers of their own while other steps run.

use crate::{Causes, Error, Warning, build::results::Results, lookup::StepCache, report::reporter::Reporter};
use rbuild_cache::{Cancel, LayerDiff, LayerId, RecentRecords, Store};
use rbuild_executor::ExecutorError;
use rbuild_planner::{Plan, StepId};
use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use tokio::{sync::Semaphore, task::JoinHandle};

/// DiffIds by the step whose layer they describe.
pub(crate) type Diffs = BTreeMap<StepId, LayerDiff>;

/// DiffIds that are known, or on their way.
pub(crate) struct Diffing {
    store: Store,
    hash: HashOnce,
    /// Limits concurrent hashing to the number of processors: more at once would only take memory.
    hashers: OnceCell<Arc<Semaphore>>,
    known: Diffs,
    computing: BTreeMap<StepId, (LayerId, JoinHandle<Result<LayerDiff, Error>>)>,
    /// Those that were computed, until they are asked for.
    computed: Vec<(LayerId, LayerDiff)>,
}

/// Computes the DiffId of a layer once, whoever asks for it at the same time. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct HashOnce {
    cancel: Cancel,
    /// A lock for each layer that was asked for.
    layers: Arc<Mutex<HashMap<LayerId, Arc<Mutex<()>>>>>,
}

impl HashOnce {
    /// One that stops when `cancel` is called.
    pub(crate) fn until(cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), layers: Arc::default() }
    }

    /// The DiffId of `layer`.
    ///
    /// # Errors
    /// When the layer cannot be read; [`ExecutorError::Canceled`].
    pub(crate) fn diff(&self, store: &Store, layer: &LayerId) -> Result<LayerDiff, Error> {
        let lock = {
            let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
            layers.entry(*layer).or_default().clone()
        };
        // the second one finds what the first one recorded
        let _turn = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let diff = rbuild_image::layer_diff_until(store, layer, &self.cancel)?;
        diff.ok_or(Error::Executor(ExecutorError::Canceled))
    }
}

/// The DiffIds of the steps `to_hash` that need no computing: those that were kept of the last such build, as long as the
/// descriptions of the layers are the same, and those that the descriptions have. A result whose layer cannot describe itself, because a power cut
/// has damaged its description, is dropped with those above it: it is made again.
pub(crate) fn known(
    (cache, recent): (&StepCache, &RecentRecords),
    (plan, to_hash): (&Plan, &BTreeSet<StepId>),
    results: &mut Results,
    reporter: &Reporter,
) -> Diffs {
    let mut known = Diffs::new();
    for step in to_hash {
        let Some(layer) = results.step(*step).map(|result| result.layer()) else { continue };
        if let Some(diff) = recent.diff(&layer, cache.lease()) {
            known.insert(*step, diff);
            continue;
        }
        cache.records().recent_is_incomplete();
        match rbuild_image::known_layer_diff(cache.store(), &layer) {
            Ok(Some(diff)) => drop(known.insert(*step, diff)),
            Ok(None) => {}
            Err(error) => {
                let step = plan.steps[step.0].name.clone();
                reporter.warn(Warning::LayerDamaged { step, causes: Causes::of(&error) });
                results.discard(&[layer]);
            }
        }
    }
    known
}

impl Diffing {
    /// Begins with what is known.
    pub(crate) fn new(store: &Store, hash: &HashOnce, known: Diffs) -> Self {
        Self {
            store: store.clone(),
            hash: hash.clone(),
            hashers: OnceCell::new(),
            known,
            computing: BTreeMap::new(),
            computed: Vec::new(),
        }
    }

    /// True if the layer of `step` was seen to be here: that of a layer which is elsewhere has no known tar.
    pub(crate) fn is_here(&self, step: StepId) -> bool {
        self.known.get(&step).is_some_and(|diff| diff.tar_size.is_some())
    }

    /// Starts computing the DiffId of `layer`, which `step` made, unless it is known.
    pub(crate) fn compute(&mut self, step: StepId, layer: LayerId) {
        if self.known.contains_key(&step) {
            return;
        }
        // what is remembered needs no thread
        if let Ok(Some(diff)) = rbuild_image::known_layer_diff(&self.store, &layer) {
            self.known.insert(step, diff);
            return;
        }
        let hashers = self.hashers.get_or_init(|| {
            let processors = thread::available_parallelism().map_or(1, usize::from);
            Arc::new(Semaphore::new(processors))
        });
        let (store, hash, hashers) = (self.store.clone(), self.hash.clone(), hashers.clone());
        let computing = tokio::task::spawn(async move {
            let _turn = hashers.acquire_owned().await;
            let hashing = tokio::task::spawn_blocking(move || hash.diff(&store, &layer));
            hashing.await.map_err(|error| Error::Worker(error.to_string()))?
        });
        self.computing.insert(step, (layer, computing));
    }

    /// All DiffIds, when the last is computed.
    ///
    /// # Errors
    /// When a layer cannot be read.
    pub(crate) async fn finish(&mut self) -> Result<Diffs, Error> {
        while let Some((step, (layer, worker))) = self.computing.pop_first() {
            let diff = worker.await.map_err(|error| Error::Worker(error.to_string()))??;
            self.known.insert(step, diff);
            self.computed.push((layer, diff));
        }
        Ok(self.known.clone())
    }

    /// Takes the DiffIds that [`Self::finish`] waited for, each with its layer.
    pub(crate) fn take_computed(&mut self) -> Vec<(LayerId, LayerDiff)> {
        std::mem::take(&mut self.computed)
    }

    /// Forgets the steps that have no result any more: they will have another layer.
    pub(crate) fn retain(&mut self, results: &Results) {
        self.known.retain(|step, _| results.step(*step).is_some());
    }
}
