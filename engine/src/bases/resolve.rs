//! Turns the images a Dockerfile names into images that the store knows: their configs and layer lists, which is all that
//! planning and looking up need.

use crate::{
    BuildRequest, Engine, Error, Hint, ImageLock, LockedImage, build::definition,
    error::diagnostic::DockerfileText, report::reporter::Reporter,
};
use futures_util::{StreamExt as _, stream};
use rbuild_cache::{ImageRecord, Lease, StoreError};
use rbuild_oci::{ImageConfig, ImageId};
use rbuild_planner::{ImageRequest, PlanError, ResolvedGraph, ResolvedImage, StageGraph};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Mutex;

/// The most images that a build asks registries for at the same time, so that a file with thousands of them does not run
/// out of descriptors.
const IMAGES_AT_ONCE: usize = 16;

/// Every image a plan starts from, by id.
pub(crate) struct BaseImages {
    records: BTreeMap<ImageId, ImageRecord>,
    /// What their references led to; those with a digest lead nowhere else.
    lock: ImageLock,
    /// Holds them from the moment they were found.
    lease: Arc<Lease>,
}

impl BaseImages {
    /// The lease that keeps these images from being collected.
    pub(crate) fn lease(&self) -> Arc<Lease> {
        self.lease.clone()
    }

    /// What their references led to.
    pub(crate) fn lock(&self) -> &ImageLock {
        &self.lock
    }

    /// For the remote sources of the same build.
    pub(crate) fn lock_mut(&mut self) -> &mut ImageLock {
        &mut self.lock
    }

    pub(crate) fn insert(&mut self, id: ImageId, record: ImageRecord) {
        self.records.insert(id, record);
    }

    pub(crate) fn get(&self, id: &ImageId) -> Option<&ImageRecord> {
        self.records.get(id)
    }

    /// Takes the answer to `wanted`.
    fn take(&mut self, answer: Answer, wanted: &ImageRequest) -> ResolvedImage {
        match answer {
            Answer::Found(record, config) => {
                // its record lacks layers that are still in a layout directory; its config names them all
                let layers = config.rootfs.diff_ids.len();
                let image = ResolvedImage { id: record.id, config: *config, layers };
                self.insert(record.id, record);
                image
            }
            Answer::Assumed => assumed(wanted),
        }
    }
}

/// The policy for an image that is not in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetching {
    /// Its manifest and config are fetched.
    Pull,
    /// The request fails.
    LocalOnly,
    /// It counts as one with an empty config.
    AssumeEmpty,
    /// Other stores of this machine are asked for it, and no registry; what they lack counts as one with an empty config.
    OtherStores,
}

/// The outcome of looking for an image.
pub(crate) enum Answer {
    /// It is in the store.
    Found(ImageRecord, Box<ImageConfig>),
    /// Nothing is known of it.
    Assumed,
}

impl Engine {
    /// Resolves until nothing is left: an ONBUILD trigger of one image may name the next. It waits for nothing unless it
    /// pulls.
    pub(crate) async fn resolve(
        &self,
        graphs: Vec<StageGraph>,
        (request, text): (&BuildRequest, &DockerfileText),
        fetching: Fetching,
        reporter: &Reporter,
    ) -> Result<(Vec<ResolvedGraph>, BaseImages), Error> {
        let mut images = BaseImages {
            records: BTreeMap::new(),
            lock: ImageLock::default(),
            lease: Arc::new(self.store.lease()?),
        };
        let mut graphs: Vec<_> = graphs.into_iter().map(StageGraph::finish).collect();
        loop {
            let wanted = wanted(&graphs);
            let Some(waiting) = graphs.iter().find_map(|graph| graph.as_ref().err()) else {
                return Ok((graphs.into_iter().flatten().collect(), images));
            };
            let found = self.answers(&wanted, &images.lease, request, (fetching, reporter)).await;
            let mut answers = Vec::new();
            for (wanted, answer) in wanted.iter().zip(found) {
                let answer = match answer {
                    Ok(Some(answer)) => answer,
                    Ok(None) => return Err(not_there(waiting, wanted, text)),
                    Err(source) if fetching == Fetching::Pull => {
                        return Err(not_fetched(waiting, wanted, source, (text, reporter)));
                    }
                    Err(error) => return Err(error),
                };
                if let Some(found) = self.to_lock(wanted, &answer, request)? {
                    images.lock.insert(&wanted.reference, found);
                }
                answers.push((wanted.clone(), images.take(answer, wanted)));
            }
            let resolved = |graph: Result<ResolvedGraph, StageGraph>| match graph {
                Ok(resolved) => Ok(Ok(resolved)),
                Err(waiting) => waiting.resolve(answers.clone()).map(StageGraph::finish),
            };
            let resolved: Result<Vec<_>, PlanError> = graphs.into_iter().map(resolved).collect();
            graphs = resolved.map_err(|error| {
                definition::warn(&error.lints, text, reporter);
                Error::plan(error, text)
            })?;
        }
    }

