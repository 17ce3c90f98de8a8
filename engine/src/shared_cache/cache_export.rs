//! Writing caches for other machines (`--cache-to`): layers leave while the build goes on, the description after them.
//!
//! A step's layer is sent as soon as it is there, so that little is left to do when the last step ends; layers of base images are not
//! sent at all, because every machine gets them where it gets the image. What is left out on purpose is what is cheaper to
//! make again than to fetch: see [`is_cheaper_to_copy`].

use crate::{
    Activity, CacheFailure, CacheMode, CacheOutput, Causes, Error, Note, Warning,
    build::results::{Results, StepResult},
    layers::{diffs::HashOnce, layer_content, layer_files::LayerFiles},
    lookup::{StepCache, keys::Keys},
    report::reporter::Reporter,
    shared_cache::{
        shared_mounts::{MountTransfer, OfferedMount},
        shared_records,
    },
};
use futures_util::future::try_join_all;
use rbuild_cache::{LayerId, Store};
use rbuild_image::{ImageError, ImageEvent, RemoteImages};
use rbuild_oci::{Descriptor, DiffId};
use rbuild_planner::{Action, Filesystem, Plan, Step, StepId};
use rbuild_remote_cache::{CacheDestination, RemoteCacheError, SharedLayer};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    sync::{OnceCell, Semaphore},
    task::JoinSet,
};

/// Layers that are read, or compressed and sent, at a time.
const LAYERS_AT_ONCE: usize = 2;

/// Layers of up to [`SMALL`] bytes that are sent at a time: they wait for answers, and take nothing else.
const SMALL_LAYERS_AT_ONCE: usize = 8;

/// The length of a tar, in bytes, up to which its layer is small.
const SMALL: u64 = 1 << 20;

/// The length of a tar, in bytes, from which on a layer may be left out.
const LARGE: u64 = 32 << 20;

/// Bytes of a layer's tar that a machine fetches and unpacks in a millisecond, as a guess: 64 MiB in a second.
const FETCHED_IN_A_MILLISECOND: u64 = (64 << 20) / 1000;

/// The caches that a build writes.
pub(crate) struct CacheExport {
    outputs: Vec<Wanted>,
    /// How cache mounts are sent, and those that caches have.
    mounts: Option<(MountTransfer, Vec<OfferedMount>)>,
    sending: Sending,
    /// Layers that are on their way or were sent.
    begun: BTreeSet<LayerId>,
    jobs: JoinSet<Result<(LayerId, Sent), Error>>,
    sent: BTreeMap<LayerId, Sent>,
}

/// Sees that the caches can be written whose failure is the build's, so that one that cannot costs no step. The others are
/// looked at while the build runs: it does not wait for them.
///
/// # Errors
/// That of the first one that cannot.
pub(crate) async fn check(outputs: &[CacheOutput], images: &RemoteImages) -> Result<(), Error> {
    let fatal = outputs.iter().filter(|output| output.failure == CacheFailure::Fatal);
    let opening = fatal.map(async |output| {
        let opened = output.destination.open(images).await;
        let to = output.destination.target.to_string();
        opened.map_err(|error| Error::CacheExport { to, source: Box::new(error) })
    });
    try_join_all(opening).await.map(drop)
}

/// An output, and the steps whose results it gets.
struct Wanted {
    output: Opening,
    steps: BTreeSet<StepId>,
}

/// An output, and whether it was found to be writable. Cheap to clone.
#[derive(Clone)]
struct Opening {
    output: CacheOutput,
    opened: Arc<OnceCell<()>>,
}

impl Opening {
    async fn open(&self, images: &RemoteImages) -> Result<&CacheDestination, RemoteCacheError> {
        let destination = &self.output.destination;
        self.opened.get_or_try_init(|| destination.open(images)).await?;
        Ok(destination)
    }
}

/// The parts of the engine that sending needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sending {
    pub(crate) store: Store,
    pub(crate) images: RemoteImages,
    pub(crate) files: LayerFiles,
    pub(crate) cache: Arc<StepCache>,
    pub(crate) hash: HashOnce,
    turns: Turns,
    /// The blob of each tar at each output, so that equal layers are sent once; none of those that are left out.
    blobs: Arc<Mutex<HashMap<(usize, DiffId), BlobOnce>>>,
    /// The first failure of each output, after which it gets nothing more.
    pub(crate) failed: Arc<Mutex<BTreeMap<usize, RemoteCacheError>>>,
}

/// A blob, once it was sent.
type BlobOnce = Arc<OnceCell<Option<Descriptor>>>;

/// Limits what is done at a time.
#[derive(Clone)]
struct Turns {
    of_all: Arc<Semaphore>,
    of_small: Arc<Semaphore>,
}

/// A layer that was looked at and sent.
struct Sent {
    layer: SharedLayer,
    /// The blob, by the number of the output that has it.
    blobs: BTreeMap<usize, Descriptor>,
}

