//! The one place that brings the files of layers: whatever is about to touch a stack asks [`LayerFiles::need`] first.
//!
//! Base images are resolved by their manifest and config, so their layers may be elsewhere until then. Steps run on threads
//! that may block; transfers belong to the future of the build, so that dropping it stops them. Between the two goes a
//! message, and its sender waits.

use crate::{
    Activity, BucketPlace, CacheInput, Error, images::transfer::Progress, report::reporter::Reporter,
};
use rbuild_cache::{Cancel, LayerId, LayerOrigin, RemoteLayer, Store, StoreError};
use rbuild_executor::ExecutorError;
use rbuild_image::{ImageError, ImageEvent, RemoteImages};
use std::{
    collections::{BTreeMap, HashSet},
    mem,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, mpsc as blocking},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};

/// The longest time for which a waiting step does not notice that the build was canceled.
const LOOK: Duration = Duration::from_millis(20);

/// Sees that files of layers are here. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LayerFiles {
    store: Store,
    /// Layers that were seen to be here.
    here: Arc<Mutex<HashSet<LayerId>>>,
    /// Those of them that are the store's own and not of one that is only read.
    own: Arc<Mutex<HashSet<LayerId>>>,
    /// The fetching end; a plan has none.
    fetching: Option<(mpsc::UnboundedSender<Request>, Cancel)>,
}

/// The end that fetches.
pub(crate) struct LayerFetcher {
    store: Store,
    images: RemoteImages,
    buckets: Arc<[BucketPlace]>,
    requests: mpsc::UnboundedReceiver<Request>,
    reporter: Reporter,
}

struct Request {
    /// Lowest first.
    stack: Vec<LayerId>,
    done: Waiting,
}

type Waiting = blocking::Sender<Result<(), Error>>;

impl LayerFiles {
    /// For a plan, which fetches nothing.
    pub(crate) fn as_they_are(store: &Store) -> Self {
        Self { store: store.clone(), here: Arc::default(), own: Arc::default(), fetching: None }
    }

    /// For a build that `cancel` stops, with the end that has to be driven by [`LayerFetcher::serve`].
    pub(crate) fn fetched(
        store: &Store,
        images: &RemoteImages,
        caches: &[CacheInput],
        (cancel, reporter): (&Cancel, &Reporter),
    ) -> (Self, LayerFetcher) {
        let (sender, requests) = mpsc::unbounded_channel();
        let fetching = Some((sender, cancel.clone()));
        let fetcher = LayerFetcher {
            store: store.clone(),
            images: images.heard_by(reporter.listener()),
            buckets: caches.iter().filter_map(|input| input.source.bucket()).cloned().collect(),
            requests,
            reporter: reporter.clone(),
        };
        (Self { store: store.clone(), here: Arc::default(), own: Arc::default(), fetching }, fetcher)
    }

    /// What stops the build; nothing does that to a plan.
    pub(crate) fn cancel(&self) -> Cancel {
        self.fetching.as_ref().map(|(_, cancel)| cancel.clone()).unwrap_or_default()
    }

    /// Returns when the files of all layers of `stack`, lowest first, are in the store. May block.
    ///
    /// # Errors
    /// [`ImageError::FetchLayer`] for a layer that cannot be had, [`ImageError::LayerElsewhere`] in a plan;
    /// [`ExecutorError::Canceled`].
    pub(crate) fn need(&self, stack: &[LayerId]) -> Result<(), Error> {
        while let Some(layer) = self.elsewhere(stack)? {
            let Some((sender, cancel)) = &self.fetching else {
                return Err(ImageError::LayerElsewhere { layer }.into());
            };
            let canceled = |_| Error::Executor(ExecutorError::Canceled);
            cancel.check().map_err(canceled)?;
            let (done, waiting) = blocking::channel();
            // sending fails once the build has ended, because its receiver is gone by then
            let _ = sender.send(Request { stack: stack.to_vec(), done });
            loop {
                match waiting.recv_timeout(LOOK) {
                    Ok(fetched) => break fetched?,
                    Err(blocking::RecvTimeoutError::Timeout) => cancel.check().map_err(canceled)?,
                    Err(blocking::RecvTimeoutError::Disconnected) => {
                        return Err(Error::Executor(ExecutorError::Canceled));
                    }
                }
            }
        }
        Ok(())
    }