    /// Resolves all of `wanted`, several at a time.
    async fn answers(
        &self,
        wanted: &[ImageRequest],
        lease: &Arc<Lease>,
        request: &BuildRequest,
        (fetching, reporter): (Fetching, &Reporter),
    ) -> Vec<Result<Option<Answer>, Error>> {
        // two requests may name one layout: loaded at the same time, its layers would become two of the store each; and two of
        // one image for two platforms write one name
        let one_by_one = Mutex::new(());
        let is_alone = |asked: &ImageRequest| {
            let same = wanted.iter().filter(|other| other.reference == asked.reference).count();
            asked.layout.is_none() && same == 1
        };
        let asked = wanted.iter().map(async |wanted| {
            let _turn = if is_alone(wanted) { None } else { Some(one_by_one.lock().await) };
            self.answer((wanted, lease), request, fetching, reporter).await
        });
        stream::iter(asked).buffered(IMAGES_AT_ONCE).collect().await
    }

    /// Resolves `wanted`, which the lease holds from now on; `None` when it is not there and must not be fetched.
    async fn answer(
        &self,
        (wanted, lease): (&ImageRequest, &Arc<Lease>),
        request: &BuildRequest,
        fetching: Fetching,
        reporter: &Reporter,
    ) -> Result<Option<Answer>, Error> {
        match fetching {
            Fetching::Pull => self.fetched_image((wanted, lease), request, reporter).await,
            Fetching::LocalOnly => self.known_image((wanted, lease), request),
            Fetching::OtherStores => {
                let brought = self.brought_here((wanted, lease), request, reporter).await?;
                Ok(Some(brought.unwrap_or(Answer::Assumed)))
            }
            Fetching::AssumeEmpty => {
                Ok(Some(self.known_image((wanted, lease), request)?.unwrap_or(Answer::Assumed)))
            }
        }
    }

    /// What a lock says of an image that was found. One of a layout, or with a digest, is what it is without a lock.
    fn to_lock(
        &self,
        wanted: &ImageRequest,
        answer: &Answer,
        request: &BuildRequest,
    ) -> Result<Option<LockedImage>, Error> {
        let Answer::Found(found, _) = answer else { return Ok(None) };
        if wanted.layout.is_some() || wanted.reference.digest().is_some() {
            return Ok(None);
        }
        if let Some(locked) = request.locked.as_ref().and_then(|lock| lock.get(&wanted.reference)) {
            return Ok(Some(locked));
        }
        let of_name = self.locked_image(&wanted.reference)?;
        Ok(of_name.or(Some(LockedImage::Image(found.id))))
    }

    /// The config document of `id`. An image whose config is damaged is none.
    pub(crate) fn image_config(&self, id: &ImageId) -> Result<ImageConfig, Error> {
        let json = match self.store.blob(id.as_digest()) {
            Err(StoreError::BlobDamaged { .. }) => None,
            json => json?,
        };
        let json = json.ok_or_else(|| Error::ImageDamaged(id.to_string()))?;
        Ok(ImageConfig::from_json(&json)?)
    }
}

/// The image that `find` leads to, once `hold` has it. When a collection was faster it is looked for again, because its name may
/// lead to another image by then.
pub(crate) fn hold_found(
    hold: impl Fn(&ImageId) -> Result<Option<ImageRecord>, StoreError>,
    find: impl Fn() -> Result<Option<ImageId>, Error>,
) -> Result<Option<ImageRecord>, Error> {
    let mut gone = None;
    loop {
        let found = find()?;
        let Some(id) = found.filter(|_| found != gone) else { return Ok(None) };
        if let Some(image) = hold(&id)? {
            return Ok(Some(image));
        }
        gone = found;
    }
}

/// The images that `graphs` wait for, each once.
fn wanted(graphs: &[Result<ResolvedGraph, StageGraph>]) -> Vec<ImageRequest> {
    let mut wanted: Vec<ImageRequest> = Vec::new();
    for asked in graphs.iter().filter_map(|graph| graph.as_ref().err()).flat_map(StageGraph::unresolved) {
        let same = |known: &ImageRequest| {
            known.reference == asked.reference
                && known.platform == asked.platform
                && known.layout == asked.layout
        };
        if !wanted.iter().any(same) {
            wanted.push(asked);
        }
    }
    wanted
}

fn not_fetched(
    graph: &StageGraph,
    wanted: &ImageRequest,
    source: Error,
    (text, reporter): (&DockerfileText, &Reporter),
) -> Error {
    definition::warn(&graph.findings(), text, reporter);
    let suggestion = graph.image_suggestion(&wanted.written).filter(|_| wanted.layout.is_none());
    Error::BaseImage {
        written: wanted.written.clone(),
        reference: wanted.reference.to_string(),
        hint: suggestion.map(Hint::DidYouMean),
        source: Box::new(source),
        diagnostic: text.at(wanted.lines),
    }
}

fn not_there(graph: &StageGraph, wanted: &ImageRequest, text: &DockerfileText) -> Error {
    let suggestion = graph.image_suggestion(&wanted.written).map(Hint::DidYouMean);
    Error::BaseImage {
        written: wanted.written.clone(),
        reference: wanted.reference.to_string(),
        hint: suggestion.or_else(|| Some(Hint::Fetch(wanted.reference.familiar()))),
        source: Box::new(Error::NotInStore),
        diagnostic: text.at(wanted.lines),
    }
}

/// An image of which nothing is known: one layer, an empty config.
fn assumed(wanted: &ImageRequest) -> ResolvedImage {
    let config = ImageConfig::scratch(&wanted.platform);
    ResolvedImage { id: config.id(), config, layers: 1 }
}