impl Sending {
    pub(crate) fn new(
        (store, images): (&Store, &RemoteImages),
        files: &LayerFiles,
        cache: &Arc<StepCache>,
        hash: &HashOnce,
    ) -> Self {
        Self {
            store: store.clone(),
            images: images.clone(),
            files: files.clone(),
            cache: cache.clone(),
            hash: hash.clone(),
            turns: Turns {
                of_all: Arc::new(Semaphore::new(LAYERS_AT_ONCE)),
                of_small: Arc::new(Semaphore::new(SMALL_LAYERS_AT_ONCE)),
            },
            blobs: Arc::default(),
            failed: Arc::default(),
        }
    }
}

impl CacheExport {
    /// Begins writing `outputs` of a build of `plan`.
    pub(crate) fn begin(outputs: &[CacheOutput], plan: &Plan, sending: Sending) -> Self {
        let wanted = |output: &CacheOutput| Wanted {
            output: Opening {
                output: output.clone(),
                opened: Arc::new(OnceCell::new_with((output.failure == CacheFailure::Fatal).then_some(()))),
            },
            steps: match output.mode {
                CacheMode::Max => plan.steps.iter().map(|step| step.id).collect(),
                CacheMode::Min => crate::export::own_layers(plan),
            },
        };
        Self {
            outputs: outputs.iter().map(wanted).collect(),
            mounts: None,
            sending,
            begun: BTreeSet::new(),
            jobs: JoinSet::new(),
            sent: BTreeMap::new(),
        }
    }

    /// The same, which sends cache mounts too: those that are here, or else those of `offered` that an output has already.
    pub(crate) fn with_mounts(self, transfer: MountTransfer, offered: Vec<OfferedMount>) -> Self {
        Self { mounts: Some((transfer, offered)), ..self }
    }

    /// `step` has this result: its layer is sent where it is wanted.
    pub(crate) fn add(&mut self, step: &Step, result: &StepResult) {
        let to = self.outputs.iter().enumerate().filter(|(_, wanted)| wanted.steps.contains(&step.id));
        let to: Vec<(usize, Opening)> = to.map(|(at, wanted)| (at, wanted.output.clone())).collect();
        if to.is_empty() || !self.begun.insert(result.layer()) {
            return;
        }
        let (sending, result) = (self.sending.clone(), result.clone());
        let is_copy = copies_context(step);
        self.jobs.spawn(async move { Ok((result.layer(), sending.send(&result, is_copy, to).await?)) });
    }

