//! Turns the images a Dockerfile names into images that the store knows: their configs and layer lists, which is all that
//! planning and looking up need.

use crate::{
    Activity, BuildRequest, Engine, Error, Hint, Outcome, PullPolicy, definition, diagnostic::DockerfileText,
    reporter::Reporter,
};
use futures_util::{StreamExt as _, stream};
use rbuild_cache::{ImageRecord, Lease, StoreError};
use rbuild_oci::{ImageConfig, ImageId, Reference};
use rbuild_planner::{ImageRequest, ResolvedGraph, ResolvedImage, StageGraph};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Mutex;

/// The most images that a build asks registries for at the same time, so that a file with thousands of them does not run
/// out of descriptors.
const IMAGES_AT_ONCE: usize = 16;

/// Every image a plan starts from, by id.
pub(crate) struct BaseImages {
    records: BTreeMap<ImageId, ImageRecord>,
    /// Holds them from the moment they were found.
    lease: Arc<Lease>,
}

impl BaseImages {
    /// The lease that keeps these images from being collected.
    pub(crate) fn lease(&self) -> Arc<Lease> {
        self.lease.clone()
    }

    pub(crate) fn insert(&mut self, id: ImageId, record: ImageRecord) {
        self.records.insert(id, record);
    }

    pub(crate) fn get(&self, id: &ImageId) -> Option<&ImageRecord> {
        self.records.get(id)
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
}

/// The outcome of looking for an image.
enum Answer {
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
        mut graph: StageGraph,
        (request, text): (&BuildRequest, &DockerfileText),
        fetching: Fetching,
        reporter: &Reporter,
    ) -> Result<(ResolvedGraph, BaseImages), Error> {
        let mut images = BaseImages { records: BTreeMap::new(), lease: Arc::new(self.store.lease()?) };
        loop {
            graph = match graph.finish() {
                Ok(resolved) => return Ok((resolved, images)),
                Err(unfinished) => unfinished,
            };
            let unresolved = graph.unresolved();
            let lease = &images.lease;
            // two requests may name one layout: loaded at the same time, its layers would become two of the store each
            let one_layout = Mutex::new(());
            let asked = unresolved.iter().map(async |wanted| {
                let _turn = if wanted.layout.is_some() { Some(one_layout.lock().await) } else { None };
                self.answer((wanted, lease), request, fetching, reporter).await
            });
            let found: Vec<_> = stream::iter(asked).buffered(IMAGES_AT_ONCE).collect().await;
            let mut answers = Vec::new();
            for (wanted, answer) in unresolved.iter().zip(found) {
                let answer = match answer {
                    Ok(Some(answer)) => answer,
                    Ok(None) => return Err(not_there(wanted, text)),
                    Err(source) if fetching == Fetching::Pull => {
                        return Err(not_fetched(&graph, wanted, source, (text, reporter)));
                    }
                    Err(error) => return Err(error),
                };
                let image = match answer {
                    Answer::Found(record, config) => {
                        // its record lacks layers that are still in a layout directory; its config names them all
                        let layers = config.rootfs.diff_ids.len();
                        let image = ResolvedImage { id: record.id, config: *config, layers };
                        images.insert(record.id, record);
                        image
                    }
                    Answer::Assumed => assumed(wanted),
                };
                answers.push((wanted.clone(), image));
            }
            graph = graph.resolve(answers).map_err(|error| {
                definition::warn(&error.lints, text, reporter);
                Error::plan(error, text)
            })?;
        }
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
            Fetching::Pull => self.fetched_image((wanted, lease), request, reporter).await.map(Some),
            Fetching::LocalOnly => self.known_image((wanted, lease), request),
            Fetching::AssumeEmpty => {
                Ok(Some(self.known_image((wanted, lease), request)?.unwrap_or(Answer::Assumed)))
            }
        }
    }

    /// The image, from the store if the request allows that, else from its registry, which is asked for manifest and config
    /// only.
    async fn fetched_image(
        &self,
        (wanted, lease): (&ImageRequest, &Arc<Lease>),
        request: &BuildRequest,
        reporter: &Reporter,
    ) -> Result<Answer, Error> {
        if let Some(context) = &wanted.layout {
            let found = self.layout_image(context, (wanted, lease), request, reporter).await?;
            return Ok(Answer::Found(found.image, Box::new(found.config)));
        }
        let activity =
            reporter.begin(Activity::LoadMetadata { image: wanted.reference.to_string(), context: None });
        if request.pull == PullPolicy::Missing
            && let Some((record, config)) = self.local_image(&wanted.reference, lease)?
        {
            activity.end(Outcome::Done);
            return Ok(Answer::Found(record, Box::new(config)));
        }
        let remote = self.remote.heard_by(reporter.listener());
        let found = remote.resolve(&wanted.reference, &wanted.platform, lease).await;
        let record = activity.end_with(found)?.image;
        let config = self.image_config(&record.id)?;
        Ok(Answer::Found(record, Box::new(config)))
    }

    /// The image, if the store or a layout directory has it; nothing but the lease is written.
    fn known_image(
        &self,
        (wanted, lease): (&ImageRequest, &Lease),
        request: &BuildRequest,
    ) -> Result<Option<Answer>, Error> {
        let found = match &wanted.layout {
            Some(context) => Some(self.known_layout_image(context, (wanted, lease), request)?),
            None => self.local_image(&wanted.reference, lease)?,
        };
        Ok(found.map(|(record, config)| Answer::Found(record, Box::new(config))))
    }

    /// The image `reference` points at in the store, held by `lease`, with its config.
    fn local_image(
        &self,
        reference: &Reference,
        lease: &Lease,
    ) -> Result<Option<(ImageRecord, ImageConfig)>, Error> {
        let find = || Ok(self.store.reference(reference)?.map(|found| found.image));
        let Some(record) = hold_found(|id| lease.hold_image(id), find)? else { return Ok(None) };
        let config = self.image_config(&record.id)?;
        Ok(Some((record, config)))
    }

    /// The config document of `id`. An image whose config is damaged is none.
    pub(crate) fn image_config(&self, id: &ImageId) -> Result<ImageConfig, Error> {
        let json = match self.store.blob(id.as_digest()) {
            Err(StoreError::BlobDamaged { .. }) => None,
            json => json?,
        };
        let json = json.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
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

fn not_there(wanted: &ImageRequest, text: &DockerfileText) -> Error {
    let name = wanted.reference.familiar();
    Error::BaseImage {
        written: wanted.written.clone(),
        reference: wanted.reference.to_string(),
        hint: Some(Hint::Fetch(name.clone())),
        source: Box::new(Error::NoSuchImage(name)),
        diagnostic: text.at(wanted.lines),
    }
}

/// An image of which nothing is known: one layer, an empty config.
fn assumed(wanted: &ImageRequest) -> ResolvedImage {
    let config = ImageConfig::scratch(&wanted.platform);
    ResolvedImage { id: config.id(), config, layers: 1 }
}