    /// Sees that `layers` have been here until now. The build's lease keeps those of its own store, which are looked at once; a layer of a
    /// store that is only read loses its name and then its files when its owner removes it.
    ///
    /// # Errors
    /// [`StoreError::LayerMissing`] with the first that has gone.
    pub(crate) fn require<'a>(&self, mut layers: impl Iterator<Item = &'a LayerId>) -> Result<(), Error> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = layers.find(|layer| {
            if own.contains(*layer) {
                return false;
            }
            let is_here = self.store.has_layer(layer);
            if is_here && self.store.owns_layer(layer) {
                own.insert(**layer);
            }
            !is_here
        });
        match gone {
            Some(gone) => Err(StoreError::LayerMissing { layer: gone.to_string() }.into()),
            None => Ok(()),
        }
    }

    /// The first layer of `stack` whose files are elsewhere. One that is here stays here, so it is looked at once.
    fn elsewhere(&self, stack: &[LayerId]) -> Result<Option<LayerId>, Error> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in stack {
            if !here.contains(layer) {
                if self.store.remote_layer(layer)?.is_some() {
                    return Ok(Some(*layer));
                }
                here.insert(*layer);
            }
        }
        Ok(None)
    }
}

impl LayerFetcher {
    /// Drives `work`, whose steps need files of layers, and fetches them meanwhile. What is still under way when `work` ends is
    /// given up.
    pub(crate) async fn serve<T>(mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut fetching: JoinSet<(Vec<LayerId>, Result<(), Error>)> = JoinSet::new();
        // steps that start together often stand on the same image
        let mut waiting: BTreeMap<Vec<LayerId>, Vec<Waiting>> = BTreeMap::new();
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(Request { stack, done }) = self.requests.recv() => match waiting.get_mut(&stack) {
                    Some(others) => others.push(done),
                    None => {
                        waiting.insert(stack.clone(), vec![done]);
                        let (images, reporter) = (self.images.clone(), self.reporter.clone());
                        let (store, buckets) = (self.store.clone(), self.buckets.clone());
                        fetching.spawn(async move {
                            let fetched = fetch((&store, &images), &buckets, &stack, &reporter).await;
                            (stack, fetched)
                        });
                    }
                },
                Some(ended) = fetching.join_next() => match ended {
                    Ok((stack, fetched)) => answer(waiting.remove(&stack).unwrap_or_default(), fetched),
                    Err(panicked) => {
                        // whose fetch that was is not known
                        for (_, waiting) in mem::take(&mut waiting) {
                            answer(waiting, Err(Error::Worker(panicked.to_string())));
                        }
                    }
                },
            }
        }
    }
}

/// Tells the steps that wait for a stack what came of fetching it.
fn answer(waiting: Vec<Waiting>, mut fetched: Result<(), Error>) {
    for waiting in waiting {
        // the first one has the reason of a failure, and the others look again
        let result = mem::replace(&mut fetched, Ok(()));
        // one that was canceled does not wait any more
        let _ = waiting.send(result);
    }
}

/// Fetches what is missing of one stack, as an activity of its own.
async fn fetch(
    (store, images): (&Store, &RemoteImages),
    buckets: &[BucketPlace],
    stack: &[LayerId],
    reporter: &Reporter,
) -> Result<(), Error> {
    let Some(RemoteLayer { origin, .. }) = images.elsewhere(stack)? else { return Ok(()) };
    let activity = reporter.begin(Activity::FetchLayers { image: origin.to_string() });
    if let Err(error) = bring_from_buckets(store, buckets, stack).await {
        return activity.end_with(Err(error));
    }
    let fetched = {
        let progress = Progress::new(&activity);
        let tell = |event: ImageEvent| progress.tell(&event);
        images.fetch_layers(stack, &tell).await
    };
    Ok(activity.end_with(fetched)?)
}

/// Brings the blobs of those layers of `stack` that are in one of `buckets`, from where they are unpacked like all others.
async fn bring_from_buckets(store: &Store, buckets: &[BucketPlace], stack: &[LayerId]) -> Result<(), Error> {
    for layer in stack {
        let Some(remote) = store.remote_layer(layer)? else { continue };
        let LayerOrigin::Bucket { bucket } = &remote.origin else { continue };
        if let Some(place) = buckets.iter().find(|place| place.location() == *bucket) {
            let lost = |source| Error::CachedLayer { layer: remote.blob.digest, source: Box::new(source) };
            place.bring(store, &remote.blob).await.map_err(lost)?;
        }
    }
    Ok(())
}