    /// Waits for what is on its way, and names the caches.
    ///
    /// # Errors
    /// The first failure of an output whose failure is the build's.
    pub(crate) async fn finish(
        mut self,
        (plan, keys): (&Plan, &Keys),
        results: &Results,
        reporter: &Reporter,
    ) -> Result<(), Error> {
        let activities: Vec<_> = self
            .outputs
            .iter()
            .map(|wanted| {
                reporter
                    .begin(Activity::ExportCache { to: wanted.output.output.destination.target.to_string() })
            })
            .collect();
        while let Some(sent) = self.jobs.join_next().await {
            let (layer, sent) = sent.map_err(|panicked| Error::Worker(panicked.to_string()))??;
            self.sent.insert(layer, sent);
        }
        let mut fatal = None;
        for (at, (wanted, activity)) in self.outputs.iter().zip(activities).enumerate() {
            let steps = plan.steps.iter().filter(|step| wanted.steps.contains(&step.id));
            let machine = self.sending.store.machine();
            let described = |layer: &LayerId| self.described(at, layer);
            let mut shared = shared_records::describe(steps, (keys, results), machine, &described)?;
            let failed = self.sending.failed().remove(&at);
            if let (None, Some((transfer, offered))) = (&failed, &self.mounts) {
                shared.mounts = transfer.send(&wanted.output.output, offered, reporter).await;
            }
            let published = match failed {
                Some(error) => Err(error),
                None if shared.records.is_empty() && shared.mounts.is_empty() => {
                    activity.note(Note::NothingToShare);
                    Ok(())
                }
                None => match wanted.output.open(&self.sending.images).await {
                    Ok(destination) => destination.publish(&self.sending.images, &shared).await.map(drop),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = activity.end_with(published) {
                let to = wanted.output.output.destination.target.to_string();
                match wanted.output.output.failure {
                    CacheFailure::Ignored => {
                        reporter.warn(Warning::CacheNotExported { to, causes: Causes::of(&error) });
                    }
                    CacheFailure::Fatal => {
                        fatal.get_or_insert(Error::CacheExport { to, source: Box::new(error) });
                    }
                }
            }
        }
        fatal.map_or(Ok(()), Err)
    }

    /// A layer as the cache has it; `None` when nothing is known of it.
    fn described(&self, at: usize, layer: &LayerId) -> Result<Option<SharedLayer>, Error> {
        if let Some(sent) = self.sent.get(layer) {
            return Ok(Some(SharedLayer { blob: sent.blobs.get(&at).cloned(), ..sent.layer.clone() }));
        }
        let known = rbuild_image::known_layer_diff(&self.sending.store, layer)?;
        Ok(known.map(|diff| SharedLayer { diff_id: diff.diff_id, content: None, blob: None }))
    }
}

impl Sending {
    /// Looks at the layer of `result` and sends it to outputs.
    async fn send(
        &self,
        result: &StepResult,
        is_copy: bool,
        to: Vec<(usize, Opening)>,
    ) -> Result<Sent, Error> {
        let converted = to.iter().any(|(_, to)| !self.keeps(&result.layer(), &to.output));
        let (looking, own) = (self.clone(), result.clone());
        let looked = {
            // the semaphores are never closed
            let _turn = self.turns.of_all.acquire().await.ok();
            tokio::task::spawn_blocking(move || looking.look(&own, converted)).await
        };
        let (layer, tar_size) = looked.map_err(|panicked| Error::Worker(panicked.to_string()))??;
        let mut sent = Sent { layer, blobs: BTreeMap::new() };
        if is_copy && is_cheaper_to_copy(tar_size, result.record.duration_ms) {
            return Ok(sent);
        }
        let is_small = tar_size.is_some_and(|size| size <= SMALL);
        let turns = if is_small { &self.turns.of_small } else { &self.turns.of_all };
        for (at, output) in to {
            let blob = {
                let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
                blobs.entry((at, sent.layer.diff_id)).or_default().clone()
            };
            let sending = async {
                let _turn = turns.acquire().await.ok();
                self.send_to((at, &output), &result.layer()).await
            };
            sent.blobs.extend(blob.get_or_init(|| sending).await.clone().map(|blob| (at, blob)));
        }
        Ok(sent)
    }

    /// Sends a layer to one output, unless it is not given by its own registry, or the output gets nothing more.
    async fn send_to(&self, (at, output): (usize, &Opening), layer: &LayerId) -> Option<Descriptor> {
        if self.failed().contains_key(&at) {
            return None;
        }
        let ignore = |_: ImageEvent| {};
        let sending = async {
            let destination = output.open(&self.images).await?;
            destination.send_layer((&self.store, &self.images), layer, &ignore).await
        };
        match sending.await {
            Ok(blob) => Some(blob),
            Err(RemoteCacheError::Image(
                ImageError::FetchLayer { .. } | ImageError::LayerElsewhere { .. },
            )) => None,
            Err(error) => {
                self.failed().entry(at).or_insert(error);
                None
            }
        }
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, RemoteCacheError>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True unless the layer is elsewhere in another compression than the output wants.
    fn keeps(&self, layer: &LayerId, output: &CacheOutput) -> bool {
        let remote = self.store.remote_layer(layer).ok().flatten();
        remote.is_none_or(|remote| output.destination.form.packing.keeps(&remote.blob))
    }

    /// What the layer of `result` is, and the length of its tar, if that is here. What is not here is not fetched unless
    /// `converted`.
    pub(crate) fn look(
        &self,
        result: &StepResult,
        converted: bool,
    ) -> Result<(SharedLayer, Option<u64>), Error> {
        let layer = result.layer();
        if converted {
            self.files.need(&result.stack)?;
        }
        let diff = self.hash.diff(&self.store, &layer)?;
        let is_here = self.store.remote_layer(&layer)?.is_none();
        let content = if is_here {
            Some(layer_content::content(&self.store, self.cache.records(), layer)?)
        } else {
            self.cache.imported_content(&layer)
        };
        let diff_id: DiffId = diff.diff_id;
        Ok((SharedLayer { diff_id, content, blob: None }, diff.tar_size.filter(|_| is_here)))
    }
}

/// True if `step` copies files of a context: carrying it out again gives the same content.
fn copies_context(step: &Step) -> bool {
    matches!(&step.action, Action::Copy(action)
        if matches!(action.from, Filesystem::Context | Filesystem::NamedContext(_)))
}

/// True if a large layer of files from a context took less time to make than it would take to fetch: another machine that
/// looks it up has the very files, and so it is left out.
fn is_cheaper_to_copy(tar_size: Option<u64>, took_ms: u64) -> bool {
    tar_size.is_some_and(|size| size >= LARGE && took_ms < size / FETCHED_IN_A_MILLISECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_copies_that_are_quick_are_left_out() {
        for (size, took, left_out) in [
            (None, 0, false),
            (Some(LARGE - 1), 0, false),
            (Some(LARGE), 100, true),
            (Some(LARGE), 501, false),
            (Some(1 << 30), 4_000, true),
            (Some(1 << 30), 60_000, false),
        ] {
            assert_eq!(is_cheaper_to_copy(size, took), left_out, "{size:?} in {took} ms");
        }
    }
}
